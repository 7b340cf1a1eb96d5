"""What is no picture, or would take the machine, is refused in one line before it is decoded."""

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageFile, TiffImagePlugin
from test_decoding import bomb, saved, write_tiff

from tfstyle import images
from tfstyle.errors import InputError, MemoryLimitError, SetupError
from tfstyle.pictures import decoding, opening, samples


def refused(path, cause, **options):
    """That reading and probing alike refuse a file in one line."""
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match=cause) as caught:
            read(path, **options)
        assert "\n" not in str(caught.value)


def test_a_web_address_is_told_from_a_file():
    refused(
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
    refused(tmp_path / "clip.jpg", "is a video; extract frames first")


def test_what_is_not_a_regular_file_is_refused_without_being_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", opening.Path("/dev/zero")):
        refused(path, "is not a regular file; give a picture file")


def test_odd_names_stay_in_one_line(tmp_path, rng):
    refused(tmp_path / "a\nb\x1b[0m.jpg", "no such file")
    refused(tmp_path / ("n" * 300), "cannot be read .File name too long")
    refused(tmp_path / "a\0b.jpg", "null")
    path = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80.png")
    Image.fromarray(rng.integers(0, 256, size=(5, 8, 3), dtype=np.uint8)).save(path)
    assert images.read(path).image.shape == (1, 5, 8, 3)


def test_errors_of_tfstyle_itself_are_not_blamed_on_the_file(tmp_path, monkeypatch):
    path = saved(tmp_path, np.zeros((5, 8, 3), "uint8"))
    for raised, expected in ((SetupError("no backend"), SetupError), (MemoryError(), MemoryLimitError)):

        def fail(file, error=raised):
            raise error

        monkeypatch.setattr(samples, "check_png", fail)
        with pytest.raises(expected) as caught:
            images.read(path)
        assert "damaged" not in str(caught.value)


def jpeg_header(width, height, progressive=False):
    """A JPEG that says it is large, of which only the header is there."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", progressive=progressive)
    data = bytearray(stream.getvalue())
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


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
    (tmp_path / name).write_bytes(
        jpeg_header(*size, progressive=name.startswith("progressive")) if name.endswith("jpg") else bomb(*size)
    )
    if most is None:
        assert decoding.probe(tmp_path / name, long_side=long_side) == size
        monkeypatch.setattr(decoding, "_loaded", lambda *rest: pytest.fail("allowed"))
        with pytest.raises(pytest.fail.Exception, match="allowed"):
            images.read(tmp_path / name, long_side=long_side)
    else:
        limit = f"{size[0]}x{size[1]} is more than the limit of {most} million pixels; "
        refused(tmp_path / name, limit + ("reduce" if long_side else "choose a smaller `size`"), long_side=long_side)


def test_probing_decodes_nothing(rng, tmp_path, monkeypatch):
    paths = [saved(tmp_path, rng.integers(0, 256, size=(5, 8, 3), dtype=np.uint8), n) for n in ("p.jpg", "p.png")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert [decoding.probe(path) for path in paths] == [(8, 5), (8, 5)]


def test_a_jpeg_of_many_scans_is_refused(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    monkeypatch.setattr(samples, "MAX_SCANNED_PIXELS", 48 * 32 * 12)
    (tmp_path / "p.jpg").write_bytes(data)
    assert images.read(tmp_path / "p.jpg").image.shape == (1, 32, 48, 3)  # Its own scans are 10.
    (tmp_path / "p.jpg").write_bytes(data[:-2] + 30 * last + data[-2:])
    for long_side in (0, 6):  # Reduced decoding passes over every scan as well.
        with pytest.raises(InputError, match="is a JPEG of 40 scans"):
            images.read(tmp_path / "p.jpg", long_side=long_side)


def test_only_the_scans_of_the_picture_itself_count(rng, tmp_path, monkeypatch):
    """A motion photo has a film behind its end; a comment between two scans may hold what looks like an end."""
    monkeypatch.setattr(samples, "MAX_SCANNED_PIXELS", 48 * 32 * 12)
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


@pytest.mark.parametrize("name", ["a.gif", "a.tiff"])
def test_frames_are_not_counted(name, tmp_path, monkeypatch):
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime", "blue")]
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
    for kind in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(kind, "n_frames", property(lambda self: pytest.fail("counted")))
    assert "several frames" in images.read(path).warnings[0]


def test_a_file_of_many_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PICTURE_READS", 500)
    ppm = b"P6\n#" + bytes(1000).replace(b"\0", b"x") + b"\n1 1\n255\nabc"
    chunk = struct.pack(">I", 0) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))
    png = bomb(8, 8)
    jpeg = jpeg_header(8, 8)
    for data in (ppm, png[:33] + 300 * chunk + png[33:], jpeg[:2] + 300 * b"\xff\xfe\0\2" + jpeg[2:]):
        (tmp_path / "p").write_bytes(data)
        refused(tmp_path / "p", "too many parts")


def test_a_jpeg_with_a_long_header_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_JPEG_HEADER", 1 << 18)
    jpeg = jpeg_header(8, 8)
    (tmp_path / "p.jpg").write_bytes(jpeg[:2] + 6 * (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) + jpeg[2:])
    refused(tmp_path / "p.jpg", "too many parts")


@pytest.mark.parametrize("tag", [273, 324])
def test_a_tiff_of_many_strips_or_tiles_is_refused(tag, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_STRIPS", 5)
    path = write_tiff(tmp_path, bytes(40), width=4, height=6, tags=[(tag, 4, 6, 8)])
    refused(path, "has 6 strips or tiles")


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
        refused(path, "has more than 100 numbers in its tags; save it again")


def test_a_huge_exif_block_decides_nothing(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, np.zeros((5, 8, 3), "uint8"), exif=exif)
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


def test_a_tiff_with_tiles_far_larger_than_the_picture_is_refused(tmp_path):
    path = write_tiff(tmp_path, bytes(64), width=8, height=8, tags=[(322, 4, 1, 30000), (323, 4, 1, 30000)])
    refused(path, "30000x30000 is more than the limit")


@pytest.mark.parametrize(("mode", "most"), [("RGB", 16), ("RGBA", 22), ("P", 22), ("I;16", 20)])
def test_reading_takes_little_more_memory_than_its_result(mode, most, rng, tmp_path):
    """NumPy's part, bytes a pixel: 12 for colour, 4 for alpha, and one band of this picture of 2 million pixels."""
    pixels = rng.integers(0, 256, size=(1000, 2000, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., 0].astype("uint16") if mode == "I;16" else pixels).convert(mode)
    path = saved(tmp_path, picture, compress_level=0)
    tracemalloc.start()
    try:
        images.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most * 2e6
