"""Helpers of the picture tests: they write files of any depth, profiles and headers, and check what was read."""

import io
import struct
import zlib

import numpy as np
import png
import pytest
from PIL import Image, ImageCms

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.pictures import decoding


def save(folder, picture, name="p.png", **options):
    """Writes an array or a PIL image with Pillow; returns the path."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(folder / name, **options)
    return folder / name


def write_png(folder, pixels, *, bitdepth, alpha=False, profile=None, **options):
    """Writes a PNG of any depth with an independent library; returns the path."""
    height, width = pixels.shape[:2]
    options = {"greyscale": pixels.ndim == 2} | options
    writer = png.Writer(width, height, alpha=alpha, bitdepth=bitdepth, **options)
    stream = io.BytesIO()
    writer.write(stream, pixels.reshape(height, -1).tolist())
    data = stream.getvalue()
    if profile:
        body = b"iCCP" + b"p\0\0" + zlib.compress(profile)
        data = data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    (folder / "deep.png").write_bytes(data)
    return folder / "deep.png"


def write_tiff(folder, pixels, *, width, height, bits=8, tags=()):
    """Writes a gray TIFF of one strip; `tags` (number, type, count, value) are added or replace others."""
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(pixels))}
    entries |= {number: rest for number, *rest in tags}
    data = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", number, *entries[number]) for number in sorted(entries)) + bytes(4)
    (folder / "own.tiff").write_bytes(data)
    return folder / "own.tiff"


def write_planes(folder, deep, *, compression):
    """Writes a 16-bit color TIFF with three separate planes [3, height, width]."""
    planes = [plane.astype("<u2").tobytes() for plane in deep]
    planes = [zlib.compress(plane) for plane in planes] if compression == 8 else planes
    extra = struct.pack("<3H2x3I3I", 16, 16, 16, *np.cumsum([92, *map(len, planes[:2])]), *map(len, planes))
    tags = [(258, 3, 3, 60), (259, 3, 1, compression), (262, 3, 1, 2), (273, 4, 3, 68), (277, 3, 1, 3)]
    tags += [(279, 4, 3, 80), (284, 3, 1, 2)]
    height, width = deep.shape[1:]
    path = write_tiff(folder, bytes(52) + extra + b"".join(planes), width=width, height=height, tags=tags)
    return path


def png_header(width, height):
    """A tiny PNG whose header declares any size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_header(width, height, progressive=False):
    """A tiny JPEG whose header declares any size."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", progressive=progressive)
    data = bytearray(stream.getvalue())
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def swapped_profile(name="tset"):
    """An sRGB profile whose red and blue primaries are exchanged, so that conversion exchanges the channels."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        data[132 + 12 * i : 136 + 12 * i].decode(): 132 + 12 * i for i in range(struct.unpack(">I", data[128:132])[0])
    }
    red, blue = (bytes(data[tags[name] + 4 : tags[name] + 12]) for name in ("rXYZ", "bXYZ"))
    data[tags["rXYZ"] + 4 : tags["rXYZ"] + 12], data[tags["bXYZ"] + 4 : tags["bXYZ"] + 12] = blue, red
    return bytes(data.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be")))


def linear_gray_profile():
    """A gray profile of linear light: an sRGB profile with another color space and red curve."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    place = data.index(b"rTRC")
    data[place : place + 12] = b"kTRC" + struct.pack(">II", len(data), 12)
    data[16:20] = b"GRAY"
    data += b"curv" + bytes(8)  # A curve of no entries is the identity (ICC.1:2022, 10.6).
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


def assert_pixels(picture, expected, tolerance=0.0):
    """Asserts that a picture has the expected pixels, given in 0-255."""
    assert picture.image.dtype == np.float32
    assert picture.image.shape == (1, *expected.shape)
    np.testing.assert_allclose(picture.image[0] * 255.0, expected, atol=tolerance + 1e-4)


def assert_refused(path, cause, **options):
    """Asserts that both reading and probing refuse a file in one line."""
    for read in (images.read, decoding.probe):
        with pytest.raises(InputError, match=cause) as caught:
            read(path, **options)
        assert "\n" not in str(caught.value)
