"""Reads embedded color profiles and builds their conversions to sRGB. The name of a profile is never trusted."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""Color space of a profile → Pillow's mode of the pixels it applies to."""


@dataclass(frozen=True)
class Profile:
    """A color profile that LittleCMS can read.

    Attributes:
        name: its description.
        mode: Pillow's mode of the 8-bit pixels it applies to; empty for color spaces that are not converted.
        handle: the profile as an object of LittleCMS.
    """

    name: str
    mode: str
    handle: ImageCms.ImageCmsProfile

    def to_srgb(self) -> ImageCms.ImageCmsTransform:
        """Builds the conversion of 8-bit pixels to sRGB.

        Raises:
            ImageCms.PyCMSError: if the profile cannot be used.
        """
        return ImageCms.buildTransform(self.handle, ImageCms.createProfile("sRGB"), self.mode, "RGB")

    def gray_curve(self) -> np.ndarray:
        """Tabulates a gray profile: the sRGB value of each of the 65536 levels of 16-bit gray.

        Returns:
            float32 [65536] in [0, 1].

        Raises:
            ImageCms.PyCMSError: if the profile cannot be used.
        """
        exact = ImageCms.Flags.NOOPTIMIZE  # Otherwise LittleCMS interpolates between a few points.
        transform = ImageCms.buildTransform(self.handle, _gray_srgb(), "I;16", "I;16", flags=exact)
        levels = Image.fromarray(np.arange(1 << 16, dtype=np.uint16)[None])
        curve: np.ndarray = np.divide(np.asarray(transform.apply(levels))[0], 65535, dtype=np.float32)
        return curve

    def is_srgb(self) -> bool:
        """Whether conversion to sRGB changes no color by more than one of 255 levels."""
        if self.mode not in ("RGB", "L"):
            return False
        levels = np.arange(0, 256, 15 if self.mode == "RGB" else 1, dtype=np.uint8)
        grid = (
            np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3) if self.mode == "RGB" else levels[None]
        )
        try:
            converted = self.to_srgb().apply(Image.fromarray(grid))
        except ImageCms.PyCMSError:
            return False
        found = np.asarray(converted).astype(int)
        return bool(np.abs(found - (grid if self.mode == "RGB" else grid[..., None])).max() <= 1)


def read(data: bytes) -> Profile | None:
    """Reads an embedded profile; returns None if it is damaged."""
    try:
        handle = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = " ".join(ImageCms.getProfileDescription(handle).split()) or "unnamed"
        return Profile(name, _MODES.get(handle.profile.xcolor_space.strip(), ""), handle)
    except Exception:  # ImageCms raises several kinds on a damaged profile.
        return None


def lab_profile() -> Profile:
    """Returns the profile of Lab pixels, whose files embed none."""
    return Profile("Lab", "LAB", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))


@functools.cache
def _gray_srgb() -> ImageCms.ImageCmsProfile:
    """Builds a gray profile with the tone curve of sRGB: the sRGB profile with color space and red curve renamed.

    The color space is stored at byte 16 (ICC.1:2022, 7.2.6).
    """
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[16:20] = b"GRAY"
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(data.replace(b"rTRC", b"kTRC"))))


@functools.cache
def srgb_profile() -> bytes:
    """Builds an sRGB profile of constant bytes: the creation time, which LittleCMS writes, is set to a fixed one."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))  # ICC.1:2022, 7.2.8.
    return bytes(data)
