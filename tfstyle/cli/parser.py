"""The argument parser of the `tfstyle` command: every subcommand with its options and its help.

Options that are fields of a recipe are read from its dataclasses. Nothing here loads TensorFlow, NumPy or Pillow, so
that `--help` and usage errors are immediate.
"""

from __future__ import annotations

import argparse
from typing import Any

import tfstyle
from tfstyle.cli import options
from tfstyle.cli.explore_parser import add_export, add_features, add_recipes, add_regions
from tfstyle.cli.many_parser import add_batch, add_sweep, add_variations
from tfstyle.cli.train_parser import add_train
from tfstyle.feedforward.options import Options
from tfstyle.fields import option_fields
from tfstyle.recipes.recipe import OPTIONS

EXIT_CODES = """\
exit codes:
  0    done
  1    installation or internal error; or standard output was closed by its
       reader (no message)
  2    usage error
  3    a picture cannot be used
  4    a result or standard output cannot be written
  5    the loss diverged
  6    not enough memory
  7    network weights cannot be used
  8    some pictures of a batch failed
  9    another machine of the run no longer answers
  129  stopped by SIGHUP, as when a terminal is closed
  130  stopped by Ctrl-C
  143  stopped by SIGTERM"""
"""The epilog of `tfstyle --help`."""


def make_parser() -> options.Parser:
    """Makes the parser of the `tfstyle` command.

    Options of a recipe or of a training run have no default here: only typed options are in the result.
    """
    parser = options.Parser(
        prog="tfstyle",
        usage="tfstyle COMMAND ...",
        description=options.describe(
            "neural style transfer in TensorFlow and Keras: make a photograph look like a painting",
            ["tfstyle stylize photo.jpg painting.jpg"],
        ),
        epilog=EXIT_CODES,
        formatter_class=options.formatter,
    )
    parser.add_argument("--version", action="version", version=f"tfstyle {tfstyle.__version__}")
    commands = parser.add_subparsers(
        title="commands",
        description="help on each command: tfstyle COMMAND --help",
        dest="command",
        required=True,
        metavar="COMMAND",
        prog="tfstyle",
    )
    for add in (
        _add_stylize,
        _add_demo,
        add_recipes,
        _add_fast,
        add_batch,
        add_sweep,
        add_variations,
        _add_enlarge,
        _add_rerun,
        _add_compare,
        add_features,
        add_regions,
    ):
        add(commands)
    for add in (_add_app, add_train, add_export, _add_inspect, _add_doctor):
        add(commands)
    parser.commands = commands.choices
    return parser


def _add_stylize(commands: Any) -> None:
    stylize = options.add_command(
        commands,
        "stylize",
        "CONTENT STYLE [STYLE ...]",
        "tfstyle stylize photo.jpg painting.jpg",
        "tfstyle stylize photo.jpg night.jpg:weight=2 waves.jpg",
        "tfstyle stylize photo.jpg painting.jpg --size 1024 --style-weight 3 -o out.jpg",
        help="make a photograph look like a painting",
        run="stylize.run",
        epilog=options.EVENTS,
    )
    options.add_pictures(stylize)
    _add_run_options(stylize)


def _add_demo(commands: Any) -> None:
    demo = options.add_command(
        commands,
        "demo",
        "[CONTENT STYLE ...]",
        "tfstyle demo",
        "tfstyle demo --size 256 --recipe draft",
        help="run stylize on the built-in example pictures",
        run="stylize.run",
        epilog=options.EVENTS,
    )
    options.add_pictures(demo, notes=(" [built in: a castle]", " [built in: The Starry Night]"))
    _add_run_options(demo)


