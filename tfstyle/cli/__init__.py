"""Words on a command line → one of the functions below; the only place that prints, exits, or catches everything.

Exit codes: 0 done, 1 the installation or a fault of tfstyle's own, 2 usage, 3 a picture cannot be used, 4 a result
cannot be written, 5 the loss diverged, 6 not enough memory, 7 network weights cannot be used, 130 interrupted.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from tfstyle.cli.parser import parse, recipe_and_training_options
from tfstyle.errors import Interrupted, MemoryLimitError, TfstyleError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after the program's name; `sys.argv` if None.

    Returns:
        The exit code; usage errors and `--help` exit by themselves, as argparse does.
    """
    options = parse(arguments)
    _set_up_logging(options)
    try:
        _run(options)
    except Interrupted as error:
        print(f"interrupted; {with_options(str(error), options)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Who read our output has gone; so do we.
        return 1
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        print(f"tfstyle: error: {with_options(_one_line(error), options)}", file=sys.stderr)
        return _exit_code(error)
    return 0


_COMMANDS = {
    "stylize": ("stylize", "run"),
    "demo": ("stylize", "run"),
    "fast": ("fast", "run"),
    "train": ("train", "run"),
    "inspect": ("reports", "inspect"),
    "doctor": ("reports", "doctor"),
    "recipes": ("explore", "recipes"),
    "features": ("explore", "features"),
    "sweep": ("explore", "sweep"),
    "export": ("explore", "export"),
    "compare": ("reports", "compare"),
}
"""Command → module and function, loaded when it is called."""


def _run(options: Any) -> None:
    module, function = _COMMANDS[options.command]
    getattr(importlib.import_module(f"tfstyle.cli.{module}"), function)(options)


def _set_up_logging(options: Any) -> None:
    """Sends tfstyle's own notes to standard error, and no one else's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(options))
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Its remarks on odd metadata.
    logger = logging.getLogger("tfstyle")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING)


class _Formatter(logging.Formatter):
    """Formats a note as one line that names options of the command line."""

    def __init__(self, options: Any) -> None:
        super().__init__("tfstyle: %(message)s")
        self._options = options

    def format(self, record: logging.LogRecord) -> str:
        """Formats a note."""
        return with_options(super().format(record), self._options)


def with_options(text: str, options: Any) -> str:
    """Replaces the arguments that a message names in backquotes by options: `keep_alpha` by --keep-alpha.

    A name that is no option of the command stays as it is, without its quotes.
    """
    known = set(vars(options)) | recipe_and_training_options()

    def option(match: re.Match[str]) -> str:
        name = match[1]
        if name == "output":
            return "-o"
        return f"--{name.replace('_', '-')}" if name in known else name

    return re.sub(r"`(\w+)`", option, text)


def _exit_code(error: Exception) -> int:
    if isinstance(error, TfstyleError):
        return error.exit_code
    if isinstance(error, MemoryError):
        return MemoryLimitError.exit_code
    return 1


def _one_line(error: Exception) -> str:
    """The message of an expected error; for a fault of our own, where to look for more."""
    text = " ".join(str(error).split())
    if isinstance(error, TfstyleError):
        return text
    if isinstance(error, MemoryError):
        return "memory ran out; choose a smaller --size."
    return f"{type(error).__name__}: {text} (this is a fault of tfstyle; --debug shows where)"
