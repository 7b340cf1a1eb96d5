"""Decodes picture files, PIL images and arrays: depth, color profile, alpha and orientation.

Conversions are listed in `Picture.notes`, lost information in `Picture.warnings`. A file that cannot be read raises an
`InputError` whose message is one line with file, cause and remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageCms

from tfstyle.errors import InputError, MemoryLimitError, TfstyleError
from tfstyle.limits import MAX_EXIF
from tfstyle.pictures import bit_depth, checks, profiles
from tfstyle.pictures.opening import open_picture, path_to_text
from tfstyle.pictures.pixels import Pixels8, Pixels16, base_mode, convert

_ORIENTATION = 0x0112  # Tag of EXIF.
_GIVEN = "the picture given"
_Conversion = TypeVar("_Conversion")


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and facts about its file.

    Attributes:
        image: float32 array [1, height, width, 3], sRGB, in [0, 1], upright. `images.read` composites
            transparent parts on the background.
        alpha: float32 array [1, height, width, 1] in [0, 1], 1 where opaque; None if the whole picture is opaque.
        name: file name without its suffix; "image" for an array or a PIL image.
        format: format of the file as Pillow names it, such as "JPEG"; "PIL" or "array" without a file.
        mode: mode of the file as Pillow names it, such as "CMYK"; the dtype of an array.
        size: (width, height) of the whole picture in pixels, as stored: before it is turned upright or reduced.
        profile: description of the embedded color profile; None if there is none.
        orientation: EXIF orientation of the file, 1 to 8; 1 is upright.
        notes: conversions, one phrase each.
        warnings: losses of information, one sentence each.
        source: the file to which a record of a result refers, from `records.identify`; None for the pixels.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    name: str = "image"
    format: str = "array"
    mode: str = "RGB"
    size: tuple[int, int] = (0, 0)
    profile: str | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    source: Any = None

    @property
    def full_size(self) -> tuple[int, int]:
        """The height and width of the whole picture in pixels, upright, even if it was reduced while it was read."""
        width, height = self.size if all(self.size) else self.image.shape[2:0:-1]
        return (width, height) if self.orientation > 4 else (height, width)


def decode(path: Path, *, long_side: int = 0) -> Picture:
    """Reads a picture file. Color and alpha are returned separately, not composited.

    Args:
        path: the file.
        long_side: length of the longer side that is needed, in pixels. A picture several times as long is reduced
            while it is read, to at least twice that length; 0 reads it whole.

    Returns:
        A `Picture`.

    Raises:
        InputError: if the file cannot be read.
        MemoryLimitError: if memory runs out.
    """
    name = path_to_text(path)
    with _report_errors(name):
        with open_picture(path) as file:
            draft, factor = _split_factor(file, long_side)
            checks.check_memory(file, name, draft=draft, factor=factor)
            facts, pixels, orientation = _load(file, path, draft)
        del file  # The decoders of WebP and AVIF hold memory as long as this object exists.
        return _to_picture(facts, pixels, orientation, factor)


def decode_pil(image: Image.Image, *, long_side: int = 0) -> Picture:
    """Converts a PIL image to a `Picture`, as `decode` does for a file.

    Args:
        image: the PIL image; it is not changed.
        long_side: as for `decode`.

    Returns:
        A `Picture`.

    Raises:
        InputError: if the image cannot be used.
        MemoryLimitError: if memory runs out.
    """
    with _report_errors(_GIVEN):
        factor = _reduction_factor(image.size, long_side)
        checks.check_memory(image, _GIVEN, draft=1, factor=factor)
        return _to_picture(*_load(image, None, 1), factor)


def decode_array(source: Any) -> Picture:
    """Converts an array or tensor to a picture; its range follows from its dtype and is checked, never guessed.

    Args:
        source: [height, width], [height, width, 1, 3 or 4] or [1, height, width, 1, 3 or 4]; uint8, uint16, or float in
            [0, 1].

    Returns:
        A `Picture`; a fourth channel is its alpha.

    Raises:
        InputError: if it has another shape, dtype or range.
    """
    try:
        array = np.asarray(source)
    except Exception as error:  # Any object may arrive, and its conversion may raise anything.
        raise InputError(f"a picture should be a path, an image or an array, not {type(source).__name__}.") from error
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise InputError(f"an image array should be [height, width, 1, 3 or 4]; received shape {np.shape(source)}.")
    if array.dtype in (np.uint8, np.uint16):
        values = np.divide(array, np.iinfo(array.dtype).max, dtype=np.float32)
    elif array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        values = array.astype(np.float32)
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            span = f"{values.min():g} to {values.max():g}"
            raise InputError(f"a float image array should be finite and in [0, 1]; received {span}.")
    else:
        raise InputError(f"an image array should be uint8, uint16 or float; received {array.dtype}.")
    color = np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values[..., :3]
    alpha = values[None, ..., 3:] if values.shape[-1] == 4 else None
    return Picture(color[None], alpha, size=(array.shape[1], array.shape[0]), mode=f"{array.dtype}")


def probe(path: Path, *, long_side: int = 0) -> tuple[int, int]:
    """Reads the size of a picture from its header and checks that it can be read, without decoding pixels.

    Args:
        path: the file.
        long_side: as for `decode`.

    Returns:
        (width, height) in pixels as stored; the EXIF orientation may exchange them.

    Raises:
        InputError: if the file is missing, too large, or not in a supported format.
    """
    name = path_to_text(path)
    with _report_errors(name), open_picture(path) as file:
        draft, factor = _split_factor(file, long_side)
        checks.check_memory(file, name, draft=draft, factor=factor)
        return file.size


@contextmanager
def _report_errors(name: str) -> Iterator[None]:
    """Turns every exception during decoding into a one-line error that begins with the name of the picture."""
    try:
        yield
    except TfstyleError:
        raise
    except MemoryError as error:
        raise MemoryLimitError(f"{name}: memory ran out while it was read; reduce it first.") from error
    except Exception as error:  # Decoders raise exceptions of any kind on damaged files.
        cause = " ".join(str(error).split()) or type(error).__name__
        if "MAX_TEXT_" in cause:  # Pillow's limit for compressed text and profiles in a PNG.
            raise InputError(f"{name}: has a profile or text of more than 1 MB; save it without.") from error
        raise InputError(f"{name}: is damaged or cut short ({cause}); get the file again.") from error


def _reduction_factor(size: tuple[int, int], long_side: int) -> int:
    """Computes the largest factor that reduces a picture to at least twice `long_side`; 1 for no reduction."""
    return max(1, max(size) // (2 * long_side)) if long_side else 1


def _split_factor(file: Image.Image, long_side: int) -> tuple[int, int]:
    """Splits the reduction factor into the part done by the decoder, which only JPEG supports, and the rest."""
    factor = _reduction_factor(file.size, long_side)
    draft = min(8, 1 << (factor.bit_length() - 1)) if file.format in ("JPEG", "MPO") else 1
    return draft, factor // draft


def _read_orientation(file: Image.Image) -> int:
    """Reads the EXIF orientation, 1 to 8; 1 if it is missing or not valid."""
    if len(file.info.get("exif") or b"") > MAX_EXIF:  # Pillow makes a Python object of each number in it.
        return 1
    try:
        value = file.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block raises exceptions of any kind; the picture is still good.
        return 1
    return value if value in range(1, 9) else 1


@dataclass
class _Facts:
    """Facts about a picture apart from its pixels, named like the attributes of `Picture`."""

    name: str
    format: str
    mode: str
    size: tuple[int, int]
    orientation: int = 1
    profile: str | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _load(file: Image.Image, path: Path | None, draft: int) -> tuple[_Facts, Pixels8 | Pixels16, int]:
    """Decodes a picture without turning it upright.

    Args:
        file: the open picture file.
        path: its path; None for a PIL image given by the caller.
        draft: factor by which the decoder reduces each side.

    Returns:
        The facts, the decoded pixels, and the orientation of these pixels.
    """
    name, what = (path.stem, path_to_text(path)) if path else ("image", _GIVEN)
    facts = _Facts(name, file.format or "PIL", file.mode, file.size)
    before = _read_orientation(file) if file.format == "TIFF" else 1  # In other formats EXIF may follow the pixels.
    if facts.mode == "F" or (facts.mode == "I" and facts.format != "PPM"):
        numbers = "32 bits a channel" if facts.mode == "F" else "signed or 32-bit numbers"
        raise InputError(f"{what}: has {numbers}, whose range is not known; save it with 8 or 16 bits a channel.")
    if getattr(file, "is_animated", False) and facts.format != "MPO":
        facts.warnings.append("it holds several frames; only one is used.")
    key = file.info.get("transparency")
    if bit_depth.is_undecoded(file):
        if facts.format in ("JPEG", "MPO"):
            checks.check_scans(file, what)
        elif facts.format == "PNG":
            bits = checks.check_png(file)
            if bits < 8 and isinstance(key, int) and file.mode in ("L", "1"):
                key = key * 255 // (2**bits - 1)  # Pillow scales the pixels, but not the key.
    if draft > 1:
        file.draft(None, (max(1, file.width // draft), max(1, file.height // draft)))
    profile = _read_profile(file, facts)
    planes = bit_depth.tiff_bits(file) > 8 and bit_depth.has_separate_planes(file)
    if planes and file.info.get("compression") == "raw":  # Pillow decodes these wrongly.
        raise InputError(f"{what}: has 16 bits a channel in separate planes; save it interleaved.")
    deep = bit_depth.find_rawmode(file)
    gray = profile is not None and profile.mode == "L" == base_mode(file)  # Gray profiles are exact at any bit depth.
    if deep and profile is not None and profile.mode == "RGB" and not deep.startswith(("I;16", "LA")):
        facts.warnings.append(f"it is read at 8 bits a channel, to convert its profile {profile.name!r} to sRGB.")
        deep = ""
        key = tuple(value >> 8 for value in key) if isinstance(key, tuple) else key  # As Pillow does with the pixels.
    pixels = (_load_16_bits if deep or gray else _load_8_bits)(file, key, profile, facts)
    orientation = _read_orientation(file)
    facts.orientation = max(before, orientation)
    if orientation < before:  # Pillow turns a TIFF picture while it decodes it; it exchanges the sides earlier.
        facts.size = facts.size[::-1] if before > 4 else facts.size
    if facts.orientation != 1:
        facts.notes.append(f"turned upright (orientation {facts.orientation})")
    return facts, pixels, orientation


def _read_profile(file: Image.Image, facts: _Facts) -> profiles.Profile | None:
    """Reads the color profile from which pixels must be converted; None if there is none, or it is sRGB."""
    if file.mode == "LAB":
        return profiles.lab_profile()
    data = file.info.get("icc_profile")
    if not data:
        return None
    profile = profiles.read(data)
    if profile is None:
        facts.warnings.append("its color profile is damaged and was ignored; colors are taken as sRGB.")
        return None
    facts.profile = profile.name
    return None if profile.is_srgb() else profile


def _build_conversion(
    profile: profiles.Profile | None, mode: str, convert: Callable[[profiles.Profile], _Conversion], facts: _Facts
) -> _Conversion | None:
    """Builds the conversion of pixels of a mode from their profile to sRGB; None if no profile can be used."""
    if profile is None:
        return None
    cause = f"is not for {facts.mode}"
    if profile.mode == mode:
        try:
            conversion = convert(profile)
        except ImageCms.PyCMSError:
            cause = "cannot be used"
        else:
            facts.notes.append(f"colors converted from {profile.name} to sRGB")
            return conversion
    facts.warnings.append(f"its color profile {profile.name!r} {cause} and was ignored; colors are taken as sRGB.")
    return None


def _load_16_bits(file: Image.Image, key: Any, profile: profiles.Profile | None, facts: _Facts) -> Pixels16:
    """Decodes a picture of more than 8 bits per channel, or a gray one with a profile."""
    if bit_depth.find_rawmode(file):
        values, largest = bit_depth.read_samples(file)
    else:
        values = np.asarray(file.convert("LA" if file.mode in ("LA", "La") else "L"))
        values, largest = values.reshape(*values.shape[:2], -1), 255
    mode = "L" if values.shape[-1] < 3 else "RGB"
    curve = _build_conversion(profile, mode, profiles.Profile.gray_curve, facts)
    if largest > 255:
        facts.notes.append("16 bits a channel kept")
    return Pixels16(values, largest, key, curve)


def _load_8_bits(file: Image.Image, key: Any, profile: profiles.Profile | None, facts: _Facts) -> Pixels8:
    """Decodes a picture at 8 bits per channel."""
    file.load()
    if bit_depth.tiff_bits(file) > 8:
        facts.warnings.append("16-bit color TIFF of this kind is read at 8 bits a channel.")
    transform = _build_conversion(profile, base_mode(file), profiles.Profile.to_srgb, facts)
    if transform is None and file.mode not in ("RGB", "RGBA", "RGBX"):
        facts.notes.append(f"{file.mode} converted to RGB")
    image = file.copy() if file.format in ("WEBP", "AVIF", "HEIF") else file  # A copy without the decoder's memory.
    return Pixels8(image, key, transform)


def _to_picture(facts: _Facts, pixels: Pixels8 | Pixels16, orientation: int, factor: int) -> Picture:
    """Converts decoded pixels and the facts about them to a `Picture` with separate color and alpha."""
    color, alpha = convert(pixels, factor=factor, orientation=orientation)
    height, width = color.shape[:2]
    if sorted((height, width)) != sorted(facts.size):
        facts.notes.append(f"reduced to {width}x{height} while it was read")
    return Picture(
        image=color[None],
        alpha=None if alpha is None else alpha[None],
        **vars(facts) | {"notes": tuple(facts.notes), "warnings": tuple(facts.warnings)},
    )
