"""Reads pictures (`pictures.decoding` decodes them), resizes images, and writes them to files atomically.

An image is float32 [1, height, width, 3], sRGB, in [0, 1], everywhere between `read` and `write`. TensorFlow is loaded
only when an image is resized or becomes a tensor.
"""

from __future__ import annotations

import dataclasses
import logging
import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor

from tfstyle import files
from tfstyle.errors import InputError, OutputError, UsageError
from tfstyle.pictures import decoding
from tfstyle.pictures.decoding import Picture
from tfstyle.pictures.encoding import WRITERS, check_quality, encode, to_uint8
from tfstyle.tensors import sides

if TYPE_CHECKING:
    from tfstyle.environment import tf

_log = logging.getLogger("tfstyle")

SAMPLES = Path(__file__).parent / "data" / "samples"
"""Folder of the sample pictures in the package, free to redistribute; three photographs and four paintings."""


_SUFFIX = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|tiff?|avif|hei[cf]|gif|bmp|dib|p[pgbn]m)", re.IGNORECASE)
"""Suffix of a format that is read."""


def read(source: Any, *, background: str = "white", long_side: int = 0) -> Picture:
    """Reads a picture.

    Args:
        source: path of a file; a PIL image; an array or tensor [height, width], [height, width, 1, 3 or 4] or
            [1, height, width, 1, 3 or 4], uint8, uint16, or float in [0, 1]; or a `Picture`, which is returned
            unchanged.
        background: CSS color that shows through transparent parts.
        long_side: length of the longer side that is needed, in pixels. A picture several times as long is reduced
            while it is read, to at least twice that length; 0 reads it whole.

    Returns:
        A `Picture`, composited on the background.

    Raises:
        InputError: if the source cannot be read; the message is one line with file, cause and remedy.
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
        picture = decoding.decode_array(source)
    if picture.alpha is None:
        return picture
    for pixels, alpha in zip(picture.image[0], picture.alpha[0], strict=True):  # Row by row, to save memory.
        pixels *= alpha
        pixels += color * (1.0 - alpha)
    return dataclasses.replace(picture, notes=(*picture.notes, "alpha composited on the background"))


def read_and_log(source: Any, *, background: str = "white", long_side: int = 0) -> Picture:
    """Reads a picture like `read`, and logs its notes (level INFO) and warnings (level WARNING)."""
    picture = read(source, background=background, long_side=long_side)
    what = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the picture given"
    for note in picture.notes:
        _log.info("%s: %s.", what, note)
    for warning in picture.warnings:
        _log.warning("%s: %s", what, warning)
    return picture


def find_pictures(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Finds the pictures in a folder, sorted by name; files that cannot be read are logged and skipped.

    Yields:
        Path and (width, height) as stored, from `decoding.probe`. A very large picture may be readable only if reduced.

    Raises:
        InputError: if the folder does not exist or cannot be read.
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


def is_picture(path: Path) -> bool:
    """Returns whether a file is a picture by its name, even if it is damaged, or can be read as one."""
    if _SUFFIX.fullmatch(path.suffix):
        return True
    try:
        decoding.probe(path, long_side=1)
    except InputError:
        return False
    return True


def parse_color(text: str, *, name: str = "background") -> tuple[int, int, int]:
    """Parses a CSS color, such as "white", "#ff8800" or "rgb(0, 20, 80)".

    Args:
        text: the color.
        name: name of the caller's argument, for the message.

    Returns:
        Red, green and blue from 0 to 255.

    Raises:
        UsageError: if the text is not a color.
    """
    try:
        return ImageColor.getrgb(text)[:3]
    except (ValueError, TypeError, AttributeError):
        raise UsageError(f"`{name}` should be a color such as white or #203040, not {text!r}.") from None


def reduce(image: Any, long_side: int, *, short_side: int) -> Any:
    """Reduces an image to a length of the long side, or to a greater one that leaves the short side as long as asked.

    Args:
        image: float32 [1, height, width, channels]; a smaller one is returned as it is.
        long_side, short_side: lengths in pixels.
    """
    long, short = max(sides(image)), min(sides(image))
    return fit(image, min(long, max(long_side, round(short_side * long / short))))


def as_image(value: Any, name: str) -> tf.Tensor:
    """Checks an image and converts it to a tensor.

    Args:
        value: array or tensor, float32 [1, height, width, 3].
        name: name of the caller's argument, for the message.

    Returns:
        The image as a tensor.

    Raises:
        UsageError: if `value` has another shape or dtype.
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


