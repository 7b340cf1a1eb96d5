"""Words → options: the argument parser, its recipe options read from the fields of `Recipe`."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import tfstyle
from tfstyle.cli import events, streams
from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import option_fields
from tfstyle.recipes.catalog import RECIPES
from tfstyle.recipes.parts import STARTS
from tfstyle.recipes.recipe import OPTIONS
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions

EXIT_CODES = (
    "exit codes: 0 done, 1 installation or internal fault, or standard output closed by its reader (no message), "
    "2 usage, 3 picture cannot be used, 4 result or output cannot be written, 5 loss diverged, 6 not enough memory, "
    "7 network weights, 130 interrupted"
)
_EVENTS = (
    "--json prints one JSON object a line, each with an event: start, then step (not for fast and features), result or "
    "skipped for each picture; a run that fails or is interrupted ends with error, its exit_code and message."
)

_METAVARS = {"init": f"{{{','.join(STARTS)},FILE}}", "weights": "{embedded,imagenet,FILE}"}
"""What stands for the value of an option that takes some words or a file."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are a `UsageError`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: error: {message} (see {self.prog} --help)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the words of a command line; on a usage error, prints it in one line and exits, as `--help` does."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _parse(words)
    except UsageError as error:
        streams.print_error(str(error))
        if "--json" in words:
            events.error(error.exit_code, str(error))
        raise SystemExit(error.exit_code) from None


