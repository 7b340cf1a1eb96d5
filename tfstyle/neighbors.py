"""The nearest-neighbor loss: each place of an image is compared with the most similar place of the style image.

A statistic of a whole painting requires that everything in it appears somewhere in the result. Nearest neighbors
require only that each place of the result looks like some place of the painting, so nothing has to appear.

The features of all layers at a place are its hypercolumn. They are never concatenated: norms and products of
hypercolumns are sums over layers.

References:
    Kolkin, Kucera, Paris, Sykora, Shechtman, Shakhnarovich: Neural Neighbor Style Transfer (2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tfstyle.environment import tf
from tfstyle.vgg19 import filters, stride

SMALLEST_STRIDE = 4
"""Smallest distance in pixels between the places of hypercolumns; block 3 has it."""

PHOTO_SHARE = 0.75
"""Share of the content image in the features that neighbors are searched for; the rest is the image so far."""

_DIMENSIONS, _SAMPLE = 256, 768
_CANDIDATES, _ROWS = 8, 1024
_EPSILON = 1e-8

Columns = Mapping[str, tf.Tensor]
"""Layer → its part of the hypercolumns, float [1, height, width, channels], on one grid for all layers."""


def to_grid(
    found: tf.Tensor, layer: str, *, features: Mapping[str, tf.Tensor], weights: Mapping[str, float]
) -> tf.Tensor:
    """Brings the features of a layer to the grid of the hypercolumns, that of the reference layer.

    Shallower layers are averaged over whole cells, so that every pixel has a gradient; deeper ones are interpolated.

    Args:
        found: float32 [1, height', width', channels].
        layer: their layer, which gives their stride.
        features: layer → features of the image, of which those of `reference_layer` have the grid.
        weights: layer → weight in products of hypercolumns.

    Returns:
        float32 [1, height, width, channels].
    """
    reference = reference_layer(weights)
    placed: tf.Tensor = weights[layer] ** 0.5 * found
    halvings = int(math.log2(stride(reference) / stride(layer)))
    for _ in range(halvings):  # Each adds an odd last row as the network's pooling does; one large cell would shift.
        placed = tf.nn.avg_pool2d(placed, 2, 2, "SAME")
    return tf.image.resize(placed, tf.shape(features[reference])[1:3]) if halvings else placed


def reference_layer(layers: Iterable[str]) -> str:
    """Returns the layer that has the grid of the hypercolumns: the first of block 3 or, if none is named, deeper."""
    return min(layer for layer in layers if stride(layer) >= SMALLEST_STRIDE)


def bytes_per_pixel(layers: Iterable[str]) -> int:
    """Estimates the memory of a search for neighbors, per pixel of the image: six copies of the hypercolumns."""
    names = tuple(layers)
    return 24 * sum(map(filters, names)) // stride(reference_layer(names)) ** 2 if names else 0


def hypercolumns(features: Mapping[str, tf.Tensor], weights: Mapping[str, float]) -> Columns:
    """Brings the features of several layers to one grid.

    Args:
        features: layer → features of the image.
        weights: layer → weight in products of hypercolumns; its keys are the layers used.

    Returns:
        Layer → float32 [1, height, width, channels], of one height and width.
    """
    return {layer: to_grid(features[layer], layer, features=features, weights=weights) for layer in weights}


def neighbor_targets(content: Columns, image: Columns, style: Columns) -> Columns:
    """Finds the place of the style image that each place of the result is to look like.

    Searched are the features of the content image, with a quarter of those of the image so far.

    Args:
        content, image: hypercolumns of the content image and of the image so far, on one grid.
        style: those of the style image.

    Returns:
        Hypercolumns of the style image on the content image's grid, of norm 1, in float16.

    Differs from the paper: the features are mixed, not the images.
    """
    queries = {layer: PHOTO_SHARE * content[layer] + (1.0 - PHOTO_SHARE) * image[layer] for layer in content}
    found = nearest(queries, style)
    rows = _rows(style)
    norms = tf.sqrt(_squared_norms(rows) + _EPSILON)
    return {
        layer: tf.cast(tf.reshape(tf.gather(part / norms, found), tf.shape(content[layer])), tf.float16)
        for (layer, part) in zip(style, rows, strict=True)
    }


def neighbor_loss(image: Columns, targets: Columns) -> tf.Tensor:
    """Computes one minus the mean cosine of an image's hypercolumns and their targets: a scalar, 0 to 2."""
    products = tf.add_n(
        [tf.reduce_sum(image[layer] * tf.cast(target, tf.float32), axis=-1) for layer, target in targets.items()]
    )
    squares = tf.add_n([tf.reduce_sum(image[layer] ** 2, axis=-1) for layer in targets])
    return 1.0 - tf.reduce_mean(products / tf.sqrt(squares + _EPSILON))


