"""File ⇄ image: read (orientation, profile, depth, alpha), resize, write atomically.

An image is float32 [1, height, width, 3], sRGB, in [0, 1], from `read` to `write`. The decoding itself is `decoding`'s;
TensorFlow is loaded only when an image is resized or handed on.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import mimetypes
import os
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor

from tfstyle import files
from tfstyle.errors import InputError, OutputError, UsageError
from tfstyle.pictures import decoding
from tfstyle.pictures.decoding import Picture
from tfstyle.pictures.profiles import srgb_profile

if TYPE_CHECKING:
    from tfstyle.environment import tf

_log = logging.getLogger("tfstyle")

SAMPLES = Path(__file__).parent / "data" / "samples"
"""The embedded pictures, free to redistribute: three photographs and four paintings."""

WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
"""File ending → format of a picture that is written."""


def read(source: Any, *, background: str = "white", long_side: int = 0) -> Picture:
    """Reads a picture.

    Args:
        source: path of a file; a PIL image; a `Picture`, which is handed on; or an array or tensor [height, width],
            [height, width, 1, 3 or 4] or [1, height, width, …], uint8, uint16, or float in [0, 1].
        background: what shows through transparent parts, a CSS color.
        long_side: length of the longer side that is needed, in pixels: a much larger file is reduced while it is read,
            as `decoding.decode` says; 0 reads it whole.

    Returns:
        A `Picture`, composited on the background.

    Raises:
        InputError: if it cannot be read; one line with file, cause and remedy.
        MemoryLimitError: if memory runs out.
        UsageError: if `background` is not a color, or `long_side` is negative.
    """
    if long_side < 0:
        raise UsageError(f"`long_side` should be at least 0, not {long_side!r}.")
    color = np.array(parse_color(background), np.float32) / 255.0
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, os.PathLike)):
        picture = decoding.decode(Path(source), long_side=long_side)
    elif isinstance(source, Image.Image):
        picture = decoding.decode_pil(source, long_side=long_side)
    else:
        picture = _from_array(source)
    if picture.alpha is None:
        return picture
    for pixels, alpha in zip(picture.image[0], picture.alpha[0], strict=True):  # Row by row, to spare memory.
        pixels *= alpha
        pixels += color * (1.0 - alpha)
    return dataclasses.replace(picture, notes=(*picture.notes, "alpha composited on the background"))


def read_and_log(source: Any, *, background: str = "white", long_side: int = 0) -> Picture:
    """Reads a picture, as `read`, and logs what was converted and what was lost."""
    picture = read(source, background=background, long_side=long_side)
    what = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the picture given"
    for note in picture.notes:
        _log.info("%s: %s.", what, note)
    for warning in picture.warnings:
        _log.warning("%s: %s", what, warning)
    return picture


def readable(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The pictures in a folder, in the order of their names; what cannot be read is named in the log and passed over.

    Yields:
        Path and sides, as `decoding.probe` tells them; a picture may be so large that it can be read only reduced.

    Raises:
        InputError: if it is no folder, or one that cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise InputError(f"{folder}: is not a folder that can be read ({error.strerror}).") from error
    for path in paths:
        try:
            yield path, decoding.probe(path, long_side=1)
        except InputError as error:
            kind = mimetypes.guess_type(path.name)[0] or "image"
            _log.warning("passed over %s", error if kind.startswith("image") else f"{path}: is not a picture.")


def parse_color(text: str) -> tuple[int, int, int]:
    """A CSS color ("white", "#ff8800", "rgb(0, 20, 80)") as three numbers from 0 to 255.

    Raises:
        UsageError: if it is not a color.
    """
    try:
        return ImageColor.getrgb(text)[:3]
    except (ValueError, TypeError, AttributeError):
        raise UsageError(f"`background` should be a color such as white or #203040, not {text!r}.") from None


def _from_array(source: Any) -> Picture:
    """An array or tensor as a picture, its range checked, never guessed."""
    try:
        array = np.asarray(source)
    except Exception as error:  # Anything may be passed, and refuse in its own way.
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


def as_image(value: Any, name: str) -> tf.Tensor:
    """Checks an image that a caller holds.

    Args:
        value: what should be a float32 [1, height, width, 3].
        name: of the argument.

    Returns:
        It, as a tensor.

    Raises:
        UsageError: if it is something else.
    """
    from tfstyle.environment import tf

    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or dtype != tf.float32:
        found = type(value).__name__ if shape is None else f"{getattr(dtype, 'name', dtype)} {list(shape)}"
        raise UsageError(
            f"`{name}` should be float32 [1, height, width, 3] in [0, 1], as tfstyle.read(path).image is; received "
            f"{found}."
        )
    return tf.convert_to_tensor(value)


def fitted_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """The size of the same shape whose longer side is `long_side`, each side at least one pixel.

    Returns:
        (height, width).
    """
    factor = long_side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(image: Any, height: int, width: int) -> tf.Tensor:
    """Resizes an image, antialiased (bicubic).

    Args:
        image: float32 [batch, height, width, channels] in [0, 1].
        height, width: size wanted, in pixels.

    Returns:
        float32 tensor [batch, height, width, channels] in [0, 1]: the filter's overshoot at edges is cut off.
    """
    from tfstyle.environment import tf

    image = tf.convert_to_tensor(image, tf.float32)
    if tuple(image.shape[1:3]) == (height, width):
        return image
    return tf.clip_by_value(tf.image.resize(image, (height, width), "bicubic", antialias=True), 0.0, 1.0)


def fit(image: Any, long_side: int) -> tf.Tensor:
    """Resizes an image, as `resize`, so that its longer side is `long_side` pixels."""
    height, width = image.shape[1:3]
    return resize(image, *fitted_size(height, width, long_side))


def write(
    image: Any, path: str | os.PathLike, *, alpha: Any = None, quality: int = 95, overwrite: bool = False
) -> Path:
    """Writes an image, whole or not at all.

    The file appears under its name only when it is complete. It carries an sRGB profile and nothing of the
    photograph's metadata; equal images give equal bytes.

    Args:
        image: float [1, height, width, 3] or [height, width, 3] in [0, 1], or a `Picture`; values outside are cut
            off. Rounded to 8 bits, not truncated.
        path: where to; its ending says the format.
        alpha: float [1, height, width, 1] or [height, width, 1] in [0, 1], kept in the file; not for JPEG.
        quality: of JPEG, WebP and AVIF, 1 to 100; JPEG keeps full color resolution (4:4:4).
        overwrite: replace a file that is there; a symbolic link stays, and the file it points to is replaced.

    Returns:
        The path.

    Raises:
        OutputError: if the file exists, cannot be written, or its format cannot hold what is asked.
        UsageError: if the image or its alpha has another shape or type, or `quality` is another number.
        InputError: if the image holds numbers that are not finite.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite, alpha=alpha is not None, quality=quality)
    data = encode(_pixels(image, alpha), WRITERS[path.suffix.lower()], quality=quality)
    files.save_atomically(path, data, overwrite=overwrite)
    return path


