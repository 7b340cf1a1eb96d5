"""Compares the estimates of `tfstyle.memory` with measured peaks, to which its numbers are fitted.

    python scripts/measure_memory.py --recipe balanced --precision bfloat16 --sizes 1024 2048 --tiles 0 512

Every row is a run of four steps in a process of its own, whose peak counts from the imports. Of L-BFGS only three pairs
are kept, which so short a run fills.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

from benchmark import in_child, peak

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def row(recipe_name, precision, size, tile):
    """Returns planned and measured bytes of a run."""
    from tfstyle import images, memory, planning
    from tfstyle.environment import tf
    from tfstyle.recipes import LBFGS, get_recipe
    from tfstyle.transfer import Transfer

    recipe = get_recipe(recipe_name, precision=precision, steps=4, size=size)
    if isinstance(recipe.optimizer, LBFGS):
        recipe = get_recipe(recipe, optimizer=dataclasses.replace(recipe.optimizer, history=3))
    content, style = (
        images.fit(images.read(images.SAMPLES / name).image, size)
        for name in ("neuschwanstein.jpg", "starry_night.jpg")
    )
    tf.nn.conv2d(tf.zeros([1, 8, 8, 3]), tf.zeros([3, 3, 3, 3]), 1, "SAME")  # What TensorFlow loads at first use.
    library = peak()
    planning.TILES = (tile,)  # Otherwise a larger tile that fits would be chosen.
    planned = memory.memory_needed(recipe, *(tuple(image.shape[1:3]) for image in (content, style)), tile=tile or None)
    for _ in Transfer(recipe).steps(content, style, recipe=recipe, memory=planned if tile else None):
        pass
    return {"planned": planned, "measured": peak() - library}


def main():
    """Prints a row for each size and tile."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="balanced", help="recipe [balanced]")
    parser.add_argument("--precision", default="auto", help="precision of the convolutions [auto]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512], metavar="N", help="long sides in pixels [512]")
    parser.add_argument("--tiles", type=int, nargs="+", default=[0], metavar="N", help="lengths of tiles; 0: whole [0]")
    options = parser.parse_args()
    print(f"{'size':>6}{'tile':>6}{'planned GB':>12}{'measured':>10}{'ratio':>7}")
    for size in options.sizes:
        for tile in options.tiles:
            job = {"recipe_name": options.recipe, "precision": options.precision, "size": size, "tile": tile}
            found = in_child(job, script=__file__)
            planned, measured = found["planned"] / 1e9, found["measured"] / 1e9
            print(f"{size:6}{tile or 'whole':>6}{planned:12.2f}{measured:10.2f}{planned / measured:7.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["row"]:  # One row, for `in_child`.
        print(json.dumps(row(**json.loads(sys.argv[2]))))
    else:
        main()
