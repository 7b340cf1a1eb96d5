"""Total variation of an image, a measure of its roughness, in the published forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tfstyle.environment import tf
from tfstyle.errors import lookup


@dataclass(frozen=True)
class Form:
    """A form of total variation, a function image [batch, height, width, channels] → scalar.

    Attributes:
        maps: image → tensors that are reduced and added up; they have at most a row or column less than the image.
        mean: whether they are reduced by their means; otherwise by their sums.
    """

    maps: Callable[[tf.Tensor], Sequence[tf.Tensor]]
    mean: bool

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Computes the total variation, a scalar ≥ 0 that is 0 for a constant image."""
        return self.share(image, tf.shape(image)[1])

    def share(self, rows: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
        """Computes the total variation of adjacent rows of an image, where means are those over the whole image.

        The shares of bands that have one row in common, less the share of that row, add up to the whole.

        Args:
            rows: [batch, rows, width, channels].
            height: number of rows of the image, int32.
        """
        missing = height - tf.shape(rows)[1]
        total: tf.Tensor = tf.add_n([self._reduce(part, missing) for part in self.maps(rows)])
        return total

    def _reduce(self, values: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
        if not self.mean:
            return tf.reduce_sum(values)
        count = tf.reduce_prod(tf.cast(tf.shape(values) + tf.stack([0, missing, 0, 0]), values.dtype))
        return tf.reduce_sum(values) / count


def _differences(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's lower neighbor minus the pixel, and right neighbor minus the pixel."""
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


def _squared(image: tf.Tensor) -> list[tf.Tensor]:
    return [difference**2 for difference in _differences(image)]


def _absolute(image: tf.Tensor) -> list[tf.Tensor]:
    return [tf.abs(difference) for difference in _differences(image)]


def _half_absolute(image: tf.Tensor) -> list[tf.Tensor]:
    return [0.5 * part for part in _absolute(image)]


def _power(image: tf.Tensor) -> list[tf.Tensor]:
    down, right = _differences(image)
    return [(down[:, :, :-1] ** 2 + right[:, :-1] ** 2) ** 1.25]


def _nine_point(image: tf.Tensor) -> list[tf.Tensor]:
    around = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    right, down = around[:, 1:-1, 2:] - image, around[:, 2:, 1:-1] - image
    diagonals = around[:, 2:, 2:] - image, around[:, 2:, :-2] - image
    straight = right**2 + down**2
    return [2.0 * (straight / 3.0 + (diagonals[0] ** 2 + diagonals[1] ** 2) / 12.0)]


squared = Form(_squared, mean=True)
"""Mean squared vertical plus mean squared horizontal difference, in squared units of the image.

The form of TensorFlow's tutorial.
"""

absolute = Form(_half_absolute, mean=True)
"""Half the sum of the mean absolute vertical and the mean absolute horizontal difference, in units of the image.

The form of Dive into Deep Learning, section 14.12.
"""

power = Form(_power, mean=False)
"""Sum of (vertical² + horizontal²)^1.25 of the differences; the last row and column count only as neighbors.

The form of Keras' neural style transfer example. It grows with the image size.
"""

absolute_sum = Form(_absolute, mean=False)
"""Sum of the absolute vertical and horizontal differences, in units of the image.

The form of neural-style-pt. It grows with the image size.
"""

nine_point = Form(_nine_point, mean=True)
"""Twice the mean of the squared differences to the lower, right and two lower diagonal neighbors.

Straight neighbors weigh 1/3, diagonal ones 1/12; the border is repeated. In squared units of the image, the form of
style-transfer-pytorch (K. Crowson).
"""

TotalVariation = Callable[[tf.Tensor], tf.Tensor]

FORMS: Mapping[str, Form] = MappingProxyType(
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


def find_bands(height: int, length: int) -> Iterator[tuple[int, int, float]]:
    """Yields bands of rows (start, stop, factor) of which `Form.share`, times the factor, adds up to the whole image's.

    Args:
        height: number of rows of the image.
        length: number of rows of a band; each has the first row of the next one as well, which is then subtracted.
    """
    for start in range(0, height, length):
        stop = min(start + length, height)
        yield start, min(stop + 1, height), 1.0
        if stop < height:
            yield stop, stop + 1, -1.0
