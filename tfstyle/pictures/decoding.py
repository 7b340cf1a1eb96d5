"""Picture file → pixels and alpha: size, format, frame, depth, colour profile, orientation, in this order.

Whatever had to be converted is said in the picture's notes, whatever was lost in its warnings; whatever cannot be read
is one `InputError` with file, cause and remedy.
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
from tfstyle.limits import MAX_EXIF, MAX_PICTURE_MEMORY
from tfstyle.pictures import profiles, samples
from tfstyle.pictures.opening import opened, shown
from tfstyle.pictures.pixels import Deep, Plain, assembled, plain_mode

_ORIENTATION = 0x0112
_Conversion = TypeVar("_Conversion")


@dataclass(frozen=True)
class Picture:
    """A picture as it was read.

    Attributes:
        image: float32 [1, height, width, 3], sRGB, in [0, 1], composited on the background.
        alpha: float32 [1, height, width, 1] in [0, 1], 1 where opaque; None for a picture without alpha.
        name: file name without its ending, or "image".
        format, mode, size: of the file as it lay there: "JPEG", "CMYK", (width, height).
        profile: description of its colour profile; None without one.
        orientation: its EXIF orientation, 1 if upright.
        notes: what was converted, one phrase each.
        warnings: what was lost, one sentence each.
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

    @property
    def full_size(self) -> tuple[int, int]:
        """Height and width of the whole picture, upright, even where it was read reduced."""
        width, height = self.size if all(self.size) else self.image.shape[2:0:-1]
        return (width, height) if self.orientation > 4 else (height, width)


def decode(path: Path, *, long_side: int = 0) -> Picture:
    """Reads a picture file; its alpha is beside its colour, not yet composited.

    Args:
        path: the file.
        long_side: length of the longer side that is needed, in pixels. A picture of several times that length is
            reduced while it is read, to no less than twice as long as needed; 0 reads it whole.

    Raises:
        InputError: if it cannot be read.
        MemoryLimitError: if memory runs out.
    """
    with _reporting(shown(path)):
        with opened(path) as file:
            reduction = _reduction(file, long_side)
            _check_memory(file, shown(path), *reduction)
            facts, pixels, turn = _loaded(file, path, reduction[0])
        del file  # Decoders of WebP and AVIF hold memory as long as it lives.
        return _picture(facts, pixels, turn, reduction[1])


def decode_pil(image: Image.Image, *, long_side: int = 0) -> Picture:
    """Takes over a PIL image as `decode` does a file.

    Raises:
        InputError: if it cannot be used.
        MemoryLimitError: if memory runs out.
    """
    with _reporting("the picture given"):
        factor = _factor(image.size, long_side)
        _check_memory(image, "the picture given", 1, factor)
        return _picture(*_loaded(image, None, 1), factor)


def probe(path: Path, *, long_side: int = 0) -> tuple[int, int]:
    """Checks a file's header without decoding its pixels.

    Args:
        path: the file.
        long_side: as for `decode`.

    Returns:
        The two sides in pixels, as stored; a photograph's orientation may exchange them.

    Raises:
        InputError: if the file is missing, too large or of a kind that is not read.
    """
    with _reporting(shown(path)), opened(path) as file:
        _check_memory(file, shown(path), *_reduction(file, long_side))
        return file.size


@contextmanager
def _reporting(what: str) -> Iterator[None]:
    """Turns whatever goes wrong while a picture is decoded into one line."""
    try:
        yield
    except TfstyleError:
        raise
    except MemoryError as error:
        raise MemoryLimitError(f"{what}: memory ran out while it was read; reduce it first.") from error
    except Exception as error:  # Decoders raise anything at all on damaged files.
        cause = " ".join(str(error).split()) or type(error).__name__
        if "MAX_TEXT_" in cause:  # A limit of Pillow's for what is compressed beside a PNG's pixels.
            raise InputError(f"{what}: has a profile or text of more than 1 MB; save it without.") from error
        raise InputError(f"{what}: is damaged or cut short ({cause}); get the file again.") from error


