"""Statistics against their definitions, worked numbers and scikit's properties."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import statistics
from tfstyle.statistics import sufficient_statistics

SHAPES = [(1, 4, 7, 3), (2, 1, 5, 8)]  # Never square: a swapped axis must fail.
MODES = {"eager": lambda f: f, "graph": tf.function}


def statistics_by_loops(features):
    """The definitions, one position at a time."""
    batch, height, width, channels = features.shape
    gram, mean = np.zeros((batch, channels, channels)), np.zeros((batch, channels))
    for b, y, x in np.ndindex(batch, height, width):
        gram[b] += np.outer(features[b, y, x], features[b, y, x]) / (height * width)
        mean[b] += features[b, y, x] / (height * width)
    covariance = gram - mean[:, :, None] * mean[:, None, :]
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2) + 1e-5)
    return {
        "gram": gram,
        "summed_gram": gram * height * width,
        "covariance": covariance,
        "mean_std": np.stack([mean, deviation], axis=1),
        "mean_gram": np.concatenate([mean[:, None], gram], axis=1),
    }


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", statistics.STATISTICS)
def test_a_statistic_matches_its_definition(name, shape, mode, rng):
    features = rng.normal(size=shape).astype("float32")
    found = mode(lambda f: statistics.find_statistic(name)(sufficient_statistics(f)))(features)
    np.testing.assert_allclose(found, statistics_by_loops(features)[name], rtol=1e-5, atol=1e-5)


def test_gram_worked_by_hand():
    # Two positions, two channels: (1, 2) and (3, 4). Mean of [[1, 2], [2, 4]] and [[9, 12], [12, 16]].
    features = [[[[1.0, 2.0], [3.0, 4.0]]]]
    np.testing.assert_array_equal(statistics.gram(sufficient_statistics(features)), [[[5.0, 7.0], [7.0, 10.0]]])


@pytest.mark.parametrize(
    ("factor", "total", "products"),
    [
        (2.0, [8.0, 12.0], [[40.0, 56.0], [56.0, 80.0]]),
        ([2.0, 10.0], [8.0, 60.0], [[40.0, 280.0], [280.0, 2000.0]]),
    ],
)
def test_scaled_moments_worked_by_hand(factor, total, products):
    # Of (1, 2) and (3, 4): the sum is (4, 6), that of the products [[10, 14], [14, 20]].
    scaled = statistics.scale(sufficient_statistics([[[[1.0, 2.0], [3.0, 4.0]]]]), factor)
    np.testing.assert_array_equal(scaled.total, [total])
    np.testing.assert_array_equal(scaled.products, [products])


def test_covariance_worked_by_hand():
    # The same less means (2, 3): (-1, -1) and (1, 1).
    features = [[[[1.0, 2.0], [3.0, 4.0]]]]
    np.testing.assert_allclose(statistics.covariance(sufficient_statistics(features)), [[[1.0, 1.0], [1.0, 1.0]]])


def test_moments_of_two_halves_add_up_to_those_of_the_whole(rng):
    features = rng.normal(size=(2, 4, 7, 3)).astype("float32")
    added = statistics.add(sufficient_statistics(features[:, :, :3]), sufficient_statistics(features[:, :, 3:]))
    for found, expected in zip(added, sufficient_statistics(features), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_scaled_moments_are_those_of_scaled_features(rng):
    features = rng.normal(size=(1, 4, 7, 3)).astype("float32")
    for found, expected in zip(
        statistics.scale(sufficient_statistics(features), 3.0),
        sufficient_statistics(features * 3.0),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gram_is_symmetric_and_positive_semi_definite(rng):
    gram = statistics.gram(sufficient_statistics(rng.normal(size=(2, 3, 5, 6)).astype("float32"))).numpy()
    np.testing.assert_allclose(gram, gram.transpose(0, 2, 1), rtol=1e-6)
    assert (np.linalg.eigvalsh(gram) > -1e-6).all()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 41, 50, 3), (1, 3, 50, 3), (1, 5, 7, 70)])
def test_the_gradient_towards_features_is_tensorflows(shape, dtype, rng):
    """That of 16-bit features up to the rounding of each factor and of the result."""
    features = tf.cast(rng.normal(size=shape) + 2.0, dtype)
    exact = tf.cast(features, "float64" if dtype == "float64" else "float32")
    with tf.GradientTape() as tape:
        tape.watch(exact)
        sums = sufficient_statistics(exact)
        value = tf.reduce_sum(sums.products**2) + tf.reduce_sum(sums.total**3)
    expected = tape.gradient(value, exact)
    upstream = statistics.SufficientStatistics(sums.positions, 3.0 * sums.total**2, 2.0 * sums.products)
    found = statistics.sums_gradient(features, upstream)
    assert found.dtype == features.dtype
    if dtype == "float64":
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    else:
        error = tf.cast(found, tf.float32) - expected
        assert tf.norm(error) <= 2**-7 * tf.norm(expected)


def test_the_gradient_worked_by_hand():
    # One position, f = (1, 2), U = [[1, 3], [0, 1]] and u = (5, 7): f (U + Uᵀ) + u = (2·1 + 3·2 + 5, 3·1 + 2·2 + 7).
    upstream = statistics.SufficientStatistics(None, tf.constant([[5.0, 7.0]]), tf.constant([[[1.0, 3.0], [0.0, 1.0]]]))
    np.testing.assert_array_equal(statistics.sums_gradient(tf.constant([[[[1.0, 2.0]]]]), upstream), [[[[13.0, 14.0]]]])


def test_features_of_16_bits_are_summed_in_32(rng):
    features = tf.cast(rng.normal(size=(2, 41, 50, 3)) + 2.0, tf.bfloat16)
    exact = sufficient_statistics(tf.cast(features, tf.float32))
    for found, expected in zip(sufficient_statistics(features), exact, strict=True):
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, expected)


def test_the_deviation_of_a_constant_channel_has_a_finite_gradient():
    features = tf.ones((1, 3, 5, 2))
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = tf.reduce_sum(statistics.mean_std(sufficient_statistics(features)))
    assert np.isfinite(tape.gradient(value, features)).all()


@pytest.mark.parametrize("shape", [(4, 7, 3), (1, 2, 4, 7, 3)])
def test_moments_name_the_shape_they_received(shape):
    with pytest.raises(ValueError, match=r"Received: \(" + str(shape[0])):
        sufficient_statistics(np.zeros(shape, "float32"))


def test_an_unknown_statistic_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'gram'"):
        statistics.find_statistic("grams")


def test_a_flat_picture_has_no_variance_in_float32(rng):
    features = tf.constant(np.broadcast_to(rng.uniform(1.0, 4.0, size=5), (1, 300, 410, 5)).astype("float32"))
    assert np.abs(statistics.covariance(sufficient_statistics(features))).max() < 1e-4 * 16.0


def test_weighted_sums_are_those_of_a_plain_loop(rng):
    features, weights = rng.normal(size=(1, 3, 5, 4)), rng.uniform(size=(1, 3, 5, 2))
    found = sufficient_statistics(tf.constant(features), weights=tf.constant(weights))
    for region in range(2):
        count, total, products = 0.0, np.zeros(4), np.zeros((4, 4))
        for y, x in np.ndindex(3, 5):
            f, w = features[0, y, x], weights[0, y, x, region]
            count, total, products = count + w, total + w * f, products + w * np.outer(f, f)
        for value, expected in zip(found, (count, total, products), strict=True):
            np.testing.assert_allclose(value[region], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_one_change_nothing_and_regions_add_up(rng, dtype):
    features = tf.cast(rng.normal(size=(1, 6, 7, 5)), dtype)
    part = tf.constant(rng.uniform(size=(1, 6, 7, 1)), tf.float32)
    whole = sufficient_statistics(features)
    ones = sufficient_statistics(features, weights=tf.ones([1, 6, 7, 1]))
    parts = sufficient_statistics(features, weights=tf.concat([part, 1.0 - part], axis=-1))
    for value, one, two in zip(whole, ones, parts, strict=True):
        np.testing.assert_allclose(one, value, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(tf.reduce_sum(two, axis=0), value[0], rtol=1e-5, atol=1e-5)


def test_the_gradient_of_weighted_sums_is_tensorflows_own(rng):
    features, weights = tf.constant(rng.normal(size=(1, 4, 6, 3))), tf.constant(rng.uniform(size=(1, 4, 6, 2)))
    upstream = statistics.SufficientStatistics(
        tf.zeros(2, tf.float64), tf.constant(rng.normal(size=(2, 3))), tf.constant(rng.normal(size=(2, 3, 3)))
    )
    with tf.GradientTape() as tape:
        tape.watch(features)
        sums = sufficient_statistics(features, weights=weights)
        value = tf.reduce_sum(sums.total * upstream.total) + tf.reduce_sum(sums.products * upstream.products)
    found = statistics.sums_gradient(features, upstream, weights=weights)
    np.testing.assert_allclose(found, tape.gradient(value, features), rtol=1e-10)


def test_an_average_counts_each_image_by_its_share(rng):
    parts = [tf.constant(rng.normal(size=(1, *size, 3)), tf.float32) for size in ((4, 5), (2, 3))]
    sums = [statistics.sufficient_statistics(part) for part in parts]
    found = statistics.average(sums, tf.constant([0.75, 0.25]))
    for statistic in (statistics.mean, statistics.gram):
        one, other = (statistic(each) for each in sums)
        np.testing.assert_allclose(statistic(found), 0.75 * one + 0.25 * other, rtol=1e-5, atol=1e-6)
    assert float(found.positions[0]) == pytest.approx(0.75 * 20 + 0.25 * 6)
    same = statistics.average([sums[0], sums[0]], tf.constant([0.9, 0.1]))
    for part, expected in zip(same, sums[0], strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5)
