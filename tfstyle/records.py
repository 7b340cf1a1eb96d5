"""The record of a result: everything that is needed to make it again, in the result's own file if that is a PNG.

A record is a JSON object. It names no folder of the machine, only the names of the files and their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfstyle import __version__
from tfstyle.errors import InputError
from tfstyle.limits import MAX_HEADER_BYTES
from tfstyle.pictures.opening import open_picture, path_to_text
from tfstyle.recipes.recipe import Recipe

KEYWORD = "tfstyle"
"""The keyword of the text chunk in a PNG file."""

_PARTS = {"recipe": dict, "inputs": dict, "options": dict, "step": int, "pixels": str}


class Source(NamedTuple):
    """A file as a record describes it.

    Attributes:
        name: its name without its folder; "" for pixels.
        sha256: its `fingerprint`.
    """

    name: str
    sha256: str


def identify(source: Any) -> Source:
    """Describes a file, or an array or tensor; a `Source` is returned as it is."""
    return source if isinstance(source, Source) else Source(_name(source), fingerprint(source))


def describe_run(
    recipe: Recipe,
    *,
    inputs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Describes a run before it begins.

    Args:
        recipe: the recipe, with the size of the result, and with what "auto" stands for on this machine.
        inputs: "content" and "style", "style 2" …, and "init" and "weights" where these are files: paths, pixels, or
            what `identify` returned for them.
        options: further arguments of `api.stylize`, as JSON values.
    """
    described = recipe.record()
    for part, name in (("start", "init"), ("network", "weights")):
        if name in inputs:
            described[part][name] = _name(inputs[name])
    return {
        "tfstyle": __version__,
        "tensorflow": metadata.version("tensorflow"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "recipe": described,
        "inputs": {kind: identify(source)._asdict() for kind, source in inputs.items()},
        "options": dict(options),
    }


def _name(source: Any) -> str:
    """Returns the name of a file without its folder; "" for pixels."""
    return Path(source).name if isinstance(source, (str, os.PathLike)) else ""


def fingerprint(source: Any) -> str:
    """Returns the SHA-256 of a file's bytes, or of the size and values of an array or tensor."""
    if isinstance(source, (str, os.PathLike)):
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    array = np.ascontiguousarray(source)
    return hashlib.sha256(repr((array.shape, array.dtype.str)).encode() + array.tobytes()).hexdigest()


def encode(record: Mapping[str, Any]) -> str:
    """Encodes a record as ASCII text on one line."""
    return json.dumps(record)


def read(path: Path) -> dict[str, Any]:
    """Reads the record of a PNG file that tfstyle has written, or a file that holds only a record.

    Raises:
        InputError: if the file cannot be read, or holds no record.
    """
    name = path_to_text(path)
    if path.suffix.lower() == ".json" and path.is_file():
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise InputError(f"{name}: is larger than any record; give a PNG file that tfstyle has written.")
        text = path.read_text(encoding="utf-8", errors="replace")
    else:
        with open_picture(path) as file:
            text = str(file.info.get(KEYWORD, ""))
    try:
        record = json.loads(text)
        if not all(isinstance(record[part], kind) for part, kind in _PARTS.items()):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError):
        raise InputError(
            f"{name}: holds no record of how it was made; give a PNG file of tfstyle stylize, or a --record file."
        ) from None
    return dict(record)
