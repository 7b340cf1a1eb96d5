"""The search for the place of the style image that each place of the result is to look like.

Hypercolumns are compared by the cosine of their angle, after the mean of all places of their image is subtracted. The
search adds up sums over layers, so that a large image's hypercolumns, of thousands of channels, need not exist at once:
candidates are found among projections on the principal axes of the style image's hypercolumns, and compared in all
dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfstyle.environment import tf
from tfstyle.neighbors import PLACES, Columns, in_turn, to_half
from tfstyle.tensors import static_shape

PHOTO_SHARE = 0.75
"""Share of the content image in the features that neighbors are searched for; the rest is the image so far."""

MAX_KEYS = 1 << 16
"""Largest number of places of the style image that are searched, those of some 1024x1024 pixels."""

_DIMENSIONS, _SAMPLE = 256, 768
_CANDIDATES, _ROWS = 8, 512
_EPSILON = 1e-8


class Centered(NamedTuple):
    """Hypercolumns, from which a mean is to be subtracted.

    Attributes:
        columns: layer → float16 [1, keys, 1, channels].
        means: layer → float32 [channels], the mean of `columns`.
    """

    columns: Columns
    means: Mapping[str, tf.Tensor]

    def at(self, layer: str, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the part of some of them at a layer, less the mean, [..., channels]."""
        rows: tf.Tensor = _wide(tf.gather(self.columns[layer][0, :, 0], numbers)) - self.means[layer]
        return rows


class Keys(NamedTuple):
    """Places of the style image, among which neighbors are searched.

    Attributes:
        held: their hypercolumns.
        inverse: float32 [keys], 1 / norm of the centered hypercolumns; those of an even image are 0, and so is their
            cosine.
        axes: layer → float32 [channels, axes], the principal axes of the directions of centered hypercolumns.
        short: float32 [keys, axes], these directions along the axes.
    """

    held: Centered
    inverse: tf.Tensor
    axes: Mapping[str, tf.Tensor]
    short: tf.Tensor


def mix_queries(content: Columns, image: Columns | None = None) -> Columns:
    """Mixes what neighbors are searched for: the features of the content image, with a quarter of the image so far.

    Args:
        content, image: hypercolumns of the content image and of the image so far, of equal size; None uses the content
            image alone.

    Returns:
        The same in float16, half the size.

    Differs from the paper: the features are mixed, not the images.
    """

    def mix(layer: str) -> tf.Tensor:
        column = tf.cast(content[layer], tf.float32)
        if image is not None:
            column = PHOTO_SHARE * column + (1.0 - PHOTO_SHARE) * tf.cast(image[layer], tf.float32)
        return to_half(column)

    return in_turn(mix, content)


