"""Draws loss curves, grids of images, animations and feature maps.

Results are pixels or the bytes of a file. But for `show`, no display is needed: matplotlib is used without `pyplot`.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfstyle import images
from tfstyle.pictures import encoding
from tfstyle.tensors import sides

if TYPE_CHECKING:
    from tfstyle.regions import Regions

Row = Mapping[str, float]
"""One row of `callbacks.History`: name of a number → number."""

LABEL_HEIGHT = 18
"""Height of a label in a grid, in pixels."""
_GAP = 4
_FONT_SIZE = 12


def draw_grid(pictures: Sequence[Any], labels: Sequence[str], *, columns: int) -> np.ndarray:
    """Draws images side by side in rows, each below its label.

    Args:
        pictures: images [1, height, width, 3] in [0, 1] of any sizes. All are resized to the largest width, or to that
            of the longest label, up to 280 pixels, if it is wider.
        labels: one label for each image.
        columns: number of images in a row.

    Returns:
        uint8 [height, width, 3] on white.
    """
    longest = max(ImageFont.load_default(_FONT_SIZE).getlength(label) for label in labels)
    width = max(min(280, math.ceil(longest) + 4), *(picture.shape[2] for picture in pictures))
    cells = [_draw_cell(picture, label, width) for picture, label in zip(pictures, labels, strict=True)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, sum(heights) + _GAP * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * (width + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def show(pictures: Iterable[Any], titles: Iterable[str] = (), *, columns: int = 3, width: float = 4.2) -> None:
    """Shows images side by side, in a notebook or in matplotlib's window.

    Args:
        pictures: images [1, height, width, 3], or gray maps [height, width], with values in [0, 1]; others are clipped.
        titles: one for each of the first images.
        columns: number of images in a row.
        width: of an image, in inches.
    """
    from matplotlib import pyplot

    arrays = [np.clip(np.asarray(picture), 0.0, 1.0) for picture in pictures]
    arrays = [array[0] if array.ndim == 4 else array for array in arrays]
    rows = math.ceil(len(arrays) / columns)
    tallest = max(array.shape[0] / array.shape[1] for array in arrays)
    size = (width * columns, (width * tallest + 0.35) * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis, array, title in itertools.zip_longest(axes.flat, arrays, titles):
        axis.axis("off")
        if array is not None:
            axis.imshow(array, cmap="gray")
            axis.set_title(title or "", fontsize=10)
    pyplot.show()
    pyplot.close(figure)


def _draw_cell(picture: Any, label: str, width: int) -> Image.Image:
    """Draws one image at a width, with its label above it, shortened if it is too long."""
    height = max(1, round(picture.shape[1] * width / picture.shape[2]))
    cell = Image.new("RGB", (width, height + LABEL_HEIGHT), "white")
    cell.paste(_to_pil(picture, height, width), (0, LABEL_HEIGHT))
    font, draw = ImageFont.load_default(_FONT_SIZE), ImageDraw.Draw(cell)
    while label and draw.textlength(label, font) > width - 4:
        label = label[:-2] + "…" if len(label) > 2 else ""
    draw.text((2, 2), label, fill="black", font=font)
    return cell


def _to_pil(picture: Any, height: int, width: int) -> Image.Image:
    """Resizes an image [1, height, width, 3] and converts it to a PIL image of 8 bits per channel."""
    return Image.fromarray(encoding.to_uint8(np.asarray(images.resize(picture, height, width), np.float32)[0]))


def draw_animation(pictures: Sequence[Any], *, seconds: float = 6.0) -> bytes:
    """Draws an animated GIF that repeats; the last image is shown for two seconds.

    Args:
        pictures: images [1, height, width, 3] in [0, 1], in order; all are resized to the size of the last one.
        seconds: duration of one loop, without the two seconds of the last image.

    Returns:
        The bytes of the GIF file.
    """
    height, width = sides(pictures[-1])
    frames = [_to_pil(picture, height, width) for picture in pictures]
    each = max(20, round(1000 * seconds / len(frames)))
    stream = io.BytesIO()
    durations = [each] * (len(frames) - 1) + [2000]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return stream.getvalue()


TERMS = ("style", "content", "neighbor")
"""Loss terms that are shown."""


def draw_loss_curves(runs: Mapping[str, Sequence[Row]], *, terms: Sequence[str] = (), format: str = "png") -> bytes:
    """Draws the losses of one or several runs, each term in a plot of its own.

    The vertical axis is logarithmic if all values are positive and the largest is more than 3 times the smallest. Zeros
    are not drawn: they stand for a term that was not computed in that step.

    Args:
        runs: label of a run → its rows of `callbacks.History`.
        terms: names of the losses to draw, in this order; those of `TERMS` that any run has if empty.
        format: format of the file as matplotlib names it: png, svg, pdf, jpg, webp, …

    Returns:
        The bytes of the file.
    """
    from matplotlib.figure import Figure

    terms = terms or [term for term in TERMS if any(term in row for rows in runs.values() for row in rows)]
    columns = 2 if len(terms) < 3 else 3
    lines = math.ceil(len(terms) / columns)
    figure = Figure(figsize=(4.5 * columns, 4.5 if lines == 1 else 3.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes[len(terms) :]:
        axis.remove()
    for axis, term in zip(axes, terms, strict=False):
        values = []
        for label, rows in runs.items():
            points = [(row["step"], row[term]) for row in rows if row.get(term)]
            if points:
                shown = label if len(label) <= 40 else f"{label[:19]}…{label[-20:]}"  # The legend has to fit.
                axis.plot(*zip(*points, strict=True), label=shown, linewidth=1.4)
                values += [value for _, value in points]
        _mark_levels(axis, next(iter(runs.values())))
        wide = bool(values) and min(values) > 0 and max(values) > 3 * min(values)
        axis.set(title=term, xlabel="step", yscale="log" if wide else "linear")
        axis.grid(alpha=0.3, which="both")
        if len(runs) > 1 and axis.lines:
            axis.legend(fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, format=format, dpi=120, metadata={"Date": None} if format in ("svg", "pdf") else None)
    return stream.getvalue()


def _mark_levels(axis: Any, rows: Sequence[Row]) -> None:
    """Draws a dotted line at each step where a finer level begins."""
    for before, after in itertools.pairwise(rows):
        if after["level"] != before["level"]:
            axis.axvline(after["step"], color="gray", linestyle=":", linewidth=1)


def draw_feature_map(features: Any) -> np.ndarray:
    """Draws the mean over the channels of a feature map as a gray image.

    Args:
        features: float [1, height, width, channels].

    Returns:
        float32 [1, height, width, 3] in [0, 1]: 0 where the mean is smallest, 1 where it is largest.
    """
    mean = np.asarray(features, np.float32).mean(axis=-1, keepdims=True)
    low, high = mean.min(), mean.max()
    return np.repeat((mean - low) / max(high - low, 1e-12), 3, axis=-1)


REGION_COLORS = np.array(
    [
        [0.90, 0.62, 0.00],
        [0.34, 0.71, 0.91],
        [0.00, 0.62, 0.45],
        [0.94, 0.89, 0.26],
        [0.00, 0.45, 0.70],
        [0.84, 0.37, 0.00],
        [0.80, 0.47, 0.65],
        [0.20, 0.20, 0.20],
    ]
)
"""Colors that people with color blindness can tell apart as well.

