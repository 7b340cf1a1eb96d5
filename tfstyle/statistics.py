"""Statistics of features, all of them computed from sums over positions: (positions, Σf, Σffᵀ).

The sums of the tiles of a large image add up to those of the whole image, and the sums of several styles can be
averaged. A statistic is a function of the sums alone, not of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import UsageError, lookup


class SufficientStatistics(NamedTuple):
    """Sums over the positions of a feature map; adding two gives the sums over both together.

    Attributes:
        positions: [batch], number of positions, or sum of their weights.
        total: [batch, channels], Σf, in activation units.
        products: [batch, channels, channels], Σffᵀ, in squared activation units.
    """

    positions: tf.Tensor
    total: tf.Tensor
    products: tf.Tensor


VARIANCE_EPSILON = 1e-5
"""Added to a variance, so that the gradient of its square root stays finite on a constant channel."""


def sufficient_statistics(features: tf.Tensor, *, weights: tf.Tensor | None = None) -> SufficientStatistics:
    """Sums a feature map over its positions.

    Args:
        features: floating-point tensor [batch, height, width, channels]; 16-bit features are summed in float32.
        weights: weights of the positions in each of several regions, [1, height, width, regions], at least 0, for a
            batch of one; None weighs all positions equally.

    Returns:
        The `SufficientStatistics` of the positions; with `weights`, those of each region take the place of the batch.

    Raises:
        UsageError: if `features` is not of rank 4.
    """
    features = tf.convert_to_tensor(features)
    if features.shape.rank != 4:
        raise UsageError(f"Expected features [batch, height, width, channels]. Received: {tuple(features.shape)}.")
    shape, plain = tf.shape(features), tf.cast(features, _sum_dtype(features.dtype))
    if weights is not None:
        regions = tf.unstack(tf.cast(weights, plain.dtype), axis=-1)
        each = [_weighted_sums(plain, region[..., None]) for region in regions]
        return SufficientStatistics(*(tf.concat(parts, axis=0) for parts in zip(*each, strict=True)))
    total = tf.reduce_sum(tf.reduce_sum(plain, axis=2), axis=1)  # One reduction would lose a flat image's variance.
    products = tf.linalg.einsum("bhwi,bhwj->bij", plain, plain)
    return SufficientStatistics(tf.fill(shape[:1], tf.cast(shape[1] * shape[2], plain.dtype)), total, products)


def _weighted_sums(features: tf.Tensor, weights: tf.Tensor) -> SufficientStatistics:
    """Sums weighted positions; `weights` is [batch, height, width, 1]."""
    weighted = features * weights
    total = tf.reduce_sum(tf.reduce_sum(weighted, axis=2), axis=1)
    products = tf.linalg.einsum("bhwi,bhwj->bij", weighted, features)
    return SufficientStatistics(tf.reduce_sum(weights, axis=(1, 2, 3)), total, products)


def sums_gradient(
    features: tf.Tensor, upstream: SufficientStatistics, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Computes the gradient with respect to features from the gradient with respect to their sums.

    Equal to TensorFlow's own gradient, in one matrix product instead of two; that of 16-bit features is computed in
    16 bits, which the gradient of the convolutions is as well.

    Args:
        features: as for `sufficient_statistics`.
        upstream: gradient of a scalar with respect to `total` and `products`; `positions` is not used.
        weights: as for `sufficient_statistics`.

    Returns:
        A tensor of the features' shape and dtype.
    """
    both = upstream.products + tf.linalg.matrix_transpose(upstream.products)
    total, both = tf.cast(upstream.total, features.dtype), tf.cast(both, features.dtype)
    if weights is None:
        return _affine(features, both, total)
    gradient = tf.zeros_like(features)
    for number, region in enumerate(tf.unstack(tf.cast(weights, features.dtype), axis=-1)):
        with tf.control_dependencies([gradient]):  # One after the other, to save memory.
            one = slice(number, number + 1)
            gradient += region[..., None] * _affine(features, both[one], total[one])
    return gradient


