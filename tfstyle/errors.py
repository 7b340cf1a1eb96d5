"""Exceptions of tfstyle and their exit codes.

Every error that a user can cause is a `TfstyleError`. Its message is one line that says what was expected, what arrived
and what to do. A message names an argument of the library in backquotes (`size`); the command line prints its option
(--size) instead, and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar


class TfstyleError(Exception):
    """Base class of all errors that tfstyle raises deliberately."""

    exit_code = 1


class SetupError(TfstyleError, ImportError):
    """The installation or its environment is not suitable (exit code 1)."""


class UsageError(TfstyleError, ValueError):
    """An argument, option or name is not valid (exit code 2)."""

    exit_code = 2


class InputError(TfstyleError, ValueError):
    """A picture cannot be used: it is missing, damaged, or of an unsupported format or size (exit code 3)."""

    exit_code = 3


class OutputError(TfstyleError, OSError):
    """A result cannot be written: because of its folder, name or format, or an existing file (exit code 4).

    Attributes:
        saved: the file in which it is instead; None if it is in none.
    """

    exit_code = 4
    saved: Path | None = None


class DivergedError(TfstyleError, ArithmeticError):
    """The loss, the image or the weights are no longer finite (exit code 5).

    Attributes:
        image: the best image of a run, float32 [1, height, width, 3]; None if there is none.
    """

    exit_code = 5
    image: Any = None


class MemoryLimitError(TfstyleError, MemoryError):
    """A run does not fit in memory (exit code 6)."""

    exit_code = 6


class WeightsError(TfstyleError, ValueError):
    """Weights of a network are missing, damaged or for another network (exit code 7)."""

    exit_code = 7


class BatchError(TfstyleError):
    """Some pictures of a batch failed; the others are finished (exit code 8)."""

    exit_code = 8


class WorkerError(TfstyleError, ConnectionError):
    """Another of several machines that share a run no longer answers (exit code 9)."""

    exit_code = 9


class Interrupted(KeyboardInterrupt):
    """A run was stopped by Ctrl-C or a signal; the message says which results were written."""


_Value = TypeVar("_Value")


def lookup(kind: str, name: object, table: Mapping[str, _Value]) -> _Value:
    """Looks up a name in a table.

    Args:
        kind: what is named, in words, such as "statistic".
        name: the given name.
        table: name → entry.

    Returns:
        The entry.

    Raises:
        UsageError: if there is no entry of that name; the message suggests the nearest.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise UsageError(unknown_name(kind, name, table))


def unknown_name(kind: str, name: object, choices: Iterable[str]) -> str:
    """Formats the message for an unknown name, with the nearest valid one.

    Args:
        kind: what is named, in words, such as "recipe" or "layer".
        name: the given name.
        choices: the valid names.

    Returns:
        One line: `unknown layer 'blok1_conv1'; did you mean 'block1_conv1'? Known: …`, or
        `unknown layer 'x'; known: …`.
    """
    choices = list(choices)
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? Known" if near else "known"
    return f"unknown {kind} {name!r}; {hint}: {', '.join(choices)}."


_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of a disk, quota or device that takes no more data."""

_OUT_OF_MEMORY = re.compile(
    "OOM when|ResourceExhausted|RESOURCE_EXHAUSTED|Cannot allocate memory|failed to map segment"
)
"""Texts of TensorFlow, the C library and its loader when memory runs out; Keras changes the class of the error."""


def as_tfstyle_error(error: BaseException) -> TfstyleError:
    """Returns the error itself if tfstyle raised it, else a TfstyleError with its cause in plain words."""
    if isinstance(error, TfstyleError) and not isinstance(error, SetupError):
        return error
    text = f"{type(error).__name__}: {error}"
    if "No space left on device" in text or (isinstance(error, OSError) and error.errno in _CANNOT_WRITE):
        cause = getattr(error, "strerror", None) or "No space left on device"
        return OutputError(f"a result or standard output cannot be written ({cause}).")
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return MemoryLimitError("memory ran out; close other programs, or choose a smaller picture or `size`.")
    if isinstance(error, TfstyleError):
        return error
    return TfstyleError(f"{text} (this is a bug in tfstyle; --debug shows the traceback)")