def _factor(size: tuple[int, int], long_side: int) -> int:
    """How many times a picture may be reduced, so that it stays twice as long as is needed."""
    return max(1, max(size) // (2 * long_side)) if long_side else 1


def _reduction(file: Image.Image, long_side: int) -> tuple[int, int]:
    """How many times a picture is reduced by its decoder, as only JPEG's can, and how many times after it."""
    factor = _factor(file.size, long_side)
    draft = min(8, 1 << (factor.bit_length() - 1)) if file.format in ("JPEG", "MPO") else 1
    return draft, factor // draft


def _check_memory(file: Image.Image, what: str, draft: int, factor: int) -> None:
    """Refuses a picture that would take too much memory to read, by bytes for each of its pixels."""
    deep = 2 if samples.deep_rawmode(file) else 1
    if file.format in ("WEBP", "AVIF", "HEIF"):
        loading: float = 20
    elif file.format in ("JPEG", "MPO"):
        loading, coefficients = 4 / draft**2, 2 * len(file.getbands())  # Kept where they come in several scans.
        if file.width * file.height * (loading + coefficients) > MAX_PICTURE_MEMORY and samples.count_scans(file) > 1:
            loading += coefficients
    else:
        loading = 8 * deep  # The decoded pixels, and perhaps a strip of the file as large.
    holding = 4 * deep / draft**2 + 16 / (draft * factor) ** 2  # The decoded pixels, and those returned.
    most = int(MAX_PICTURE_MEMORY / max(loading, holding))
    tags = getattr(file, "tag_v2", {})
    width, height = file.size
    columns, rows = (-(-side // tags.get(tag, 1)) * tags.get(tag, 1) for side, tag in ((width, 322), (height, 323)))
    if columns * rows > most:  # Tiles of a TIFF file may reach far beyond the picture.
        remedy = "choose a smaller `size`, or reduce it first" if holding > loading else "reduce it first"
        raise InputError(
            f"{what}: {columns}x{rows} is more than the limit of {most / 1e6:.0f} million pixels; {remedy}."
        )


def _orientation(file: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it makes no sense."""
    if len(file.info.get("exif") or b"") > MAX_EXIF:  # Pillow makes objects of its numbers.
        return 1
    try:
        value = file.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block can raise anything, and decides nothing but this.
        return 1
    return value if value in range(1, 9) else 1


@dataclass
class _Facts:
    """What there is to say about a picture beside its pixels; the attributes of `Picture` of the same names."""

    name: str
    format: str
    mode: str
    size: tuple[int, int]
    orientation: int = 1
    profile: str | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _loaded(file: Image.Image, path: Path | None, draft: int) -> tuple[_Facts, Deep | Plain, int]:
    """Decodes a picture, its pixels still as they were stored.

    Args:
        file: the picture, opened.
        path: where; None for a PIL image that belongs to somebody else.
        draft: how many times its decoder reduces it.

    Returns:
        The facts, the pixels, and the orientation in which these still lie.
    """
    name, what = (path.stem, shown(path)) if path else ("image", "the picture given")
    facts = _Facts(name, file.format or "PIL", file.mode, file.size)
    before = _orientation(file) if file.format == "TIFF" else 1  # Elsewhere it may stand behind the pixels.
    if facts.mode == "F" or (facts.mode == "I" and facts.format != "PPM"):
        numbers = "32 bits a channel" if facts.mode == "F" else "signed or 32-bit numbers"
        raise InputError(f"{what}: has {numbers}, whose range is not known; save it with 8 or 16 bits a channel.")
    if getattr(file, "is_animated", False) and facts.format != "MPO":
        facts.warnings.append("it holds several frames; only one is used.")
    key = file.info.get("transparency")
    if samples.is_unread(file):
        if facts.format in ("JPEG", "MPO"):
            samples.check_scans(file, what)
        elif facts.format == "PNG":
            bits = samples.check_png(file)
            if bits < 8 and isinstance(key, int) and file.mode in ("L", "1"):
                key = key * 255 // (2**bits - 1)  # Pillow scales the pixels, but not the key.
    if draft > 1:
        file.draft(None, (max(1, file.width // draft), max(1, file.height // draft)))
    profile = _profile(file, facts)
    if samples.tiff_bits(file) > 8 and samples.in_planes(file) and file.info.get("compression") == "raw":
        raise InputError(f"{what}: has 16 bits a channel in separate planes; save it interleaved.")  # Pillow errs.
    deep = samples.deep_rawmode(file)
    grey = profile is not None and profile.mode == "L" == plain_mode(file)  # Its curve is exact, at any depth.
    if deep and profile is not None and profile.mode == "RGB" and not deep.startswith(("I;16", "LA")):
        facts.warnings.append(f"it is read at 8 bits a channel, to convert its profile {profile.name!r} to sRGB.")
        deep = ""
        key = tuple(value >> 8 for value in key) if isinstance(key, tuple) else key  # As Pillow reduces the pixels.
    pixels = _deep(file, key, profile, facts) if deep or grey else _plain(file, key, profile, facts)
    turn = _orientation(file)
    facts.orientation = max(before, turn)
    if turn < before:  # Pillow has turned a TIFF picture while loading it, and said so in its size beforehand.
        facts.size = facts.size[::-1] if before > 4 else facts.size
    if facts.orientation != 1:
        facts.notes.append(f"turned upright (orientation {facts.orientation})")
    return facts, pixels, turn


def _profile(file: Image.Image, facts: _Facts) -> profiles.Profile | None:
    """The colour profile by which pixels are to be converted; None if there is none, or it is sRGB."""
    if file.mode == "LAB":
        return profiles.lab()
    data = file.info.get("icc_profile")
    if not data:
        return None
    profile = profiles.read(data)
    if profile is None:
        facts.warnings.append("its colour profile is damaged and was left out; colours are taken as sRGB.")
        return None
    facts.profile = profile.name
    return None if profile.is_srgb() else profile


def _conversion(
    profile: profiles.Profile | None, mode: str, convert: Callable[[profiles.Profile], _Conversion], facts: _Facts
) -> _Conversion | None:
    """The conversion of pixels of a mode from their profile to sRGB; None if there is none."""
    if profile is None:
        return None
    cause = f"is not for {facts.mode}"
    if profile.mode == mode:
        try:
            conversion = convert(profile)
        except ImageCms.PyCMSError:
            cause = "cannot be used"
        else:
            facts.notes.append(f"colours converted from {profile.name} to sRGB")
            return conversion
    facts.warnings.append(f"its colour profile {profile.name!r} {cause} and was left out; colours are taken as sRGB.")
    return None


def _deep(file: Image.Image, key: Any, profile: profiles.Profile | None, facts: _Facts) -> Deep:
    """Decodes a picture whose depth can be kept, or grey with a profile."""
    if samples.deep_rawmode(file):
        values, largest = samples.deep_samples(file)
    else:
        values = np.asarray(file.convert("LA" if file.mode in ("LA", "La") else "L"))
        values, largest = values.reshape(*values.shape[:2], -1), 255
    mode = "L" if values.shape[-1] < 3 else "RGB"
    curve = _conversion(profile, mode, profiles.Profile.grey_curve, facts)
    if largest > 255:
        facts.notes.append("16 bits a channel kept")
    return Deep(values, largest, key, curve)


def _plain(file: Image.Image, key: Any, profile: profiles.Profile | None, facts: _Facts) -> Plain:
    """Decodes a picture at 8 bits a channel."""
    file.load()
    if samples.tiff_bits(file) > 8:
        facts.warnings.append("16-bit colour TIFF of this kind is read at 8 bits a channel.")
    transform = _conversion(profile, plain_mode(file), profiles.Profile.to_srgb, facts)
    if transform is None and file.mode not in ("RGB", "RGBA", "RGBX"):
        facts.notes.append(f"{file.mode} converted to RGB")
    image = file.copy() if file.format in ("WEBP", "AVIF", "HEIF") else file  # Without the decoder's memory.
    return Plain(image, key, transform)


def _picture(facts: _Facts, pixels: Deep | Plain, turn: int, factor: int) -> Picture:
    """The picture, its colour still beside its alpha."""
    color, alpha = assembled(pixels, factor, turn)
    height, width = color.shape[:2]
    if sorted((height, width)) != sorted(facts.size):
        facts.notes.append(f"reduced to {width}x{height} while it was read")
    return Picture(
        image=color[None],
        alpha=None if alpha is None else alpha[None],
        **vars(facts) | {"notes": tuple(facts.notes), "warnings": tuple(facts.warnings)},
    )
