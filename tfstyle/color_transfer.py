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


class Recolored(NamedTuple):
    """The images of a run with the colors that it uses.

    Attributes:
        content: the content image.
        styles: the style images.
        palette: the colors of the style.
    """

    content: tf.Tensor
    styles: list[tf.Tensor]
    palette: Palette


def recolor(
    content: tf.Tensor, styles: Sequence[tf.Tensor], *, colors: ColorTransfer, shares: Sequence[float], margin: float
) -> Recolored:
    """Recolors images before a run.

    Args:
        content: float32 [1, height, width, 3] in [0, 1].
        styles: the same, of any size.
        colors: how far colors are moved.
        shares: share of each style image in the palette; those without a share take its colors.
        margin: what is cropped from each style image, as for `levels.crop`.
    """
    recolored = [recolor_style(image, content, color=colors.color, strength=colors.color_strength) for image in styles]
    giving = [(crop(image, margin), share) for image, share in zip(recolored, shares, strict=True) if share]
    palettes = [find_palette(image) for image, _ in giving]
    palette = mix_palettes(palettes, [share for _, share in giving]) if len(giving) > 1 else palettes[0]
    taking = [
        image if share else _moved(match_colors, image, palette, strength=1.0)
        for image, share in zip(recolored, shares, strict=True)
    ]
    return Recolored(_moved(match_colors, content, palette, strength=colors.palette), taking, palette)


def finish(image: tf.Tensor, photograph: tf.Tensor, palette: Palette, *, colors: ColorTransfer) -> tf.Tensor:
    """Gives the last image of a run its final colors.

    Args:
        image: the image.
        photograph: the content image, with its own colors.
        palette: from `recolor`.
        colors: how far colors are moved.
    """
    image = _moved(finish_colors, image, palette, strength=colors.palette)
    return _moved(keep_colors, image, photograph, strength=colors.color_strength if colors.color == "content" else 0.0)


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
