"""Parses a command line; a usage error becomes one line, with a hint at what was meant."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence

from tfstyle.cli import events, streams
from tfstyle.cli.parser import make_parser
from tfstyle.errors import UsageError, unknown_name


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments of a command line.

    Args:
        arguments: the words after the program's name; `sys.argv[1:]` if None.

    Returns:
        The options of the command, its parser as `parser` and its handler as `run`.

    Raises:
        SystemExit: after `--help` and `--version`, and with exit code 2 after a usage error has been printed.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _parse(words)
    except UsageError as error:
        streams.print_error(str(error))
        if "--json" in words:
            events.error(error.exit_code, str(error))
        raise SystemExit(error.exit_code) from None


def _parse(words: list[str]) -> argparse.Namespace:
    parser = make_parser()
    if words and not words[0].startswith("-") and words[0] not in parser.commands:
        parser.error(_not_a_command(words, parser.commands))
    options, rest = parser.parse_known_args(words)
    if options.command in ("fast", "stylize", "sweep", "variations") and not any(word.startswith("-") for word in rest):
        options.styles, rest = [*options.styles, *rest], []  # Style images after an option are left over.
    if rest:
        option = next((word.partition("=")[0] for word in rest if word.startswith("--")), "")
        near = difflib.get_close_matches(option, _option_strings(options), n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else ""
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return options


def _not_a_command(words: list[str], commands: Iterable[str]) -> str:
    """Returns the message for a first word that is not a command; it may be a picture typed without a command."""
    if "." in words[0] or os.path.exists(words[0]):
        return f"{words[0]} is not a command; did you mean tfstyle stylize {shlex.join(words)}?"
    return unknown_name("command", words[0], commands)


def _option_strings(options: argparse.Namespace) -> list[str]:
    """Returns the long options of the command that was given."""
    return [word for word in options.parser._option_string_actions if word.startswith("--")]


def with_options(text: str, options: argparse.Namespace) -> str:
    """Replaces the arguments that a message names in backquotes by options: `keep_alpha` by --keep-alpha.

    A name that is not an option of the command loses only its backquotes.
    """
    known = _option_strings(options)

    def option(match: re.Match[str]) -> str:
        word = f"--{match[1].replace('_', '-')}"
        if word not in known:
            return match[1]
        return "-o" if word == "--output" else word

    return re.sub(r"`(\w+)`", option, text)
