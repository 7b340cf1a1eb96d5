"""Images of the levels of a pyramid: scaled, cropped, and given the detail of the next level."""

from __future__ import annotations

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.tensors import sides


def add_detail(image: tf.Tensor, *details: tf.Tensor) -> tf.Tensor:
    """Enlarges an image and adds details of the larger size; at each pixel the strongest of them.

    Args:
        image: float32 [1, height, width, 3] in [0, 1].
        *details: float32 [1, H, W, 3], differences of colors, one or more of the same size.

    References:
        Burt, Kolczynski: Enhanced Image Capture through Fusion (1993), for the choice by strength.
    """
    chosen = details[0]
    for detail in details[1:]:
        chosen = tf.where(_strength(detail) > _strength(chosen), detail, chosen)
    return images.resize(image, *sides(chosen)) + chosen


def lost_detail(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns the detail of an image that it loses at a smaller size: a level of the Laplacian pyramid.

    Args:
        image: float32 [1, height, width, 3].
        size: the smaller (height, width).

    Returns:
        float32 tensor like the image.

    References:
        Burt, Adelson: The Laplacian Pyramid as a Compact Image Code (1983).
    """
    return image - images.resize(images.resize(image, *size), *sides(image))


def _strength(detail: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(detail**2, axis=-1, keepdims=True)


def scale(image: tf.Tensor, factor: float) -> tf.Tensor:
    """Resizes an image by a factor."""
    return images.fit(image, round(max(sides(image)) * factor))


def crop(image: tf.Tensor, margin: float) -> tf.Tensor:
    """Crops a fraction of an image's short side at each edge."""
    height, width = sides(image)
    edge = edge_of(height, width, margin)
    return image[:, edge : height - edge, edge : width - edge]


def edge_of(height: int, width: int, margin: float) -> int:
    """Returns the pixels that `crop` takes away at each edge."""
    return round(margin * min(height, width))
