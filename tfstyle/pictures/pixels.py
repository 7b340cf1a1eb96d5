"""Decoded pixels → colour and alpha: float32 in [0, 1], sRGB, upright, reduced where a small picture is enough.

Pixels are converted in bands of rows, so that memory holds little beside what was decoded and what is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_BAND = 1 << 18
"""Pixels that are converted at a time."""

_PLAIN_MODES = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK", "LAB": "LAB"}

Band = tuple[np.ndarray, np.ndarray | None]
"""Colour [rows, width, 3 or 1] and alpha [rows, width, 1], None where there is none."""


@dataclass(frozen=True)
class Plain:
    """Pixels of up to 8 bits a channel.

    Attributes:
        image: the pixels.
        key: the colour that is transparent, if one is; Pillow's own if None.
        transform: conversion of pixels of `plain_mode` to sRGB; None if they are sRGB.
    """

    image: Image.Image
    key: Any = None
    transform: ImageCms.ImageCmsTransform | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.image.size

    @property
    def has_alpha(self) -> bool:
        """Whether there is alpha, be it opaque."""
        return self.image.has_transparency_data

    def band(self, top: int, bottom: int) -> Band:
        """Converts some rows."""
        rows = self.image.crop((0, top, self.image.width, bottom))
        alpha = None
        if self.has_alpha:
            if self.key is not None:
                rows.info["transparency"] = self.key
            full = rows.convert("RGBA")
            alpha = np.divide(np.asarray(full.getchannel("A"))[..., None], 255, dtype=np.float32)
            rows = rows if plain_mode(rows) == "L" else full
        rows = rows.convert("RGB" if self.transform is None else plain_mode(rows))
        if self.transform is not None:
            rows = self.transform.apply(rows)
        return np.divide(np.asarray(rows), 255, dtype=np.float32), alpha


def plain_mode(image: Image.Image) -> str:
    """The mode of an image without its alpha and palette."""
    return _PLAIN_MODES.get(image.mode, "RGB")


@dataclass(frozen=True)
class Deep:
    """Pixels of more than 8 bits a channel.

    Attributes:
        samples: unsigned integers [height, width, channels].
        largest: the value that stands for 1.
        key: the colour that is transparent; None if none is.
        curve: what each level of 16-bit grey is in sRGB, in [0, 1]; None if samples are sRGB.
    """

    samples: np.ndarray
    largest: int
    key: Any = None
    curve: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.samples.shape[1], self.samples.shape[0]

    @property
    def has_alpha(self) -> bool:
        """Whether there is alpha, be it opaque."""
        return self.samples.shape[-1] in (2, 4) or self.key is not None

    def band(self, top: int, bottom: int) -> Band:
        """Converts some rows."""
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


def assembled(pixels: Plain | Deep, factor: int, orientation: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Converts all rows.

    Args:
        pixels: the decoded pixels.
        factor: how many times they are to be reduced.
        orientation: EXIF orientation in which they lie.

    Returns:
        Colour [height, width, 3] and alpha [height, width, 1], None if it is 1 everywhere.
    """
    width, height = pixels.size
    sides = (-(-height // factor), -(-width // factor))
    sides = sides[::-1] if orientation > 4 else sides
    color = np.empty((*sides, 3), np.float32)
    alpha = np.empty((*sides, 1), np.float32) if pixels.has_alpha else None
    step = factor * max(1, _BAND // (width * factor))
    for top in range(0, height, step):
        values, opacity = reduced(pixels.band(top, min(top + step, height)), factor)
        rows = slice(top // factor, top // factor + len(values))
        _stored(color, orientation)[rows] = values
        if alpha is not None:
            _stored(alpha, orientation)[rows] = opacity
    return color, None if alpha is None or (alpha == 1.0).all() else alpha


def reduced(band: Band, factor: int) -> Band:
    """Averages squares of factor x factor pixels, fewer at the edges; colours are weighted by their alpha."""
    color, alpha = band
    if factor == 1:
        return band
    if alpha is None:
        return _means(color, factor), None
    opacity = _means(alpha, factor)
    weighted = _means(color * alpha, factor) / np.maximum(opacity, np.finfo(np.float32).tiny)
    return np.minimum(weighted, 1.0), opacity


def _means(values: np.ndarray, factor: int) -> np.ndarray:
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], factor)
        counts = np.diff([*starts, values.shape[axis]]).astype(np.float32)
        values = np.add.reduceat(values, starts, axis=axis) / np.expand_dims(counts, (1 - axis, 2))
    return values


def _stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """A view of an upright array [height, width, channels] in which its pixels lie as the file stores them."""
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    return upright.transpose(1, 0, 2) if orientation > 4 else upright
