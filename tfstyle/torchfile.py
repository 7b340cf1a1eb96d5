"""Reads weight files of PyTorch without PyTorch, and without running code from the file.

Both formats of PyTorch are read: the zip archive (since 1.6) and the older sequence of pickles. Python's unpickler is
not used. `_Pickle` accepts only the instructions and names of a plain state dictionary, so that a malicious file can
build nothing but lists, dictionaries and views of its own bytes.
"""

from __future__ import annotations

import math
import pickletools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfstyle import containers
from tfstyle.errors import WeightsError
from tfstyle.limits import MAX_DIMENSIONS, MAX_HEADER_BYTES, MAX_WEIGHT_PARTS

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of a file written before PyTorch 1.6.
_ZIP_MAGIC = b"PK\x03\x04"
_TAR_MAGIC = b"ustar"  # At byte 257.
_LONGEST_SHOWN = 80  # Characters of a name in a message.

_STORAGES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "<u1",
}


class _Storage(NamedTuple):
    """A storage that the pickle names: its key in the file, its dtype and its number of elements."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, measured in elements; it becomes an array once the storage has been read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Tensor:
    """Replaces the function of torch that makes a tensor from a storage."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise WeightsError("it describes a tensor that is not valid")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_unused: Any) -> _Tensor:
    """Replaces the function of torch that makes a parameter from a tensor."""
    return tensor


_NAMES = {
    "collections OrderedDict": OrderedDict,
    "torch._utils _rebuild_tensor": _rebuild_tensor,  # Before torch 0.2, as in torchvision's own VGG files.
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
} | {f"torch {name}": np.dtype(dtype) for name, dtype in _STORAGES.items()}
"""Every name that a pickle may use → its replacement here."""

