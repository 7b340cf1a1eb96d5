"""Shapes as Python's integers, in eager mode and while a graph is traced."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle.tensors import sides, static_shape


@pytest.mark.parametrize("make", [np.zeros, tf.zeros])
def test_sizes_are_integers(make):
    image = make([1, 4, 6, 3])
    assert static_shape(image) == (1, 4, 6, 3)
    assert sides(image) == (4, 6)
    assert all(type(size) is int for size in static_shape(image))


def test_known_sizes_are_known_while_a_graph_is_traced():
    traced = []

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 6, 3])])
    def trace(images):
        traced.append(sides(images))
        return images

    trace(tf.zeros([2, 4, 6, 3]))
    assert traced == [(4, 6)]
