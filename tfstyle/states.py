"""Files of a state: named arrays and JSON facts, from which a run or a training goes on.

A state is an uncompressed `.npz` file of the arrays and of one JSON object. It is written atomically, and read within
the size that its arrays should have.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import containers, files
from tfstyle.errors import WeightsError
from tfstyle.limits import MAX_OPTIONS_BYTES

_FACTS = "fixed"  # The name in the states of all versions.


def write(path: Path, arrays: Mapping[str, Any], *, facts: Mapping[str, Any]) -> None:
    """Writes a state atomically, array by array, and replaces an existing file.

    Args:
        path: an `.npz` file.
        arrays: name → array.
        facts: JSON values.

    Raises:
        OutputError: if the file cannot be written; an existing file is kept.
    """
    described = np.array(json.dumps(dict(facts), sort_keys=True))
    named: dict[str, Any] = {_FACTS: described, **arrays}
    files.save_atomically(path, lambda stream: np.savez(stream, **named), overwrite=True)


def read(path: Path, *, room: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads the facts and the arrays of a state.

    Args:
        path: the file.
        room: the largest size of its arrays in bytes.

    Raises:
        WeightsError: if it is missing or too large.
        Exception: of any kind that zipfile, json and NumPy raise for a damaged file.
    """
    members = containers.unzip(containers.read_bytes(path, room + MAX_OPTIONS_BYTES))
    arrays = {name.removesuffix(".npy"): _read_array(content) for name, content in members.items()}
    return dict(json.loads(arrays.pop(_FACTS).item())), arrays


def read_facts(path: Path) -> dict[str, Any]:
    """Reads the facts of a state alone.

    Raises:
        Exception: of any kind that zipfile, json and NumPy raise for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{_FACTS}.npy")
        if member.file_size > MAX_OPTIONS_BYTES:
            raise WeightsError(f"{path}: is damaged.")
        return dict(json.loads(_read_array(archive.read(member)).item()))


def _read_array(content: bytes) -> np.ndarray:
    """Reads an `.npy` file as a view of its bytes, so that a wrong shape in its header allocates nothing."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")
