"""Words → options: the argument parser, its recipe options read from the fields of `Recipe`."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

import tfstyle
from tfstyle.recipe import option_fields
from tfstyle.recipes import RECIPES

_EXIT_CODES = (
    "exit codes: 0 done, 1 installation or internal fault, 2 usage, 3 picture cannot be used, 4 result cannot be "
    "written, 5 loss diverged, 6 not enough memory, 7 network weights, 130 interrupted"
)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the `tfstyle` command.

    Recipe options have no default of their own: only what was typed is in the result, and overrides the recipe.
    """
    parser = _Parser(prog="tfstyle", description=tfstyle.__doc__.splitlines()[0], epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"tfstyle {tfstyle.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    stylize = _command(commands, "stylize", "paint a photograph in the manner of a painting")
    stylize.add_argument("content", metavar="CONTENT", help="the photograph")
    stylize.add_argument("style", metavar="STYLE", help="the painting")
    _add_run_options(stylize)

    demo = _command(commands, "demo", "the same with the embedded pictures, or with your own two")
    demo.add_argument("content", metavar="CONTENT", nargs="?", help="the photograph [embedded: a castle]")
    demo.add_argument("style", metavar="STYLE", nargs="?", help="the painting [embedded: The Starry Night]")
    _add_run_options(demo)

    inspect = _command(commands, "inspect", "say how a picture file is read, and what was converted")
    inspect.add_argument("file", metavar="FILE", help="a picture")
    inspect.add_argument("--background", default="white", help="colour behind transparent parts [white]")

    _command(commands, "doctor", "show versions, devices, and the network weights with their hashes")
    return parser


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    """A sub-command with the options that all have."""
    command = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", epilog=_EXIT_CODES, allow_abbrev=False
    )
    speech = command.add_argument_group("speech")
    speech.add_argument("-q", "--quiet", action="store_true", help="errors only")
    speech.add_argument("-v", "--verbose", action="store_true", help="say what was converted")
    speech.add_argument("--debug", action="store_true", help="show tracebacks and TensorFlow's own messages")
    return command


def _add_run_options(command: argparse.ArgumentParser) -> None:
    """Options of the picture, of the recipe, and of the files."""
    recipe = command.add_argument_group("recipe", "each option replaces one number of the recipe")
    recipe.add_argument("--recipe", metavar="NAME", default="default", help=f"one of {', '.join(RECIPES)} [default]")
    for item in option_fields():
        kind, choices = item.metadata["kind"], item.metadata["choices"]
        recipe.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            choices=choices or None,
            metavar=None if choices else {int: "N", float: "X", str: "WORD"}[kind],
            default=argparse.SUPPRESS,
            help=item.metadata["help"],
        )
    files = command.add_argument_group("files")
    files.add_argument("-o", "--output", metavar="FILE", help="the result [CONTENT.STYLE.png beside CONTENT]")
    files.add_argument("--overwrite", action="store_true", help="replace a result that is there")
    files.add_argument("--save-every", type=int, metavar="N", help="save the image every N steps beside the result")
    files.add_argument("--quality", type=int, default=95, metavar="Q", help="of JPEG, WebP and AVIF, 1 to 100 [95]")
    files.add_argument("--background", default="white", metavar="COLOR", help="behind transparent parts [white]")
    files.add_argument("--keep-alpha", action="store_true", help="give the result the photograph's alpha")
    files.add_argument("--json", action="store_true", help="print one JSON object a step, and one at the end")