def nearest(queries: Columns, keys: Columns) -> tf.Tensor:
    """Finds the key most similar to each query, by the cosine of hypercolumns that are centered on either side.

    Candidates are found among projections on the keys' principal axes, a band of queries at a time, and compared in
    all dimensions, so that memory stays bounded.

    Args:
        queries, keys: hypercolumns on any grids.

    Returns:
        int32 [queries], the number of a position of `keys`, counted row by row.
    """
    of_queries, of_keys = _directions(queries), _directions(keys)
    axes = _principal_axes(of_keys)
    short_queries, short_keys = (
        tf.add_n([part @ axis for part, axis in zip(side, axes, strict=True)]) for side in (of_queries, of_keys)
    )
    candidates = tf.minimum(_CANDIDATES, tf.shape(short_keys)[0])

    def find(numbers: tf.Tensor) -> tf.Tensor:
        similar = tf.matmul(tf.gather(short_queries, numbers), short_keys, transpose_b=True)
        likely = tf.math.top_k(similar, candidates).indices
        exact = tf.add_n(
            [
                tf.einsum("qc,qkc->qk", tf.gather(query, numbers), tf.gather(key, likely))
                for query, key in zip(of_queries, of_keys, strict=True)
            ]
        )
        best: tf.Tensor = tf.gather(likely, tf.argmax(exact, axis=1), batch_dims=1)
        return best

    count = tf.shape(short_queries)[0]
    bands = (count + _ROWS - 1) // _ROWS
    numbers = tf.minimum(tf.reshape(tf.range(bands * _ROWS), [bands, _ROWS]), count - 1)
    found: tf.Tensor = tf.reshape(tf.map_fn(find, numbers, parallel_iterations=1), [-1])[:count]
    return found


def _rows(columns: Columns) -> list[tf.Tensor]:
    """Returns the parts of hypercolumns as [positions, channels]."""
    return [tf.reshape(part, [-1, part.shape[-1]]) for part in columns.values()]


def _squared_norms(rows: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes the squared norms of whole hypercolumns, [positions, 1]."""
    squared: tf.Tensor = tf.add_n([tf.reduce_sum(part**2, axis=1, keepdims=True) for part in rows])
    return squared


def _directions(columns: Columns) -> list[tf.Tensor]:
    """Centers hypercolumns by their mean and divides them by their norms; a flat image's are 0."""
    rows = [part - tf.reduce_mean(part, axis=0) for part in _rows(columns)]
    inverse = tf.math.rsqrt(_squared_norms(rows) + _EPSILON)
    return [part * inverse for part in rows]


def _principal_axes(rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Finds the principal axes of hypercolumns from a sample at even distances; each part is [channels, axes]."""
    count = tf.shape(rows[0])[0]
    sample = tf.unique(tf.cast(tf.linspace(0.0, tf.cast(count - 1, tf.float32), _SAMPLE), tf.int32))[0]
    parts = [tf.gather(part, sample) for part in rows]
    values, vectors = tf.linalg.eigh(tf.add_n([tf.matmul(part, part, transpose_b=True) for part in parts]))
    factors = vectors * tf.math.rsqrt(tf.maximum(values, 1e-6 * values[-1]) + _EPSILON)
    largest = factors[:, -tf.minimum(_DIMENSIONS, tf.shape(factors)[1]) :]
    return [tf.matmul(part, largest, transpose_a=True) for part in parts]
