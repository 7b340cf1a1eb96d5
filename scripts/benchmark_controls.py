"""Measures what each control adds to a step of the default recipe, in turn with steps without it.

    python scripts/benchmark_controls.py --size 512 --repeats 9

Each row is a control, its number of regions, the median time of a step beside that of a step without it, the least and
the greatest ratio of a pair, and the share that each of its regions adds.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfstyle import images, masks
from tfstyle.recipes import get_recipe
from tfstyle.styles import Style, check_styles
from tfstyle.transfer import Transfer

CONTROLS = {
    "nothing": {},
    "color content": {"color": "content"},
    "color match": {"color": "match"},
    "strength 0.5": {"strength": 0.5},
    "two paintings": {"paintings": ({}, {})},
    "colors of one, strokes of another": {
        "paintings": ({"layers": ("block1",)}, {"layers": ("block2", "block3", "block4", "block5")})
    },
    "protect": {"protect": "left"},
    "a mask": {"paintings": ({"mask": "left"},)},
    "two masks": {"paintings": ({"mask": "left"}, {"mask": "right"})},
    "orientation 45": {"orientation": 45},
    "orientation edges": {"orientation": "edges"},
    "regions 3": {"regions": 3},
}
"""A label, and fields of the recipe; "paintings" are the fields of each `Style`."""

PAINTINGS = ("starry_night", "harvest")
FEATHER = 0.01


def begin(size, precision, *, paintings=({},), protect=None, **overrides):
    """Begins a run of one level; returns its steps and the number of its regions."""
    content, *pictures = (
        images.fit(images.read(images.SAMPLES / f"{name}.jpg").image, size) for name in ("neuschwanstein", *PAINTINGS)
    )
    fields = {"regions": "none", "precision": precision, "scale_start": 0, "steps": 1000, **overrides}
    styles = [Style(picture, **given) for picture, given in zip(pictures, paintings, strict=False)]
    recipe = check_styles(styles, get_recipe("balanced", **fields), protect=protect, feather=FEATHER)
    masked = masks.read_masks(styles, tuple(content.shape[1:3]), protect=protect, feather=FEATHER)
    drawn = recipe.loss.drawn_regions
    return Transfer(recipe).steps(content, masked), drawn or (recipe.loss.region_count - 1 and recipe.loss.region_count)


def seconds(steps):
    """Returns how long the next step takes."""
    began = time.perf_counter()
    next(steps)
    return time.perf_counter() - began


def main():
    """Prints a row for each control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="long side of the pictures [512]")
    parser.add_argument("--repeats", type=int, default=9, help="measured steps of each run [9]")
    parser.add_argument("--precision", default="auto", help="precision of the convolutions [auto]")
    options = parser.parse_args()
    print(f"{'control':36}{'regions':>8}{'ratio':>8}{'least':>8}{'most':>8}{'a region':>10}")
    for label, control in CONTROLS.items():
        plain, _ = begin(options.size, options.precision)
        controlled, regions = begin(options.size, options.precision, **control)
        for steps in (plain, controlled):  # Compilation.
            seconds(steps), seconds(steps)
        times = [(seconds(controlled), seconds(plain)) for _ in range(options.repeats)]
        ratio = statistics.median(one for one, _ in times) / statistics.median(other for _, other in times)
        ratios = [one / other for one, other in times]
        share = f"{(ratio - 1.0) / regions:10.3f}" if regions else ""
        print(f"{label:36}{regions:8}{ratio:8.3f}{min(ratios):8.3f}{max(ratios):8.3f}{share}", flush=True)


if __name__ == "__main__":
    main()
