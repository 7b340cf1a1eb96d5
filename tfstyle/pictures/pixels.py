"""Converts decoded pixels to float32 color and alpha in [0, 1]: sRGB, upright, and reduced if requested.

Pixels are converted in bands of rows, so that little memory is needed beyond the decoded and the returned pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_BAND = 1 << 18
"""Number of pixels converted at a time."""

_BASE_MODES = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK", "LAB": "LAB"}
"""Pillow's mode of pixels → the mode without alpha; any other becomes RGB."""

Band = tuple[np.ndarray, np.ndarray | None]
"""Color [rows, width, 3 or 1] and alpha [rows, width, 1] or None, float32 in [0, 1]."""


@dataclass(frozen=True)
class Pixels8:
    """Decoded pixels of at most 8 bits per channel.

    Attributes:
        image: the pixels as a PIL image.
        key: the transparent color, in the units of the pixels; None leaves it to Pillow.
        transform: conversion of pixels of `base_mode` to sRGB; None if they are sRGB already.
    """

    image: Image.Image
    key: Any = None
    transform: ImageCms.ImageCmsTransform | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel or a transparent color, even if every pixel is opaque."""
        return self.image.has_transparency_data

    def convert_rows(self, top: int, bottom: int) -> Band:
        """Converts the rows from `top` up to but not including `bottom`."""
        rows = self.image.crop((0, top, self.image.width, bottom))
        alpha = None
        if self.has_alpha:
            if self.key is not None:
                rows.info["transparency"] = self.key
            full = rows.convert("RGBA")
            alpha = np.divide(np.asarray(full.getchannel("A"))[..., None], 255, dtype=np.float32)
            rows = rows if base_mode(rows) == "L" else full
        rows = rows.convert("RGB" if self.transform is None else base_mode(rows))
        if self.transform is not None:
            rows = self.transform.apply(rows)
        return np.divide(np.asarray(rows), 255, dtype=np.float32), alpha


def base_mode(image: Image.Image) -> str:
    """Returns Pillow's mode of an image without its alpha and palette: L, CMYK, LAB or RGB."""
    return _BASE_MODES.get(image.mode, "RGB")


@dataclass(frozen=True)
class Pixels16:
    """Decoded pixels of up to 16 bits per channel.

    Attributes:
        samples: unsigned integers [height, width, channels].
        largest: the sample value that represents 1.0.
        key: the transparent color, in the units of the samples; None if there is none.
        curve: float32 [65536], the sRGB value in [0, 1] of each level of 16-bit gray; None if samples are sRGB already.
    """

    samples: np.ndarray
    largest: int
    key: Any = None
    curve: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.samples.shape[1], self.samples.shape[0]

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel or a transparent color, even if every pixel is opaque."""
        return self.samples.shape[-1] in (2, 4) or self.key is not None

    def convert_rows(self, top: int, bottom: int) -> Band:
        """Converts the rows from `top` up to but not including `bottom`."""
        rows = self.samples[top:bottom]
        values = np.minimum(np.divide(rows, self.largest, dtype=np.float32), 1.0)
        alpha = None
        if rows.shape[-1] in (2, 4):
            values, alpha = values[..., :-1], values[..., -1:]
        elif self.key is not None:
            alpha = (rows != self.key).any(axis=-1, keepdims=True).astype(np.float32)
        if self.curve is not None:
            values = self.curve[np.rint(values * 65535.0).astype(np.uint16)]
        return values, alpha


def convert(pixels: Pixels8 | Pixels16, *, factor: int, orientation: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Converts decoded pixels to float32, reduces them and turns them upright.

    Args:
        pixels: the decoded pixels.
        factor: factor by which each side is reduced, a whole number; 1 for none.
        orientation: EXIF orientation of the decoded pixels, 1 to 8.

    Returns:
        Color float32 [height, width, 3], sRGB, and alpha float32 [height, width, 1], both in [0, 1]; alpha is None if
        it is 1 everywhere.
    """
    width, height = pixels.size
    sides = (-(-height // factor), -(-width // factor))
    sides = sides[::-1] if orientation > 4 else sides
    color = np.empty((*sides, 3), np.float32)
    alpha = np.empty((*sides, 1), np.float32) if pixels.has_alpha else None
    step = factor * max(1, _BAND // (width * factor))
    for top in range(0, height, step):
        values, opacity = reduce(pixels.convert_rows(top, min(top + step, height)), factor)
        rows = slice(top // factor, top // factor + len(values))
        _view_as_stored(color, orientation)[rows] = values
        if alpha is not None:
            _view_as_stored(alpha, orientation)[rows] = opacity
    return color, None if alpha is None or (alpha == 1.0).all() else alpha


def reduce(band: Band, factor: int) -> Band:
    """Averages blocks of factor x factor pixels, smaller at the edges; colors are weighted by alpha."""
    color, alpha = band
    if factor == 1:
        return band
    if alpha is None:
        return _average(color, factor), None
    opacity = _average(alpha, factor)
    weighted = _average(color * alpha, factor) / np.maximum(opacity, np.finfo(np.float32).tiny)
    return np.minimum(weighted, 1.0), opacity


def _average(values: np.ndarray, factor: int) -> np.ndarray:
    """Averages blocks of factor x factor entries of [rows, width, channels]."""
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], factor)
        counts = np.diff([*starts, values.shape[axis]]).astype(np.float32)
        values = np.add.reduceat(values, starts, axis=axis) / np.expand_dims(counts, (1 - axis, 2))
    return values


def _view_as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Returns a view of an upright array [height, width, channels] in the row and column order of the file.

    Writing bands through this view turns the picture upright; `PIL.ImageOps.exif_transpose` would need a second copy.
    """
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    return upright.transpose(1, 0, 2) if orientation > 4 else upright
