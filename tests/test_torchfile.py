"""PyTorch files of both formats, written without PyTorch, and files that must be refused."""

import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from torch_files import ARRAYS, FORMATS

from tfstyle import torchfile
from tfstyle.errors import WeightsError


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_state_dictionary_is_read(write, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(write(ARRAYS))
    found = torchfile.read(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def old_tensor_pickle(view):
    """A tensor as PyTorch 0.1 writes it: a call with four arguments, and a storage with an optional view of it."""
    new = tensor_pickle(6, (2, 3), (3, 1))
    assert new.count(b"_v2") == new.count(b"tQ") == new.count(b"\x89NtR") == 1
    return new.replace(b"_v2", b"").replace(b"tQ", view + b"tQ").replace(b"\x89NtR", b"tR")


def test_a_file_of_torch_0_1_is_read(tmp_path):
    path, storage = tmp_path / "net.pth", np.arange(6, dtype="<f4")
    rest = pickle.dumps(["0"], 2) + struct.pack("<q", 6) + storage.tobytes()
    path.write_bytes(LEGACY_HEAD + dictionary_pickle({"a": old_tensor_pickle(b"N")}) + rest)
    np.testing.assert_array_equal(torchfile.read(path)["a"], storage.reshape(2, 3))
    path.write_bytes(LEGACY_HEAD + dictionary_pickle({"a": old_tensor_pickle(b"U\x01vK\x01K\x02\x87")}) + rest)
    with pytest.raises(WeightsError, match="a part of a storage; save it again"):
        torchfile.read(path)


def test_a_file_of_an_even_older_torch_is_named(tmp_path):
    with tarfile.open(tmp_path / "net.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    with pytest.raises(WeightsError, match=r"written by PyTorch before 0\.1\.10; save it again with a newer PyTorch"):
        torchfile.read(tmp_path / "net.pth")


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_view_of_a_storage_keeps_its_strides(write, tmp_path):
    path = tmp_path / "net.pth"
    turned = np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3))
    path.write_bytes(write({"w": turned}))
    np.testing.assert_array_equal(torchfile.read(path)["w"], turned)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_file_cut_anywhere_is_refused(write, tmp_path):
    whole, path = write(ARRAYS), tmp_path / "net.pth"
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            torchfile.read(path)


CALL = b"\x80\x02ccollections\nOrderedDict\n"
LEGACY_HEAD = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


def as_zip(state, storage=None):
    """A PyTorch archive of a given pickle and at most one storage."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/data.pkl", state)
        if storage is not None:
            archive.writestr("net/data/0", storage.tobytes())
    return stream.getvalue()


def tensor_pickle(size, shape, strides):
    """The pickle of a tensor that views storage 0, which has `size` numbers."""
    whole = [b"J" + number.to_bytes(4, "little") for number in (size, *shape, *strides)]
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" + whole[0] + b"tQ"
    dimensions = b"(" + b"".join(whole[1 : 1 + len(shape)]) + b"t(" + b"".join(whole[1 + len(shape) :]) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + dimensions + b"\x89NtR"


def dictionary_pickle(entries):
    """The pickle of a dictionary from strings to pickled values."""
    return b"\x80\x02}(" + b"".join(b"U" + bytes([len(k)]) + k.encode() + v for k, v in entries.items()) + b"u."


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
            torchfile._to_array(torchfile._Tensor(storage, offset, shape, strides), data)


def test_a_tensor_is_a_view_however_often_it_is_named(tmp_path):
    """Forty tensors over the same bytes take no memory of their own."""
    path, storage = tmp_path / "net.pth", np.arange(6, dtype="<f4")
    entries = {f"{number}": tensor_pickle(6, (2, 3), (3, 1)) for number in range(40)}
    path.write_bytes(as_zip(dictionary_pickle(entries), storage))
    found = torchfile.read(path)
    assert len(found) == 40
    for array in found.values():
        np.testing.assert_array_equal(array, storage.reshape(2, 3))
        assert np.shares_memory(array, found["0"])


def test_a_tensor_of_more_numbers_than_its_storage_is_refused(tmp_path):
    """A stride of 0 would make any number of elements of one."""
    path = tmp_path / "net.pth"
    entries = {f"{number}": tensor_pickle(4, (2**28,), (0,)) for number in range(40)}
    path.write_bytes(as_zip(dictionary_pickle(entries), np.zeros(4, "<f4")))
    with pytest.raises(WeightsError, match="beyond its storage"):
        torchfile.read(path)


def test_a_dictionary_of_python_2_is_read(tmp_path):
    """It is pickled as a call of OrderedDict with a list of pairs, and its strings are bytes."""
    path, storage = tmp_path / "net.pth", np.arange(6, dtype="<f4")
    pair = b"]" + b"(U\x01a" + tensor_pickle(6, (6,), (1,)) + b"e"
    path.write_bytes(as_zip(CALL + b"](" + pair + b"e\x85R.", storage))
    np.testing.assert_array_equal(torchfile.read(path)["a"], storage)


@pytest.mark.parametrize("write", ["legacy", "zip"])
def test_a_deeply_nested_key_is_refused(write, tmp_path):
    """Hashing it would overflow the stack of the process."""
    path, nested = tmp_path / "net.pth", b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."
    path.write_bytes(as_zip(nested) if write == "zip" else LEGACY_HEAD + nested)
    with pytest.raises(WeightsError, match="pickle is damaged"):
        torchfile.read(path)


HOSTILE_PICKLES = {
    "a nested tuple as a key of a call": CALL + b"](](" + b")" + b"\x85" * 9000 + b"Nee\x85R.",
    "nested lists": b"\x80\x02" + b"]" * 9000 + b"a" * 8999 + b".",
    "a memo of 2^28 entries": b"\x80\x02Nr\x00\x00\x00\x10.",
    "more than is read": b"\x80\x02" + b"N" * 20_000 + b".",
    "many marks": b"\x80\x02" + b"(" * 9000 + b".",
    "a text of 2 GB": b"\x80\x02B\xff\xff\xff\x7f.",
    "a key that is a list": b"\x80\x02}]Ns.",
    "an empty stack": b"\x80\x02s.",
    "an instance": b"\x80\x02(i__main__\nX\n.",
    "an object": CALL + b")\x81.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "a tensor of no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.",
    "a call of what is no function": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "items of what is no dictionary": b"\x80\x02ctorch\nFloatStorage\nNNs.",
}


@pytest.mark.parametrize("content", HOSTILE_PICKLES.values(), ids=HOSTILE_PICKLES)
def test_a_hostile_pickle_is_refused_in_little_memory(content, tmp_path, monkeypatch, little_memory):
    monkeypatch.setattr(torchfile, "MAX_HEADER_BYTES", 20_000)
    path = tmp_path / "net.pth"
    path.write_bytes(as_zip(content))
    with little_memory(), pytest.raises(WeightsError) as caught:
        torchfile.read(path)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_made_a_dictionary_many_times_takes_little_memory(tmp_path, little_memory):
    path, pairs = tmp_path / "net.pth", [b"(J" + number.to_bytes(4, "little") + b"Nl" for number in range(1000)]
    path.write_bytes(as_zip(CALL + b"q\x00]q\x01(" + b"".join(pairs) + b"e" + b"h\x00h\x01\x85R" * 1000 + b"."))
    with little_memory():
        assert torchfile.read(path) == {}


def test_what_a_pickle_asks_for_is_told_in_one_short_line(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(as_zip(b"\x80\x04\x8c\x03a\nb\x8c\xc8" + b"c" * 200 + b"\x93."))
    with pytest.raises(WeightsError, match=r"asks for 'a\\nb\.cccc") as caught:
        torchfile.read(path)
    assert len(str(caught.value)) < 200


def test_a_compressed_archive_is_refused(tmp_path):
    """PyTorch does not compress, and a short compressed archive can contain gigabytes."""
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(1000))
    with pytest.raises(WeightsError, match="compressed or encrypted"):
        torchfile.read(path)


def test_too_many_tensors_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torchfile, "MAX_WEIGHT_PARTS", 2)
    path = tmp_path / "net.pth"
    path.write_bytes(as_zip(b"\x80\x02}(K\x00NK\x01NK\x02Nu."))
    with pytest.raises(WeightsError, match="more than 2 tensors"):
        torchfile.read(path)


def test_memory_that_runs_out_is_no_damage(tmp_path, monkeypatch):
    def fail(data):
        raise MemoryError

    monkeypatch.setattr(torchfile, "_read_legacy", fail)
    (tmp_path / "net.pth").touch()
    with pytest.raises(MemoryError):
        torchfile.read(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [b"", b"not a torch file at all", pickle.dumps([1, 2]), pickle.dumps(7)])
def test_something_else_is_refused(content, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        torchfile.read(path)