def _parse(words: list[str]) -> argparse.Namespace:
    parser, commands = _make_parser()
    if words and not words[0].startswith("-") and words[0] not in commands:
        parser.error(_not_a_command(words, commands))
    options, rest = parser.parse_known_args(words)
    if options.command == "fast" and not options.styles and not any(word.startswith("-") for word in rest):
        options.styles, rest = rest, []  # Before Python 3.12.7 an optional STYLE behind an option is left over.
    if rest:
        option = next((word.partition("=")[0] for word in rest if word.startswith("--")), "")
        near = difflib.get_close_matches(option, _option_strings(options), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return options


def _not_a_command(words: list[str], commands: Iterable[str]) -> str:
    """Says what is wrong with the first word, which is no command: perhaps two pictures without one."""
    if "." in words[0] or os.path.exists(words[0]):
        return f"{words[0]} is not a command; did you mean tfstyle stylize {shlex.join(words)}?"
    return unknown_name("command", words[0], commands)


def _option_strings(options: argparse.Namespace) -> list[str]:
    """The long options of the command that was given."""
    return [word for word in options.parser._option_string_actions if word.startswith("--")]


def with_options(text: str, options: argparse.Namespace) -> str:
    """Replaces the arguments that a message names in backquotes by options: `keep_alpha` by --keep-alpha.

    A name that is no option of the command stays as it is, without its quotes.
    """
    known = _option_strings(options)

    def option(match: re.Match[str]) -> str:
        word = f"--{match[1].replace('_', '-')}"
        if word not in known:
            return match[1]
        return "-o" if word == "--output" else word

    return re.sub(r"`(\w+)`", option, text)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the `tfstyle` command.

    Recipe options have no default of their own: only what was typed is in the result, and overrides the recipe.
    """
    return _make_parser()[0]


def _make_parser() -> tuple[argparse.ArgumentParser, Iterable[str]]:
    """The parser, and the names of its commands."""
    description = "Neural style transfer in TensorFlow and Keras: make a photograph look like a painting."
    parser = _Parser(prog="tfstyle", description=description, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"tfstyle {tfstyle.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    stylize = _command(commands, "stylize", "make a photograph look like a painting", json=_EVENTS)
    _add_pictures(stylize)
    _add_recipe_options(stylize)
    _add_file_options(stylize)

    demo = _command(commands, "demo", "run stylize on the built-in example pictures, or your own", json=_EVENTS)
    demo.add_argument("content", metavar="CONTENT", nargs="?", help="the photograph [embedded: a castle]")
    demo.add_argument("style", metavar="STYLE", nargs="?", help="the painting [embedded: The Starry Night]")
    _add_recipe_options(demo)
    _add_file_options(demo)

    _add_fast(commands)
    recipes = _command(commands, "recipes", "list the recipes, or show the values of one", json="")
    recipes.add_argument("name", metavar="NAME", nargs="?", help="a recipe, to see all its values")
    _add_sweep(commands)
    _add_features(commands)
    _add_export(commands)
    _add_train(commands)

    compare = _command(commands, "compare", "measure pictures made by any program, in style and in content", json="")
    _add_pictures(compare)
    compare.add_argument("results", metavar="RESULT", nargs="+", help="pictures made of the two")
    compare.add_argument("--background", default="white", metavar="COLOR", help="behind transparent parts [white]")

    inspect = _command(commands, "inspect", "show how a picture file is read, and what was converted", json="")
    inspect.add_argument("file", metavar="FILE", help="a picture")
    inspect.add_argument("--background", default="white", help="color behind transparent parts [white]")

    _command(commands, "doctor", "show versions, devices, extras, and the network weights with their hashes", json="")
    return parser, commands.choices


def _add_fast(commands: Any) -> None:
    fast = _command(
        commands, "fast", "paint in one pass, a sketch in seconds: one photograph or a folder", json=_EVENTS
    )
    fast.add_argument("content", metavar="CONTENT", help="the photograph, or a folder of them")
    fast.add_argument("styles", metavar="STYLE", nargs="*", help="one painting or several; none for --model NAME")
    fast.add_argument("--model", metavar="NAME", help="starry-night, or a .keras file from tfstyle train [AdaIN]")
    fast.add_argument("--alpha", type=float, default=1.0, metavar="X", help="how much style, 0 to 1 [1]")
    fast.add_argument("--blend", metavar="A,B", help="weight of each painting [equal]")
    fast.add_argument("--seed", type=int, metavar="N", help="which painting a network from train gan invents [0]")
    fast.add_argument("--preserve-color", action="store_true", help="keep the photograph's colors")
    fast.add_argument("--size", type=int, default=0, metavar="N", help="long side in pixels [the photograph's own]")
    fast.add_argument(
        "--tile", type=int, default=1024, metavar="N", help="side of the pieces worked on, in pixels [1024]"
    )
    fast.add_argument(
        "-o", "--output", metavar="FILE", help="the result [CONTENT.STYLE.png], or the folder for a folder"
    )
    fast.add_argument("--overwrite", action="store_true", help="replace files that are there")
    fast.add_argument("--quality", type=int, default=95, metavar="Q", help="of JPEG, WebP and AVIF, 1 to 100 [95]")
    fast.add_argument("--background", default="white", metavar="COLOR", help="behind transparent parts [white]")


def _add_sweep(commands: Any) -> None:
    help = "paint one picture for each combination of some values, in a grid with curves"
    sweep = _command(commands, "sweep", help, json=_EVENTS)
    _add_pictures(sweep)
    sweep.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="FIELD=A,B",
        help="values of a recipe option, as style_weight=0.3,1,3; may be given several times",
    )
    _add_recipe_options(sweep)
    sweep.add_argument("--background", default="white", metavar="COLOR", help="behind transparent parts [white]")
    _add_folder(sweep, "the folder for the results [CONTENT.STYLE-sweep]")


def _add_features(commands: Any) -> None:
    features = _command(
        commands,
        "features",
        "save what the network sees: each layer's mean feature map and best channels",
        json=_EVENTS,
    )
    features.add_argument("image", metavar="IMAGE", help="a picture")
    features.add_argument("--layers", metavar="A,B", help="layers by their Keras names [the five style layers]")
    features.add_argument("--size", type=int, default=512, metavar="N", help="long side at most, in pixels [512]")
    features.add_argument(
        "--taps",
        choices=("relu", "conv"),
        default="relu",
        help="use activations after (relu) or before (conv) the ReLU [relu]",
    )
    features.add_argument(
        "--weights", metavar=_METAVARS["weights"], default="embedded", help="as for stylize [embedded]"
    )
    _add_folder(features, "the folder for the pictures [IMAGE-features]")


def _add_export(commands: Any) -> None:
    export = _command(commands, "export", "write a network that other programs load")
    export.add_argument("what", metavar="WHAT", help="extractor, starry-night, or a .keras file from tfstyle train")
    export.add_argument("directory", metavar="DIR", nargs="?", help="the folder to make; or -o DIR")
    export.add_argument("--style-layers", metavar="A,B", help="[the five style layers]")
    export.add_argument("--content-layers", metavar="A,B", help="[block4_conv2]")
    export.add_argument("--format", choices=("savedmodel", "onnx", "litert"), default="savedmodel", help="[savedmodel]")
    export.add_argument("--weights", metavar=_METAVARS["weights"], default="embedded", help="as for stylize [embedded]")
    export.add_argument("--pooling", choices=("max", "average"), default="max", help="pooling between blocks [max]")
    _add_folder(export, "the folder to make")


def _add_train(commands: Any) -> None:
    help = "train a network that paints in one pass"
    train = commands.add_parser("train", help=help, description=help[0].upper() + help[1:] + ".", epilog=EXIT_CODES)
    kinds = train.add_subparsers(dest="kind", required=True, metavar="KIND")
    fast = _command(kinds, "fast", "train a network that paints in the style of one painting", json=_EVENTS)
    fast.add_argument("style", metavar="STYLE", help="the painting")
    adain = _command(kinds, "adain", "train AdaIN's decoder, which paints in the style of any painting", json=_EVENTS)
    adain.add_argument("--styles", metavar="DIR", required=True, help="a folder of paintings")
    help = "train a generative adversarial network (GAN) on the styles of a folder of paintings"
    gan = _command(kinds, "gan", help, json=_EVENTS)
    gan.add_argument("--styles", metavar="DIR", required=True, help="a folder of paintings")
    for kind, numbers in ((fast, FastOptions), (adain, AdaINOptions), (gan, GANOptions)):
        _add_training(kind, numbers)
    for kind in (fast, adain):
        kind.add_argument(
            "--mirrored", action="store_true", help="data-parallel training on all devices (MirroredStrategy)"
        )


def _add_training(command: argparse.ArgumentParser, numbers: type) -> None:
    """What every training has: photographs, a folder, and the hyperparameters, which are fields of a dataclass."""
    command.add_argument("--photos", metavar="DIR", required=True, help="a folder of photographs to learn from")
    command.add_argument("--samples", metavar="DIR", help="photographs of the sample sheets [the embedded ones]")
    command.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="the folder for the network, its checkpoint (state.npz), losses and sample sheets",
    )
    command.add_argument("--resume", action="store_true", help="continue the training in the folder")
    command.add_argument("--overwrite", action="store_true", help="discard the training in the folder and start again")
    _add_fields(command.add_argument_group("training", "hyperparameters"), option_fields(numbers), defaults=True)


def _add_pictures(command: argparse.ArgumentParser) -> None:
    command.add_argument("content", metavar="CONTENT", help="the photograph")
    command.add_argument("style", metavar="STYLE", help="the painting")


def _add_folder(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("-o", "--output", metavar="DIR", help=help)
    command.add_argument("--overwrite", action="store_true", help="use a folder that is there")


def _command(commands: Any, name: str, help: str, *, json: str | None = None) -> argparse.ArgumentParser:
    """A sub-command with the options that all have, and --json where there is a text about it, even an empty one."""
    command = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"{EXIT_CODES}. {json}" if json else EXIT_CODES,
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    messages = command.add_argument_group("messages")
    messages.add_argument("-q", "--quiet", action="store_true", help="errors only")
    messages.add_argument("-v", "--verbose", action="store_true", help="show what was converted as well")
    messages.add_argument("--debug", action="store_true", help="show tracebacks and TensorFlow's own messages")
    if json is not None:
        messages.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return command


def _add_recipe_options(command: argparse.ArgumentParser) -> None:
    """The recipe's name, and an option for each field that is one."""
    recipe = command.add_argument_group("recipe", "each option replaces one number of the recipe")
    recipe.add_argument("--recipe", metavar="NAME", default="default", help=f"one of {', '.join(RECIPES)} [balanced]")
    _add_fields(recipe, OPTIONS.values())


def _add_fields(group: Any, fields: Iterable[dataclasses.Field], *, defaults: bool = False) -> None:
    """An option for each field; what is not typed is not in the result."""
    for item in fields:
        kind, choices = item.metadata["kind"], item.metadata["choices"]
        group.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            choices=choices or None,
            metavar=None if choices else _METAVARS.get(item.name) or {int: "N", float: "X", str: "WORD"}[kind],
            default=argparse.SUPPRESS,
            help=item.metadata["help"] + (f" [{item.default:{'' if kind is str else 'g'}}]" if defaults else ""),
        )


