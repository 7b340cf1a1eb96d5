"""Options and help texts that several commands share, each defined once."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from tfstyle.errors import UsageError
from tfstyle.recipes.parts import STARTS
from tfstyle.recipes.recipe import OPTIONS

_METAVARS = MappingProxyType({"init": f"{{{','.join(STARTS)},FILE}}", "weights": "{embedded,imagenet,FILE}"})
"""Field → metavar, for options that take certain words or a file."""

_COMMON_FIELDS = ("size", "steps", "style_weight", "style_scale")
"""Fields of a recipe among the common options."""

_NETWORK_FIELDS = ("weights", "pooling", "precision", "flip_kernels", "input_scale")
"""Fields of a recipe that are about the network."""

EVENTS = """\
--json prints one JSON object per line, each with an "event": start, then step
(not in fast and features), and result or skipped for each picture. A run that
fails or is interrupted ends with error, which has exit_code and message.

"""
"""About --json, for the commands that print events."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are a `UsageError`.

    Attributes:
        commands: names of its commands, in the order of the help.
    """

    commands: Collection[str] = ()

    def error(self, message: str) -> NoReturn:
        """Raises a one-line UsageError."""
        raise UsageError(f"{self.prog}: error: {message} (see {self.prog} --help)")


def formatter(prog: str) -> argparse.HelpFormatter:
    """Makes a help formatter that keeps the line breaks of descriptions and epilogs."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)


def describe(help: str, examples: Sequence[str]) -> str:
    """Returns the beginning of a help text: what the command does, and examples."""
    lines = [f"example{'s' if len(examples) > 1 else ''}:", *(f"  {example}" for example in examples)]
    return f"{help[0].upper()}{help[1:]}.\n\n" + "\n".join(lines)