References:
    Okabe, Ito: Color Universal Design (2008).
"""


def draw_regions(content: Any, style: Any, regions: Regions) -> np.ndarray:
    """Draws the regions of two images: each image, its regions in colors, and what recurs in the style image.

    A region has one color in both images. Where the style image's masks overlap, their colors are mixed.

    Args:
        content, style: float [1, height, width, 3] in [0, 1].
        regions: those of the two images, at most 8.

    Returns:
        uint8 [height, width, 3]: a grid of five labeled pictures.
    """
    pictures, labels = [], []
    for name, image, mask in (("content", content, regions.content), ("style", style, regions.style)):
        weights = np.asarray(mask, np.float64)[0]
        colors = weights @ REGION_COLORS[: weights.shape[-1]] / np.maximum(weights.sum(-1, keepdims=True), 1e-12)
        gray = np.asarray(image, np.float32).mean(-1, keepdims=True)
        pictures += [image, 0.35 * gray + 0.65 * _enlarge(colors[None], image)]
        labels += [name, f"regions of {name}"]
    recurring = np.asarray(regions.recurrence, np.float64).repeat(3, axis=-1)
    grid = [*pictures, _enlarge(recurring, style)]
    return draw_grid(grid, [*labels, "recurs in style (white)"], columns=2)


def _enlarge(map: np.ndarray, image: Any) -> np.ndarray:
    """Enlarges a map [1, height, width, 3] to the size of an image, with sharp edges."""
    rows, columns = (np.arange(whole) * part // whole for whole, part in zip(sides(image), map.shape[1:3], strict=True))
    enlarged: np.ndarray = map[:, rows][:, :, columns].astype(np.float32)
    return enlarged


def draw_strongest_channels(features: Any, *, count: int = 16) -> np.ndarray:
    """Draws the channels with the highest mean activation in a grid, each labeled with its number and mean.

    Args:
        features: float [1, height, width, channels].
        count: maximum number of channels.

    Returns:
        uint8 [height, width, 3].
    """
    features = np.asarray(features, np.float32)
    means = features.mean(axis=(0, 1, 2))
    chosen = np.argsort(-means, kind="stable")[:count]
    factor = math.ceil(96 / features.shape[2])  # Each at least as wide as its label.
    maps = [draw_feature_map(features[..., [c]]).repeat(factor, axis=1).repeat(factor, axis=2) for c in chosen]
    labels = [f"{channel}: {means[channel]:.2f}" for channel in chosen]
    return draw_grid(maps, labels, columns=math.ceil(math.sqrt(len(chosen))))