_LITERALS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG1"),
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Pickle:
    """An interpreter for the pickle of a state dictionary, and for nothing else.

    Only functions of `_NAMES` are called. Keys are strings or integers, so that no nested object is hashed. Time and
    memory are proportional to the length of the pickle, of which at most `MAX_HEADER_BYTES` are read.

    Args:
        data: the file, or a part of it.
        start: index of the first byte of the pickle.

    Attributes:
        value: the object that was pickled.
        end: index of the first byte after the pickle.
        storages: key → storage, of all storages that the pickle names.
    """

    def __init__(self, data: bytes, start: int = 0) -> None:
        self.storages: dict[str, _Storage] = {}
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        for opcode, argument, position in pickletools.genops(data[start : start + MAX_HEADER_BYTES]):
            self._execute(opcode.name, argument)
            self.end = start + (position or 0) + 1
        self.value = self._stack.pop()

    def _execute(self, name: str, argument: Any) -> None:
        """Executes one instruction; `pickletools` documents each."""
        stack = self._stack
        if name in _LITERALS:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in _TUPLES:
            stack.append(tuple(self._pop_from(len(stack) - _TUPLES[name])))
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("TUPLE", "LIST"):
            items = self._pop_from(self._marks.pop())
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = self._pop_from(len(stack) - 1 if name == "APPEND" else self._marks.pop())
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = self._pop_from(len(stack) - 2 if name == "SETITEM" else self._marks.pop())
            if name == "DICT":
                stack.append({})
            _fill(stack[-1], zip(items[::2], items[1::2], strict=True))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_find(argument if name == "GLOBAL" else " ".join(self._pop_from(len(stack) - 2))))
        elif name == "BINPERSID":
            stack.append(self._name_storage(stack.pop()))
        elif name == "REDUCE":
            function, arguments = self._pop_from(len(stack) - 2)
            stack.append(self._call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # Attributes of the dictionary, such as its version.
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise WeightsError(f"its pickle uses {name}, which is not part of a plain state dictionary")

    def _pop_from(self, start: int) -> list[Any]:
        """Removes the part of the stack that begins at an index, and returns it."""
        if not 0 <= start <= len(self._stack):
            raise WeightsError("its pickle is damaged")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _call(self, function: Any, arguments: Any) -> Any:
        """Calls one of `_NAMES` with no more arguments than it needs: a pickle can pass one long list many times."""
        if function is not OrderedDict:
            return function(*arguments[:4])
        dictionary: dict = OrderedDict()
        for pairs in arguments[:1]:  # There is none, or the list of pairs that Python 2 wrote.
            _fill(dictionary, pairs)
            pairs.clear()
        return dictionary

    def _name_storage(self, identity: Any) -> _Storage:
        """Makes the storage that a tuple describes: kind, dtype, key, location, size and, in old files, a view."""
        kind, dtype, key, _location, size, view = identity if len(identity) == 6 else (*identity, None)
        if kind != "storage" or not isinstance(dtype, np.dtype) or type(key) is not str or type(size) is not int:
            raise WeightsError("it names a storage of an unknown kind")
        if view is not None:
            raise WeightsError("it names a part of a storage; save it again with a newer PyTorch")
        return self.storages.setdefault(key, _Storage(key, dtype, size))


def _fill(dictionary: Any, pairs: Iterable[Sequence[Any]]) -> None:
    """Adds pairs of key and value to a dictionary."""
    for key, value in pairs:
        if not isinstance(dictionary, dict) or type(key) not in (str, int):
            raise WeightsError("its pickle is damaged")
        dictionary[key] = value


def _find(name: str) -> Any:
    """Looks up one of `_NAMES`."""
    if name not in _NAMES:
        asked = name[:_LONGEST_SHOWN].replace(" ", ".")
        raise WeightsError(f"it asks for {asked!r}, which is not part of a plain state dictionary")
    return _NAMES[name]


def _to_array(tensor: _Tensor, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Makes the array of a tensor: a view of its storage, with no more numbers than the storage has."""
    data = arrays[tensor.storage.key]
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    inside = tensor.offset >= 0 and all(s >= 0 for s in tensor.strides) and all(s >= 1 for s in tensor.shape)
    if not inside or tensor.offset + reach >= data.size or math.prod(tensor.shape) > data.size:
        raise WeightsError("a tensor reaches beyond its storage")
    strides = [stride * data.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides)


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads the older format: pickles of magic number, protocol, system, state and storage keys; then the storages."""
    if data[257:262] == _TAR_MAGIC:
        raise WeightsError("it was written by PyTorch before 0.1.10; save it again with a newer PyTorch")
    magic = _Pickle(data)
    if magic.value != _LEGACY_MAGIC:
        raise WeightsError("it is not a PyTorch file")
    protocol = _Pickle(data, magic.end)
    system = _Pickle(data, protocol.end)
    state = _Pickle(data, system.end)
    keys = _Pickle(data, state.end)
    arrays, position = {}, keys.end
    for key in keys.value:
        storage = state.storages[key]
        if int.from_bytes(data[position : position + 8], "little") != storage.size:
            raise WeightsError("a storage has another size than the file declares")
        arrays[key] = np.frombuffer(data, storage.dtype, storage.size, position + 8)
        position += 8 + arrays[key].nbytes
    return state.value, arrays


def _read_zip(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads the zip archive: one pickle, and one member for each storage."""
    members = containers.unzip(data)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("it is a zip archive, but not one of PyTorch")
    folder = pickles[0].removesuffix("data.pkl")
    state = _Pickle(members[pickles[0]])
    arrays = {key: np.frombuffer(members[f"{folder}data/{key}"], s.dtype) for key, s in state.storages.items()}
    if any(arrays[key].size != storage.size for key, storage in state.storages.items()):
        raise WeightsError("a storage has another size than the file declares")
    return state.value, arrays


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dictionary.

    Args:
        path: a `.pth` file: an (ordered) dictionary from names to tensors, in either format of PyTorch.

    Returns:
        Name → array, in the order and with the dtypes of the file; entries that are not tensors are left out. The
        arrays are read-only views of the bytes of the file.

    Raises:
        WeightsError: if the file is damaged or too large, or contains anything but a plain state dictionary.
        OSError: if the file cannot be opened.
        MemoryError: if memory runs out.
    """
    data = containers.read_bytes(Path(path))
    try:
        state, arrays = (_read_zip if data.startswith(_ZIP_MAGIC) else _read_legacy)(data)
        if not isinstance(state, dict):
            raise WeightsError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
        if len(state) > MAX_WEIGHT_PARTS:
            raise WeightsError(f"it holds more than {MAX_WEIGHT_PARTS} tensors")
        return {str(name): _to_array(value, arrays) for name, value in state.items() if isinstance(value, _Tensor)}
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # Python, zipfile and NumPy raise exceptions of many kinds on a damaged file.
        raise WeightsError(f"it is damaged or not a PyTorch file ({type(error).__name__})") from error
