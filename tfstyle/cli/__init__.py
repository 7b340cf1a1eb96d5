"""The command line: the only package that prints, exits, or catches every exception.

Exit codes are listed in `parser.EXIT_CODES`, the events of --json in `events`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from tfstyle.cli import events, streams
from tfstyle.cli.command_line import parse, with_options
from tfstyle.cli.stops import interrupt_on_signals
from tfstyle.errors import as_tfstyle_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after the program's name; `sys.argv[1:]` if None.

    Returns:
        The exit code.

    Raises:
        SystemExit: on a usage error and after `--help` and `--version`, as argparse does.
    """
    streams.prepare()
    atexit.register(gc.freeze)  # Searching TensorFlow for garbage when the interpreter exits would take a second.
    options = parse(arguments)
    _set_up_logging(options)
    with interrupt_on_signals() as stops:
        try:
            _run(options)
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            streams.drop_output()
            return _report_stop(error, options, exit_code=128 + stops.signal)
        except Exception as error:
            streams.drop_output()
            return _report(error, options)
    return 0


def _run(options: Any) -> None:
    """Loads and calls the handler of the command, as named by the parser."""
    module, function = options.run.split(".")
    getattr(importlib.import_module(f"tfstyle.cli.{module}"), function)(options)


def _set_up_logging(options: Any) -> None:
    """Sends the log of tfstyle, and of no other package, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(options))
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow warns about unusual metadata.
    logger = logging.getLogger("tfstyle")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING)


class _Formatter(logging.Formatter):
    """Formats a log record as one line; names of arguments become options."""

    def __init__(self, options: Any) -> None:
        super().__init__("tfstyle: %(message)s")
        self._options = options

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record."""
        return with_options(super().format(record), self._options)


def _report_stop(error: KeyboardInterrupt, options: Any, *, exit_code: int) -> int:
    """Prints one line about a command that a signal stopped; returns the exit code."""
    folder = getattr(options, "checkpoint", None) or getattr(options, "resume", None)
    how = f" --resume {folder} goes on." if isinstance(folder, str) else ""  # That of a training is True.
    return _print_error((f"interrupted; {error}" if str(error) else "interrupted.") + how, options, exit_code)


def _report(error: Exception, options: Any) -> int:
    """Prints one line about an error; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        return 1  # The reader closed the pipe.
    if options.debug:
        traceback.print_exception(error)
    error = as_tfstyle_error(error)
    return _print_error(f"{_ERROR}{' '.join(str(error).split())}", options, error.exit_code)


_ERROR = "tfstyle: error: "


def _print_error(line: str, options: Any, exit_code: int) -> int:
    """Prints a line, with --json an event as well; returns the exit code."""
    line = with_options(line, options)
    streams.print_error(line)
    if getattr(options, "json", False):
        events.error(exit_code, line.removeprefix(_ERROR))
    return exit_code
