"""Reads the samples of picture files with more than 8 bits per channel, which Pillow would reduce to 8."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from PIL import Image, ImageFile

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION = 258, 262, 284  # Tags of a TIFF file.
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte order of 16-bit samples → the order under which Pillow, which keeps one byte of two, keeps the other byte."""


def is_undecoded(file: Any) -> bool:
    """Whether the pixels of an open picture file have not been decoded yet, as after `Image.open`."""
    return bool(getattr(file, "tile", None)) and getattr(file, "fp", None) is not None


def tiff_bits(file: Any) -> int:
    """Returns the number of bits per channel of a TIFF file, or 0 for other formats."""
    bits: tuple[int, ...] = getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE, (0,))
    return max(bits)


def has_separate_planes(file: Any) -> bool:
    """Whether a TIFF file stores one channel after the other, not interleaved."""
    return getattr(file, "tag_v2", {}).get(_PLANAR_CONFIGURATION) == 2


def find_rawmode(file: Any) -> str:
    """Returns Pillow's raw mode of samples with more than 8 bits per channel; empty if none can be kept."""
    mode: str = file.mode
    if mode.startswith("I;16"):
        return mode
    if not is_undecoded(file):
        return ""
    tiles = file.tile
    raws = {tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in tiles}
    raw = str(raws.pop()) if len(raws) == 1 else ""
    if file.format == "PPM":
        return "PPM" if tiles[0].codec_name == "ppm" or raw == "I;16B" else ""
    return raw if re.fullmatch(r"LA;16B|RGBA?;16[BLN]", raw) and not has_separate_planes(file) else ""


def read_samples(file: Any) -> tuple[np.ndarray, int]:
    """Decodes samples of more than 8 bits per channel.

    Args:
        file: an open picture file for which `find_rawmode` returns a name.

    Returns:
        Unsigned integers [height, width, channels], and the value that represents 1.0.
    """
    raw = find_rawmode(file)
    if raw == "PPM":
        return _read_ppm(file)
    if raw.startswith("I;16"):
        samples, largest = np.asarray(file)[..., None], 2 ** (tiff_bits(file) or 16) - 1
        white_is_zero = getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        return (largest - samples if white_is_zero else samples), largest
    if raw == "LA;16B":
        return np.asarray(_decode_as(file, "RGBA")).view(">u2"), 65535
    low = _decode_as(file, raw[:-1] + _OTHER_BYTE[raw[-1]])
    file.load()
    samples = np.empty((file.height, file.width, len(file.getbands())), np.uint16)
    for row, values in enumerate(samples):
        box = (0, row, file.width, row + 1)
        np.left_shift(np.asarray(file.crop(box))[0], 8, out=values, dtype=np.uint16)
        values |= np.asarray(low.crop(box))[0]
    return samples, 65535


def _decode_as(file: Any, raw: str) -> Image.Image:
    """Decodes the same file again and interprets its samples in another raw mode."""
    again: ImageFile.ImageFile = reopen(file)
    again.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *(tile.args or ())[1:])) for tile in again.tile
    ]
    again.load()
    return again


def reopen(file: Any) -> Any:
    """Opens an open picture file a second time, from the same stream, by calling its plugin as `Image.open` does."""
    file.fp.seek(0)
    return type(file)(file.fp)


def _read_ppm(file: Any) -> tuple[np.ndarray, int]:
    """Reads the samples of a binary PPM or PGM file, which Pillow would decode one by one in Python."""
    tile = file.tile[0]
    largest = tile.args[1] if tile.codec_name == "ppm" else 65535
    channels = 3 if file.mode == "RGB" else 1
    kind = np.dtype(">u2" if largest > 255 else "u1")
    file.fp.seek(tile.offset)
    data = file.fp.read(file.width * file.height * channels * kind.itemsize)
    return np.frombuffer(data, kind).reshape(file.height, file.width, channels), largest
