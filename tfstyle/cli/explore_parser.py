"""The commands `recipes`, `features`, `regions` and `export`, with their options and their help.

Nothing here loads TensorFlow.
"""

from __future__ import annotations

from typing import Any

from tfstyle import serving
from tfstyle.cli import options
from tfstyle.recipes.recipe import OPTIONS


def add_recipes(commands: Any) -> None:
    """Adds `recipes`."""
    recipes = options.add_command(
        commands,
        "recipes",
        "[NAME]",
        "tfstyle recipes",
        "tfstyle recipes balanced",
        help="list the recipes, or show all values of one",
        run="explore.recipes",
    )
    recipe = recipes.add_argument_group("recipe")
    recipe.add_argument("name", metavar="NAME", nargs="?", help="a recipe, to show all its values")
    options.add_messages(recipes)


def add_features(commands: Any) -> None:
    """Adds `features`."""
    features = options.add_command(
        commands,
        "features",
        "IMAGE",
        "tfstyle features photo.jpg",
        "tfstyle features photo.jpg --layers block1_conv1,block4_conv2 -o seen",
        help="save pictures of a network's feature maps, layer by layer",
        run="explore.features",
        epilog=options.EVENTS,
    )
    features.add_argument_group("pictures").add_argument("image", metavar="IMAGE", help="a picture")
    common = features.add_argument_group("common options")
    options.add_output(common, "DIR", "the folder of the results [IMAGE-features]")
    common.add_argument("--layers", metavar="A,B", help="layers by their Keras names [the five style layers]")
    common.add_argument("--size", type=int, default=512, metavar="N", help="maximum long side in pixels [512]")
    network = features.add_argument_group("network")
    help = "activations after (post) or before (pre) the ReLU [post]"
    network.add_argument("--activation", choices=("post", "pre"), default="post", help=help)
    options.add_fields(network, [OPTIONS["weights"]], defaults=True)
    options.add_overwrite(features.add_argument_group("files"), "write into a folder that is not empty")
    options.add_messages(features)


def add_regions(commands: Any) -> None:
    """Adds `regions`."""
    regions = options.add_command(
        commands,
        "regions",
        "CONTENT STYLE",
        "tfstyle regions photo.jpg painting.jpg",
        help="show which parts of photograph and painting belong together",
        run="explore.regions",
        epilog=options.EVENTS,
    )
    pictures = regions.add_argument_group("pictures")
    pictures.add_argument("content", metavar="CONTENT", help="the photograph (content image)")
    pictures.add_argument("styles", metavar="STYLE", nargs=1, help="the painting (style image)")
    common = regions.add_argument_group("common options")
    options.add_output(common, "FILE", "the result [CONTENT.STYLE.regions.png]")
    common.add_argument("--regions", type=int, default=3, metavar="N", help="number of regions, 2 to 8 [3]")
    help = "also write each region as a mask, to be edited and given to stylize as STYLE:mask=FILE"
    common.add_argument("--masks", metavar="DIR", help=help)
    files = regions.add_argument_group("files")
    options.add_overwrite(files, "replace an existing file")
    options.add_background(files)
    options.add_messages(regions)


def add_export(commands: Any) -> None:
    """Adds `export`."""
    export = options.add_command(
        commands,
        "export",
        "WHAT -o DIR",
        "tfstyle export starry-night -o served",
        "tfstyle export extractor -o extractor --format onnx",
        help="save a network for other programs: SavedModel, ONNX or LiteRT",
        run="explore.export",
    )
    network = export.add_argument_group("network")
    network.add_argument("what", metavar="WHAT", help="extractor, starry-night, or a .keras file from tfstyle train")
    common = export.add_argument_group("common options")
    common.add_argument("directory", metavar="DIR", nargs="?", help="the folder to make; or -o DIR")
    options.add_output(common, "DIR", "the folder to make")
    default = serving.FORMATS[0]
    common.add_argument("--format", choices=serving.FORMATS, default=default, help=f"the format [{default}]")
    options.add_overwrite(common, "replace an existing folder")
    extractor = export.add_argument_group("extractor", "only if WHAT is extractor")
    extractor.add_argument("--style-layers", metavar="A,B", help="layers of the style loss [the five style layers]")
    extractor.add_argument("--content-layers", metavar="A,B", help="layers of the content loss [block4_conv2]")
    options.add_fields(extractor, [OPTIONS["weights"], OPTIONS["pooling"]], defaults=True)
    options.add_messages(export, json=False)
