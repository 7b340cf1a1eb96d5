"""Torch files of both formats, written here by hand without torch, and files that must be refused."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from tfstyle import torchfile
from tfstyle.errors import WeightsError

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


@pytest.fixture
def torch_names(monkeypatch):
    """Modules named like torch's, so that the pickles name them; taken away before anything is read."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    rebuild = types.FunctionType((lambda *a: a).__code__, {}, "_rebuild_tensor_v2")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    torch._utils = utils
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def legacy_bytes(arrays):
    storages, stream = {}, io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    _Writer(stream, storages).dump(arrays)
    pickle.dump(list(storages), stream, protocol=2)
    for array in storages.values():
        stream.write(struct.pack("<q", array.size) + array.tobytes())
    return stream.getvalue()


def zip_bytes(arrays):
    storages, state, stream = {}, io.BytesIO(), io.BytesIO()
    _Writer(state, storages).dump(arrays)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/data.pkl", state.getvalue())
        for key, array in storages.items():
            archive.writestr(f"net/data/{key}", array.tobytes())
    return stream.getvalue()


FORMATS = {"legacy": legacy_bytes, "zip": zip_bytes}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_state_dictionary_is_read(write, tmp_path, torch_names):
    path = tmp_path / "net.pth"
    path.write_bytes(write(ARRAYS))
    found = torchfile.read(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_view_of_a_storage_keeps_its_strides(write, tmp_path, torch_names):
    path = tmp_path / "net.pth"
    turned = np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3))
    path.write_bytes(write({"w": turned}))
    np.testing.assert_array_equal(torchfile.read(path)["w"], turned)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_file_cut_anywhere_is_refused(write, tmp_path, torch_names):
    whole, path = write(ARRAYS), tmp_path / "net.pth"
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            torchfile.read(path)


class _Hostile:
    def __reduce__(self):
        return (print, ("this must not be printed",))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_anything_else_is_refused(protocol, tmp_path, capsys):
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"w": _Hostile()}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"asks for .*print"):
        torchfile.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"w": _Hostile()}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"asks for .*print"):
        torchfile.read(path)
    assert "must not" not in capsys.readouterr().out


def test_a_tensor_that_reaches_beyond_its_storage_is_refused():
    storage = torchfile._Storage("0", np.dtype("<f4"), 6)
    data = {"0": np.zeros(6, "float32")}
    for offset, shape, strides in [(0, (7,), (1,)), (1, (2, 3), (3, 1)), (0, (2,), (-1,)), (-1, (1,), (1,))]:
        with pytest.raises(WeightsError, match="beyond its storage"):
            torchfile._cut(torchfile._Tensor(storage, offset, shape, strides), data)


@pytest.mark.parametrize("content", [b"", b"not a torch file at all", pickle.dumps([1, 2]), pickle.dumps(7)])
def test_something_else_is_refused(content, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        torchfile.read(path)