def fit_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Computes the size with the same aspect ratio whose longer side is `long_side`.

    Args:
        height, width: current size, in pixels.
        long_side: new length of the longer side, in pixels.

    Returns:
        (height, width), each at least 1.
    """
    factor = long_side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize(image: Any, height: int, width: int) -> tf.Tensor:
    """Resizes an image with an antialiased bicubic filter.

    Args:
        image: float32 [batch, height, width, channels] in [0, 1].
        height, width: new size, in pixels.

    Returns:
        float32 tensor [batch, height, width, channels] in [0, 1]; the overshoot of the filter at edges is clipped.
    """
    from tfstyle.environment import tf

    given = tf.convert_to_tensor(image, tf.float32)
    if sides(given) == (height, width):
        return given
    clipped: tf.Tensor = tf.clip_by_value(tf.image.resize(given, (height, width), "bicubic", antialias=True), 0.0, 1.0)
    return clipped


def fit(image: Any, long_side: int) -> tf.Tensor:
    """Resizes an image like `resize`, so that its longer side is `long_side` pixels."""
    height, width = sides(image)
    return resize(image, *fit_size(height, width, long_side))


def write(
    image: Any, path: str | os.PathLike, *, alpha: Any = None, quality: int = 95, overwrite: bool = False
) -> Path:
    """Writes an image to a file atomically.

    The file appears under its name only when it is complete. It contains an sRGB profile and no metadata of the content
    image. Equal images give equal bytes.

    Args:
        image: float [1, height, width, 3] or [height, width, 3] in [0, 1], or a `Picture`; values outside are
            clipped. Values are rounded, not truncated, to 8 bits.
        path: path of the file; its suffix determines the format.
        alpha: float [1, height, width, 1] or [height, width, 1] in [0, 1], stored in the file; None for an opaque
            image. JPEG cannot store it.
        quality: quality of JPEG, WebP and AVIF, 1 to 100. JPEG and AVIF keep full color resolution (4:4:4).
        overwrite: whether to replace an existing file; for a symbolic link, the file it points to is replaced.

    Returns:
        The path.

    Raises:
        OutputError: if the file exists or cannot be written, or its format cannot store alpha or so large an image.
        UsageError: if the image or its alpha has another shape or dtype, or `quality` is out of range.
        InputError: if the image has values that are not finite.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite, alpha=alpha is not None, quality=quality)
    data = encode(_to_pixels(image, alpha), WRITERS[path.suffix.lower()], quality=quality)
    files.save_atomically(path, data, overwrite=overwrite)
    return path


def write_result(
    image: Any,
    output: str | os.PathLike,
    *,
    alpha: Any = None,
    quality: int = 95,
    text: Mapping[str, str] = MappingProxyType({}),
    overwrite: bool = False,
) -> Path:
    """Writes the result of a run like `write`, but saves it elsewhere if its path cannot be written.

    If a file of that name has appeared since, the next free name is used (result-2.png). If the folder no longer exists
    or the disk is full, the working folder is used, then the system's temporary folder. If the format cannot store the
    image, it is saved as PNG.

    Args:
        image, alpha, quality, overwrite: as for `write`.
        output: path, already checked with `check_output`; a `files.FreeName` chooses the next free name itself.
        text: as for `encode`.

    Returns:
        The path of the file.

    Raises:
        OutputError: if it was saved elsewhere; the message says where.
        UsageError, InputError: as for `write`.
    """
    path, pixels = Path(output), _to_pixels(image, alpha)
    try:
        data = encode(pixels, WRITERS[path.suffix.lower()], quality=quality, text=text)
    except OutputError as error:
        reason = f"{path}: {str(error).rpartition(';')[0]}"
        files.rescue(path.with_suffix(".png"), encode(pixels, "PNG", text=text), reason)
    return files.save_result(output, data, overwrite=overwrite)


def _to_pixels(image: Any, alpha: Any) -> np.ndarray:
    """Converts an image and its alpha to uint8 [height, width, 3 or 4]."""
    image = image.image if isinstance(image, Picture) else image
    pixels = _check_array("an image to be written", image, channels=3)
    if alpha is not None:
        covered = _check_array("its alpha", alpha, channels=1)
        if covered.shape[:2] != pixels.shape[:2]:
            sizes = " and ".join(f"{array.shape[1]}x{array.shape[0]}" for array in (pixels, covered))
            raise UsageError(f"an image and its alpha should have one size; received {sizes}.")
        pixels = np.concatenate([pixels, covered], axis=-1)
    if pixels.size and not np.isfinite([pixels.min(), pixels.max()]).all():  # Both are NaN if a value is.
        raise InputError("an image to be written should be finite; received NaN or infinite values.")
    return to_uint8(pixels)


def _check_array(name: str, values: Any, *, channels: int) -> np.ndarray:
    """Checks shape and dtype of one image and converts it to float32 [height, width, channels]."""
    array = np.asarray(values)
    shape = array.shape[1:] if array.ndim == 4 and len(array) == 1 else array.shape
    if len(shape) != 3 or shape[2] != channels or 0 in shape:
        wanted = f"[1, height, width, {channels}] or [height, width, {channels}]"
        raise UsageError(f"{name} should have the shape {wanted}; received {list(array.shape)}.")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise UsageError(f"{name} should hold floats in [0, 1]; received {array.dtype}.")
    return array.reshape(shape).astype(np.float32, copy=False)


def check_output(path: str | os.PathLike, *, overwrite: bool = False, alpha: bool = False, quality: int = 95) -> None:
    """Checks early, before any work is done, that a picture can be written.

    Args:
        path, overwrite, quality: as for `write`.
        alpha: whether alpha will be stored.

    Raises:
        UsageError: if `quality` is not a whole number from 1 to 100.
        OutputError: if the suffix is unknown, the folder is missing or not writable, the file exists and `overwrite` is
            not set, or the format cannot store alpha.
    """
    path = Path(path)
    check_quality(quality)
    if alpha and WRITERS.get(path.suffix.lower()) == "JPEG":
        raise OutputError(f"{path}: JPEG holds no alpha; use .png, .webp, .tiff or .avif, or leave out `keep_alpha`.")
    files.check_file(path, WRITERS, overwrite=overwrite)
