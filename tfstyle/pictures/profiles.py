"""Colour profile → sRGB: what an embedded profile is, by its numbers and never by its name."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""A profile's colour space → the mode of the pixels it is for."""


@dataclass(frozen=True)
class Profile:
    """A colour profile that LittleCMS understands.

    Attributes:
        name: its description.
        mode: the mode of 8-bit pixels it is for, as Pillow calls it; empty for other colour spaces.
        handle: the profile itself.
    """

    name: str
    mode: str
    handle: ImageCms.ImageCmsProfile

    def to_srgb(self) -> ImageCms.ImageCmsTransform:
        """The conversion of 8-bit pixels to sRGB.

        Raises:
            ImageCms.PyCMSError: if the profile cannot be used.
        """
        return ImageCms.buildTransform(self.handle, ImageCms.createProfile("sRGB"), self.mode, "RGB")

    def grey_curve(self) -> np.ndarray:
        """What each of the 65536 levels of 16-bit grey is in sRGB, of a profile for grey; float32 in [0, 1].

        Raises:
            ImageCms.PyCMSError: if the profile cannot be used.
        """
        exact = ImageCms.Flags.NOOPTIMIZE  # Else LittleCMS interpolates between a few points.
        transform = ImageCms.buildTransform(self.handle, _grey_srgb(), "I;16", "I;16", flags=exact)
        levels = Image.fromarray(np.arange(1 << 16, dtype=np.uint16)[None])
        return np.divide(np.asarray(transform.apply(levels))[0], 65535, dtype=np.float32)

    def is_srgb(self) -> bool:
        """Whether converting colours to sRGB leaves each within one level of 255."""
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
    """Reads an embedded profile; None if it is damaged."""
    try:
        handle = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = " ".join(ImageCms.getProfileDescription(handle).split()) or "unnamed"
        return Profile(name, _MODES.get(handle.profile.xcolor_space.strip(), ""), handle)
    except Exception:  # ImageCms raises several kinds on a damaged profile.
        return None


def lab() -> Profile:
    """The profile of Lab pixels, which carry none."""
    return Profile("Lab", "LAB", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))


@functools.cache
def _grey_srgb() -> ImageCms.ImageCmsProfile:
    """A profile of grey with sRGB's tone curve: sRGB's own, its space (ICC.1:2022, 7.2.6) and red curve renamed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[16:20] = b"GRAY"
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(data.replace(b"rTRC", b"kTRC"))))


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB profile as constant bytes: LittleCMS stamps the time of making, which is set to a fixed one."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))  # ICC.1:2022, 7.2.8.
    return bytes(data)
