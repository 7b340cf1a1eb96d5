"""Reads the containers of weight files within limits: plain bytes, zip archives and HDF5 files.

One rule limits the memory of every reader: a file has at most `MAX_WEIGHT_BYTES`, and what is read from it is never
larger than the file. So compressed data, data declared but not stored, and data in other files are refused.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle.errors import MemoryLimitError, TfstyleError, WeightsError
from tfstyle.limits import MAX_PATH_LENGTH, MAX_WEIGHT_BYTES, MAX_WEIGHT_PARTS

_CENTRAL_HEADER = b"PK\x01\x02"  # Precedes each entry in the list of members of a zip archive.


def read_bytes(path: Path, limit: int = MAX_WEIGHT_BYTES) -> bytes:
    """Reads a file of at most `limit` bytes.

    Raises:
        WeightsError: if the file is missing, not a regular file, or larger.
        OSError: if the file cannot be read.
    """
    _check_file(path, limit)
    return path.read_bytes()


def translate_error(path: Path, error: Exception) -> TfstyleError | None:
    """Translates an error that is not caused by the content of a file: lack of memory, or of permission to read it.

    Returns:
        The error to raise; None if the content of the file caused it.
    """
    if isinstance(error, MemoryError):
        return MemoryLimitError(f"{path}: memory ran out while it was read; close other programs.")
    if isinstance(error, OSError) and error.errno:
        return WeightsError(f"{path}: cannot be read ({os.strerror(error.errno)}); check its permissions.")
    return None


def _check_file(path: Path, limit: int = MAX_WEIGHT_BYTES) -> int:
    """Checks that a file exists and is not too large; returns its size in bytes."""
    if not path.is_file():
        raise WeightsError("there is no such file")
    size = path.stat().st_size
    if size > limit:
        raise WeightsError(f"it has {size} bytes; at most {limit} are read")
    return size


def unzip(data: bytes) -> dict[str, bytes]:
    """Reads a zip archive of uncompressed members, as torch, NumPy and Keras write them.

    Args:
        data: the bytes of the archive.

    Returns:
        Name of a member → its content.

    Raises:
        WeightsError: if members are compressed, encrypted, too many, or together larger than the archive.
        Exception: of any kind that `zipfile` raises on a damaged archive.
    """
    if data.count(_CENTRAL_HEADER) > MAX_WEIGHT_PARTS:
        raise WeightsError(f"its archive has more than {MAX_WEIGHT_PARTS} members")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
            raise WeightsError("its archive is compressed or encrypted, which weight files never are")
        if sum(member.file_size for member in members) > len(data):
            raise WeightsError("its archive claims to hold more than it does")
        return {member.filename: archive.read(member) for member in members}


def read_hdf5(path: Path, dimensions: Container[int]) -> dict[str, np.ndarray]:
    """Checks that all datasets of an HDF5 file are plain numbers stored in the file itself, and reads some of them.

    Args:
        path: the file.
        dimensions: numbers of dimensions of the datasets to read; all others are checked but not read.

    Returns:
        Path of a dataset in the file → array.

    Raises:
        WeightsError: if the file has links, too many parts, more numbers than it can store, or a dataset that is
            virtual, external, chunked (all compressed ones are) or not numeric.
        Exception: of any kind that `h5py` raises on a damaged file.
    """
    import h5py

    room = _check_file(path)
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:
        for name, dataset in _walk_datasets(file):
            _check_dataset(dataset)
            room -= dataset.nbytes
            if room < 0:
                raise WeightsError("it declares more numbers than it holds")
            if dataset.ndim in dimensions:
                arrays[name] = dataset[()]
    return arrays


def _walk_datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yields path and dataset, group by group. Every object is counted, so that a loop of links ends."""
    import h5py

    parts = 0

    def walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
        nonlocal parts
        parts += len(group)
        if parts > MAX_WEIGHT_PARTS or len(path) > MAX_PATH_LENGTH:
            raise WeightsError(f"it has more than {MAX_WEIGHT_PARTS} parts or paths of {MAX_PATH_LENGTH} characters")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError("it links to other places, which are not read")
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from walk(item, f"{path}{name}/")
            elif isinstance(item, h5py.Dataset):
                yield f"{path}{name}", item

    yield from walk(file, "")


def _check_dataset(dataset: Any) -> None:
    """Raises WeightsError if a dataset is anything but numbers stored contiguously in this file."""
    import h5py

    layout = dataset.id.get_create_plist().get_layout()
    if layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS) or dataset.external is not None:
        raise WeightsError("a dataset is chunked, compressed, virtual or in another file")
    if dataset.dtype.kind not in "fiub":
        raise WeightsError("a dataset does not hold numbers")
