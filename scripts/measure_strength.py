"""Measures how evenly `strength` moves a result from the photograph to the whole style, on six pairs of samples.

    python scripts/measure_strength.py --size 256

For each pair it prints the content error of `metrics.compare` at nine strengths, and the largest and the least step,
divided by the mean step.
"""

import argparse
import itertools

import numpy as np

import tfstyle
from tfstyle import images, metrics, vgg

PAIRS = tuple(itertools.product(("neuschwanstein", "colosseum", "chelsea"), ("starry_night", "harvest")))
STRENGTHS = np.linspace(0.0, 1.0, 9)


def main():
    """Prints one line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="long side of the pictures")
    parser.add_argument("--recipe", default="default", help="the recipe")
    options = parser.parse_args()
    network = vgg.load_vgg(metrics.LAYERS)
    print("strength".ljust(30), *(f"{strength:6.3f}" for strength in STRENGTHS), "  largest", " least")
    for pair in PAIRS:
        content, style = (images.SAMPLES / f"{name}.jpg" for name in pair)
        read = [images.read(path, long_side=options.size).image for path in (content, style)]
        errors = []
        for strength in STRENGTHS:
            result = tfstyle.stylize(
                content, style, recipe=options.recipe, size=options.size, regions="none", strength=float(strength)
            )
            resized = images.resize(read[0], *result.shape[1:3])
            errors.append(float(metrics.compare(network, resized, read[1], result).content))
        steps = np.diff(errors) / np.mean(np.diff(errors))
        numbers = [*(f"{error:6.3f}" for error in errors), f"{steps.max():8.2f}", f"{steps.min():6.2f}"]
        print(" x ".join(pair).ljust(30), *numbers, flush=True)


if __name__ == "__main__":
    main()
