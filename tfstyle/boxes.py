"""Cuts boxes out of maps, and divides images into parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tfstyle.environment import tf

ALIGNMENT = 16
"""Parts of an image begin at multiples of this: whole positions of all of VGG-19's layers then belong to one part."""


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


def split(interval: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Divides rows or columns (start, stop) into parts of about one length, each a multiple of 16 after the start.

    Args:
        interval: what is divided.
        count: number of parts; there are fewer if they would be shorter than `ALIGNMENT`.
    """
    start, length = interval[0], interval[1] - interval[0]
    count = max(1, min(count, length // ALIGNMENT))
    bounds = [start + ALIGNMENT * round(number * length / count / ALIGNMENT) for number in range(count)]
    return list(itertools.pairwise((*bounds, interval[1])))
