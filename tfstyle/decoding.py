"""Picture file → pixels and alpha: size, format, frame, depth, colour profile, orientation, in this order.

Whatever had to be converted is said in the picture's notes, whatever was lost in its warnings; whatever cannot be read
is one `InputError` with file, cause and remedy. TensorFlow is loaded only for 16-bit PNG, which Pillow reads at 8 bits.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from tfstyle.errors import InputError
from tfstyle.limits import MAX_PICTURE_BYTES, MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM")
"""What is read. EPS, PDF and the like run programs of their own and are not."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_READABLE = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP and PPM are read"
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


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


def decode(path: Path) -> Picture:
    """Reads a picture file; its alpha is beside its colour, not yet composited.

    Raises:
        InputError: if it cannot be read.
    """
    with _reporting(str(path)), _opened(path) as file:
        return _decoded(file, path)


def decode_pil(image: Image.Image) -> Picture:
    """Takes over a PIL image as `decode` does a file.

    Raises:
        InputError: if it cannot be used.
    """
    with _reporting("the picture given"):
        return _decoded(image, None)


def probe(path: Path) -> tuple[int, int]:
    """Checks a file's header without decoding its pixels.

    Returns:
        The two sides in pixels, as stored; a photograph's orientation may exchange them.

    Raises:
        InputError: if the file is missing, too large or of a kind that is not read.
    """
    with _reporting(str(path)), _opened(path) as file:
        return file.size


@contextmanager
def _reporting(what: str) -> Iterator[None]:
    """Turns whatever goes wrong while a picture is decoded into one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; what matters is in the notes.
        try:
            yield
        except InputError:
            raise
        except MemoryError as error:
            raise InputError(f"{what}: does not fit in memory; reduce it first.") from error
        except Exception as error:  # Decoders raise anything at all on damaged files.
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{what}: is damaged or cut short ({cause}); get the file again.") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as a lazy PIL image, after the checks that need no decoding."""
    if not path.is_file():
        cause = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {cause}; give a picture file.")
    try:
        size = path.stat().st_size
        stream = open(path, "rb")  # noqa: SIM115, closed below
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    with stream:
        if size > MAX_PICTURE_BYTES:
            most = MAX_PICTURE_BYTES >> 20
            raise InputError(f"{path}: is {size >> 20} MB; at most {most} MB are read. Reduce it first.")
        with _identified(stream, path) as file:
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise InputError(
                    f"{path}: has {width}x{height} = {width * height / 1e6:.0f} million pixels; "
                    f"at most {MAX_PIXELS // 10**6} million are read. Reduce it first."
                )
            yield file


