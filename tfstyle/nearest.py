"""The search for the place of the style image that each place of the result is to look like.

Hypercolumns are compared by the cosine of their angle, after the mean of all places of their image is subtracted. The
search adds up sums over layers, so that a large image's hypercolumns, of thousands of channels, need not exist at once:
candidates are found among projections on the principal axes of the style image's hypercolumns, and compared in all
dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tfstyle.environment import tf
from tfstyle.neighbors import PLACES, Columns, in_turn, to_half
from tfstyle.tensors import static_shape

PHOTO_SHARE = 0.75
"""Share of the content image in the features that neighbors are searched for; the rest is the image so far."""

MAX_KEYS = 1 << 16
"""Largest number of places of the style images that are searched, those of some 1024x1024 pixels."""

_DIMENSIONS, _SAMPLE = 256, 768
_CANDIDATES, _ROWS = 8, 512
_ROUNDS = 60
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


class Found(NamedTuple):
    """The keys that queries are most similar to.

    Attributes:
        places: int32 [1, height, width, 1], the number of a key.
        likeness: float32 of the same shape: its cosine to the query, times the norm of the query.
    """

    places: tf.Tensor
    likeness: tf.Tensor


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


def thin(columns: Columns, most: int) -> Columns:
    """Returns the hypercolumns of at most some number of places, at even distances."""
    height, width = tf.unstack(tf.shape(next(iter(columns.values())))[1:3])
    step = key_step(height, width, most)

    def kept(layer: str) -> tf.Tensor:
        found: tf.Tensor = columns[layer][:, step // 2 :: step, step // 2 :: step]
        found.set_shape([1, None, None, static_shape(columns[layer])[-1]])  # Slices of an unknown step forget it.
        return found

    return in_turn(kept, columns)


def key_step(height: Any, width: Any, most: int) -> Any:
    """Returns the distance of the places that `thin` keeps, the first of which is at half of it."""
    return tf.cast(tf.math.ceil(tf.sqrt(tf.cast(height * width, tf.float32) / most)), tf.int32)


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


def decide(products: tf.Tensor, candidates: tf.Tensor, keys: Keys, *, means: Mapping[str, tf.Tensor]) -> Found:
    """Returns the candidate with the largest cosine.

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
    best = tf.expand_dims(tf.argmax(cosines, axis=-1), -1)
    return Found(tf.gather(candidates, best, batch_dims=3), tf.gather(cosines, best, batch_dims=3))


def search(queries: Columns, keys: Keys) -> Found:
    """Finds the key most similar to each query."""
    candidates = choose(project(queries, keys.axes), keys)
    means = in_turn(lambda layer: _mean(queries[layer]), queries)
    return decide(compare(queries, keys.held, candidates), candidates, keys, means=means)


def neighbor_targets(
    found: Sequence[Found], keys: Sequence[Keys], shares: tf.Tensor | None = None, *, masks: tf.Tensor | None = None
) -> Columns:
    """Returns what each place of the result is to look like.

    Args:
        found: from `search`, among the keys of each style image.
        keys: the keys.
        shares: [images, regions], the share of a region's places that each image gets; None with a single image.
        masks: [1, height, width, regions], on the grid of the places; None with a single region.

    Returns:
        `places` under `PLACES`, and under each layer its part of the hypercolumns of all keys, of norm 1, float16 [1,
        keys, 1, channels].
    """
    places = found[0].places
    if shares is not None and len(found) > 1:
        ends = tf.cumsum([tf.shape(of_image.inverse)[0] for of_image in keys], exclusive=True)
        every = tf.concat([of_image.places + ends[number] for number, of_image in enumerate(found)], axis=-1)
        owners = divide(tf.concat([of_image.likeness for of_image in found], axis=-1), shares, masks=masks)
        places = tf.gather(every, tf.expand_dims(owners, -1), batch_dims=3)
    units = [_normalize(of_image.held.columns) for of_image in keys]
    joined = {layer: tf.concat([part[layer] for part in units], axis=1) for layer in units[0]}
    return {PLACES: places} | joined


def divide(likeness: tf.Tensor, shares: tf.Tensor, *, masks: tf.Tensor | None = None) -> tf.Tensor:
    """Divides places among style images, each to one that it resembles, so that each image gets its share of them.

    Each place belongs to the region whose mask is largest there.

    This is optimal transport from the places to the images: each image has a price, which rises while it has too many
    places.

    Args:
        likeness: float32 [1, height, width, images].
        shares: [images, regions], with the sum 1 in each region; an image without a share gets no place there.
        masks: [1, height, width, regions]; None with a single region.

    Returns:
        int32 [1, height, width], the number of an image.
    """
    count, regions = static_shape(shares)
    region = tf.zeros(tf.shape(likeness)[:3], tf.int32)
    if masks is not None:
        region = tf.argmax(masks, axis=-1, output_type=tf.int32)
    owners = region
    for number in range(regions):
        inside = tf.cast(region == number, likeness.dtype)
        own = tf.cast(shares[:, number], likeness.dtype)
        places = tf.reduce_sum(inside) + _EPSILON
        level = likeness - tf.reduce_mean(likeness, axis=-1, keepdims=True)
        mean = tf.einsum("bhw,bhwn->n", inside, level) / places
        spread = tf.sqrt(tf.reduce_max(tf.einsum("bhw,bhwn->n", inside, (level - mean) ** 2)) / places) + _EPSILON
        scaled = tf.where(own > 0.0, (level - mean) / spread, -1.0 / _EPSILON)
        prices = tf.zeros_like(own)
        for turn in range(_ROUNDS):
            owned = tf.one_hot(tf.argmax(scaled - prices, axis=-1), count)
            prices += 4.0 / (1.0 + 0.25 * turn) * (tf.einsum("bhw,bhwn->n", inside, owned) / places - own)
        owners = tf.where(region == number, tf.argmax(scaled - prices, axis=-1, output_type=tf.int32), owners)
    return owners


def _normalize(columns: Columns) -> Columns:
    """Divides hypercolumns by their norm."""
    squares = in_turn(lambda layer: tf.reduce_sum(_wide(columns[layer]) ** 2, axis=-1, keepdims=True), columns)
    inverse = tf.math.rsqrt(tf.add_n(list(squares.values())) + _EPSILON)
    return in_turn(lambda layer: tf.cast(_wide(columns[layer]) * inverse, tf.float16), columns)


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
