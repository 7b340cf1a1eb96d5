"""Images, features and losses → what a run looks like: curves, strips, grids, feature maps.

Everything is returned as pixels or as the bytes of a file, and drawn without a display: matplotlib's figures are used
without its window system.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfstyle import images

Row = Mapping[str, float]

LABEL_HEIGHT = 18
_GAP = 4
_FONT_SIZE = 12


def to_pixels(image: Any) -> np.ndarray:
    """An image [1, height, width, 3] in [0, 1] as uint8 [height, width, 3], rounded."""
    return np.rint(np.clip(np.asarray(image, np.float32)[0], 0.0, 1.0) * 255.0).astype(np.uint8)


def grid(pictures: Sequence[Any], labels: Sequence[str], *, columns: int) -> np.ndarray:
    """Pictures side by side in rows, each under its label.

    Args:
        pictures: images [1, height, width, 3] in [0, 1] of any sizes; all are shown at the largest width, or as wide
            as the longest label up to 280 pixels.
        labels: one a picture.
        columns: pictures in a row.

    Returns:
        uint8 [height, width, 3] on white.
    """
    longest = max(ImageFont.load_default(_FONT_SIZE).getlength(label) for label in labels)
    width = max(min(280, math.ceil(longest) + 4), *(picture.shape[2] for picture in pictures))
    cells = [_cell(picture, label, width) for picture, label in zip(pictures, labels, strict=True)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, sum(heights) + _GAP * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * (width + _GAP), top))
        top += height + _GAP
    return np.asarray(sheet)


def _cell(picture: Any, label: str, width: int) -> Image.Image:
    """One picture at a width, its label above it, shortened where it is too long."""
    height = max(1, round(picture.shape[1] * width / picture.shape[2]))
    cell = Image.new("RGB", (width, height + LABEL_HEIGHT), "white")
    cell.paste(Image.fromarray(to_pixels(images.resize(picture, height, width))), (0, LABEL_HEIGHT))
    font, draw = ImageFont.load_default(_FONT_SIZE), ImageDraw.Draw(cell)
    while label and draw.textlength(label, font) > width - 4:
        label = label[:-2] + "…" if len(label) > 2 else ""
    draw.text((2, 2), label, fill="black", font=font)
    return cell


def animation(pictures: Sequence[Any], *, seconds: float = 6.0) -> bytes:
    """An animated GIF of images [1, height, width, 3], all shown at the last one's size; the last stays longest.

    Args:
        pictures: in order.
        seconds: of one round, apart from the last picture's own two.
    """
    height, width = pictures[-1].shape[1:3]
    frames = [Image.fromarray(to_pixels(images.resize(picture, height, width))) for picture in pictures]
    each = max(20, round(1000 * seconds / len(frames)))
    stream = io.BytesIO()
    durations = [each] * (len(frames) - 1) + [2000]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return stream.getvalue()


def loss_curves(
    runs: Mapping[str, Sequence[Row]], *, terms: Sequence[str] = ("style", "content"), format: str = "png"
) -> bytes:
    """Losses of one run or several, each term on an axis of its own.

    An axis is logarithmic if its values are positive and span more than a factor of 3. A 0 is left out: it was not
    computed in that step.

    Args:
        runs: label → the rows of `callbacks.History`.
        terms: which losses, in this order.
        format: of the picture, as matplotlib names it: png, svg, pdf, jpg, webp, …

    Returns:
        The bytes of the picture file.
    """
    from matplotlib.figure import Figure

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
        _mark_scales(axis, next(iter(runs.values())))
        wide = bool(values) and min(values) > 0 and max(values) > 3 * min(values)
        axis.set(title=term, xlabel="step", yscale="log" if wide else "linear")
        axis.grid(alpha=0.3, which="both")
        if len(runs) > 1 and axis.lines:
            axis.legend(fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, format=format, dpi=120, metadata={"Date": None} if format in ("svg", "pdf") else None)
    return stream.getvalue()


def _mark_scales(axis: Any, rows: Sequence[Row]) -> None:
    """A dotted line where a finer scale begins."""
    for before, after in itertools.pairwise(rows):
        if after["scale"] != before["scale"]:
            axis.axvline(after["step"], color="grey", linestyle=":", linewidth=1)


def feature_map(features: Any) -> np.ndarray:
    """One feature map, or the mean of many, as a grey image.

    Args:
        features: [1, height, width, channels].

    Returns:
        float32 [1, height, width, 3] in [0, 1]: 0 where the mean over the channels is least, 1 where it is most.
    """
    mean = np.asarray(features, np.float32).mean(axis=-1, keepdims=True)
    low, high = mean.min(), mean.max()
    return np.repeat((mean - low) / max(high - low, 1e-12), 3, axis=-1)


def strongest_channels(features: Any, *, count: int = 16) -> np.ndarray:
    """A contact sheet of the channels with the highest mean activation, each labelled with its number and mean.

    Args:
        features: [1, height, width, channels].
        count: how many channels at most.

    Returns:
        uint8 [height, width, 3].
    """
    features = np.asarray(features, np.float32)
    means = features.mean(axis=(0, 1, 2))
    chosen = np.argsort(-means, kind="stable")[:count]
    factor = math.ceil(96 / features.shape[2])  # Each at least as wide as its label.
    maps = [feature_map(features[..., [c]]).repeat(factor, axis=1).repeat(factor, axis=2) for c in chosen]
    labels = [f"{channel}: {means[channel]:.2f}" for channel in chosen]
    return grid(maps, labels, columns=math.ceil(math.sqrt(len(chosen))))