def _add_file_options(command: argparse.ArgumentParser) -> None:
    """Where the result goes, and what else is written about the run."""
    files = command.add_argument_group("files")
    files.add_argument("-o", "--output", metavar="FILE", help="the result [CONTENT.STYLE.png beside CONTENT]")
    files.add_argument("--overwrite", action="store_true", help="replace files that are there")
    files.add_argument("--quality", type=int, default=95, metavar="Q", help="of JPEG, WebP and AVIF, 1 to 100 [95]")
    files.add_argument("--background", default="white", metavar="COLOR", help="behind transparent parts [white]")
    files.add_argument("--keep-alpha", action="store_true", help="give the result the photograph's alpha")
    run = command.add_argument_group("what the run shows")
    run.add_argument("--save-every", type=int, metavar="N", help="save the image every N steps beside the result")
    run.add_argument("--history", metavar="FILE", help="every loss of every step, as .csv or .json")
    run.add_argument("--plot-losses", metavar="FILE", help="style and content curves, as .png, .svg or .pdf")
    run.add_argument(
        "--strip", metavar="FILE", help="eight images from the run in one row, or one every --save-every steps"
    )
    run.add_argument("--gif", metavar="FILE", help="the evolution of the image, animated")
    run.add_argument("--tensorboard", metavar="DIR", help="event files for TensorBoard")
