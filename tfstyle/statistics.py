"""Features → statistics, all of them from sums that add up over positions: (positions, Σf, Σffᵀ).

Because the sums add, the tiles of a large picture sum to the whole, and several styles average. A statistic is a
function of the sums alone and never sees the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import UsageError, lookup
from tfstyle.tensors import static_shape


class SufficientStatistics(NamedTuple):
    """Sums over the positions of a feature map; adding two gives the moments of both together.

    Attributes:
        positions: [batch], number of positions.
        total: [batch, channels], Σf, in activation units.
        products: [batch, channels, channels], Σffᵀ, in squared activation units.
    """

    positions: tf.Tensor
    total: tf.Tensor
    products: tf.Tensor


VARIANCE_EPSILON = 1e-5
"""Added to a variance, so that the gradient of its root stays finite on a constant channel."""

GRADIENT_BANDS = 4
"""Bands of rows in which the gradient of the sums of 16-bit features is computed, to bound its float32 parts."""

MAX_BANDED_CHANNELS = 64
"""Features with more channels have few rows and take one band."""


def sufficient_statistics(features: tf.Tensor) -> SufficientStatistics:
    """Sums a feature map over its positions.

    Args:
        features: floating tensor [batch, height, width, channels]; those of 16 bits are summed in float32.

    Returns:
        The `SufficientStatistics` of the positions.

    Raises:
        UsageError: if `features` is not of rank 4.
    """
    features = tf.convert_to_tensor(features)
    if features.shape.rank != 4:
        raise UsageError(f"Expected features [batch, height, width, channels]. Received: {tuple(features.shape)}.")
    shape, plain = tf.shape(features), tf.cast(features, _sum_dtype(features.dtype))
    total = tf.reduce_sum(tf.reduce_sum(plain, axis=2), axis=1)  # In one go, a flat picture's variance is lost.
    products = tf.linalg.einsum("bhwi,bhwj->bij", plain, plain)
    return SufficientStatistics(tf.fill(shape[:1], tf.cast(shape[1] * shape[2], plain.dtype)), total, products)


def sums_gradient(features: tf.Tensor, upstream: SufficientStatistics) -> tf.Tensor:
    """Computes the gradient towards features from the gradient towards their moments.

    Equal to TensorFlow's own, in one matrix product instead of two; 16-bit features are widened one band of rows at a
    time.

    Args:
        features: as for `sufficient_statistics`.
        upstream: gradient of a scalar towards `total` and `products`; `positions` is not used.

    Returns:
        A tensor of the features' shape and dtype.
    """
    wide = _sum_dtype(features.dtype)
    both = upstream.products + tf.linalg.matrix_transpose(upstream.products)
    height = tf.shape(features)[1]
    count = GRADIENT_BANDS if features.dtype != wide and static_shape(features)[-1] <= MAX_BANDED_CHANNELS else 1
    bands: list[tf.Tensor] = []
    for number in range(count):
        rows = features[:, height * number // count : height * (number + 1) // count]
        with tf.control_dependencies(bands[-1:]):  # One after the other.
            band = tf.linalg.einsum("bhwi,bij->bhwj", tf.cast(rows, wide), both) + upstream.total[:, None, None]
            bands.append(tf.cast(band, features.dtype))
    return tf.concat(bands, axis=1)


def _sum_dtype(dtype: tf.DType) -> tf.DType:
    """The type that features are summed in: 16 bits would lose most of the sum."""
    return dtype if dtype.size >= 4 else tf.float32


def add(first: SufficientStatistics, second: SufficientStatistics) -> SufficientStatistics:
    """The moments of two sets of positions taken together."""
    return SufficientStatistics(*(a + b for a, b in zip(first, second, strict=True)))


def scale(sums: SufficientStatistics, factor: float | Sequence[float]) -> SufficientStatistics:
    """The moments that features `factor` times as large would have; one factor, or one a channel."""
    factors = tf.reshape(tf.cast(factor, sums.total.dtype), [-1])
    return SufficientStatistics(sums.positions, sums.total * factors, sums.products * (factors[:, None] * factors))


def mean(sums: SufficientStatistics) -> tf.Tensor:
    """Each channel's mean activation, [batch, channels]."""
    return sums.total / sums.positions[:, None]


def gram(sums: SufficientStatistics) -> tf.Tensor:
    """Which channels are active together: the mean over positions of channel i times channel j.

    Layout is summed away, texture is kept.

    Returns:
        [batch, channels, channels], symmetric and positive semi-definite, in squared activation units.

    Differs from the paper: Gatys et al. sum over positions and divide in the loss (equations 3 and 4); the mean makes
    targets of different sizes comparable. A recipe's weights carry whatever its source divides by besides.

    References:
        Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks (CVPR 2016), section 2.2.
    """
    return sums.products / sums.positions[:, None, None]


def covariance(sums: SufficientStatistics) -> tf.Tensor:
    """Which channels vary together: the Gram matrix of the features less their mean.

    Returns:
        [batch, channels, channels], symmetric, in squared activation units. Divided by the count, not by the count
        less one.
    """
    average = mean(sums)
    return gram(sums) - average[:, :, None] * average[:, None, :]


def mean_std(sums: SufficientStatistics) -> tf.Tensor:
    """Each channel's mean and standard deviation, what AdaIN transfers.

    Args:
        sums: moments of a feature map.

    Returns:
        [batch, 2, channels]: means, then deviations, in activation units.

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 6.
    """
    average = mean(sums)
    squares = tf.linalg.diag_part(sums.products) / sums.positions[:, None]
    variance = tf.maximum(squares - average**2, 0.0)
    return tf.stack([average, tf.sqrt(variance + VARIANCE_EPSILON)], axis=1)


def summed_gram(sums: SufficientStatistics) -> tf.Tensor:
    """The Gram matrix as a sum over positions, as Gatys et al. print it (equation 3); it grows with the picture."""
    return sums.products


def mean_gram(sums: SufficientStatistics) -> tf.Tensor:
    """Mean activations above the Gram matrix, [batch, channels + 1, channels].

    Together they determine mean and covariance, and unlike these they may be averaged between pictures.
    """
    return tf.concat([mean(sums)[:, None], gram(sums)], axis=1)


Statistic = Callable[[SufficientStatistics], tf.Tensor]

STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "gram": gram,
        "summed_gram": summed_gram,
        "covariance": covariance,
        "mean_std": mean_std,
        "mean_gram": mean_gram,
    }
)
"""The statistics a style can be compared by, under the names recipes use."""


def find_statistic(statistic: str | Statistic) -> Statistic:
    """Returns the statistic of that name; a function of your own is returned as it is.

    Raises:
        UsageError: if there is none.
    """
    return statistic if callable(statistic) else lookup("statistic", statistic, STATISTICS)