def _affine(features: tf.Tensor, matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    mapped: tf.Tensor = tf.linalg.einsum("bhwi,bij->bhwj", features, matrix) + offset[:, None, None]
    return mapped


def _sum_dtype(dtype: tf.DType) -> tf.DType:
    """Returns the dtype in which features are summed; 16 bits would lose most of the sum."""
    return dtype if dtype.size >= 4 else tf.float32


def add(first: SufficientStatistics, second: SufficientStatistics) -> SufficientStatistics:
    """Adds the sums over two sets of positions."""
    return SufficientStatistics(*(a + b for a, b in zip(first, second, strict=True)))


def average(sums: Sequence[SufficientStatistics], shares: tf.Tensor) -> SufficientStatistics:
    """Averages the sums of several images, so that each counts by its share, whatever its number of positions.

    Args:
        sums: of each image.
        shares: [images], with the sum 1; or [images, batch], for each of a batch.
    """
    positions, total, products = (tf.stack(parts) for parts in zip(*sums, strict=True))
    shares = tf.reshape(tf.cast(shares, positions.dtype), [len(sums), -1])
    common = tf.reduce_sum(shares * positions, axis=0)
    factors = shares * common / positions
    return SufficientStatistics(
        common, tf.einsum("nb,nbi->bi", factors, total), tf.einsum("nb,nbij->bij", factors, products)
    )


def scale(sums: SufficientStatistics, factor: float | Sequence[float]) -> SufficientStatistics:
    """Computes the sums that features would have if multiplied by one factor, or by one factor per channel."""
    factors = tf.reshape(tf.cast(factor, sums.total.dtype), [-1])
    return SufficientStatistics(sums.positions, sums.total * factors, sums.products * (factors[:, None] * factors))


def mean(sums: SufficientStatistics) -> tf.Tensor:
    """Computes each channel's mean activation, [batch, channels]."""
    return sums.total / sums.positions[:, None]


def gram(sums: SufficientStatistics) -> tf.Tensor:
    """Computes the Gram matrix: the mean over positions of channel i times channel j.

    It shows which channels are active together; the layout is lost, the texture is kept.

    Returns:
        [batch, channels, channels], symmetric and positive semi-definite, in squared activation units.

    Differs from the paper: Gatys et al. sum over positions and divide in the loss (equations 3 and 4); the mean makes
    targets of different sizes comparable. Other divisors in a recipe's source are part of the recipe's weights.

    References:
        Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks (CVPR 2016), section 2.2.
    """
    return sums.products / sums.positions[:, None, None]


def covariance(sums: SufficientStatistics) -> tf.Tensor:
    """Computes the covariance of the channels: the Gram matrix of the features minus their mean.

    Returns:
        [batch, channels, channels], symmetric, in squared activation units. Divided by the count, not by the count
        minus one.
    """
    average = mean(sums)
    return gram(sums) - average[:, :, None] * average[:, None, :]


def mean_std(sums: SufficientStatistics) -> tf.Tensor:
    """Computes each channel's mean and standard deviation, which AdaIN transfers.

    Args:
        sums: sums over a feature map.

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
    """Computes the Gram matrix as a sum over positions (Gatys et al., equation 3); it grows with the image size."""
    return sums.products


def mean_gram(sums: SufficientStatistics) -> tf.Tensor:
    """Stacks the mean activations on top of the Gram matrix, [batch, channels + 1, channels].

    Together they determine mean and covariance; unlike a covariance, they may be averaged over several images.
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
"""The statistics by which styles can be compared, by the names that recipes use."""


def find_statistic(statistic: str | Statistic) -> Statistic:
    """Returns the statistic of that name; a function of your own is returned as it is.

    Raises:
        UsageError: if there is none.
    """
    return statistic if callable(statistic) else lookup("statistic", statistic, STATISTICS)
