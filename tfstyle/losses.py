"""Content loss, style loss and the distances they use.

The losses of our recipes are means, so that the same weights give the same look at every image size; some published
ones are sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tfstyle.environment import tf
from tfstyle.errors import UsageError, lookup, unknown_name
from tfstyle.wasserstein import NEWTON_SCHULZ, gaussian, principal_gaussian
from tfstyle.wasserstein import distance as wasserstein_distance

Tensors = Mapping[str, tf.Tensor]


def squared_error(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Computes the mean squared difference over all entries: a scalar, 0 only if both are equal."""
    return tf.reduce_mean(tf.math.squared_difference(values, targets))


def layer_losses(
    values: Tensors,
    targets: Mapping[str, Any],
    weights: Mapping[str, float],
    *,
    compare: Callable[[tf.Tensor, Any], tf.Tensor] = squared_error,
    relative: bool = False,
) -> dict[str, tf.Tensor]:
    """Compares two sets of features or statistics, layer by layer.

    With features this is the content loss, with a statistic in `statistics.STATISTICS` the style loss.

    Args:
        values: layer → tensor, of the image.
        targets: layer → tensor of the same shape, of the content image or the style image.
        weights: layer → factor; the layers compared are its keys.
        compare: (value, target) → scalar.
        relative: divide each layer's loss by the mean square of its target, so that a pale image counts as much as a
            vivid one; 1 is then the loss of an image without any features.

    Returns:
        Layer → scalar, the weighted loss.

    Raises:
        UsageError: if a layer to be compared is missing on either side.

    Differs from the paper: Gatys et al. sum the squared differences and divide by fixed numbers (equations 1 and 4).

    References:
        Gatys, Ecker, Bethge (CVPR 2016), sections 2.1 and 2.2.
    """
    for layer in weights:
        for side in (values, targets):
            if layer not in side:
                raise UsageError(unknown_name("layer", layer, side))
    return {
        layer: weight * compare(values[layer], targets[layer]) / (_size(targets[layer]) if relative else 1.0)
        for layer, weight in weights.items()
    }


def _size(target: tf.Tensor) -> tf.Tensor:
    """Mean square of a target; never 0, so that a flat image's loss stays finite."""
    return tf.reduce_mean(target**2) + 1e-6


def reduction(name: str, kind: str, pixels: tf.Tensor) -> Callable[[tf.Tensor], float | tf.Tensor]:
    """Returns the function for the factor that converts a mean over entries to the named reduction.

    Args:
        name: "mean" keeps the mean; "sum" reduces as Keras' example: content losses are sums over entries, style losses
            sums divided by 4 · 3² · pixels², over Gram matrices that are themselves sums over positions.
        kind: "content" or "style".
        pixels: number of pixels of the image.

    Returns:
        A function value → factor.

    References:
        F. Chollet: Neural style transfer, keras.io/examples/generative/neural_style_transfer.
    """
    if name == "mean":
        return lambda value: 1.0
    if kind == "content":
        return lambda value: tf.cast(tf.size(value), pixels.dtype)
    return lambda value: tf.cast(tf.size(value), pixels.dtype) / (36.0 * pixels**2)


class Distance(NamedTuple):
    """A way to compare a statistic with that of the style image.

    Attributes:
        prepare: statistic of the style image → target, computed once.
        compare: (statistic, target) → scalar.
    """

    prepare: Callable[[tf.Tensor], Any]
    compare: Callable[[tf.Tensor, Any], tf.Tensor]

    def __call__(self, statistic: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Compares a statistic with that of the style image."""
        return self.compare(statistic, self.prepare(target))


DISTANCES: Mapping[str, Distance] = MappingProxyType(
    {
        "squared_error": Distance(tf.identity, squared_error),
        "wasserstein": Distance(principal_gaussian, wasserstein_distance),
        "wasserstein_newton_schulz": Distance(
            gaussian, functools.partial(wasserstein_distance, polynomials=NEWTON_SCHULZ)
        ),
    }
)
"""Distances by the names that recipes use."""


def find_distance(distance: str | Distance | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Distance:
    """Returns the distance of that name; wraps a custom function (statistic, target statistic) → scalar.

    Raises:
        UsageError: if there is none.
    """
    if isinstance(distance, Distance):
        return distance
    return Distance(tf.identity, distance) if callable(distance) else lookup("distance", distance, DISTANCES)


def color_difference(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Computes the color difference of two images: mean absolute in Y, plus mean Huber loss (δ = 1) in U and V.

    Args:
        image, target: float32 [batch, height, width, 3], sRGB, in [0, 1].

    Returns:
        A scalar ≥ 0, 0 only if both are equal.

    References:
        Chen, Liu, Chen: AnimeGAN: A Novel Lightweight GAN for Photo Animation (ISICA 2019), equation 7.
    """
    difference = tf.image.rgb_to_yuv(image) - tf.image.rgb_to_yuv(target)
    size = tf.abs(difference)
    huber = tf.where(size < 1.0, 0.5 * size**2, size - 0.5)
    y, u, v = size[..., 0], huber[..., 1], huber[..., 2]  # type: ignore[index]  # The stubs lack `...`.
    return tf.reduce_mean(y) + tf.reduce_mean(u) + tf.reduce_mean(v)
