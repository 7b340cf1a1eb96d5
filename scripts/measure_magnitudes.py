"""Measures the activations of the embedded network's filters on photographs; writes `vgg19-magnitudes.safetensors`.

    python scripts/measure_magnitudes.py -o tfstyle/data/weights

The file holds root mean squares over all positions of three photographs, of each filter before the ReLU (`LAYER.conv`)
and of the whole layer after it (`LAYER.relu`), as float16. Pictures are resized by Pillow in integers and the network
runs in float64, so that every machine gives the same bytes.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from build_weights import safetensors_bytes
from PIL import Image

from tfstyle import weights
from tfstyle.environment import tf
from tfstyle.vgg import scale_pixels

SAMPLES = weights.FOLDER.parent / "samples"
PHOTOGRAPHS = ("neuschwanstein", "colosseum", "chelsea")
LONG_SIDE = 384


def photograph(path):
    """Reads a photograph as float64 [1, height, width, 3] in [0, 1], with a long side of `LONG_SIDE` pixels."""
    with Image.open(path) as picture:
        factor = LONG_SIDE / max(picture.size)
        size = [round(side * factor) for side in picture.size]
        pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    return pixels[None] / 255.0


def squares(layers, image):
    """Yields (`LAYER.conv` or `LAYER.relu`, each filter's sum of squares over positions, number of positions)."""
    x = scale_pixels(image, "keras")
    for layer, (kernel, bias) in layers.items():
        if layer.endswith("_conv1") and layer != "block1_conv1":
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        before = tf.nn.conv2d(x, kernel.astype("f8"), 1, "SAME") + bias.astype("f8")
        x = tf.nn.relu(before)
        for tap, features in (("conv", before), ("relu", x)):
            yield f"{layer}.{tap}", tf.reduce_sum(features**2, axis=(0, 1, 2)).numpy(), np.prod(features.shape[:3])


def measure(layers, images):
    """Returns root mean squares over all images: `LAYER.conv`, float16 [filters], and `LAYER.relu`, float16 [1]."""
    sums, counts = {}, {}
    for image in images:
        for name, total, count in squares(layers, image):
            sums[name] = sums.get(name, 0.0) + (total if name.endswith("conv") else total.mean(keepdims=True))
            counts[name] = counts.get(name, 0) + count
    return {name: np.sqrt(total / counts[name]).astype("<f2") for name, total in sums.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="tfstyle/data/weights", help="folder to write into")
    options = parser.parse_args()
    found = measure(weights.read("embedded").layers, (photograph(SAMPLES / f"{name}.jpg") for name in PHOTOGRAPHS))
    path, data = Path(options.output, "vgg19-magnitudes.safetensors"), safetensors_bytes(found)
    path.write_bytes(data)
    print(hashlib.sha256(data).hexdigest(), path)
