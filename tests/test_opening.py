"""Files that are not pictures, or whose headers would take minutes to read, are refused in one line."""

import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from picture_files import assert_refused, jpeg_header, png_header, save, write_tiff
from PIL import GifImagePlugin, Image, ImageFile, TiffImagePlugin

from tfstyle import images
from tfstyle.pictures import decoding, opening


def test_a_web_address_is_told_from_a_file():
    assert_refused(
        opening.Path("https://example.org/a.jpg"), r"^https://example.org/a.jpg: is a web address; download it first\.$"
    )


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"RIFF\0\0\0\0AVI LIST",
        b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81",
    ],
    ids=["mp4", "mov", "old mov", "avi", "mkv"],
)
def test_a_video_is_told_from_a_damaged_picture(head, tmp_path):
    (tmp_path / "clip.jpg").write_bytes(head + bytes(100))
    assert_refused(tmp_path / "clip.jpg", "is a video; extract frames first")


def test_what_is_not_a_regular_file_is_refused_without_being_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", opening.Path("/dev/zero")):
        assert_refused(path, "is not a regular file; give a picture file")


def test_odd_names_stay_in_one_line(tmp_path, rng):
    assert_refused(tmp_path / "a\nb\x1b[0m.jpg", "no such file")
    assert_refused(tmp_path / ("n" * 300), "cannot be read .File name too long")
    assert_refused(tmp_path / "a\0b.jpg", "null")
    path = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80.png")
    Image.fromarray(rng.integers(0, 256, size=(5, 8, 3), dtype=np.uint8)).save(path)
    assert images.read(path).image.shape == (1, 5, 8, 3)


def test_probing_decodes_nothing(rng, tmp_path, monkeypatch):
    paths = [save(tmp_path, rng.integers(0, 256, size=(5, 8, 3), dtype=np.uint8), n) for n in ("p.jpg", "p.png")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert [decoding.probe(path) for path in paths] == [(8, 5), (8, 5)]


@pytest.mark.parametrize("name", ["a.gif", "a.tiff"])
def test_frames_are_not_counted(name, tmp_path, monkeypatch):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    path = save(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    for kind in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(kind, "n_frames", property(lambda self: pytest.fail("counted")))
    assert "several frames" in images.read(path).warnings[0]


def test_a_file_of_many_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PICTURE_READS", 500)
    ppm = b"P6\n#" + bytes(1000).replace(b"\0", b"x") + b"\n1 1\n255\nabc"
    chunk = struct.pack(">I", 0) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))
    png = png_header(8, 8)
    jpeg = jpeg_header(8, 8)
    for data in (ppm, png[:33] + 300 * chunk + png[33:], jpeg[:2] + 300 * b"\xff\xfe\0\2" + jpeg[2:]):
        (tmp_path / "p").write_bytes(data)
        assert_refused(tmp_path / "p", "too many parts")


def test_a_jpeg_with_a_long_header_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_JPEG_HEADER", 1 << 18)
    jpeg = jpeg_header(8, 8)
    (tmp_path / "p.jpg").write_bytes(jpeg[:2] + 6 * (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) + jpeg[2:])
    assert_refused(tmp_path / "p.jpg", "too many parts")


@pytest.mark.parametrize("tag", [273, 324])
def test_a_tiff_of_many_strips_or_tiles_is_refused(tag, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_STRIPS", 5)
    path = write_tiff(tmp_path, bytes(40), width=4, height=6, tags=[(tag, 4, 6, 8)])
    assert_refused(path, "has 6 strips or tiles")


@pytest.mark.parametrize("pointer", [0, 34665, 34853, 40965])
@pytest.mark.parametrize(("kind", "allowed"), [(3, False), (4, False), (12, False), (1, True), (7, True)])
def test_a_tiff_of_many_numbers_in_its_tags_is_refused(pointer, kind, allowed, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_TAG_NUMBERS", 100)
    if pointer:  # A directory of one tag behind the pixels, whose own pointer goes round in a circle.
        inner = struct.pack("<HHHIIHHII", 2, 1000, kind, 200, 8, pointer, 4, 1, 8 + 1800) + bytes(4)
        tags = [(pointer, 4, 1, 8 + 1800)]
    else:
        inner, tags = b"", [(1000, kind, 200, 8)]
    path = write_tiff(tmp_path, bytes(1800) + inner, width=60, height=30, tags=tags)
    if allowed:
        assert images.read(path).image.shape == (1, 30, 60, 3)
    else:
        assert_refused(path, "has more than 100 numbers in its tags; save it again")


def test_a_huge_exif_block_decides_nothing(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, np.zeros((5, 8, 3), "uint8"), exif=exif)
    assert images.read(path).orientation == 6
    monkeypatch.setattr(decoding, "MAX_EXIF", 8)
    assert images.read(path).orientation == 1


def test_a_bmp_of_many_runs_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PICTURE_READS", 100)
    rows = b"".join(bytes([1, n % 2]) for n in range(600))
    data = b"".join(rows[60 * row : 60 * row + 60] + b"\0\0" for row in range(20)) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 30, 20, 1, 8, 1, len(data), 0, 0, 2, 0) + bytes(4) + b"\xff\xff\xff\0"
    (tmp_path / "p.bmp").write_bytes(struct.pack("<2sIII", b"BM", 62 + len(data), 0, 62) + header + data)
    picture = images.read(tmp_path / "p.bmp")
    np.testing.assert_array_equal(picture.image[0, 3, :4, 0], [0, 1, 0, 1])


@pytest.mark.parametrize(("mode", "most"), [("RGB", 16), ("RGBA", 22), ("P", 22), ("I;16", 20)])
def test_reading_takes_little_more_memory_than_its_result(mode, most, rng, tmp_path):
    """Memory of NumPy in bytes a pixel: 12 for color, 4 for alpha, and one band of this picture of 2 million pixels."""
    pixels = rng.integers(0, 256, size=(1000, 2000, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., 0].astype("uint16") if mode == "I;16" else pixels).convert(mode)
    path = save(tmp_path, picture, compress_level=0)
    tracemalloc.start()
    try:
        images.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * 2e6
