"""Transforms that give the encoded content image the look of the encoded style image, without any training.

Each takes the encoded content and style images, and returns a function of the content image's features, or of a part of
them [1, h, w, channels], float32, that returns features of that shape. All statistics are those of the whole images, so
a part is transformed as within the whole, except within `HALO` positions of its edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tfstyle import statistics
from tfstyle.environment import tf
from tfstyle.feedforward.layers import adaptive_instance_normalization, reflect_pad
from tfstyle.statistics import SufficientStatistics
from tfstyle.tensors import sides, static_shape

HALO = 2
"""Radius of the neighborhood that a transformed position depends on, at most: that of two 3x3 patches, in positions."""

STYLE_POSITIONS = 64**2
"""Largest number of positions of the style image that `attention` and `decorate` compare with."""

BAND = 4096
"""Number of the content image's positions that are compared at a time, which limits the memory to 64 MB a matrix."""

TEMPERATURE = 8.0
"""Divides the scalar products of `attention` before the softmax."""

RIDGE = 1e-3
"""Eigenvalues of a covariance below this part of their mean are raised to it, so that noise is not amplified."""

Transform = Callable[[tf.Tensor], tf.Tensor]


class Encoded(NamedTuple):
    """An encoded image.

    Attributes:
        features: floating-point array [1, height, width, channels], at least 2 positions on each side.
        sums: sums over all its positions, in float32.
    """

    features: np.ndarray
    sums: SufficientStatistics


def adain(content: Encoded, style: Encoded) -> Transform:
    """Gives each channel the mean and standard deviation of the style; see `adaptive_instance_normalization`."""
    own, target = (statistics.mean_std(image.sums) for image in (content, style))
    return lambda features: adaptive_instance_normalization(features, own, target)


def monge(content: Encoded, style: Encoded) -> Transform:
    """Gives the features the mean and covariance of the style by the least displacement.

    Between two normal distributions this is T(F − μ) + μ' with T = Σ^-½ (Σ^½ Σ' Σ^½)^½ Σ^-½, Monge's optimal transport.

    References:
        Dowson, Landau: The Fréchet distance between multivariate normal distributions (1982). For style transfer: Lu,
        Zhao, Yao, Xu, Xu: A Closed-form Solution to Universal Style Transfer (ICCV 2019).
    """
    (own_mean, own), (mean, target) = (_moments(image.sums) for image in (content, style))
    root, inverse = own.power(0.5), own.power(-0.5)
    matrix = inverse @ _eigen(root @ target.power(1.0) @ root).power(0.5) @ inverse
    return lambda features: _multiply(features - own_mean, matrix) + mean


def attention(content: Encoded, style: Encoded, *, temperature: float = TEMPERATURE) -> Transform:
    """Gives each position the mean and standard deviation of those style positions whose features are similar.

    Both images' channels are normalized to mean 0 and deviation 1. With the normalized features K of a position and K'
    of the style, the weights are a = softmax(K K'ᵀ / `temperature`), the local mean is m = a K', the local variance v =
    a K'² − m², and the result √v K + m, in the style's own mean and deviation.

    Differs from the paper: nothing is learned, only the deepest layer's features are compared, and the scalar products
    are divided by `temperature`.

    References:
        Liu et al.: AdaAttN: Revisit Attention Mechanism in Arbitrary Neural Style Transfer (ICCV 2021), whose
        local feature loss has this target.
    """
    (own_mean, own_deviation), (mean, deviation) = (
        tf.unstack(statistics.mean_std(image.sums)[0]) for image in (content, style)
    )
    keys = (tf.cast(_sample(style.features), tf.float32) - mean) / deviation
    keys = tf.reshape(keys, [-1, static_shape(keys)[-1]])
    values = tf.concat([keys, keys**2], axis=1)

    def attend(queries: tf.Tensor) -> tf.Tensor:
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) / temperature)
        local_mean, squares = tf.split(weights @ values, 2, axis=1)
        attended: tf.Tensor = tf.sqrt(tf.nn.relu(squares - local_mean**2)) * queries + local_mean
        return attended

    def transform(features: tf.Tensor) -> tf.Tensor:
        queries = tf.reshape((features - own_mean) / own_deviation, [-1, static_shape(features)[-1]])
        bands = [attend(queries[start : start + BAND]) for start in range(0, static_shape(queries)[0], BAND)]
        attended: tf.Tensor = tf.reshape(tf.concat(bands, axis=0), tf.shape(features)) * deviation + mean
        return attended

    return transform