def _identified(stream: IO[bytes], path: Path) -> Image.Image:
    """Opens a stream by its first bytes, whatever the name says."""
    head = stream.read(12)
    stream.seek(0)
    try:
        return Image.open(stream, formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{path}: has too many pixels; at most {MAX_PIXELS // 10**6} million are read.") from None
    except UnidentifiedImageError:
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
            return _heif(stream, path)
        cause = "is empty" if not head else "is not a picture of a known kind, or is damaged"
        raise InputError(f"{path}: {cause}; {_READABLE}.") from None


def _heif(stream: IO[bytes], path: Path) -> Image.Image:
    """Opens a HEIC picture, where the extra that reads it is installed."""
    if not _register_heif():
        raise InputError(f"{path}: is a HEIC picture; pip install 'tfstyle[heif]' to read it, or save it as JPEG.")
    stream.seek(0)
    return Image.open(stream, formats=["HEIF"])


def _register_heif() -> bool:
    """Makes Pillow read HEIC, where the extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _orientation(file: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it makes no sense."""
    try:
        value = file.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block can raise anything, and decides nothing but this.
        return 1
    return value if value in range(1, 9) else 1


def _decoded(file: Image.Image, path: Path | None) -> Picture:
    """The whole picture, its colour still beside its alpha."""
    lost: list[str] = []
    notes: list[str] = []
    mode, kind, size, orientation = file.mode, file.format or "PIL", file.size, _orientation(file)
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and kind != "MPO":
        lost.append(f"it holds {frames} frames; only the first is used.")
        file.seek(0)
    file.load()
    turn = _orientation(file)  # 1 where Pillow has turned the picture itself while loading: TIFF.
    bits = _bits(file, path)
    if kind == "PNG" and path is not None:
        _mend_png(file, path, bits)
    profile = _open_profile(file, lost)
    if profile is not None and bits == 16 and not profile.is_srgb:
        lost.append(f"its profile {profile.name!r} is converted at 8 bits a channel.")
        bits = 8
    if bits == 16 and kind == "PNG" and path is not None:
        color, alpha = _decode_png16(path)
    elif mode in ("I", "F") or mode.startswith("I;16"):
        color, alpha = _wide_grey(file, kind, path), None
    else:
        if kind == "TIFF" and max(_tiff_bits(file)) > 8:
            lost.append("16-bit colour TIFF is read at 8 bits a channel.")
        color, alpha = _eight_bits(file, profile, notes, lost)
    color, alpha = _turned(color, turn), None if alpha is None else _turned(alpha, turn)
    if orientation != 1:
        notes.append(f"turned upright (orientation {orientation})")
    if bits == 16:
        notes.append("16 bits a channel kept")
    return Picture(
        image=color[None],
        alpha=None if alpha is None else alpha[None],
        name=path.stem if path else "image",
        format=kind,
        mode=mode,
        size=size,
        profile=profile.name if profile else None,
        orientation=orientation,
        notes=tuple(notes),
        warnings=tuple(lost),
    )


def _bits(file: Image.Image, path: Path | None) -> int:
    """Bits a channel: of a PNG file as its header says, else 16 for wide grey and 8 for the rest."""
    if file.format == "PNG" and path is not None:
        with open(path, "rb") as stream:
            return stream.read(25)[24]
    return 16 if file.mode.startswith("I") else 8


def _mend_png(file: Image.Image, path: Path, bits: int) -> None:
    """What Pillow leaves undone: checksums of the pixel data, and the transparent grey of less than 8 bits."""
    with Image.open(path) as again:
        again.verify()
    key = file.info.get("transparency")
    if bits < 8 and isinstance(key, int) and file.mode in ("L", "1"):
        file.info["transparency"] = key * 255 // (2**bits - 1)


def _tiff_bits(file: Image.Image) -> tuple[int, ...]:
    return tuple(getattr(file, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,)))


def _decode_png16(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha of a 16-bit PNG. Pillow would drop to 8 bits."""
    from tfstyle.environment import tf

    pixels = tf.io.decode_png(path.read_bytes(), channels=4, dtype=tf.uint16).numpy()
    values = pixels.astype(np.float32) / 65535.0
    alpha = values[..., 3:]
    return values[..., :3], None if (alpha == 1.0).all() else alpha


def _wide_grey(file: Image.Image, kind: str, path: Path | None) -> np.ndarray:
    """16-bit grey, scaled, not clipped."""
    if file.mode == "F" or (file.mode == "I" and kind not in ("PNG", "PPM")):
        raise InputError(
            f"{path or 'the picture given'}: has 32 bits a channel, whose range is not known; save it with 8 or 16."
        )
    grey = np.asarray(file).astype(np.float32) / 65535.0
    return np.repeat(np.clip(grey, 0.0, 1.0)[..., None], 3, axis=-1)


@dataclass(frozen=True)
class _Profile:
    """An embedded colour profile that LittleCMS understands."""

    handle: ImageCms.ImageCmsProfile
    name: str
    space: str

    @property
    def is_srgb(self) -> bool:
        name = self.name.lower()
        return "srgb" in name and "linear" not in name


def _open_profile(file: Image.Image, lost: list[str]) -> _Profile | None:
    data = file.info.get("icc_profile")
    if not data:
        return None
    try:
        handle = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(handle).strip() or "unnamed"
        return _Profile(handle, name, handle.profile.xcolor_space.strip())
    except Exception:  # ImageCms raises several kinds on a damaged profile.
        lost.append("its colour profile is damaged and was left out; colours are taken as sRGB.")
        return None


def _eight_bits(
    file: Image.Image, profile: _Profile | None, notes: list[str], lost: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha of everything that has up to 8 bits a channel."""
    alpha = None
    if file.has_transparency_data:
        alpha = np.asarray(file.convert("RGBA").getchannel("A")).astype(np.float32)[..., None] / 255.0
        alpha = None if (alpha == 1.0).all() else alpha
    color = _to_srgb(file, profile, notes, lost) if profile or file.mode == "LAB" else None
    if color is None:
        if file.mode not in ("RGB", "RGBA", "RGBX"):
            notes.append(f"{file.mode} converted to RGB")
        color = file.convert("RGBA").convert("RGB") if file.has_transparency_data else file.convert("RGB")
    return np.asarray(color).astype(np.float32) / 255.0, alpha


def _to_srgb(file: Image.Image, profile: _Profile | None, notes: list[str], lost: list[str]) -> Image.Image | None:
    """Colours converted from the embedded profile (or Lab) to sRGB; None where the profile says nothing new."""
    if file.mode == "LAB":
        source, mode, name = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB", "Lab"
    elif profile is None or profile.is_srgb:
        return None
    else:
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}.get(profile.space, "")
        source, name = profile.handle, profile.name
    plain = file.convert("RGBA").convert("RGB") if file.mode in ("P", "PA", "RGBA", "RGBa", "RGBX") else file
    plain = plain.convert("L") if plain.mode in ("1", "LA", "La") else plain
    if plain.mode != mode:
        lost.append(f"its colour profile {name!r} is not for {file.mode} and was left out; colours are taken as sRGB.")
        return None
    try:
        converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError:
        lost.append(f"its colour profile {name!r} cannot be used and was left out; colours are taken as sRGB.")
        return None
    notes.append(f"colours converted from {name} to sRGB")
    return converted


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """[height, width, channels] with an EXIF orientation applied."""
    turned = array.transpose(1, 0, 2) if orientation > 4 else array
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
