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


@pytest.mark.parametrize(
    ("rows", "count", "parts"),
    [
        ((0, 100), 2, [(0, 48), (48, 100)]),
        ((48, 100), 3, [(48, 64), (64, 80), (80, 100)]),
        ((0, 31), 4, [(0, 31)]),
        ((16, 64), 9, [(16, 32), (32, 48), (48, 64)]),
    ],
)
def test_rows_are_divided_at_multiples_of_16(rows, count, parts):
    assert boxes.split(rows, count) == parts
