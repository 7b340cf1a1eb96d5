"""Enlarges a painted picture with the fine detail of the painting's scan: `enlarge`."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

from tfstyle import environment, images, records
from tfstyle.details import find_detail
from tfstyle.environment import tf
from tfstyle.errors import InputError, MemoryLimitError, UsageError
from tfstyle.limits import MAX_PIXELS
from tfstyle.tensors import sides

_log = logging.getLogger("tfstyle")

MAX_FACTOR = 4.0
"""How many times a picture is enlarged at most, if no size is given."""

LEAST_FACTOR = 1.1
"""A scan that is less than this times larger than the painting was used has no detail to give."""

LARGEST_SCALE = 10.0
"""Limit of the size of the strokes, as for `recipes.StyleSize`."""

_BYTES_AT_LEAST, _BYTES_PER_PIXEL, _BYTES_PER_PLACE = 200_000_000, 60, 110


def enlarge(
    picture: Any,
    painting: Any,
    *,
    size: int = 0,
    style_scale: float | None = None,
    output: str | os.PathLike | None = None,
    background: str = "white",
    quality: int = 95,
    overwrite: bool = False,
) -> tf.Tensor:
    """Enlarges a painted picture for print, with bristles and canvas from the scan of the painting.

        image = tfstyle.enlarge("photo.painting.png", "painting.jpg", size=4096)

    The painting is reduced to the size that it was used at. Each place of the picture is paired with one of the reduced
    painting that looks alike, and gets what the reduction has removed there. Shapes and colors remain the picture's.

    Args:
        picture: a result of `stylize` or `stylize_fast`, as for `images.read`.
        painting: its style image, likewise, larger than it was used. A pixel of the picture counts as one of the
            painting reduced to the picture's long side, times `style_scale`.
        size: long side of the result in pixels; 0 is as large as the painting has detail for, at most `MAX_FACTOR`
            times that of the picture.
        style_scale: that of the run, above 0; None takes it from the picture's record, 1 if it has none.
        output: file to write the result to; None writes none.
        background, quality, overwrite: as for `stylize`.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1].

    Raises:
        UsageError: if a value is not valid, or the result would have more pixels than `limits.MAX_PIXELS`.
        InputError: if a picture cannot be read, or the painting has no more detail than the picture.
        OutputError: if the result could not be written.
        MemoryLimitError: if it would not fit in memory.

    References:
        As for `details.find_detail`.

    Differs from the paper: only detail is taken from the painting, not its colors, and places are searched without
    PatchMatch.
    """
    if size < 0:
        raise UsageError(f"`size` should be at least 0, not {size!r}.")
    scale = _recorded_scale(picture) if style_scale is None else style_scale
    if not 0.0 < scale <= LARGEST_SCALE:
        raise UsageError(f"`style_scale` should be above 0 and at most {LARGEST_SCALE:g}, not {style_scale!r}.")
    if output is not None:
        images.check_output(output, overwrite=overwrite, quality=quality)
    image = images.read_and_log(picture, background=background).image
    long_side = max(sides(image))
    used, wanted = scale * long_side, size / long_side if size else MAX_FACTOR
    if wanted <= 1.0:
        raise UsageError(f"`size` should be above {long_side}, the long side of the picture, not {size!r}.")
    scan = images.read_and_log(painting, background=background, long_side=round(wanted * used)).image
    factor = min(wanted, max(sides(scan)) / used)
    if factor < min(LEAST_FACTOR, wanted):
        raise InputError(
            f"the painting has {max(sides(scan))} pixels on its long side and no more detail than this picture; give a "
            f"scan of {round(LEAST_FACTOR * used)} or more."
        )
    result = images.fit_size(*sides(image), size or round(factor * long_side))
    _check_size(result, math.prod(sides(image)) + math.prod(images.fit_size(*sides(scan), max(1, round(used)))))
    if factor < wanted and size:
        _log.warning("the painting has detail for %d pixels; it is only interpolated beyond.", factor * long_side)
    try:
        middle = images.fit_size(*sides(image), max(1, round(factor * long_side)))
        detail = find_detail(image, scan, size=middle, used=max(1, round(used)))
        enlarged = images.resize(tf.clip_by_value(images.resize(image, *middle) + detail, 0.0, 1.0), *result)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise MemoryLimitError(f"memory ran out at {result[1]}x{result[0]}; choose a smaller `size`.") from error
    if output is not None:
        images.write_result(enlarged, output, quality=quality, overwrite=overwrite)
    return enlarged


def _check_size(result: tuple[int, int], places: int) -> None:
    """Checks the (height, width) of a result, and the number of pixels of the picture and the reduced painting.

    Raises:
        UsageError: if it is above the limit.
        MemoryLimitError: if it would not fit in memory.
    """
    what = f"{result[1]}x{result[0]}"
    if math.prod(result) > MAX_PIXELS:
        limit = f"the limit of {MAX_PIXELS / 1e6:g} million pixels"
        raise UsageError(f"{what} is more than {limit}; choose a smaller `size`.")
    needed = _BYTES_AT_LEAST + _BYTES_PER_PIXEL * math.prod(result) + _BYTES_PER_PLACE * places
    if (free := environment.check_free_memory(needed)) is not None:
        memory = f"about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free"
        raise MemoryLimitError(f"{what} needs {memory}; choose a smaller `size`.")


def _recorded_scale(picture: Any) -> float:
    """Returns the `style_scale` that a PNG file was made with; 1 if it holds no record."""
    if not isinstance(picture, (str, os.PathLike)) or Path(picture).suffix.lower() != ".png":
        return 1.0
    try:
        return float(records.read(Path(picture))["recipe"]["style_size"]["style_scale"])
    except (InputError, LookupError, TypeError, ValueError):
        return 1.0
