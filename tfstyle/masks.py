"""Masks drawn by hand: which part of the photograph takes its style from which painting, and what stays as it is."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tfstyle import images
from tfstyle.color import blur
from tfstyle.color_transfer import Painted
from tfstyle.environment import tf
from tfstyle.errors import InputError, UsageError
from tfstyle.recipes.loss import Loss
from tfstyle.regions import Regions
from tfstyle.styles import RAMPS, Style, find_shares

_PROPORTIONS = 0.03
"""Difference of the aspect ratios of a mask and its picture, as a fraction, above which the mask is refused."""


_NEAR = 0.25
"""Distance in sRGB up to which a color of a map is that of an area, which a JPEG file changes a little."""


class Drawn(NamedTuple):
    """Regions drawn by hand.

    Attributes:
        masks: float32 [1, height, width, 1] in [0, 1] for each region; where their sum is less than 1, the photograph
            is kept.
        owners: number of the region of each style image.
    """

    masks: list[tf.Tensor]
    owners: list[int]


def read_mask(source: Any, size: tuple[int, int], *, color: str = "", others: Iterable[str] = ()) -> tf.Tensor:
    """Reads a mask.

    Args:
        source: a picture, as for `images.read`: its alpha channel, or if it has none its lightness; or one of
            `styles.RAMPS`, which is 1 at that edge and 0 at the opposite one.
        size: (height, width) of the picture that is masked, to which the mask is resized.
        color: if the picture is a map of areas of even colors, that of the area to select.
        others: further colors that areas of the map have; an area belongs to the nearest one.

    Returns:
        float32 [1, height, width, 1] in [0, 1].

    Raises:
        InputError: if it cannot be read, has other proportions, or selects nothing.
    """
    if isinstance(source, str) and source in RAMPS:
        return _ramp(source, size)
    picture = images.read_and_log(source, long_side=0 if color else max(size))  # Reduced, areas would mix.
    what = f"the mask {os.fspath(source)}" if isinstance(source, (str, os.PathLike)) else "the mask"
    (height, width), (wanted_height, wanted_width) = picture.full_size, size
    if abs(height * wanted_width / (width * wanted_height) - 1.0) > _PROPORTIONS + 1.0 / min(size):
        raise InputError(
            f"{what} is {width}x{height} and its picture {wanted_width}x{wanted_height}; give one of its proportions."
        )
    if color:
        values = _area(picture.image, color, others)
        if not values.any():
            raise InputError(f"{what} has no area of the color {color}; give one of its colors as `mask_color`.")
        return images.resize(values, *size)
    values = picture.image.mean(-1, keepdims=True) if picture.alpha is None else picture.alpha
    if not values.any():
        raise InputError(f"{what} is black everywhere; make white what it is to select.")
    return images.resize(values, *size)


def _area(image: np.ndarray, color: str, others: Iterable[str]) -> np.ndarray:
    """Returns a mask of where an image has a color rather than another one, 0 or 1."""

    def distance(name: str) -> Any:
        return np.linalg.norm(image - np.array(images.parse_color(name), np.float32) / 255.0, axis=-1, keepdims=True)

    wanted = distance(color)
    nearest = functools.reduce(np.minimum, map(distance, others), wanted)
    return np.where((wanted < _NEAR) & (wanted <= nearest), np.float32(1.0), np.float32(0.0))


def _ramp(edge: str, size: tuple[int, int]) -> tf.Tensor:
    """Makes a mask that falls from 1 at an edge to 0 at the opposite one."""
    axis = 1 if edge in ("left", "right") else 0
    values = np.linspace(1.0, 0.0, size[axis], dtype=np.float32)
    values = values[::-1] if edge in ("right", "bottom") else values
    return tf.constant(np.broadcast_to(values if axis else values[:, None], size)[None, ..., None].copy())


def read_masks(styles: Sequence[Style], size: tuple[int, int], *, protect: Any = None, feather: float) -> list[Style]:
    """Reads the masks of style images.

    Args:
        styles: the style images; those without a mask share what no mask selects, and those with the same one that.
        size: (height, width) of the result.
        protect: a mask of what stays as it is; None protects nothing.
        feather: standard deviation by which masks are blurred, as a fraction of the long side.

    Returns:
        The style images with their masks as tensors, of which nowhere more than 1 is selected in all; if there is no
        mask at all, as they are.

    Raises:
        InputError: as for `read_mask`.
    """
    if protect is None and not any(style.is_masked() for style in styles):
        return list(styles)
    free = 1.0 if protect is None else unprotected(protect, size, feather=feather)
    colors = [style.mask_color for style in styles if style.mask_color]
    masks = {
        style.mask_key: _read_soft(style.mask, size, feather, color=style.mask_color, others=colors)
        for style in {style.mask_key: style for style in styles}.values()
        if style.mask is not None
    }
    total = tf.add_n([tf.zeros([1, *size, 1]), *masks.values()])
    drawn = {None: free * tf.maximum(1.0 - total, 0.0)}
    drawn |= {key: free * mask / tf.maximum(total, 1.0) for key, mask in masks.items()}
    return [replace(style, mask=drawn[style.mask_key]) for style in styles]


def unprotected(protect: Any, size: tuple[int, int], *, feather: float) -> tf.Tensor:
    """Reads a mask of what stays as it is; returns that of the rest. The arguments are those of `read_masks`."""
    return 1.0 - _read_soft(protect, size, feather)


def _read_soft(source: Any, size: tuple[int, int], feather: float, **areas: Any) -> tf.Tensor:
    soft = blur(read_mask(source, size, **areas), sigma=max(feather * max(size), 1e-3))
    return tf.clip_by_value(soft, 0.0, 1.0)  # By rounding it may be above 1, and what it leaves below 0.


def unite(styles: Sequence[Style]) -> Drawn | None:
    """Returns the regions of style images from `read_masks`; None if they have no masks."""
    if any(style.mask is None for style in styles):
        return None
    masks = list({id(style.mask): style.mask for style in styles}.values())
    return Drawn(masks, [next(n for n, mask in enumerate(masks) if mask is style.mask) for style in styles])


def composite(
    image: tf.Tensor, photograph: tf.Tensor, masks: Sequence[tf.Tensor] = (), *, opacity: float = 1.0
) -> tf.Tensor:
    """Returns an image where masks select it, with an opacity, and the photograph elsewhere; no masks select all."""
    covered = opacity * (tf.add_n(list(masks)) if masks else tf.ones([1, 1, 1, 1]))
    mixed: tf.Tensor = photograph + covered * (image - photograph)
    return tf.where(covered >= 1.0, image, mixed)


def drawn_regions(
    drawn: Drawn, style_masks: Sequence[tf.Tensor | None], recurrences: Sequence[tf.Tensor]
) -> list[Regions]:
    """Returns drawn regions as those of `regions.find_regions`, for each style image.

    Args:
        drawn: the regions.
        style_masks: what counts of each style image, [1, height, width, 1]; None is all.
        recurrences: the `Regions.recurrence` of each.
    """
    masks = tf.concat(drawn.masks, axis=-1)
    every = tf.ones([1, 1, 1, 1])
    counted = (tf.repeat(every if mask is None else mask, len(drawn.masks), axis=-1) for mask in style_masks)
    return [Regions(masks, *pair) for pair in zip(counted, recurrences, strict=True)]


def divide(styles: Sequence[Style], loss: Loss, drawn: Drawn | None) -> tuple[list[Painted], dict[str, tf.Tensor]]:
    """Divides a style among its images.

    Args:
        styles: the style images.
        loss: defines the layers.
        drawn: the regions of `styles`; None if there are none.

    Returns:
        The parts of the content image, and the shares for `targets.make_targets`.

    Raises:
        UsageError: if the loss has another number of regions than are drawn.
    """
    masks: list[tf.Tensor | None] = [None] if drawn is None else list(drawn.masks)
    owners = [0] * len(styles) if drawn is None else drawn.owners
    if loss.drawn_regions != (len(masks) if drawn else 0):
        raise UsageError(f"the masks need `drawn_regions` {len(masks)} in the recipe, not {loss.drawn_regions}.")
    parts, columns = [], []
    for number, mask in enumerate(masks):
        owned = [owner == number for owner in owners]
        inside = find_shares([style for style, own in zip(styles, owned, strict=True) if own], loss)
        spread = {name: _spread(part, owned) for name, part in (*inside.layers.items(), ("neighbor", inside.neighbors))}
        parts.append(Painted(mask, _spread(inside.colors, owned), owned))
        columns.append(spread)
    shares = {name: tf.stack([tf.constant(column[name]) for column in columns], axis=1) for name in columns[0]}
    return parts, shares


def _spread(shares: Sequence[float], owned: Sequence[bool]) -> list[float]:
    """Returns the shares of all style images, from those of the ones in a region."""
    remaining = iter(shares)
    return [next(remaining) if own else 0.0 for own in owned]
