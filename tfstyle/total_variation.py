"""Total variation of an image, a measure of its roughness, in the published forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tfstyle.environment import tf
from tfstyle.errors import lookup


def _differences(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's lower neighbor minus the pixel, and right neighbor minus the pixel."""
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


def squared(image: tf.Tensor) -> tf.Tensor:
    """Computes the mean squared vertical plus the mean squared horizontal difference.

    The form of TensorFlow's tutorial. A scalar ≥ 0, in squared units of the image, 0 for a constant image.
    """
    down, right = _differences(image)
    return tf.reduce_mean(down**2) + tf.reduce_mean(right**2)


def absolute(image: tf.Tensor) -> tf.Tensor:
    """Computes half the sum of the mean absolute vertical and the mean absolute horizontal difference.

    The form of Dive into Deep Learning, section 14.12. A scalar ≥ 0, in units of the image.
    """
    down, right = _differences(image)
    return 0.5 * (tf.reduce_mean(tf.abs(down)) + tf.reduce_mean(tf.abs(right)))


def power(image: tf.Tensor, *, exponent: float = 1.25) -> tf.Tensor:
    """Computes the sum of (vertical² + horizontal²)^exponent of the differences over positions.

    The form of Keras' neural style transfer example; the last row and column count only as neighbors. A scalar ≥ 0
    that grows with the image size.
    """
    down, right = _differences(image)
    squares = down[:, :, :-1] ** 2 + right[:, :-1] ** 2
    return tf.reduce_sum(squares**exponent)


def absolute_sum(image: tf.Tensor) -> tf.Tensor:
    """Computes the sum of absolute vertical and horizontal differences.

    The form of neural-style-pt. A scalar ≥ 0 that grows with the image size, in units of the image.
    """
    down, right = _differences(image)
    return tf.reduce_sum(tf.abs(down)) + tf.reduce_sum(tf.abs(right))


def nine_point(image: tf.Tensor) -> tf.Tensor:
    """Computes the mean squared differences to the lower, right and two lower diagonal neighbors.

    The border is repeated; straight neighbors weigh 1/3, diagonal ones 1/12, and the mean is doubled. The form of
    style-transfer-pytorch (K. Crowson). A scalar ≥ 0, in squared units of the image.
    """
    around = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    right, down = around[:, 1:-1, 2:] - image, around[:, 2:, 1:-1] - image
    diagonals = around[:, 2:, 2:] - image, around[:, 2:, :-2] - image
    straight = right**2 + down**2
    return 2.0 * tf.reduce_mean(straight / 3.0 + (diagonals[0] ** 2 + diagonals[1] ** 2) / 12.0)


TotalVariation = Callable[[tf.Tensor], tf.Tensor]

FORMS: Mapping[str, TotalVariation] = MappingProxyType(
    {
        "squared": squared,
        "absolute": absolute,
        "power": power,
        "absolute_sum": absolute_sum,
        "nine_point": nine_point,
    }
)
"""The published forms of total variation, by the names that recipes use."""


def find_form(form: str | TotalVariation) -> TotalVariation:
    """Returns the form of total variation of that name; a function of your own is returned as it is.

    Raises:
        UsageError: if there is none.
    """
    return form if callable(form) else lookup("total variation", form, FORMS)
