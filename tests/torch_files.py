"""Helpers of the tests of torch files: both formats, written without torch."""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from unittest import mock

import numpy as np

ARRAYS = OrderedDict(
    [
        ("features.0.weight", np.arange(24, dtype="float32").reshape(2, 3, 2, 2)),
        ("features.0.bias", np.array([0.5, -1.5], "float16")),
    ]
)


class _Writer(pickle.Pickler):
    """Pickles as torch does: a tensor is a call of torch's rebuild function on a persistent storage."""

    def __init__(self, stream, storages):
        super().__init__(stream, protocol=2)
        self.storages = storages

    def persistent_id(self, item):
        if isinstance(item, tuple) and item and item[0] == "storage":
            return item
        return None

    def reducer_override(self, item):
        if not isinstance(item, np.ndarray):
            return NotImplemented
        key = str(len(self.storages))
        self.storages[key] = item.ravel("K")
        kind = {"float32": "FloatStorage", "float16": "HalfStorage"}[item.dtype.name]
        strides = tuple(stride // item.itemsize for stride in item.strides)
        storage = ("storage", _torch(kind), key, "cpu", item.size)
        return _torch("_utils")._rebuild_tensor_v2, (storage, 0, item.shape, strides, False, OrderedDict())


def _torch(name):
    return getattr(sys.modules["torch"], name)


@contextlib.contextmanager
def torch_names():
    """Puts modules named like torch's in place while a pickle is written, so that the pickle names them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    rebuild = types.FunctionType((lambda *a: a).__code__, {}, "_rebuild_tensor_v2")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    torch._utils = utils
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        yield


@torch_names()
def legacy_bytes(arrays):
    """The bytes of a file of the older format."""
    storages, stream = {}, io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    _Writer(stream, storages).dump(arrays)
    pickle.dump(list(storages), stream, protocol=2)
    for array in storages.values():
        stream.write(struct.pack("<q", array.size) + array.tobytes())
    return stream.getvalue()


@torch_names()
def zip_bytes(arrays):
    """The bytes of a zip archive."""
    storages, state, stream = {}, io.BytesIO(), io.BytesIO()
    _Writer(state, storages).dump(arrays)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/data.pkl", state.getvalue())
        for key, array in storages.items():
            archive.writestr(f"net/data/{key}", array.tobytes())
    return stream.getvalue()


FORMATS = {"legacy": legacy_bytes, "zip": zip_bytes}
