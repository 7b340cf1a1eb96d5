"""Exceptions of tfstyle, each kind with an exit code of its own.

Every error a user can cause is a `TfstyleError` whose message, one line, says what was expected, what arrived and what
to do. A message names an argument of the library in backquotes (`size`); the command line prints its option instead
(--size) and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar


class TfstyleError(Exception):
    """Base of every error tfstyle raises on purpose."""

    exit_code = 1


class SetupError(TfstyleError, ImportError):
    """The installation or its environment cannot run tfstyle (exit code 1)."""


class UsageError(TfstyleError, ValueError):
    """An argument, option or name is not valid (exit code 2)."""

    exit_code = 2


class InputError(TfstyleError, ValueError):
    """A picture cannot be used: missing, damaged, of a wrong kind or size (exit code 3)."""

    exit_code = 3


class OutputError(TfstyleError, OSError):
    """A result cannot be written: folder, name, format or an existing file (exit code 4)."""

    exit_code = 4


class DivergedError(TfstyleError, ArithmeticError):
    """The loss stopped being a finite number (exit code 5)."""

    exit_code = 5


class MemoryLimitError(TfstyleError, MemoryError):
    """The run would not fit, or did not fit, in memory (exit code 6)."""

    exit_code = 6


class WeightsError(TfstyleError, ValueError):
    """Network weights are missing, damaged or of another network (exit code 7)."""

    exit_code = 7


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run; the message says what of it has been written (exit code 130)."""

    exit_code = 130


_Value = TypeVar("_Value")


def lookup(kind: str, name: object, table: Mapping[str, _Value]) -> _Value:
    """Returns the entry of that name.

    Args:
        kind: what the name stands for, in words: "statistic".
        name: what arrived.
        table: name to entry.

    Raises:
        UsageError: if there is none.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise UsageError(unknown_name(kind, name, table))


def unknown_name(kind: str, name: object, choices: Iterable[str]) -> str:
    """Says that a name is not known, with the nearest valid one.

    Args:
        kind: what the name stands for, in words: "recipe", "layer".
        name: what arrived.
        choices: the valid names.

    Returns:
        One line: `unknown layer 'blok1_conv1'; did you mean 'block1_conv1'? Known: …`, or
        `unknown layer 'x'; known: …`.
    """
    choices = list(choices)
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? Known" if near else "known"
    return f"unknown {kind} {name!r}; {hint}: {', '.join(choices)}."
