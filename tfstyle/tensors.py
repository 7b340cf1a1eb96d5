"""Shapes of tensors as Python's integers, where they are known before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from tfstyle.environment import tf


def static_shape(tensor: tf.Tensor | np.ndarray) -> tuple[int, ...]:
    """Returns the shape of a tensor; for sizes that are known only while a graph runs, take `tf.shape`."""
    return cast("tuple[int, ...]", tuple(tensor.shape))  # TensorFlow's type allows for sizes that are not known.


def sides(image: tf.Tensor | np.ndarray) -> tuple[int, int]:
    """Returns height and width of an image [batch, height, width, channels] of known size."""
    height, width = static_shape(image)[1:3]
    return height, width
