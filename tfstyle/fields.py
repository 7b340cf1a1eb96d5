"""Fields of a dataclass: the values that each accepts, and which of them are command-line options.

`check_fields` reads the metadata of `field` and `option`, so that a frozen dataclass checks itself when it is created.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, unknown_name

LARGEST_SEED = 2**31 - 1


def field(default: Any, *, choices: tuple[str, ...] = (), low: float = -math.inf, high: float = math.inf) -> Any:
    """Makes a field for a word or a number, or for a list of them.

    Args:
        default: default value; `dataclasses.MISSING` if there is none.
        choices: allowed words; any word if empty.
        low, high: smallest and largest number allowed.
    """
    return dataclasses.field(default=default, metadata={"choices": choices, "low": low, "high": high})


def option(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = -math.inf, high: float = math.inf
) -> Any:
    """Makes a field that is also a command-line option.

    Args:
        default, choices, low, high: as for `field`.
        help: its description in `--help`.
    """
    metadata = {"help": help, "choices": choices, "kind": type(default), "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


def option_fields(kind: type) -> tuple[dataclasses.Field, ...]:
    """Returns the fields of a dataclass that are command-line options, in order of definition."""
    return tuple(item for item in dataclasses.fields(kind) if "help" in item.metadata)


def check_fields(instance: Any) -> None:
    """Checks every field of a frozen dataclass and converts its value to the annotated type.

    NumPy numbers, lists and paths are accepted as well. Annotations are bool, int, float, str, a tuple[…, ...] of one
    of these, or str | Callable[…], for a word or a function; the class itself checks fields of other types.

    Raises:
        UsageError: if a value is of another type, or outside the field's choices or range.
    """
    for item in dataclasses.fields(instance):
        value, kind = getattr(instance, item.name), str(item.type)
        if kind == "str | int":
            checked = _checked(item, value, "str")
        elif kind.startswith("str | Callable"):
            checked = value if callable(value) else _checked(item, value, "str")
        elif kind.startswith("tuple[") and (kind := kind.removeprefix("tuple[").removesuffix(", ...]")) in _KINDS:
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise UsageError(f"`{item.name}` should be a list of {kind}, not {_shorten(value)}.")
            checked = tuple(_checked(item, entry, kind) for entry in value)
        elif kind in _KINDS:
            checked = _checked(item, value, kind)
        else:
            continue
        object.__setattr__(instance, item.name, checked)


class CheckedFields:
    """Base of a frozen dataclass that checks its fields, and nothing else, when it is created."""

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)


def check_number(name: str, value: Any, *, low: float) -> float:
    """Returns a number as a float.

    Raises:
        UsageError: if it is not finite, or less than `low`.
    """
    try:
        number = float(_number(value, kind=float, accepted=numbers.Real))
    except (TypeError, OverflowError):
        raise UsageError(f"`{name}` should be a finite float, not {_shorten(value)}.") from None
    if number < low:
        raise UsageError(f"`{name}` should be at least {low:g}, not {_shorten(value)}.")
    return number


_UNITS = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_bytes(name: str, value: Any) -> int:
    """Reads an amount of memory: a number of bytes, or a text such as "4GB", "1.5 GiB" or "800M".

    Args:
        name: name of the caller's argument, for the message.
        value: what to read.

    Raises:
        UsageError: if it is neither, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([BKMGT]?)(i?)B?\s*", str(value), re.IGNORECASE)
    factor = 0 if match is None else _UNITS[match[2].upper()]
    if match is not None and match[3]:
        factor = 1 << 10 * " KMGT".index(match[2].upper() or " ")
    amount = 0 if match is None or isinstance(value, bool) else int(float(match[1]) * factor)
    if amount <= 0:
        raise UsageError(f"`{name}` should be an amount of memory such as 4GB, not {value!r}.")
    return amount


def _shorten(value: Any) -> str:
    """Returns a value for a message: one line, of at most some 80 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bool(value: Any) -> bool:
    if not isinstance(value, bool) and str(getattr(value, "dtype", "")) != "bool":  # A NumPy bool.
        raise TypeError
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError
    return os.fspath(value)


def _number(value: Any, *, kind: type, accepted: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, accepted) or not math.isfinite(value):
        raise TypeError
    return kind(value)


_KINDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "bool": ("True or False", _bool),
        "str": ("text", _text),
        "int": ("a finite int", lambda value: _number(value, kind=int, accepted=numbers.Integral)),
        "float": ("a finite float", lambda value: _number(value, kind=float, accepted=numbers.Real)),
    }
)
"""Annotation → name of the type in messages, and function that converts a value to it or raises TypeError."""


def _checked(item: dataclasses.Field, value: Any, kind: str) -> Any:
    """Checks one value of a field, or one entry of its list, and converts it to its type."""
    choices, low, high = (item.metadata.get(name) for name in ("choices", "low", "high"))
    expected, convert = _KINDS[kind]
    try:
        converted = convert(value)
    except (TypeError, OverflowError):  # OverflowError: an integer too large for a float.
        raise UsageError(f"`{item.name}` should be {expected}, not {_shorten(value)}.") from None
    if choices and converted not in choices:
        raise UsageError(unknown_name(item.name, value, choices))
    if kind in ("int", "float") and low is not None and converted < low:
        raise UsageError(f"`{item.name}` should be at least {low:g}, not {_shorten(value)}.")
    if kind in ("int", "float") and high is not None and converted > high:
        raise UsageError(f"`{item.name}` should be at most {high:.12g}, not {_shorten(value)}.")
    return converted
