"""Cuts boxes out of maps."""

from __future__ import annotations

from collections.abc import Callable

from tfstyle.environment import tf


def cut(found: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Cuts a box out of a map.

    The gradient is padded with zeros; that of TensorFlow's slices takes twenty times as long.

    Args:
        found: [batch, height, width, channels].
        box: int32 [4]: top, left, height and width; what lies beyond the map is left out.

    Returns:
        [batch, height', width', channels].
    """

    @tf.custom_gradient
    def sliced(whole: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        top, left, height, width = tf.unstack(box)
        part = whole[:, top : top + height, left : left + width]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            lacking = tf.shape(whole) - tf.shape(part)
            down, right = lacking[1] - top, lacking[2] - left
            padded: tf.Tensor = tf.pad(upstream, [[0, 0], [top, down], [left, right], [0, 0]])
            return padded

        return part, gradient

    part: tf.Tensor = sliced(found)
    return part
