"""Adam and SGD against Keras; what all optimizers have in common."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from optimization import SHAPE, Run, quadratic, tilted

from tfstyle import optimizers
from tfstyle.recipes import LBFGS, SGD, Adam, Decay


def test_the_means_of_adam_are_carried_to_another_size():
    optimizer = optimizers.AdamOptimizer(Adam(learning_rate=0.01))
    step = Run(optimizer, np.zeros((1, 4, 8, 3)), tilted)
    for _ in range(5):
        step()
    grown = optimizer.resize(step.state, 8, 16)
    np.testing.assert_allclose(grown.mean, tf.image.resize(step.state.mean, (8, 16), "bicubic"), rtol=1e-5)
    np.testing.assert_allclose(grown.square, tf.image.resize(step.state.square, (8, 16)), rtol=1e-5)
    assert int(grown.steps) == 5


@pytest.mark.parametrize(
    ("staircase", "expected"), [(True, [1.0, 1.0, 0.5, 0.5, 0.25]), (False, [2 ** -(k / 2) for k in range(5)])]
)
def test_the_learning_rate_decays_as_keras_schedule_says(staircase, expected):
    decay = Decay(rate=0.5, steps=2, staircase=staircase)
    optimizer = optimizers.make_optimizer(SGD(learning_rate=1.0, decay=decay))
    step = Run(optimizer, np.zeros((1, 1, 1, 1)), lambda x: (0.0, -np.ones(x.shape)))
    path = [0.0] + [float(step().item()) for _ in range(5)]
    np.testing.assert_allclose(np.diff(path), expected, rtol=1e-5)
    plain = keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5, staircase=staircase)
    np.testing.assert_allclose([plain(k) for k in range(5)], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [Adam, SGD, LBFGS])
def test_an_update_changes_nothing_it_is_given(kind):
    """So that runs share an optimizer, and a state kept can be gone on with."""
    optimizer = optimizers.make_optimizer(kind(learning_rate=0.01))
    step = Run(optimizer, np.zeros(SHAPE), quadratic)
    step()
    kept = step.state, step.image
    copies = [tensor.numpy().copy() for tensor in tf.nest.flatten(kept)]
    first = [step() for _ in range(4)]
    step.state, step.image = kept
    np.testing.assert_array_equal([step() for _ in range(4)], first)
    for tensor, copy in zip(tf.nest.flatten(kept), copies, strict=True):
        np.testing.assert_array_equal(tensor, copy)
    assert np.abs(first[-1]).max() > 0
    assert step.step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(("beta_1", "beta_2", "epsilon"), [(0.99, 0.999, 0.1), (0.9, 0.99, 1e-8)])
def test_adam_is_keras_adam_followed_by_the_projection(beta_1, beta_2, epsilon):
    options = Adam(learning_rate=0.3, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, decay=Decay(rate=0.5))
    start = np.array([0.1, 0.9, 0.2, 0.0, 0.5, 0.7]).reshape(SHAPE)
    optimizer = optimizers.make_optimizer(options, project=lambda x: tf.clip_by_value(x, 0.0, 1.0))
    step, twin = Run(optimizer, start, quadratic), tf.Variable(start, dtype=tf.float32)
    rate = keras.optimizers.schedules.ExponentialDecay(0.3, 100, 0.5)
    plain = keras.optimizers.Adam(rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    for _ in range(6):
        plain.apply([tf.constant(quadratic(twin.numpy())[1], tf.float32)], [twin])
        twin.assign(tf.clip_by_value(twin, 0.0, 1.0))
        np.testing.assert_allclose(step(), twin, rtol=1e-5)
