"""Encodes pixels as a picture file, with Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tfstyle.errors import OutputError, UsageError
from tfstyle.pictures.profiles import srgb_profile

WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
"""Suffix of an output file → its format, as Pillow names it."""

_BAND = 1 << 20


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Converts values in [0, 1] to 8 bits: clipped and rounded, not truncated.

    A band at a time, so that a large picture is not copied several times in floating point.
    """
    pixels = np.empty(values.shape, np.uint8)
    flat, numbers = values.reshape(-1), pixels.reshape(-1)
    for begin in range(0, flat.size, _BAND):
        band = slice(begin, begin + _BAND)
        numbers[band] = np.rint(np.clip(flat[band], 0.0, 1.0) * 255.0)
    return pixels


def encode(
    pixels: np.ndarray, format: str, *, quality: int = 95, text: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Encodes pixels as a picture file.

    Args:
        pixels: uint8 [height, width, 3 or 4], sRGB.
        format: one of the values of `WRITERS`.
        quality: quality of JPEG, WebP and AVIF, 1 to 100.
        text: keyword → ASCII text, stored in a PNG; other formats hold none.

    Returns:
        The bytes of the file, with an sRGB profile.

    Raises:
        OutputError: if the picture is too large for the format: WebP allows 16383 pixels a side, JPEG 65535.
    """
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if format == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    if format == "PNG":
        options["pnginfo"] = PngInfo()
        for keyword, value in text.items():
            options["pnginfo"].add_text(keyword, value)
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, format, **options)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's writers raise exceptions of several kinds.
        height, width = pixels.shape[:2]
        message = f"{width}x{height} pixels cannot be written as {format} ({error}); use another format."
        raise OutputError(message) from error
    return stream.getvalue()


def check_quality(quality: Any) -> None:
    """Raises UsageError if a quality is not a whole number from 1 to 100."""
    if not isinstance(quality, Integral) or not 1 <= int(quality) <= 100:
        raise UsageError(f"`quality` should be from 1 to 100, a whole number, not {quality!r}.")
