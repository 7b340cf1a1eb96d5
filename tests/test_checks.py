"""Pictures that would take too much memory or time are refused before they are decoded."""

import io

import numpy as np
import pytest
from picture_files import assert_refused, jpeg_header, png_header, save, write_tiff
from PIL import Image

from tfstyle import images
from tfstyle.errors import InputError, MemoryLimitError, SetupError
from tfstyle.pictures import checks, decoding


def test_errors_of_tfstyle_itself_are_not_blamed_on_the_file(tmp_path, monkeypatch):
    path = save(tmp_path, np.zeros((5, 8, 3), "uint8"))
    for raised, expected in ((SetupError("no backend"), SetupError), (MemoryError(), MemoryLimitError)):

        def fail(file, error=raised):
            raise error

        monkeypatch.setattr(checks, "check_png", fail)
        with pytest.raises(expected) as caught:
            images.read(path)
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "long_side", "most"),
    [
        ("camera.jpg", (8688, 5792), 0, None),
        ("camera.jpg", (9504, 6336), 0, None),
        ("camera.jpg", (16384, 12288), 0, 62),
        ("camera.jpg", (16384, 12288), 512, None),
        ("camera.jpg", (30000, 7500), 512, None),
        ("camera.jpg", (20000, 16000), 512, None),
        ("progressive.jpg", (16384, 12288), 512, None),
        ("progressive.jpg", (20000, 16000), 512, 206),
        ("camera.png", (9504, 6336), 0, None),
        ("camera.png", (11648, 8736), 0, 62),
        ("camera.png", (11648, 8736), 512, None),
        ("camera.png", (16384, 12288), 512, 156),
    ],
)
def test_the_limit_follows_from_what_is_needed(name, size, long_side, most, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: 5_000_000_000)
    (tmp_path / name).write_bytes(
        jpeg_header(*size, progressive=name.startswith("progressive")) if name.endswith("jpg") else png_header(*size)
    )
    if most is None:
        assert decoding.probe(tmp_path / name, long_side=long_side) == size
        monkeypatch.setattr(decoding, "_load", lambda *rest: pytest.fail("allowed"))
        with pytest.raises(pytest.fail.Exception, match="allowed"):
            images.read(tmp_path / name, long_side=long_side)
    else:
        limit = f"{size[0]}x{size[1]} is more than the limit of {most} million pixels; "
        assert_refused(
            tmp_path / name, limit + ("reduce" if long_side else "choose a smaller `size`"), long_side=long_side
        )


@pytest.mark.parametrize(
    ("free", "expected"),
    [(None, 1_250_000_000), (2 * 10**9, 1_250_000_000), (8 * 10**9, 2 * 10**9), (64 * 10**9, 4 * 10**9)],
)
def test_a_quarter_of_the_free_memory_is_for_reading(free, expected, monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: free)
    assert checks.memory_for_reading() == expected


@pytest.mark.parametrize("name", ["large.jpg", "large.png"])
def test_200_million_pixels_are_read_whole_where_memory_is_free(name, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda: 16 * 10**9)
    monkeypatch.setattr(decoding, "_load", lambda *rest: pytest.fail("allowed"))
    make = jpeg_header if name.endswith("jpg") else png_header
    (tmp_path / name).write_bytes(make(16000, 12500))
    with pytest.raises(pytest.fail.Exception, match="allowed"):
        images.read(tmp_path / name)
    (tmp_path / name).write_bytes(make(16001, 12500))
    assert_refused(tmp_path / name, "16001x12500 is more than the limit of 200 million pixels; choose a smaller `size`")


def test_a_jpeg_of_many_scans_is_refused(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    monkeypatch.setattr(checks, "MAX_SCANNED_PIXELS", 48 * 32 * 12)
    (tmp_path / "p.jpg").write_bytes(data)
    assert images.read(tmp_path / "p.jpg").image.shape == (1, 32, 48, 3)  # Its own scans are 10.
    (tmp_path / "p.jpg").write_bytes(data[:-2] + 30 * last + data[-2:])
    for long_side in (0, 6):  # Reduced decoding passes over every scan as well.
        with pytest.raises(InputError, match="is a JPEG of 40 scans"):
            images.read(tmp_path / "p.jpg", long_side=long_side)


def test_only_the_scans_of_the_picture_itself_count(rng, tmp_path, monkeypatch):
    """A motion photo has a video after its end; a comment between two scans may contain what looks like an end."""
    monkeypatch.setattr(checks, "MAX_SCANNED_PIXELS", 48 * 32 * 12)
    stream = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(stream, "JPEG", progressive=True)
    data, path = stream.getvalue(), tmp_path / "p.jpg"
    film = rng.bytes(1 << 20)
    assert film.count(b"\xff\xda") > 10
    path.write_bytes(data + film)
    assert images.read(path).image.shape == (1, 32, 48, 3)
    last = data.rindex(b"\xff\xda")
    comment = b"\xff\xfe\0\6\xff\xd9\xff\xd9"
    path.write_bytes(data[:last] + comment + 30 * data[last:-2] + data[-2:] + film)
    refused_when_read = pytest.raises(InputError, match="is a JPEG of 39 scans")
    with refused_when_read:
        images.read(path)


def test_a_tiff_with_tiles_far_larger_than_the_picture_is_refused(tmp_path):
    path = write_tiff(tmp_path, bytes(64), width=8, height=8, tags=[(322, 4, 1, 30000), (323, 4, 1, 30000)])
    assert_refused(path, "30000x30000 is more than the limit")


@pytest.mark.parametrize("size", [(16000, 13000), (50000, 50000)])
def test_a_decompression_bomb_is_refused(size, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match="pixels"):
            read(tmp_path / "bomb.png")