def write_result(
    image: Any, output: str | os.PathLike, *, alpha: Any = None, quality: int = 95, overwrite: bool = False
) -> Path:
    """Writes the image of a run, as `write`, but never loses it.

    If its name was taken meanwhile, it is saved under the next free one (result-2.png); if the folder or the disk is
    gone or full, in the working folder, else in the system's temporary one; if its format cannot hold it, as PNG.

    Args:
        image, alpha, quality, overwrite: as for `write`.
        output: where to, already checked with `check_output`; a `files.FreeName` takes the next free name itself.

    Returns:
        Where it is.

    Raises:
        OutputError: if it had to be saved elsewhere, which the message names.
        UsageError, InputError: as `write`.
    """
    path, pixels = Path(output), _pixels(image, alpha)
    try:
        data = encode(pixels, WRITERS[path.suffix.lower()], quality=quality)
    except OutputError as error:
        reason = f"{path}: {str(error).rpartition(';')[0]}"
        files.rescue(path.with_suffix(".png"), encode(pixels, "PNG"), reason)
    return files.save_result(output, data, overwrite=overwrite)


def _pixels(image: Any, alpha: Any) -> np.ndarray:
    """An image and its alpha as uint8 [height, width, 3 or 4]."""
    image = image.image if isinstance(image, Picture) else image
    pixels = _checked_array("an image to be written", image, channels=3)
    if alpha is not None:
        covered = _checked_array("its alpha", alpha, channels=1)
        if covered.shape[:2] != pixels.shape[:2]:
            sizes = " and ".join(f"{array.shape[1]}x{array.shape[0]}" for array in (pixels, covered))
            raise UsageError(f"an image and its alpha should have one size; received {sizes}.")
        pixels = np.concatenate([pixels, covered], axis=-1)
    if not np.isfinite(pixels).all():
        raise InputError("an image with numbers that are not finite is not written.")
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)


def _checked_array(name: str, values: Any, *, channels: int) -> np.ndarray:
    """One image as float32 [height, width, channels], its shape and type checked."""
    array = np.asarray(values)
    shape = array.shape[1:] if array.ndim == 4 and len(array) == 1 else array.shape
    if len(shape) != 3 or shape[2] != channels or 0 in shape:
        wanted = f"[1, height, width, {channels}] or [height, width, {channels}]"
        raise UsageError(f"{name} should have the shape {wanted}; received {list(array.shape)}.")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise UsageError(f"{name} should hold floats in [0, 1]; received {array.dtype}.")
    return array.reshape(shape).astype(np.float32)


def encode(pixels: np.ndarray, format: str, *, quality: int = 95) -> bytes:
    """The bytes of a picture file.

    Args:
        pixels: uint8 [height, width, 3 or 4], sRGB.
        format: one of the values of `WRITERS`.
        quality: of JPEG, WebP and AVIF, 1 to 100.

    Returns:
        The file, sRGB profile included.

    Raises:
        OutputError: if the format cannot hold it: WebP has at most 16383 pixels on a side, JPEG 65535.
    """
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if format == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, format, **options)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's writers raise several kinds.
        height, width = pixels.shape[:2]
        raise OutputError(f"{width}x{height} pixels cannot be written as {format} ({error}); use another.") from error
    return stream.getvalue()


def check_quality(quality: Any) -> None:
    """Raises UsageError for a quality that no format knows."""
    if not isinstance(quality, Integral) or not 1 <= int(quality) <= 100:
        raise UsageError(f"`quality` should be from 1 to 100, a whole number, not {quality!r}.")


def check_output(path: str | os.PathLike, *, overwrite: bool = False, alpha: bool = False, quality: int = 95) -> None:
    """Refuses early what could not be written as a picture.

    Raises:
        UsageError: if `quality` is no whole number from 1 to 100.
        OutputError: if the ending is unknown, the folder missing or not writable, the file there and `overwrite` not
            given, or the format without alpha where alpha is to be kept.
    """
    path = Path(path)
    check_quality(quality)
    if alpha and WRITERS.get(path.suffix.lower()) == "JPEG":
        raise OutputError(f"{path}: JPEG holds no alpha; use .png, .webp, .tiff or .avif, or leave out `keep_alpha`.")
    files.check_file(path, WRITERS, overwrite=overwrite)
