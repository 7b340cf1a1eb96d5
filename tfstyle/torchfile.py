"""Torch weight file → named arrays, without PyTorch and without running anything the file says.

Both of torch's formats are read: the zip archive (since 1.6) and the older row of pickles. The unpickler knows the five
names a plain state dictionary needs and refuses every other, so a hostile file can build dictionaries and arrays only.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tfstyle.errors import WeightsError
from tfstyle.limits import MAX_TENSOR_ELEMENTS

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # First pickle of a file written before torch 1.6.

_STORAGES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "<u1",
}


class _Storage(NamedTuple):
    """A storage named in the pickle: its key in the file, its dtype and its number of elements."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, to be cut out once the storage has been read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_unused: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_unused: Any) -> _Tensor:
    return tensor


class _Unpickler(pickle.Unpickler):
    """Unpickles state dictionaries and nothing else; the storages met on the way are kept in `storages`."""

    _ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    } | {("torch", name): np.dtype(dtype) for name, dtype in _STORAGES.items()}

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise WeightsError(f"it asks for {module}.{name}, which is not part of a plain state dictionary") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, size = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype) or not 0 <= size < MAX_TENSOR_ELEMENTS:
            raise WeightsError("it names a storage of an unknown kind")
        return self.storages.setdefault(str(key), _Storage(str(key), dtype, size))


def _cut(tensor: _Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The array a tensor stands for, checked against the bounds of its storage before it is cut."""
    data = arrays[tensor.storage.key]
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    inside = tensor.offset >= 0 and all(s >= 0 for s in tensor.strides) and all(s >= 1 for s in tensor.shape)
    if not inside or tensor.offset + reach >= data.size:
        raise WeightsError("a tensor reaches beyond its storage")
    strides = [stride * data.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides).copy()


def _read_legacy(stream: IO[bytes]) -> tuple[Any, dict[str, np.ndarray]]:
    """The row of pickles: magic number, protocol, system, state, storage keys; then the storages' bytes."""
    stream.seek(0)
    if _Unpickler(stream).load() != _LEGACY_MAGIC:
        raise WeightsError("it is not a torch file")
    for _ in ("protocol", "system"):
        _Unpickler(stream).load()
    unpickler = _Unpickler(stream)
    state = unpickler.load()
    arrays = {}
    for key in _Unpickler(stream).load():
        storage = unpickler.storages[key]
        if int.from_bytes(stream.read(8), "little") != storage.size:
            raise WeightsError("a storage has another size than the file says")
        arrays[key] = _as_array(stream.read(storage.size * storage.dtype.itemsize), storage)
    return state, arrays


def _read_zip(stream: IO[bytes]) -> tuple[Any, dict[str, np.ndarray]]:
    """The archive: one pickle, and one member a storage."""
    with zipfile.ZipFile(stream) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError("it is a zip archive, but not torch's")
        folder = pickles[0].removesuffix("data.pkl")
        unpickler = _Unpickler(io.BytesIO(archive.read(pickles[0])))
        state = unpickler.load()
        arrays = {}
        for key, storage in unpickler.storages.items():
            member = archive.getinfo(f"{folder}data/{key}")
            if member.file_size != storage.size * storage.dtype.itemsize:
                raise WeightsError("a storage has another size than the file says")
            arrays[key] = _as_array(archive.read(member), storage)
        return state, arrays


def _as_array(data: bytes, storage: _Storage) -> np.ndarray:
    if len(data) != storage.size * storage.dtype.itemsize:
        raise WeightsError("it is cut short")
    return np.frombuffer(data, storage.dtype)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dictionary.

    Args:
        path: a `.pth` file: an (ordered) dictionary of names to tensors, in either of torch's formats.

    Returns:
        Name → array, in the file's order and dtype; entries that are not tensors are left out.

    Raises:
        WeightsError: if the file is damaged, holds something else, or names anything beyond a state dictionary.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as stream:
        try:
            state, arrays = (_read_zip if zipfile.is_zipfile(stream) else _read_legacy)(stream)
            if not isinstance(state, dict):
                raise WeightsError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
            return {str(name): _cut(value, arrays) for name, value in state.items() if isinstance(value, _Tensor)}
        except WeightsError:
            raise
        except (EOFError, KeyError, ValueError, TypeError, IndexError, AttributeError, MemoryError) as error:
            raise WeightsError(f"it is damaged ({type(error).__name__})") from error
        except (pickle.UnpicklingError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise WeightsError("it is damaged or not a torch file") from error
