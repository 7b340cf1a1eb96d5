"""Boxes of maps, and their gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import boxes


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("box", [(0, 0, 5, 8), (1, 2, 3, 4), (4, 7, 1, 1), (2, 3, 9, 9)])
def test_a_box_and_its_gradient_are_those_of_a_slice(box, mode, rng):
    found = tf.constant(rng.normal(size=(2, 5, 8, 3)))

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(found)
            part = function(found)
            loss = tf.reduce_sum(part**3)
        return part, tape.gradient(loss, found)

    top, left, height, width = box
    expected = gradient(lambda x: x[:, top : top + height, left : left + width])
    result = mode(lambda: gradient(lambda x: boxes.cut(x, tf.constant(box))))()
    for one, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
