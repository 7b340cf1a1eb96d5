"""Zip archives and HDF5 files: their parts, and small files made to take much memory or to read other files."""

import io
import zipfile

import h5py
import numpy as np
import pytest

from tfstyle import containers
from tfstyle.errors import WeightsError


def archive(members, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def patched(data, offset, value):
    """Changes the entry of an archive's only member, at an offset in the list of members."""
    data = bytearray(data)
    start = data.rfind(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    return bytes(data)


def test_a_file_is_read_up_to_a_limit_and_if_it_is_one(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert containers.read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(WeightsError, match="has 5 bytes; at most 4 are read"):
        containers.read_bytes(tmp_path / "a", 4)
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(WeightsError, match="no such file"):
            containers.read_bytes(other)


def test_an_archive_of_stored_members_is_read():
    assert containers.unzip(archive({"a/b": b"12", "c": b""})) == {"a/b": b"12", "c": b""}


STORED = archive({"a": b"x" * 300})
HOSTILE_ARCHIVES = {
    "compressed": (archive({"a": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "encrypted": (patched(STORED, 8, b"\x01"), "compressed or encrypted"),
    "of another method": (patched(STORED, 10, b"\x63"), "compressed or encrypted"),
    "of a member beyond its end": (patched(STORED, 24, b"\xff\xff\xff\x7f"), "claims to hold more than it does"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE_ARCHIVES.values(), ids=HOSTILE_ARCHIVES)
def test_an_archive_is_refused(data, message):
    with pytest.raises(WeightsError, match=message):
        containers.unzip(data)


def test_an_archive_whose_members_share_their_bytes_is_refused():
    """Two entries for the same 300 bytes would be read twice, so that a short file could give any amount of data."""
    start, end = STORED.rfind(b"PK\x01\x02"), STORED.rfind(b"PK\x05\x06")
    entry, last = STORED[start:end], bytearray(STORED[end:])
    last[8:12] = b"\x02\x00\x02\x00"
    last[12:16] = (2 * len(entry)).to_bytes(4, "little")
    with pytest.raises(WeightsError, match="claims to hold more than it does"):
        containers.unzip(STORED[:start] + 2 * entry + bytes(last))


def test_an_archive_of_too_many_members_is_refused_before_they_are_listed(monkeypatch):
    data = archive({str(number): b"" for number in range(4)})
    monkeypatch.setattr(containers, "MAX_WEIGHT_PARTS", 3)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(WeightsError, match="more than 3 members"):
        containers.unzip(data)


def test_the_numbers_of_an_hdf5_file_are_read_by_their_paths(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["b/kernel"], file["b/bias"], file["a"] = np.ones((2, 3), "f4"), np.ones(3, "f2"), np.arange(4)
        file["b"].create_group("empty")
    found = containers.read_hdf5(tmp_path / "w.h5", (1, 2))
    assert {name: (array.shape, array.dtype.name) for name, array in found.items()} == {
        "a": ((4,), "int64"),
        "b/bias": ((3,), "float16"),
        "b/kernel": ((2, 3), "float32"),
    }
    assert list(containers.read_hdf5(tmp_path / "w.h5", (2,))) == ["b/kernel"]


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("a", layout)


def nested(file):
    for _ in range(300):
        file = file.create_group("g")


def wide(file):
    for number in range(100):
        file[str(number)] = file["/"]


PLAIN = "chunked, compressed, virtual or in another file"
HOSTILE_HDF5 = {
    "virtual": (virtual, PLAIN),
    "external": (lambda file: file.create_dataset("a", (3,), "f4", external=[("other.h5", 0, 12)]), PLAIN),
    "chunked": (lambda file: file.create_dataset("a", (10**12,), "f4", chunks=(10,)), PLAIN),
    "compressed": (lambda file: file.create_dataset("a", (6 * 10**8,), "f4", compression="gzip", fillvalue=1), PLAIN),
    "external link": (lambda file: file.__setitem__("a", h5py.ExternalLink("other.h5", "x")), "links to other places"),
    "soft link": (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "links to other places"),
    "unallocated": (lambda file: file.create_dataset("a", (25_000_000,), "f4"), "more numbers than it holds"),
    "32 GB": (lambda file: file.create_dataset("a", (8 * 10**9,), "f4"), "more numbers than it holds"),
    "text": (
        lambda file: file.create_dataset("a", data=["x"], dtype=h5py.string_dtype()),
        "does not hold numbers",
    ),
    "nested": (nested, "paths of 512 characters"),
    "a loop": (lambda file: file.__setitem__("a", file["/"]), "paths of 512 characters"),
    "a loop of many ways": (wide, "more than 4096 parts"),
}


@pytest.mark.parametrize(("write", "message"), HOSTILE_HDF5.values(), ids=HOSTILE_HDF5)
def test_an_hdf5_file_is_refused_in_little_memory(write, message, tmp_path, little_memory):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones(3, "f4")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write(file)
    with little_memory(), pytest.raises(WeightsError, match=message):
        containers.read_hdf5(tmp_path / "w.h5", ())


def test_hdf5_datasets_that_share_their_bytes_are_refused(tmp_path):
    """The same dataset under ten names; each would be read."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["0"] = np.ones(2000, "f4")
        for number in range(1, 10):
            file[str(number)] = file["0"]
    with pytest.raises(WeightsError, match="more numbers than it holds"):
        containers.read_hdf5(tmp_path / "w.h5", ())
