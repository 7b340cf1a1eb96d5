"""The commands that make many pictures, `batch`, `sweep` and `variations`, with their options and their help.

Nothing here loads TensorFlow.
"""

from __future__ import annotations

import argparse
from typing import Any

from tfstyle.cli import options


def add_batch(commands: Any) -> None:
    """Adds `batch`."""
    batch = options.add_command(
        commands,
        "batch",
        "CONTENT [CONTENT ...] --styles STYLE [STYLE ...] -o DIR",
        "tfstyle batch photos/ --styles night.jpg waves.jpg -o painted",
        "tfstyle batch photos/ --styles night.jpg --fast --size 1024 -o painted",
        "tfstyle batch --pairs pairs.csv -o painted --skip-existing",
        "tfstyle batch photos/ --styles night.jpg --ray auto -o painted",
        help="stylize many pictures, with a table and a page of the results",
        run="batch.run",
        epilog=options.EVENTS,
    )
    pictures = batch.add_argument_group("pictures")
    help = "photographs to paint, and folders that are searched with all folders in them"
    pictures.add_argument("contents", metavar="CONTENT", nargs="*", help=help)
    help = "paintings, and folders of them; every CONTENT is painted in the style of each"
    pictures.add_argument("--styles", metavar="STYLE", nargs="+", help=help)
    help = "pairs in place of these: a .csv file with the columns content and style"
    pictures.add_argument("--pairs", metavar="FILE", help=help)
    common = batch.add_argument_group("common options")
    options.add_output(common, "DIR", "the folder of the results", required=True)
    common.add_argument("--fast", action="store_true", help="one pass for each picture, as tfstyle fast")
    common.add_argument("--model", metavar="NAME", help="one pass of this network, as tfstyle fast --model")
    help = "make every N-th picture from the I-th on, for N machines with a folder in common"
    common.add_argument("--shard", metavar="I/N", help=help)
    help = "on the machines of a Ray cluster: HOST:PORT, or auto, from one of them; ray://HOST:PORT from elsewhere"
    common.add_argument("--ray", metavar="ADDRESS", help=help)
    options.add_recipe_options(batch, common)
    files = batch.add_argument_group("files")
    files.add_argument("--skip-existing", action="store_true", help="pass over results that are there, to go on")
    options.add_overwrite(files, "replace existing files")
    files.add_argument("--format", choices=("png", "jpg", "webp", "tif"), default="png", help="of the results [png]")
    options.add_quality(files)
    options.add_background(files)
    options.add_memory(batch)
    options.add_messages(batch)


def add_sweep(commands: Any) -> None:
    """Adds `sweep`."""
    sweep = options.add_command(
        commands,
        "sweep",
        "CONTENT STYLE [STYLE ...] --vary FIELD=A,B",
        "tfstyle sweep photo.jpg painting.jpg --vary style_weight=0.3,1,3",
        "tfstyle sweep photo.jpg painting.jpg --vary seed=1,2 --vary init=content,noise",
        help="compare settings: one picture for each combination of values",
        run="explore.sweep",
        epilog=options.EVENTS,
    )
    options.add_pictures(sweep)
    common = sweep.add_argument_group("common options")
    help = "values of a recipe option; may be given several times"
    common.add_argument("--vary", action="append", required=True, metavar="FIELD=A,B", help=help)
    options.add_output(common, "DIR", "the folder of the results [CONTENT.STYLE-sweep]")
    _add_recipe_and_files(sweep, common, overwrite="write into a folder that is not empty")
    options.add_checkpoints(sweep)
    options.add_memory(sweep)
    options.add_messages(sweep)


def add_variations(commands: Any) -> None:
    """Adds `variations`."""
    variations = options.add_command(
        commands,
        "variations",
        "CONTENT STYLE [STYLE ...]",
        "tfstyle variations photo.jpg painting.jpg",
        help="paint ten looks of a pair on one sheet, each with its options",
        run="explore.variations",
        epilog=options.EVENTS,
    )
    options.add_pictures(variations)
    common = variations.add_argument_group("common options")
    options.add_output(common, "FILE", "the sheet [CONTENT.STYLE.variations.png]")
    _add_recipe_and_files(variations, common, overwrite="replace an existing file")
    options.add_memory(variations)
    options.add_messages(variations)


def _add_recipe_and_files(command: argparse.ArgumentParser, common: Any, *, overwrite: str) -> None:
    """Adds the options of a recipe, and those about files."""
    options.add_recipe_options(command, common)
    files = command.add_argument_group("files")
    options.add_overwrite(files, overwrite)
    options.add_background(files)
