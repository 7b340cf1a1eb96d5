"""Open picture file → its samples of more than 8 bits, and the checks that Pillow leaves undone."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from PIL import Image

from tfstyle.errors import InputError
from tfstyle.limits import MAX_SCANNED_PIXELS

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES = 258, 262, 284
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
"""Marker that begins a segment of a JPEG, or ends it; in coded data, FF is followed by 00 or a restart marker."""
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Byte order of 16-bit samples → the order that makes Pillow, which keeps one byte of two, keep the other one."""


def is_unread(file: Any) -> bool:
    """Whether the file is still there to be decoded, as after `Image.open`."""
    return bool(getattr(file, "tile", None)) and getattr(file, "fp", None) is not None


def tiff_bits(file: Any) -> int:
    """Bits a channel of a TIFF file; 0 for others."""
    return max(getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE, (0,)))


def in_planes(file: Any) -> bool:
    """Whether a TIFF file holds one channel after the other."""
    return getattr(file, "tag_v2", {}).get(_PLANES) == 2


def deep_rawmode(file: Any) -> str:
    """How samples of more than 8 bits a channel that can be kept are stored, as Pillow calls it; empty for others."""
    if file.mode.startswith("I;16"):
        return file.mode
    if not is_unread(file):
        return ""
    tiles = file.tile
    raws = {tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in tiles}
    raw = str(raws.pop()) if len(raws) == 1 else ""
    if file.format == "PPM":
        return "PPM" if tiles[0].codec_name == "ppm" or raw == "I;16B" else ""
    return raw if re.fullmatch(r"LA;16B|RGBA?;16[BLN]", raw) and not in_planes(file) else ""


def deep_samples(file: Any) -> tuple[np.ndarray, int]:
    """Decodes samples of more than 8 bits a channel.

    Args:
        file: a picture of which `deep_rawmode` knows how they are stored.

    Returns:
        Unsigned integers [height, width, channels], and the value that stands for 1.
    """
    raw = deep_rawmode(file)
    if raw == "PPM":
        return _ppm_samples(file)
    if raw.startswith("I;16"):
        samples, largest = np.asarray(file)[..., None], 2 ** (tiff_bits(file) or 16) - 1
        white_is_zero = getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == 0
        return (largest - samples if white_is_zero else samples), largest
    if raw == "LA;16B":
        return np.asarray(_reopened(file, "RGBA")).view(">u2"), 65535
    low = _reopened(file, raw[:-1] + _OTHER_BYTE[raw[-1]])
    file.load()
    samples = np.empty((file.height, file.width, len(file.getbands())), np.uint16)
    for row, values in enumerate(samples):
        box = (0, row, file.width, row + 1)
        np.left_shift(np.asarray(file.crop(box))[0], 8, out=values, dtype=np.uint16)
        values |= np.asarray(low.crop(box))[0]
    return samples, 65535


def _reopened(file: Any, raw: str) -> Image.Image:
    """The same picture decoded with its samples taken for others."""
    again = _fresh(file)
    again.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *(tile.args or ())[1:])) for tile in again.tile
    ]
    again.load()
    return again


def _fresh(file: Any) -> Any:
    """A file that is open, opened again: its plugin is called as `Image.open` calls it."""
    file.fp.seek(0)
    return type(file)(file.fp)


def _ppm_samples(file: Any) -> tuple[np.ndarray, int]:
    """The samples of a binary PPM or PGM, which Pillow would decode one by one in Python."""
    tile = file.tile[0]
    largest = tile.args[1] if tile.codec_name == "ppm" else 65535
    channels = 3 if file.mode == "RGB" else 1
    kind = np.dtype(">u2" if largest > 255 else "u1")
    file.fp.seek(tile.offset)
    data = file.fp.read(file.width * file.height * channels * kind.itemsize)
    return np.frombuffer(data, kind).reshape(file.height, file.width, channels), largest


def count_scans(file: Any) -> int:
    """The scans of a JPEG; what lies behind its end, such as the film of a motion photo, does not count."""
    place = file.fp.tell()
    file.fp.seek(0)
    data, end, scans = file.fp.read(), 0, 0
    file.fp.seek(place)
    while (marker := _MARKER.search(data, end)) and marker[1] != _END_OF_IMAGE:
        scans += marker[1] == _START_OF_SCAN
        end = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def check_scans(file: Any, what: str) -> None:
    """Refuses a JPEG of so many scans that it would take minutes to decode.

    Raises:
        InputError: if it is one.
    """
    scans = count_scans(file)
    if scans * file.width * file.height > MAX_SCANNED_PIXELS:
        remedy = "save it again, not progressive" if scans > 1 else "reduce it first"
        raise InputError(f"{what}: is a JPEG of {scans} scans of {file.width}x{file.height} pixels; {remedy}.")


def check_png(file: Any) -> int:
    """Checks a PNG's pixel data against their checksums, which Pillow ignores.

    Returns:
        Its bits a channel.

    Raises:
        Exception: of several kinds, if they differ.
    """
    _fresh(file).verify()
    file.fp.seek(24)
    return file.fp.read(1)[0]
