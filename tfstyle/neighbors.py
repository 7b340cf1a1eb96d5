"""The nearest-neighbor loss: each place of an image is compared with the most similar place of the style image.

A statistic of a whole painting requires that everything in it appears somewhere in the result. Nearest neighbors
require only that each place of the result looks like some place of the painting, so nothing has to appear.

The features of all layers at a place are its hypercolumn. Those of the moving image are never concatenated: norms and
products of hypercolumns are sums over layers.

References:
    Kolkin, Kucera, Paris, Sykora, Shechtman, Shakhnarovich: Neural Neighbor Style Transfer (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfstyle.boxes import cut
from tfstyle.environment import tf
from tfstyle.vgg19 import filters, stride

SMALLEST_STRIDE = 4
"""Smallest distance in pixels between the places of hypercolumns; block 3 has it."""

PLACES = "places"
"""The key of the places in `nearest.neighbor_targets`."""

_EPSILON = 1e-8

Columns = Mapping[str, tf.Tensor]
"""Layer → its part of the hypercolumns, float [1, height, width, channels], on one grid for all layers."""


def to_grid(
    found: tf.Tensor, layer: str, *, weights: Mapping[str, float], size: tf.Tensor, skip: Any = (0, 0)
) -> tf.Tensor:
    """Brings the features of a layer to the grid of the hypercolumns, that of the reference layer.

    Shallower layers are averaged over whole cells, so that every pixel has a gradient; deeper ones are interpolated.
    An odd last row or column is added or dropped as the network's pooling did.

    Args:
        found: float32 [1, height', width', channels].
        layer: their layer, which gives their stride.
        weights: layer → weight in products of hypercolumns.
        size: [2], (height, width) of the result.
        skip: (rows, columns) of the grid left out at the top and at the left, where `found` begins before the result.

    Returns:
        float32 [1, height, width, channels].
    """
    reference, own = stride(reference_layer(weights)), stride(layer)
    placed = found
    if own > reference:
        factor, held = own // reference, tf.shape(found)[1:3]
        lacking = tf.maximum((skip + size + factor - 1) // factor - held, 0)
        placed = tf.pad(placed, [[0, 0], [0, lacking[0]], [0, lacking[1]], [0, 0]], "SYMMETRIC")
        placed = tf.cast(tf.image.resize(placed, factor * (held + lacking)), placed.dtype)
    for _ in range(int(math.log2(reference / own)) if own < reference else 0):
        placed = tf.nn.avg_pool2d(placed, 2, 2, "SAME")  # In halves, as the network; one large cell would shift.
    placed = cut(placed, tf.concat([skip, size], axis=0))
    weighted: tf.Tensor = weights[layer] ** 0.5 * placed
    return weighted


def reference_layer(layers: Iterable[str]) -> str:
    """Returns the layer that has the grid of the hypercolumns: the first of block 3 or, if none is named, deeper."""
    return min(layer for layer in layers if stride(layer) >= SMALLEST_STRIDE)


def bytes_per_pixel(layers: Iterable[str]) -> int:
    """Estimates the memory of a search for neighbors, per pixel of the image: 4.5 copies of the hypercolumns."""
    names = tuple(layers)
    return 18 * sum(map(filters, names)) // stride(reference_layer(names)) ** 2 if names else 0


def in_turn(function: Callable[[str], tf.Tensor], layers: Iterable[str]) -> dict[str, tf.Tensor]:
    """Applies a function to layers one after the other, also in a graph, so that its intermediate values are few."""
    found: dict[str, tf.Tensor] = {}
    for layer in layers:
        with tf.control_dependencies(list(found.values())[-1:]):
            found[layer] = function(layer)
    return found


def to_half(column: tf.Tensor) -> tf.Tensor:
    """Converts hypercolumns to float16; larger values become the largest."""
    largest = tf.float16.max
    half: tf.Tensor = tf.cast(tf.maximum(tf.minimum(column, largest), -largest), tf.float16)
    return half


def target_at(targets: Columns, layer: str) -> tf.Tensor:
    """Returns a layer's part of what hypercolumns are compared with, float16 [1, height, width, channels].

    Args:
        targets: from `nearest.neighbor_targets`, or with a part of its places.
        layer: the layer.
    """
    found: tf.Tensor = tf.gather(targets[layer][0, :, 0], targets[PLACES][..., 0])  # type: ignore[index]
    return found


class Matches(NamedTuple):
    """Products of an image's hypercolumns, which are sums over layers.

    Attributes:
        products: float32 [1, height, width, 1], of a hypercolumn c and its target t: Σ c·t.
        squares: the same, Σ c·c.
    """

    products: tf.Tensor
    squares: tf.Tensor


def match(column: tf.Tensor, target: tf.Tensor) -> Matches:
    """Computes a layer's part of the `Matches`.

    Args:
        column: the layer's part of the hypercolumns, [1, height, width, channels].
        target: the same, from `target_at`.
    """
    return Matches(_dot(column, tf.cast(target, column.dtype)), _dot(column, column))


def match_gradient(column: tf.Tensor, target: tf.Tensor, upstream: Matches) -> tf.Tensor:
    """Computes the gradient with respect to a layer's part of the hypercolumns from that with respect to the matches.

    TensorFlow's own gradient would hold several copies of all hypercolumns.
    """
    return upstream.products * tf.cast(target, column.dtype) + 2.0 * upstream.squares * column


def neighbor_loss(matches: Matches) -> tf.Tensor:
    """Computes one minus the mean cosine of an image's hypercolumns and their targets: a scalar, 0 to 2."""
    mean: tf.Tensor = tf.reduce_mean(matches.products * tf.math.rsqrt(matches.squares + _EPSILON))
    return 1.0 - mean


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Computes the scalar product over the channels, [1, height, width, 1]."""
    product: tf.Tensor = tf.linalg.matmul(tf.expand_dims(a, -2), tf.expand_dims(b, -2), transpose_b=True)
    return tf.squeeze(product, -1)
