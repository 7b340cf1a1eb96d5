"""Regions of one direction each, so that strokes follow the edges of the photograph, or all lie in one direction."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from tfstyle import images
from tfstyle.color import blur
from tfstyle.environment import tf
from tfstyle.recipes.loss import DIRECTIONS
from tfstyle.regions import SMALLEST_SHARE, Regions
from tfstyle.tensors import sides

_LONG_SIDE, _SHORT_SIDE = 320, 16
_FIELD, _STROKES = 1 / 32, 1 / 80
"""Standard deviations over which directions of the content image and of a style image are averaged, as fractions of the
long side: edges reach into even areas, strokes are told apart."""

_CLEAR = 0.5
"""Coherence from which on a direction counts fully."""

_UNDIRECTED = 0.02
"""Weight of places without the direction that all strokes are to have."""


def find_directions(content: tf.Tensor, styles: Sequence[tf.Tensor], *, orientation: str) -> list[Regions]:
    """Finds where images have edges and strokes of a direction.

    Args:
        content: float32 [1, height, width, 3] in [0, 1].
        styles: the style images, likewise.
        orientation: "edges" for a region of each of `DIRECTIONS` directions; an angle in degrees for a single region
            of all the content image, whose partner are the places of a style image with that direction; "none" for a
            single region of all of both images.

    Returns:
        For each style image the `Regions`, without recurrence.
    """
    everywhere = tf.ones([1, 1, 1, 1])
    if orientation == "none":
        return [Regions(everywhere, everywhere, everywhere)] * len(styles)
    if orientation != "edges":
        along = (_along(each, [float(orientation)], spread=_STROKES)[0] for each in styles)
        return [Regions(everywhere, _UNDIRECTED + (1.0 - _UNDIRECTED) * each, everywhere) for each in along]
    masks = _divide(content, spread=_FIELD)
    partners = (_divide(each, spread=_STROKES) for each in styles)
    share = functools.partial(tf.reduce_mean, axis=(1, 2), keepdims=True)
    return [Regions(masks, tf.where(share(each) < SMALLEST_SHARE, 1.0, each), everywhere) for each in partners]


def directions(image: tf.Tensor, *, spread: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the direction of the edges around each pixel of an image reduced to some 320 pixels.

    Args:
        image: float32 [1, height, width, 3] in [0, 1].
        spread: standard deviation over which it is averaged, as a fraction of the long side.

    Returns:
        Twice the angle in radians, counter-clockwise from horizontal, and how coherent it is, 0 to 1, both
        [1, height', width', 1].

    References:
        Bigün, Granlund: Optimal Orientation Detection of Linear Symmetry (ICCV 1987), the structure tensor.
    """
    reduced = images.reduce(image, _LONG_SIDE, short_side=_SHORT_SIDE)
    luma = blur(tf.image.rgb_to_yuv(reduced)[..., :1], 1.0)
    down, right = tf.unstack(tf.image.sobel_edges(luma), axis=-1)
    products = tf.concat([down**2 - right**2, 2.0 * right * down, right**2 + down**2], axis=-1)
    cosine, sine, energy = tf.split(blur(products, spread * max(sides(reduced))), 3, axis=-1)
    return tf.atan2(sine, cosine), tf.sqrt(cosine**2 + sine**2) / (energy + 1e-6)


def _divide(image: tf.Tensor, *, spread: float) -> tf.Tensor:
    """Returns a mask for each of `DIRECTIONS`; they sum to 1, and are equal where there is no direction."""
    angles = [180.0 * number / DIRECTIONS for number in range(DIRECTIONS)]
    along, clear = _along(image, angles, spread=spread)
    return along + (1.0 - clear) / DIRECTIONS


def _along(image: tf.Tensor, angles: Sequence[float], *, spread: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each angle how much the edges of an image have that direction, and how clear their own one is."""
    twice, coherence = directions(image, spread=spread)
    clear = tf.minimum(coherence / _CLEAR, 1.0)
    along = tf.concat([tf.maximum(tf.cos(twice - math.radians(2.0 * angle)), 0.0) ** 2 for angle in angles], axis=-1)
    return clear * along, clear