def _add_run_options(command: argparse.ArgumentParser) -> None:
    """Adds the options of stylize and demo."""
    common = command.add_argument_group("common options")
    options.add_output(common, "FILE", "the result, or a folder for it [CONTENT.STYLE.png beside CONTENT]")
    options.add_recipe_options(command, common)
    options.add_masks(command)
    files = command.add_argument_group("files")
    options.add_overwrite(files, "replace existing files")
    options.add_quality(files)
    options.add_background(files)
    files.add_argument("--keep-alpha", action="store_true", help="give the result the transparency of CONTENT")
    options.add_checkpoints(command)
    options.add_memory(command)
    record = command.add_argument_group("record of the run")
    help = "all that is needed to make the result again, as .json; a PNG holds it as well"
    record.add_argument("--record", metavar="FILE", help=help)
    record.add_argument("--save-every", type=int, metavar="N", help="save the image every N steps, beside the result")
    record.add_argument("--history", metavar="FILE", help="all losses of all steps, as .csv or .json")
    record.add_argument(
        "--plot-losses", metavar="FILE", help="curves of the losses, as .png, .jpg, .webp, .svg or .pdf"
    )
    record.add_argument(
        "--strip", metavar="FILE", help="contact sheet: eight images in one row, or one every --save-every steps"
    )
    record.add_argument("--gif", metavar="FILE", help="animation of the run, as .gif")
    record.add_argument("--tensorboard", metavar="DIR", help="event files for TensorBoard")
    options.add_messages(command)


def _add_fast(commands: Any) -> None:
    fast = options.add_command(
        commands,
        "fast",
        "CONTENT [STYLE ...]",
        "tfstyle fast photo.jpg painting.jpg",
        "tfstyle fast photo.jpg --model starry-night",
        help="stylize in seconds, in one pass of a network",
        run="fast.run",
        epilog=options.EVENTS,
    )
    pictures = fast.add_argument_group("pictures")
    pictures.add_argument("content", metavar="CONTENT", help="the photograph to paint (content image)")
    help = """the painting whose style to apply (style image), or several, or a folder of them; each may end with
        :weight=2,scale=0.5,mask=sky.png; none for a --model of one style"""
    pictures.add_argument("styles", metavar="STYLE", nargs="*", help=help)
    common = fast.add_argument_group("common options")
    options.add_output(common, "FILE", "the result, or a folder for it [CONTENT.STYLE.png beside CONTENT]")
    help = "the network: starry-night, or a .keras file from tfstyle train [AdaIN, for any style]"
    common.add_argument("--model", metavar="NAME", help=help)
    common.add_argument("--size", type=int, default=0, metavar="N", help="long side in pixels [that of CONTENT]")
    options.add_fields(common, [OPTIONS["color"], OPTIONS["color_strength"]], defaults=True)
    options.add_masks(fast)
    files = fast.add_argument_group("files")
    options.add_overwrite(files, "replace existing files")
    options.add_quality(files)
    options.add_background(files)
    network = fast.add_argument_group("network")
    options.add_fields(network, option_fields(Options), elsewhere={"strength": common}, defaults=True)
    help = "seed of the random style of a network from tfstyle train gan [0]"
    network.add_argument("--seed", type=int, metavar="N", help=help)
    options.add_messages(fast)


def _add_enlarge(commands: Any) -> None:
    enlarge = options.add_command(
        commands,
        "enlarge",
        "PICTURE PAINTING",
        "tfstyle enlarge photo.painting.png painting.jpg --size 4096",
        help="enlarge a result for print, with bristles and canvas from the painting",
        run="fast.enlarge",
        epilog=options.EVENTS,
    )
    pictures = enlarge.add_argument_group("pictures")
    pictures.add_argument("picture", metavar="PICTURE", help="a result of stylize or fast")
    pictures.add_argument("painting", metavar="PAINTING", help="a scan of the painting, larger than PICTURE needed it")
    common = enlarge.add_argument_group("common options")
    options.add_output(common, "FILE", "the result, or a folder for it [PICTURE.large.png]")
    help = "long side in pixels [as large as PAINTING has detail for, at most 4 times PICTURE]"
    common.add_argument("--size", type=int, default=0, metavar="N", help=help)
    help = "--style-scale of the run [as PICTURE records it, or 1]"
    common.add_argument("--style-scale", type=float, metavar="X", help=help)
    files = enlarge.add_argument_group("files")
    options.add_overwrite(files, "replace an existing file")
    options.add_quality(files)
    options.add_background(files)
    options.add_messages(enlarge)