def add_command(
    commands: Any, name: str, arguments: str, *examples: str, help: str, run: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """Adds a command without any options.

    Args:
        commands: the object that `add_subparsers` returned.
        name: its name.
        arguments: what follows the name in the usage line.
        *examples: whole command lines.
        help: what it does, as a phrase.
        run: module and function in `tfstyle.cli` that run it, as "stylize.run"; loaded only when the command runs.
        epilog: lines for the end of its help.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        usage=f"%(prog)s {arguments} [options]" if arguments else "%(prog)s [options]",
        help=help,
        description=describe(help, examples),
        epilog=f"{epilog}exit codes: see tfstyle --help",
        formatter_class=formatter,
        allow_abbrev=False,
        add_help=False,
    )
    command.set_defaults(parser=command, run=run)
    return command


def add_checkpoints(command: argparse.ArgumentParser) -> None:
    """Adds the options about checkpoints, for runs that may take long."""
    group = command.add_argument_group("checkpoints")
    group.add_argument("--checkpoint", metavar="DIR", help="folder for checkpoints, from which the run can go on")
    help = "save a checkpoint every N steps [every 30 seconds]"
    group.add_argument("--checkpoint-every", type=int, metavar="N", help=help)
    group.add_argument("--resume", metavar="DIR", help="go on with the run whose checkpoints are in DIR")


def add_memory(command: argparse.ArgumentParser) -> None:
    """Adds the option about memory."""
    help = "memory to take at most, such as 4GB; what needs more is computed in tiles [what is free]"
    command.add_argument_group("machine").add_argument("--memory", metavar="SIZE", help=help)


def add_masks(command: argparse.ArgumentParser) -> None:
    """Adds the options about masks."""
    group = command.add_argument_group("masks")
    help = "a mask of what stays as in CONTENT: white, or opaque, parts; or a ramp such as left; or the word faces"
    group.add_argument("--protect", metavar="FILE", help=help)
    help = "how softly masks end: standard deviation of a blur, as a fraction of the long side [0.01]"
    group.add_argument("--feather", type=float, default=0.01, metavar="X", help=help)


def add_messages(command: argparse.ArgumentParser, *, json: bool = True) -> None:
    """Adds the options of every command about its messages; the last group of its help."""
    messages = command.add_argument_group("messages")
    messages.add_argument("-h", "--help", action="help", help="show this help and exit")
    messages.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    messages.add_argument("-v", "--verbose", action="store_true", help="also print what was converted")
    messages.add_argument(
        "--debug", action="store_true", help="print tracebacks, and what TensorFlow prints on loading"
    )
    if json:
        messages.add_argument("--json", action="store_true", help="print JSON, one object per line")


def add_pictures(command: argparse.ArgumentParser, *, notes: tuple[str, str] | None = None) -> None:
    """Adds the content image and the style images as arguments; notes at the end of their help make them optional."""
    pictures = command.add_argument_group("pictures")
    of_content, of_styles = notes or ("", "")
    help = f"the photograph to paint (content image){of_content}"
    pictures.add_argument("content", metavar="CONTENT", nargs="?" if notes else None, help=help)
    help = f"""the painting whose style to apply (style image), or several, or a folder of them; each may end with
        :weight=2,scale=0.5,mask=sky.png,layers=block1+block2: weight beside the others, size of its strokes, where in
        CONTENT it counts (a picture, or left, right, top or bottom), at which layers{of_styles}"""
    pictures.add_argument("styles", metavar="STYLE", nargs="*" if notes else "+", help=help)


def add_output(group: Any, metavar: str, help: str, *, required: bool = False) -> None:
    """Adds the option for the path of the result."""
    group.add_argument("-o", "--output", metavar=metavar, required=required, help=help)


def add_overwrite(group: Any, help: str) -> None:
    """Adds the option that permits overwriting."""
    group.add_argument("--overwrite", action="store_true", help=help)


def add_quality(group: Any) -> None:
    """Adds the option for the quality of lossy formats."""
    group.add_argument(
        "--quality", type=int, default=95, metavar="Q", help="quality of JPEG, WebP and AVIF, 1 to 100 [95]"
    )


def add_background(group: Any) -> None:
    """Adds the option for the color behind transparent parts."""
    group.add_argument(
        "--background", default="white", metavar="COLOR", help="color behind transparent parts of a picture [white]"
    )


def add_recipe_options(command: argparse.ArgumentParser, common: Any) -> None:
    """Adds the option for the recipe's name, and one for each field that is an option, in the groups of the help."""
    help = "balanced, draft (faster), best (slower), or another that tfstyle recipes lists [balanced]"
    common.add_argument("--recipe", metavar="NAME", default="default", help=help)
    recipe = command.add_argument_group("recipe", "each option, here and above, replaces one value of the recipe")
    network = command.add_argument_group("network")
    elsewhere = dict.fromkeys(_COMMON_FIELDS, common) | dict.fromkeys(_NETWORK_FIELDS, network)
    add_fields(recipe, OPTIONS.values(), elsewhere=elsewhere)


def add_fields(
    group: Any,
    fields: Iterable[dataclasses.Field],
    *,
    elsewhere: Mapping[str, Any] = MappingProxyType({}),
    shown: bool = False,
    defaults: bool = False,
) -> None:
    """Adds an option for each field; options that are not typed are missing from the result.

    Args:
        group: where they are added.
        fields: made by `fields.option`.
        elsewhere: field → another group for it.
        shown: show the defaults in the help.
        defaults: show the defaults, and put them into the result where nothing is typed.
    """
    for item in fields:
        kind, choices = item.metadata["kind"], item.metadata["choices"]
        elsewhere.get(item.name, group).add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            choices=choices or None,
            metavar=None if choices else _METAVARS.get(item.name) or {int: "N", float: "X", str: "WORD"}[kind],
            default=item.default if defaults else argparse.SUPPRESS,
            help=item.metadata["help"]
            + (f" [{item.default:{'' if kind is str else 'g'}}]" if shown or defaults else ""),
        )
