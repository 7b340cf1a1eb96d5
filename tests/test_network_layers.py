"""Layers of the one-pass networks against NumPy and hand-worked numbers."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image

from tfstyle import statistics
from tfstyle.feedforward import layers
from tfstyle.statistics import sufficient_statistics


def mean_std(features):
    return statistics.mean_std(sufficient_statistics(tf.constant(features)))


def test_normalized_features_have_the_styles_mean_and_deviation(rng):
    features, style = rng.normal(size=(1, 7, 9, 4)), 3.0 + 2.0 * rng.normal(size=(1, 5, 8, 4))
    own, target = mean_std(features), mean_std(style)
    found = layers.adaptive_instance_normalization(tf.constant(features), own, target).numpy()
    np.testing.assert_allclose(found.mean((0, 1, 2)), style.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.std((0, 1, 2)), style.std((0, 1, 2)), rtol=1e-3)


def test_its_own_style_changes_nothing(rng):
    features = tf.constant(rng.normal(size=(1, 7, 9, 4)))
    own = mean_std(features)
    found = layers.adaptive_instance_normalization(features, own, own)
    np.testing.assert_allclose(found, features, rtol=1e-6, atol=1e-9)


def test_mean_std_is_that_of_the_sufficient_statistics(rng):
    features = rng.normal(2.0, 3.0, size=(2, 5, 8, 4)).astype("float32")
    np.testing.assert_allclose(layers.mean_std(features), mean_std(features), rtol=1e-4)


def test_upsample_nearest_repeats_rows_and_columns(rng):
    features = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    np.testing.assert_array_equal(layers.upsample_nearest(features), features.repeat(2, axis=1).repeat(2, axis=2))


def test_upsample_bilinear_worked_by_hand():
    """Three quarters of the nearer position and one of the farther; the edge repeated."""
    features = tf.constant([[[[0.0], [4.0]]]])
    expected = [[0.0, 1.0, 3.0, 4.0]] * 2
    np.testing.assert_allclose(layers.upsample_bilinear(features)[0, :, :, 0], expected)


@pytest.mark.parametrize("margin", [1, 4])
def test_reflect_pad_does_not_repeat_the_edge(margin, rng):
    features = rng.normal(size=(2, 5, 7, 3)).astype("float32")
    margins = [(0, 0), (margin, margin), (margin, margin), (0, 0)]
    np.testing.assert_array_equal(layers.reflect_pad(features, margin), np.pad(features, margins, "reflect"))


@pytest.mark.parametrize("size", [(8, 16), (9, 15), (13, 10)])
def test_pad_to_multiple_repeats_the_edge(size, rng):
    pixels = image(rng, *size)
    margins = [(0, 0), *((0, -side % 8) for side in size), (0, 0)]
    np.testing.assert_array_equal(layers.pad_to_multiple(pixels, 8), np.pad(pixels, margins, "symmetric"))


def test_instance_normalization_worked_by_hand():
    # Channel values 1 and 3: mean 2, deviation 1.
    layer = layers.InstanceNormalization()
    layer.build((None, None, None, 1))
    layer.shift.assign([10.0])
    layer.scale.assign([2.0])
    found = layer(tf.constant([[[[1.0], [3.0]]]]))
    np.testing.assert_allclose(found[0, 0, :, 0], [8.0, 12.0], rtol=1e-4)


def test_instance_normalization_stays_in_float32_under_a_mixed_policy():
    layer = layers.InstanceNormalization(dtype="mixed_bfloat16")
    found = layer(tf.cast(tf.random.stateless_normal([1, 5, 7, 3], (1, 2)), tf.bfloat16))
    assert found.dtype == tf.float32
    assert layer.scale.dtype == "float32"


def test_an_offset_is_added_to_the_learned_mean_and_deviation(rng):
    layer, features = layers.InstanceNormalization(), rng.normal(size=(1, 5, 8, 2)).astype("float32")
    offset = tf.constant([[[3.0, -1.0], [1.0, 0.5]]])
    found = layer(features, offset=offset).numpy()
    np.testing.assert_allclose(found.mean((0, 1, 2)), [3.0, -1.0], atol=1e-4)
    np.testing.assert_allclose(found.std((0, 1, 2)), [2.0, 1.5], rtol=1e-3)
