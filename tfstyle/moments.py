"""Features → statistics, all of them from sums that add up over positions: (count, Σf, Σffᵀ).

Because the sums add, several styles average, a mask is a weight on positions, and the tiles of a large picture sum to
the whole. A statistic is a function of the sums alone and never sees the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import unknown_name


class Moments(NamedTuple):
    """Sums over the positions of a feature map; adding two gives the moments of both together.

    Attributes:
        count: [batch], number of positions, or the sum of their weights.
        total: [batch, channels], Σf, in activation units.
        products: [batch, channels, channels], Σffᵀ, in squared activation units.
    """

    count: tf.Tensor
    total: tf.Tensor
    products: tf.Tensor


@tf.custom_gradient
def _outer_sums(features: tf.Tensor, weighted: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Σ weighted·featuresᵀ over positions, with the whole gradient sent through `features`.

    `weighted` is `features` times a weight, so the sum is symmetric in the two and both factors have the same
    gradient but for a transpose: one matrix product serves where a plain einsum's gradient spends two.
    """
    sums = tf.linalg.einsum("bhwi,bhwj->bij", weighted, features)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        both = upstream + tf.linalg.matrix_transpose(upstream)
        return tf.linalg.einsum("bhwi,bij->bhwj", weighted, both), None

    return sums, gradient


def moments(features: tf.Tensor, *, mask: tf.Tensor | None = None) -> Moments:
    """Sums a feature map over its positions.

    Args:
        features: float32 tensor [batch, height, width, channels].
        mask: float tensor [batch, height, width, 1] of weights ≥ 0, not all zero; None counts each position
            once. No gradient is taken towards it.

    Returns:
        The `Moments` of the positions.

    Raises:
        ValueError: if `features` is not of rank 4.
    """
    features = tf.convert_to_tensor(features)
    if features.shape.rank != 4:
        raise ValueError(f"Expected features [batch, height, width, channels]. Received: {tuple(features.shape)}.")
    if mask is None:
        shape = tf.shape(features)
        count = tf.fill(shape[:1], tf.cast(shape[1] * shape[2], features.dtype))
        weighted = features
    else:
        mask = tf.stop_gradient(tf.cast(mask, features.dtype))
        count = tf.reduce_sum(mask, axis=(1, 2, 3))
        weighted = features * mask
    total = tf.reduce_sum(
        tf.reduce_sum(weighted, axis=2), axis=1
    )  # In one go, float32 loses a flat picture's variance.
    return Moments(count, total, _outer_sums(features, weighted))


def add(first: Moments, second: Moments) -> Moments:
    """The moments of two sets of positions taken together."""
    return Moments(*(a + b for a, b in zip(first, second, strict=True)))


def scale(sums: Moments, factor: float) -> Moments:
    """The moments that features `factor` times as large would have."""
    return Moments(sums.count, sums.total * factor, sums.products * factor**2)


def mean(sums: Moments) -> tf.Tensor:
    """Each channel's mean activation, [batch, channels]."""
    return sums.total / sums.count[:, None]


def gram(sums: Moments) -> tf.Tensor:
    """Which channels are active together: the mean over positions of channel i times channel j.

    Layout is summed away, texture is kept.

    Returns:
        [batch, channels, channels], symmetric and positive semi-definite, in squared activation units.

    Differs from the paper: Gatys et al. sum over positions and divide in the loss (equations 3 and 4); the mean makes
    targets of different sizes comparable. A recipe's weights carry whatever its source divides by besides.

    References:
        Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks (CVPR 2016), section 2.2.
    """
    return sums.products / sums.count[:, None, None]


def covariance(sums: Moments) -> tf.Tensor:
    """Which channels vary together: the Gram matrix of the features less their mean.

    Returns:
        [batch, channels, channels], symmetric, in squared activation units. Divided by the count, not by the count
        less one.
    """
    average = mean(sums)
    return gram(sums) - average[:, :, None] * average[:, None, :]


def mean_deviation(sums: Moments, *, epsilon: float = 1e-5) -> tf.Tensor:
    """Each channel's mean and standard deviation, what AdaIN transfers.

    Args:
        sums: moments of a feature map.
        epsilon: added to the variance, so that the gradient stays finite on a constant channel.

    Returns:
        [batch, 2, channels]: means, then deviations, in activation units.

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 6.
    """
    average = mean(sums)
    squares = tf.linalg.diag_part(sums.products) / sums.count[:, None]
    variance = tf.maximum(squares - average**2, 0.0)
    return tf.stack([average, tf.sqrt(variance + epsilon)], axis=1)


def summed_gram(sums: Moments) -> tf.Tensor:
    """The Gram matrix as a sum over positions, as Gatys et al. print it (equation 3); it grows with the picture."""
    return sums.products


def mean_gram(sums: Moments) -> tf.Tensor:
    """Mean activations above the Gram matrix, [batch, channels + 1, channels].

    Together they determine mean and covariance, and unlike these they may be averaged between pictures.
    """
    return tf.concat([mean(sums)[:, None], gram(sums)], axis=1)


STATISTICS: Mapping[str, Callable[[Moments], tf.Tensor]] = MappingProxyType(
    {
        "gram": gram,
        "summed_gram": summed_gram,
        "covariance": covariance,
        "mean_deviation": mean_deviation,
        "mean_gram": mean_gram,
    }
)
"""The statistics a style can be compared by, under the names recipes use."""


def statistic(name: str) -> Callable[[Moments], tf.Tensor]:
    """The statistic of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in STATISTICS:
        raise ValueError(unknown_name("statistic", name, STATISTICS))
    return STATISTICS[name]