def decorate(content: Encoded, style: Encoded) -> Transform:
    """Replaces each 3x3 patch of the features by the style's most similar one, and averages patches where they overlap.

    Similar is a large scalar product with the style's patch of norm 1, after each image's channels are normalized to
    mean 0 and deviation 1.

    Differs from the paper: it whitens the features before the search. Most of the 512 directions are noise, which then
    decides: edges were lost and results pale. Its coloring of the style's whitened patches gives these patches again.

    References:
        Sheng, Lin, Shao, Wang: Avatar-Net: Multi-scale Zero-shot Style Transfer by Feature Decoration (CVPR 2018).
        The search by a convolution: Chen, Schmidt: Fast Patch-based Style Transfer of Arbitrary Style (2016).
    """
    (own_mean, own_deviation), (mean, deviation) = (
        tf.unstack(statistics.mean_std(image.sums)[0]) for image in (content, style)
    )
    height, width = sides(style.features)
    padded = reflect_pad(tf.cast(style.features, tf.float32), 1)
    patches = {
        (row, column): tf.reshape(
            _sample(padded[:, row : row + height, column : column + width]), [-1, static_shape(padded)[-1]]
        )
        for row, column in np.ndindex(3, 3)
    }
    keys = (tf.stack(list(patches.values())) - mean) / deviation
    keys *= tf.math.rsqrt(tf.reduce_sum(keys**2, axis=(0, 2), keepdims=True) + statistics.VARIANCE_EPSILON)
    kernel = tf.reshape(tf.linalg.matrix_transpose(keys), [3, 3, static_shape(keys)[2], static_shape(keys)[1]])

    def transform(features: tf.Tensor) -> tf.Tensor:
        height, width = sides(features)
        normalized = reflect_pad((features - own_mean) / own_deviation, 1)
        best = [
            tf.argmax(tf.nn.conv2d(normalized[:, start : end + 2], kernel, 1, "VALID"), axis=-1, output_type=tf.int32)
            for start, end in _bands(height, width)
        ]
        # Around the image there are no patches: −1.
        nearest = tf.pad(tf.concat(best, axis=1), [[0, 0], [1, 1], [1, 1]], constant_values=-1)
        total, count = tf.zeros_like(features), tf.zeros([1, height, width, 1])
        for (row, column), patch in patches.items():
            # The part (row, column) of a patch lies on the positions whose patch is at the opposite offset.
            chosen = nearest[:, 2 - row : 2 - row + height, 2 - column : 2 - column + width]
            inside = tf.cast(chosen >= 0, tf.float32)[:, :, :, None]
            total += inside * tf.gather(patch, tf.maximum(chosen, 0))
            count += inside
        return total / count

    return transform


TRANSFORMS: Mapping[str, Callable[[Encoded, Encoded], Transform]] = MappingProxyType(
    {"adain": adain, "monge": monge, "attention": attention, "decorate": decorate}
)
"""The transforms by the names of `feedforward.options.TRANSFORMS`."""


def _sample(features: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
    """Returns at most `STYLE_POSITIONS` positions of features, on a regular grid, [1, height, width, channels]."""
    height, width = sides(features)
    steps = range(1, max(height, width) + 1)
    step = next(s for s in steps if math.ceil(height / s) * math.ceil(width / s) <= STYLE_POSITIONS)
    return features[:, ::step, ::step]


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yields bands of rows [start, end) with at most `BAND` positions, or one row."""
    rows = max(BAND // width, 1)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def _moments(sums: SufficientStatistics) -> tuple[tf.Tensor, _Eigen]:
    """Computes the mean [channels] and the covariance, its small eigenvalues raised as `RIDGE` says."""
    wide = SufficientStatistics(*(tf.cast(value, tf.float64) for value in sums))
    values, vectors = _eigen(statistics.covariance(wide)[0].numpy())
    smallest = RIDGE * values.mean() + statistics.VARIANCE_EPSILON
    return statistics.mean(sums)[0], _Eigen(np.maximum(values, smallest), vectors)


class _Eigen(NamedTuple):
    """Eigenvalues [n] and eigenvectors [n, n] of a symmetric positive definite matrix, in float64.

    `wasserstein.matrix_roots` is faster, but needs eigenvalues of at least 1e-5 of the norm; with `RIDGE` in each
    covariance those of the product in `monge` go down to 1e-11.
    """

    values: np.ndarray
    vectors: np.ndarray

    def power(self, exponent: float) -> np.ndarray:
        """Computes a power of the matrix."""
        power: np.ndarray = (self.vectors * self.values**exponent) @ self.vectors.T
        return power


def _eigen(matrix: np.ndarray) -> _Eigen:
    return _Eigen(*np.linalg.eigh(matrix))


def _multiply(features: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Multiplies the channels of every position by a symmetric matrix, in float32."""
    product: tf.Tensor = tf.linalg.einsum("bhwi,ij->bhwj", features, tf.constant(matrix, tf.float32))
    return product
