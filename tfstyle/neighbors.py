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
from tfstyle.tensors import static_shape
from tfstyle.vgg19 import filters, stride

SMALLEST_STRIDE = 4
"""Smallest distance in pixels between the places of hypercolumns; block 3 has it."""

PHOTO_SHARE = 0.75
"""Share of the content image in the features that neighbors are searched for; the rest is the image so far."""

MAX_KEYS = 1 << 16
"""Largest number of places of the style image that are searched, those of some 1024x1024 pixels."""

PLACES = "places"
"""The key of the places in `neighbor_targets`."""

_DIMENSIONS, _SAMPLE = 256, 768
_CANDIDATES, _ROWS = 8, 1024
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


def mix_queries(content: Columns, image: Columns | None = None) -> Columns:
    """Mixes what neighbors are searched for: the features of the content image, with a quarter of the image so far.

    Args:
        content, image: hypercolumns of the content image and of the image so far, on one grid; None takes the content
            image alone.

    Returns:
        Hypercolumns in float16.

    Differs from the paper: the features are mixed, not the images.
    """

    def mix(layer: str) -> tf.Tensor:
        column = tf.cast(content[layer], tf.float32)
        if image is not None:
            column = PHOTO_SHARE * column + (1.0 - PHOTO_SHARE) * tf.cast(image[layer], tf.float32)
        return to_half(column)

    return in_turn(mix, content)


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


def neighbor_targets(queries: Columns, style: Columns) -> Columns:
    """Finds the place of the style image that each place of the result is to look like.

    Args:
        queries: from `mix_queries`.
        style: hypercolumns of the style image. Of more than `MAX_KEYS` places, as many at even distances are used.

    Returns:
        Under `PLACES`, int32 [1, height, width, 1], the number of a place of the style image for each place of the
        queries; under each layer its part of the style image's hypercolumns, of norm 1, float16 [1, places, 1,
        channels].
    """
    height, width = tf.unstack(tf.shape(next(iter(style.values())))[1:3])
    step = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(height * width, tf.float32) / MAX_KEYS)), tf.int32)
    keys = {layer: part[:, step // 2 :: step, step // 2 :: step] for layer, part in style.items()}
    for layer, part in keys.items():
        part.set_shape([1, None, None, static_shape(style[layer])[-1]])  # Slices of an unknown step forget it.
    size = tf.shape(next(iter(queries.values())))[1:3]
    targets = {PLACES: tf.reshape(nearest(queries, keys), [1, size[0], size[1], 1])}
    squares = in_turn(lambda layer: tf.reduce_sum(tf.cast(keys[layer], tf.float32) ** 2, axis=-1, keepdims=True), keys)
    inverse = tf.math.rsqrt(tf.add_n(list(squares.values())) + _EPSILON)

    def normalize(layer: str) -> tf.Tensor:
        unit = tf.cast(tf.cast(keys[layer], tf.float32) * inverse, tf.float16)
        return tf.reshape(unit, [1, -1, 1, static_shape(keys[layer])[-1]])

    targets |= in_turn(normalize, keys)
    return targets


def target_at(targets: Columns, layer: str) -> tf.Tensor:
    """Returns a layer's part of what hypercolumns are compared with, float16 [1, height, width, channels].

    Args:
        targets: from `neighbor_targets`, or with a part of its places.
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


def nearest(queries: Columns, keys: Columns) -> tf.Tensor:
    """Finds the key most similar to each query, by the cosine of hypercolumns that are centered on either side.

    Candidates are found among projections on the keys' principal axes, a band of queries at a time, and compared in
    all dimensions, so that memory stays bounded.

    Args:
        queries, keys: hypercolumns on any grids.

    Returns:
        int32 [queries], the number of a position of `keys`, counted row by row.
    """
    of_keys = _in_bands(_directions(keys), _rows(keys)[0], tf.float16)
    of_keys.set_shape([None, sum(static_shape(part)[-1] for part in keys.values())])
    axes = _principal_axes(of_keys)
    short_keys = _in_bands(lambda numbers: _rows_of(of_keys, numbers) @ axes, of_keys, tf.float32)
    candidates = tf.minimum(_CANDIDATES, tf.shape(short_keys)[0])
    directions = _directions(queries)

    def find(numbers: tf.Tensor) -> tf.Tensor:
        band = tf.cast(directions(numbers), tf.float32)
        likely = tf.math.top_k(tf.matmul(band @ axes, short_keys, transpose_b=True), candidates).indices
        exact = tf.einsum("qc,qkc->qk", band, _rows_of(of_keys, likely))
        best: tf.Tensor = tf.gather(likely, tf.argmax(exact, axis=1), batch_dims=1)
        return best

    return _in_bands(find, _rows(queries)[0], tf.int32)


def _rows(columns: Columns) -> list[tf.Tensor]:
    """Returns the parts of hypercolumns as [positions, channels]."""
    return [tf.reshape(part, [-1, part.shape[-1]]) for part in columns.values()]


def _rows_of(directions: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Returns some rows in float32."""
    rows: tf.Tensor = tf.cast(tf.gather(directions, numbers), tf.float32)
    return rows


def _in_bands(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Applies a function of the numbers of some rows to all rows, a band at a time; returns one result for each row."""
    count = tf.shape(rows)[0]
    bands = (count + _ROWS - 1) // _ROWS
    numbers = tf.minimum(tf.reshape(tf.range(bands * _ROWS), [bands, _ROWS]), count - 1)
    found = tf.map_fn(function, numbers, fn_output_signature=dtype, parallel_iterations=1)
    joined: tf.Tensor = tf.reshape(found, tf.concat([[-1], tf.shape(found)[2:]], axis=0))[:count]
    return joined


def _directions(columns: Columns) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of the numbers of some positions that computes the directions of their hypercolumns.

    Hypercolumns are centered by their mean and divided by their norms: float16 [positions, channels of all layers].
    Those of a flat image are 0.
    """
    rows = _rows(columns)
    means = in_turn(lambda layer: tf.reduce_mean(tf.cast(columns[layer], tf.float32), axis=(0, 1, 2)), columns).values()

    def direct(numbers: tf.Tensor) -> tf.Tensor:
        parts = [_rows_of(part, numbers) - mean for part, mean in zip(rows, means, strict=True)]
        centered = tf.concat(parts, axis=1)
        inverse = tf.math.rsqrt(tf.reduce_sum(centered**2, axis=1, keepdims=True) + _EPSILON)
        direction: tf.Tensor = tf.cast(centered * inverse, tf.float16)
        return direction

    return direct


def _principal_axes(directions: tf.Tensor) -> tf.Tensor:
    """Finds the principal axes of directions from a sample at even distances, [channels, axes]."""
    count = tf.shape(directions)[0]
    sample = tf.unique(tf.cast(tf.linspace(0.0, tf.cast(count - 1, tf.float32), _SAMPLE), tf.int32))[0]
    rows = _rows_of(directions, sample)
    values, vectors = tf.linalg.eigh(tf.matmul(rows, rows, transpose_b=True))
    factors = vectors * tf.math.rsqrt(tf.maximum(values, 1e-6 * values[-1]) + _EPSILON)
    axes: tf.Tensor = tf.matmul(rows, factors[:, -tf.minimum(_DIMENSIONS, tf.shape(factors)[1]) :], transpose_a=True)
    return axes
