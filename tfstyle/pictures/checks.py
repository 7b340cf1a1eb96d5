"""Checks an open picture file before it is decoded: memory needed, scans of a JPEG, checksums of a PNG."""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

from tfstyle.errors import InputError
from tfstyle.limits import MAX_PICTURE_MEMORY, MAX_SCANNED_PIXELS, MIN_PICTURE_MEMORY
from tfstyle.machine import available_memory
from tfstyle.pictures import bit_depth

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # Tags of a TIFF file.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
"""Marker that begins a segment of a JPEG, or ends the image; in coded data, FF precedes only 00 or a restart marker."""
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"


def check_memory(file: Image.Image, name: str, *, draft: int, factor: int) -> None:
    """Checks that reading a picture takes at most `memory_for_reading` bytes, by an estimate.

    Args:
        file: the open picture file, or a PIL image.
        name: name of the picture, for the message.
        draft: factor by which the decoder reduces each side, 1 for none.
        factor: factor by which each side is reduced after decoding, 1 for none.

    Raises:
        InputError: if reading the picture would take more.
    """
    memory, channel_bytes = memory_for_reading(), 2 if bit_depth.find_rawmode(file) else 1
    if file.format in ("WEBP", "AVIF", "HEIF"):
        loading: float = 20
    elif file.format in ("JPEG", "MPO"):
        loading, coefficients = 4 / draft**2, 2 * len(file.getbands())  # Kept in memory if there are several scans.
        if file.width * file.height * (loading + coefficients) > memory and count_scans(file) > 1:
            loading += coefficients
    else:
        loading = 8 * channel_bytes  # The decoded pixels, and perhaps an equally large strip of the file.
    holding = 4 * channel_bytes / draft**2 + 16 / (draft * factor) ** 2  # The decoded pixels, and the float32 result.
    most = int(memory / max(loading, holding))
    tags = getattr(file, "tag_v2", {})
    sides = ((file.width, _TILE_WIDTH), (file.height, _TILE_LENGTH))
    columns, rows = (-(-side // tags.get(tag, 1)) * tags.get(tag, 1) for side, tag in sides)
    if columns * rows > most:  # The tiles of a TIFF file may reach far beyond the picture.
        remedy = "choose a smaller `size`, or reduce it first" if holding > loading else "reduce it first"
        raise InputError(
            f"{name}: {columns}x{rows} is more than the limit of {most / 1e6:.0f} million pixels; {remedy}."
        )


def memory_for_reading() -> int:
    """Returns how many bytes of memory reading a picture may take: a quarter of what is free, within limits."""
    return min(max((available_memory() or 0) // 4, MIN_PICTURE_MEMORY), MAX_PICTURE_MEMORY)


def count_scans(file: Any) -> int:
    """Counts the scans of a JPEG; data after its end, such as the video of a motion photo, is ignored."""
    position = file.fp.tell()
    file.fp.seek(0)
    data, end, scans = file.fp.read(), 0, 0
    file.fp.seek(position)
    while (marker := _MARKER.search(data, end)) and marker[1] != _END_OF_IMAGE:
        scans += marker[1] == _START_OF_SCAN
        end = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def check_scans(file: Any, name: str) -> None:
    """Checks that a JPEG has so few scans that decoding it takes seconds, not minutes.

    Raises:
        InputError: if scans times pixels exceed `limits.MAX_SCANNED_PIXELS`.
    """
    scans = count_scans(file)
    if scans * file.width * file.height > MAX_SCANNED_PIXELS:
        remedy = "save it again, not progressive" if scans > 1 else "reduce it first"
        raise InputError(f"{name}: is a JPEG of {scans} scans of {file.width}x{file.height} pixels; {remedy}.")


def check_png(file: Any) -> int:
    """Checks the pixel data of a PNG against its checksums, which Pillow ignores while it decodes.

    Returns:
        The number of bits per channel.

    Raises:
        Exception: of several kinds, if a checksum differs.
    """
    bit_depth.reopen(file).verify()
    file.fp.seek(24)  # The bit depth in the header, after its width and height.
    header: bytes = file.fp.read(1)
    return header[0]
