"""Randomly damaged pictures of every format, with a fixed seed: each is read, or refused in one line."""

import io
import struct

import numpy as np
import png
import pytest
from PIL import Image, ImageCms

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.pictures import decoding

MUTATIONS = 40


def encoded(picture, format, **options):
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def deep_png(pixels):
    stream = io.BytesIO()
    png.Writer(16, 12, greyscale=False, bitdepth=16).write(stream, (pixels.astype("uint16") * 257).reshape(12, -1))
    return stream.getvalue()


@pytest.fixture(scope="module")
def sound():
    """A small file of each kind of picture for which there is separate code."""
    numbers = np.random.default_rng(5)
    pixels = numbers.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    clear = picture.copy()
    clear.putalpha(picture.getchannel(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tiffs = {f"tiff {kind}": encoded(picture, "TIFF", compression=kind, exif=exif) for kind in
             ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")}  # fmt: skip
    return tiffs | {
        "jpeg": encoded(picture, "JPEG", exif=exif, icc_profile=profile),
        "jpeg progressive": encoded(picture, "JPEG", progressive=True),
        "jpeg cmyk": encoded(picture.convert("CMYK"), "JPEG"),
        "mpo": encoded(picture, "MPO", save_all=True, append_images=[picture]),
        "png": encoded(clear, "PNG", exif=exif, icc_profile=profile),
        "png palette": encoded(picture.quantize(8), "PNG", transparency=3),
        "png 16": deep_png(pixels),
        "apng": encoded(picture, "PNG", save_all=True, append_images=[clear.convert("RGB")]),
        "webp": encoded(clear, "WEBP"),
        "webp lossless": encoded(picture, "WEBP", lossless=True, exif=exif),
        "avif": encoded(clear, "AVIF", speed=10),
        "gif": encoded(picture, "GIF", save_all=True, append_images=[clear.convert("RGB")]),
        "bmp": encoded(picture, "BMP"),
        "ppm": encoded(picture, "PPM"),
        "ppm 16": b"P6 16 12 1023\n" + (pixels.astype(">u2") * 4).tobytes(),
        "tiff 16": encoded(Image.fromarray(pixels[..., 0].astype("uint16")), "TIFF"),
        "lab": encoded(Image.new("LAB", (16, 12), (136, 128, 128)), "TIFF"),
    }


def mutated(data, other, numbers):
    """Flips some bits, cuts off the end, inserts a part of another file, or replaces a number by an extreme one."""
    data, kind = bytearray(data), numbers.integers(4)
    place = int(numbers.integers(len(data) if numbers.uniform() < 0.5 else min(len(data), 100)))
    if kind == 0:
        for _ in range(numbers.integers(1, 5)):
            data[numbers.integers(len(data))] ^= 1 << int(numbers.integers(8))
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        length = int(numbers.integers(1, 64))
        start = int(numbers.integers(len(other)))
        data[place : place + length] = other[start : start + length]
    else:
        number = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF][numbers.integers(6)]
        order = "<>"[numbers.integers(2)] + "HI"[number > 0xFFFF or numbers.integers(2)]
        data[place : place + struct.calcsize(order)] = struct.pack(order, number)
    return bytes(data)


@pytest.mark.filterwarnings("ignore:::PIL")
def test_damaged_pictures_are_read_or_refused_in_one_line(sound, tmp_path, capfd):
    numbers = np.random.default_rng(11)
    path, messages = tmp_path / "p", []
    for name, data in sound.items():
        path.write_bytes(data)
        assert images.read(path).image.shape[0] == 1, name
        for _ in range(MUTATIONS):
            path.write_bytes(mutated(data, list(sound.values())[numbers.integers(len(sound))], numbers))
            long_side = int(numbers.integers(0, 6))
            try:
                decoding.probe(path, long_side=long_side)
                picture = images.read(path, long_side=long_side)
            except InputError as error:
                messages.append(str(error))
            else:
                assert np.isfinite(picture.image).all(), name
                assert 0.0 <= picture.image.min() <= picture.image.max() <= 1.0, name
    assert len(messages) > len(sound) * MUTATIONS / 4
    assert [text for text in messages if not text.startswith(f"{path}: ") or len(text.splitlines()) > 1] == []
    assert capfd.readouterr() == ("", "")
