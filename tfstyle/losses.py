"""Statistics and targets → one number: content, style, total variation and their weighted sum.

Every loss is a mean, so that the same weights mean the same look at every picture size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tfstyle.environment import tf
from tfstyle.errors import unknown_name

Tensors = Mapping[str, tf.Tensor]


def squared_error(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The mean, over all entries, of the squared difference; a scalar, 0 only where both are equal."""
    return tf.reduce_mean(tf.math.squared_difference(values, targets))


def layer_losses(
    values: Tensors, targets: Tensors, weights: Mapping[str, float], *, relative: bool = False
) -> dict[str, tf.Tensor]:
    """Compares two sets of features or statistics, layer by layer.

    With features this is the content loss, with any statistic of `moments` the style loss.

    Args:
        values: layer → tensor, of the image.
        targets: layer → tensor of the same shape, of the photograph or the painting.
        weights: layer → factor; the layers compared are its keys.
        relative: divide each layer's loss by the mean square of its target, so that a pale picture counts as much as
            a vivid one; 1 then means as wrong as an image without any features.

    Returns:
        Layer → scalar, the weighted mean squared difference.

    Raises:
        ValueError: if a layer to be compared is missing on either side.

    Differs from the paper: Gatys et al. sum the squared differences and divide by fixed numbers (equations 1 and 4).

    References:
        Gatys, Ecker, Bethge (CVPR 2016), sections 2.1 and 2.2.
    """
    for layer in weights:
        for side in (values, targets):
            if layer not in side:
                raise ValueError(unknown_name("layer", layer, side))
    return {
        layer: weight * squared_error(values[layer], targets[layer]) / (_size(targets[layer]) if relative else 1.0)
        for layer, weight in weights.items()
    }


def _size(target: tf.Tensor) -> tf.Tensor:
    """Mean square of a target; never 0, so that a flat picture's loss stays finite."""
    return tf.reduce_mean(target**2) + 1e-6


def _differences(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each pixel's lower neighbour less itself, and right neighbour less itself."""
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


def total_variation_squared(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: mean squared vertical plus mean squared horizontal difference.

    The form of TensorFlow's tutorial. A scalar ≥ 0, in squared units of the image, 0 for a constant one.
    """
    down, right = _differences(image)
    return tf.reduce_mean(down**2) + tf.reduce_mean(right**2)


def total_variation_absolute(image: tf.Tensor) -> tf.Tensor:
    """How rough an image is: half of mean absolute vertical plus mean absolute horizontal difference.

    The form of Dive into Deep Learning, section 14.12. A scalar ≥ 0, in units of the image.
    """
    down, right = _differences(image)
    return 0.5 * (tf.reduce_mean(tf.abs(down)) + tf.reduce_mean(tf.abs(right)))


def total_variation_power(image: tf.Tensor, *, power: float = 1.25) -> tf.Tensor:
    """How rough an image is: sum over positions of (vertical² + horizontal²)^power.

    The form of Keras' neural style transfer example; the last row and column count only as neighbours. A scalar ≥ 0
    that grows with the picture's size.
    """
    down, right = _differences(image)
    squares = down[:, :, :-1] ** 2 + right[:, :-1] ** 2
    return tf.reduce_sum(squares**power)


TOTAL_VARIATIONS: Mapping[str, Callable] = MappingProxyType(
    {
        "squared": total_variation_squared,
        "absolute": total_variation_absolute,
        "power": total_variation_power,
    }
)
"""The published forms of total variation, under the names recipes use."""


def total_variation(name: str) -> Callable:
    """The form of total variation of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in TOTAL_VARIATIONS:
        raise ValueError(unknown_name("total variation", name, TOTAL_VARIATIONS))
    return TOTAL_VARIATIONS[name]