def _add_rerun(commands: Any) -> None:
    rerun = options.add_command(
        commands,
        "rerun",
        "FILE [CONTENT STYLE ...]",
        "tfstyle rerun photo.painting.png",
        help="make a result again from the record in its file",
        run="stylize.rerun",
        epilog=options.EVENTS,
    )
    pictures = rerun.add_argument_group("pictures")
    pictures.add_argument("file", metavar="FILE", help="a PNG file of stylize, or a --record file")
    pictures.add_argument("content", metavar="CONTENT", nargs="?", help="the photograph [the file of its name]")
    help = "the painting, or all of them [the files of their names]"
    pictures.add_argument("styles", metavar="STYLE", nargs="*", help=help)
    common = rerun.add_argument_group("common options")
    options.add_output(common, "FILE", "the result, or a folder for it [FILE.rerun.png]")
    options.add_overwrite(rerun.add_argument_group("files"), "replace an existing file")
    options.add_messages(rerun)


def _add_compare(commands: Any) -> None:
    compare = options.add_command(
        commands,
        "compare",
        "CONTENT STYLE RESULT [RESULT ...]",
        "tfstyle compare photo.jpg painting.jpg a.png b.png",
        help="measure how close results are to the content and style images",
        run="reports.compare",
    )
    pictures = compare.add_argument_group("pictures")
    pictures.add_argument("content", metavar="CONTENT", help="the photograph (content image)")
    pictures.add_argument("style", metavar="STYLE", help="the painting (style image)")
    pictures.add_argument("results", metavar="RESULT", nargs="+", help="pictures made from these two, by any program")
    options.add_background(compare.add_argument_group("files"))
    options.add_messages(compare)


def _add_app(commands: Any) -> None:
    app = options.add_command(
        commands,
        "app",
        "",
        "tfstyle app",
        "tfstyle app --host 0.0.0.0 --token SECRET --no-browser",
        help="paint in a web browser, or serve a JSON API",
        run="app.run",
    )
    network = app.add_argument_group("network")
    help = "the address to listen at; another than 127.0.0.1 lets other machines in [127.0.0.1]"
    network.add_argument("--host", default="127.0.0.1", help=help)
    network.add_argument("--port", type=int, default=7860, metavar="N", help="the port; 0 takes a free one [7860]")
    help = "what clients need to know [nothing on this machine; for other machines a random word]"
    network.add_argument("--token", metavar="WORD", help=help)
    network.add_argument("--no-browser", dest="browser", action="store_false", help="do not open the page")
    pictures = app.add_argument_group("pictures")
    help = "the folder that keeps pictures and unfinished runs [tfstyle-app]"
    pictures.add_argument("-o", "--output", default="tfstyle-app", metavar="DIR", help=help)
    pictures.add_argument("--gallery", metavar="DIR", help="a folder of paintings to offer, beside the built-in ones")
    help = "largest long side of a result in pixels [2048]"
    pictures.add_argument("--max-size", type=int, default=2048, metavar="N", help=help)
    help = "the pictures of a job together, such as 64MB [64MB]"
    pictures.add_argument("--max-upload", default="64MB", metavar="SIZE", help=help)
    options.add_memory(app)
    options.add_messages(app)


def _add_inspect(commands: Any) -> None:
    help = "show how a picture file is read, and what is converted"
    inspect = options.add_command(
        commands, "inspect", "FILE", "tfstyle inspect photo.heic", help=help, run="reports.inspect"
    )
    files = inspect.add_argument_group("files")
    files.add_argument("file", metavar="FILE", help="a picture")
    options.add_background(files)
    options.add_messages(inspect)


def _add_doctor(commands: Any) -> None:
    help = "check the installation: versions, devices, extras, weights"
    doctor = options.add_command(commands, "doctor", "", "tfstyle doctor", help=help, run="reports.doctor")
    options.add_messages(doctor)
