"""Images of the levels of a pyramid: scaled, cropped, and given the detail of the next level."""

from __future__ import annotations

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.tensors import sides


def add_detail(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Enlarges an image to the content image's size and adds the content detail lost at the image's own size.

    This is one level of Burt & Adelson: The Laplacian Pyramid as a Compact Image Code (1983).

    Args:
        image: float32 [1, height, width, 3] in [0, 1].
        content: the same, larger.
    """
    height, width = sides(content)
    held = images.resize(images.resize(content, *sides(image)), height, width)
    return images.resize(image, height, width) + content - held


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
