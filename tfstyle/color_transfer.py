"""Moves the colors of a run's images, before its first step and after its last one, as a recipe asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfstyle.color import Palette, find_palette, finish_colors, keep_colors, match_colors, mix_palettes, recolor_style
from tfstyle.environment import tf
from tfstyle.graphs import compile_once
from tfstyle.levels import crop
from tfstyle.recipes.parts import ColorTransfer


class Painted(NamedTuple):
    """A part of the content image, and the style images that give it its colors.

    Attributes:
        mask: float32 [1, height, width, 1] in [0, 1]; None is the whole image.
        shares: share of each style image in the part's palette, [images].
        owned: whether each style image belongs to the part.
    """

    mask: tf.Tensor | None
    shares: Sequence[float]
    owned: Sequence[bool]


class Recolored(NamedTuple):
    """The images of a run with the colors that it uses.

    Attributes:
        content: the content image.
        styles: the style images.
        palettes: the colors of each part.
    """

    content: tf.Tensor
    styles: list[tf.Tensor]
    palettes: list[Palette]


def recolor(
    content: tf.Tensor,
    styles: Sequence[tf.Tensor],
    *,
    colors: ColorTransfer,
    parts: Sequence[Painted],
    margin: float,
) -> Recolored:
    """Recolors images before a run.

    Args:
        content: float32 [1, height, width, 3] in [0, 1].
        styles: the same, of any size.
        colors: how far colors are moved.
        parts: the parts of the content image; a style image without a share in the palette of its part takes that.
        margin: what is cropped from each style image, as for `levels.crop`.
    """
    recolored = [recolor_style(image, content, color=colors.color, strength=colors.color_strength) for image in styles]
    found = [find_palette(crop(image, margin)) for image in recolored]
    palettes = []
    for part in parts:
        giving = [(palette, share) for palette, share in zip(found, part.shares, strict=True) if share]
        several, fractions = zip(*giving, strict=True)
        palettes.append(several[0] if len(several) == 1 else mix_palettes(several, fractions))
        for number, image in enumerate(recolored):
            if part.owned[number] and not part.shares[number]:
                recolored[number] = _moved(match_colors, image, palettes[-1], strength=1.0)
    moved = _moved_parts(match_colors, content, palettes, parts, strength=colors.palette)
    return Recolored(moved, recolored, palettes)


def finish(
    image: tf.Tensor,
    photograph: tf.Tensor,
    palettes: Sequence[Palette],
    *,
    colors: ColorTransfer,
    parts: Sequence[Painted],
) -> tf.Tensor:
    """Gives the last image of a run its final colors.

    Args:
        image: the image.
        photograph: the content image, with its own colors.
        palettes: from `recolor`.
        colors, parts: as for `recolor`.
    """
    image = _moved_parts(finish_colors, image, palettes, parts, strength=colors.palette)
    return _moved(keep_colors, image, photograph, strength=colors.color_strength if colors.color == "content" else 0.0)


def _moved_parts(
    function: Callable[..., tf.Tensor],
    image: tf.Tensor,
    palettes: Sequence[Palette],
    parts: Sequence[Painted],
    *,
    strength: float,
) -> tf.Tensor:
    """Moves the colors of each part of an image to its palette."""
    for palette, part in zip(palettes, parts, strict=True):
        if part.mask is None:
            image = _moved(function, image, palette, strength=strength)
        elif strength:
            image = function(image, palette, strength=strength, mask=part.mask)
    return image


def _moved(function: Callable[..., tf.Tensor], image: tf.Tensor, target: Any, *, strength: float) -> tf.Tensor:
    """Moves the colors of an image to a target, with a function of `color`."""
    if not strength:
        return image
    moved: tf.Tensor = _compiled(function)(image, target, tf.constant(strength))
    return moved


@functools.cache
def _compiled(function: Callable[..., tf.Tensor]) -> Any:
    """Compiles a function of image, target and strength once for all sizes and runs, when a run first needs it."""
    any_size = tf.TensorSpec([1, None, None, 3])
    palette = Palette._make((tf.TensorSpec([1, 1, 1, 3], tf.float64), tf.TensorSpec([1, 3, 3], tf.float64)))
    return compile_once(
        lambda image, target, strength: function(image, target, strength=strength),
        any_size,
        any_size if function is keep_colors else palette,
        tf.TensorSpec([]),
    )