def thin(columns: Columns) -> Columns:
    """Returns the hypercolumns of at most some `MAX_KEYS` places, at even distances."""
    step = key_step(*tf.unstack(tf.shape(next(iter(columns.values())))[1:3]))

    def kept(layer: str) -> tf.Tensor:
        found: tf.Tensor = columns[layer][:, step // 2 :: step, step // 2 :: step]
        found.set_shape([1, None, None, static_shape(columns[layer])[-1]])  # Slices of an unknown step forget it.
        return found

    return in_turn(kept, columns)


def key_step(height: Any, width: Any) -> Any:
    """Returns the distance of the places that `thin` keeps, the first of which is at half of it."""
    return tf.cast(tf.math.ceil(tf.sqrt(tf.cast(height * width, tf.float32) / MAX_KEYS)), tf.int32)


def make_keys(style: Columns) -> Keys:
    """Prepares hypercolumns of the style image, which may have been thinned."""
    columns = in_turn(
        lambda layer: tf.reshape(to_half(style[layer]), [1, -1, 1, static_shape(style[layer])[-1]]), style
    )
    held = Centered(columns, in_turn(lambda layer: _mean(columns[layer]), columns))
    count = tf.shape(next(iter(columns.values())))[1]
    sample = tf.unique(tf.cast(tf.linspace(0.0, tf.cast(count - 1, tf.float32), _SAMPLE), tf.int32))[0]

    def square(numbers: tf.Tensor) -> tf.Tensor:
        squares: tf.Tensor = tf.add_n([tf.reduce_sum(held.at(layer, numbers) ** 2, axis=1) for layer in columns])
        return squares

    inverse = tf.math.rsqrt(_in_bands(square, count) + _EPSILON)
    axes = _principal_axes({layer: held.at(layer, sample) for layer in columns}, tf.gather(inverse, sample))

    def shorten(numbers: tf.Tensor) -> tf.Tensor:
        parts = [tf.matmul(held.at(layer, numbers), axes[layer]) for layer in columns]
        short: tf.Tensor = tf.add_n(parts) * tf.gather(inverse, numbers)[:, None]
        return short

    return Keys(held, inverse, axes, _in_bands(shorten, count))


def project(columns: Columns, axes: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Projects hypercolumns, or their parts at some layers, on the principal axes.

    Args:
        columns: of any image.
        axes: those of the keys.

    Returns:
        float32 [1, height, width, axes].
    """
    products = in_turn(lambda layer: _wide(columns[layer]) @ axes[layer], columns)
    total: tf.Tensor = tf.add_n(list(products.values()))
    return total


def choose(short: tf.Tensor, keys: Keys) -> tf.Tensor:
    """Returns the candidates for each query, int32 [1, height, width, candidates], from `project` for all layers."""
    rows = tf.reshape(short, [-1, tf.shape(short)[-1]])
    rows -= tf.reduce_mean(rows, axis=0)
    candidates = tf.minimum(_CANDIDATES, tf.shape(keys.short)[0])

    def likely(numbers: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(tf.gather(rows, numbers), keys.short, transpose_b=True)
        numbers_of_keys: tf.Tensor = tf.math.top_k(products, candidates).indices
        return numbers_of_keys

    found = _in_bands(likely, tf.shape(rows)[0], tf.int32)
    chosen: tf.Tensor = tf.reshape(found, tf.concat([tf.shape(short)[:3], [candidates]], axis=0))
    return chosen


def compare(columns: Columns, held: Centered, candidates: tf.Tensor) -> tf.Tensor:
    """Multiplies queries, or their parts at some layers, by the centered hypercolumns of their candidates.

    Args:
        columns: the queries.
        held: those of the keys.
        candidates: from `choose`, for these queries.

    Returns:
        float32 of the shape of `candidates`.
    """
    rows = {layer: tf.reshape(part, [-1, static_shape(part)[-1]]) for layer, part in columns.items()}
    numbers = tf.reshape(candidates, [-1, tf.shape(candidates)[-1]])

    def products(band: tf.Tensor) -> tf.Tensor:
        near = tf.gather(numbers, band)
        parts = [
            tf.einsum("qc,qkc->qk", _wide(tf.gather(of_layer, band)), held.at(layer, near))
            for layer, of_layer in rows.items()
        ]
        total: tf.Tensor = tf.add_n(parts)
        return total

    found: tf.Tensor = tf.reshape(_in_bands(products, tf.shape(numbers)[0]), tf.shape(candidates))
    return found


def decide(products: tf.Tensor, candidates: tf.Tensor, keys: Keys, *, means: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the candidate with the largest cosine, int32 [1, height, width, 1].

    Args:
        products: from `compare`, added up over all layers.
        candidates: from `choose`.
        keys: the keys.
        means: layer → float32 [channels], the mean of the queries.
    """
    count = tf.shape(keys.inverse)[0]

    def of_mean(numbers: tf.Tensor) -> tf.Tensor:
        parts = [tf.linalg.matvec(keys.held.at(layer, numbers), mean) for layer, mean in means.items()]
        total: tf.Tensor = tf.add_n(parts)
        return total

    cosines = (products - tf.gather(_in_bands(of_mean, count), candidates)) * tf.gather(keys.inverse, candidates)
    found: tf.Tensor = tf.gather(candidates, tf.argmax(cosines, axis=-1), batch_dims=3)[..., None]
    return found


def search(queries: Columns, keys: Keys) -> tf.Tensor:
    """Finds the key most similar to each query: int32 [1, height, width, 1], the number of a key."""
    candidates = choose(project(queries, keys.axes), keys)
    means = in_turn(lambda layer: _mean(queries[layer]), queries)
    return decide(compare(queries, keys.held, candidates), candidates, keys, means=means)


def neighbor_targets(places: tf.Tensor, keys: Keys) -> Columns:
    """Returns what each place of the result is to look like.

    Args:
        places: from `search`.
        keys: the keys.

    Returns:
        `places` under `PLACES`, and under each layer its part of the keys' hypercolumns, of norm 1, float16 [1, keys,
        1, channels].
    """
    columns = keys.held.columns
    squares = in_turn(lambda layer: tf.reduce_sum(_wide(columns[layer]) ** 2, axis=-1, keepdims=True), columns)
    inverse = tf.math.rsqrt(tf.add_n(list(squares.values())) + _EPSILON)
    units = in_turn(lambda layer: tf.cast(_wide(columns[layer]) * inverse, tf.float16), columns)
    return {PLACES: places} | units


def _wide(part: tf.Tensor) -> tf.Tensor:
    wide: tf.Tensor = tf.cast(part, tf.float32)
    return wide


def _mean(part: tf.Tensor) -> tf.Tensor:
    mean: tf.Tensor = tf.reduce_mean(_wide(part), axis=(0, 1, 2))
    return mean


def _in_bands(function: Callable[[tf.Tensor], tf.Tensor], count: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Applies a function of the numbers of some rows to all rows, a band at a time; returns one result for each row."""
    bands = (count + _ROWS - 1) // _ROWS
    numbers = tf.minimum(tf.reshape(tf.range(bands * _ROWS), [bands, _ROWS]), count - 1)
    found = tf.map_fn(function, numbers, fn_output_signature=dtype, parallel_iterations=1)
    joined: tf.Tensor = tf.reshape(found, tf.concat([[-1], tf.shape(found)[2:]], axis=0))[:count]
    return joined


def _principal_axes(centered: Mapping[str, tf.Tensor], inverse: tf.Tensor) -> dict[str, tf.Tensor]:
    """Finds the principal axes of directions from a sample: layer → [channels, axes]."""
    rows = {layer: part * inverse[:, None] for layer, part in centered.items()}
    values, vectors = tf.linalg.eigh(tf.add_n([tf.matmul(part, part, transpose_b=True) for part in rows.values()]))
    factors = vectors * tf.math.rsqrt(tf.maximum(values, 1e-6 * values[-1]) + _EPSILON)
    kept = factors[:, -tf.minimum(_DIMENSIONS, tf.shape(factors)[1]) :]
    return {layer: tf.matmul(part, kept, transpose_a=True) for layer, part in rows.items()}
