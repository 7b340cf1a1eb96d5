"""Statistics against their definitions, worked numbers and scikit's properties."""

import numpy as np
import pytest
import tensorflow as tf

from tfstyle import moments

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
        "mean_deviation": np.stack([mean, deviation], axis=1),
        "mean_gram": np.concatenate([mean[:, None], gram], axis=1),
    }


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", moments.STATISTICS)
def test_a_statistic_matches_its_definition(name, shape, mode, rng):
    features = rng.normal(size=shape).astype("float32")
    found = mode(lambda f: moments.statistic(name)(moments.moments(f)))(features)
    np.testing.assert_allclose(found, statistics_by_loops(features)[name], rtol=1e-5, atol=1e-5)


def test_gram_worked_by_hand():
    # Two positions, two channels: (1, 2) and (3, 4). Mean of [[1, 2], [2, 4]] and [[9, 12], [12, 16]].
    features = [[[[1.0, 2.0], [3.0, 4.0]]]]
    np.testing.assert_array_equal(moments.gram(moments.moments(features)), [[[5.0, 7.0], [7.0, 10.0]]])


@pytest.mark.parametrize(
    ("factor", "total", "products"),
    [
        (2.0, [8.0, 12.0], [[40.0, 56.0], [56.0, 80.0]]),
        ([2.0, 10.0], [8.0, 60.0], [[40.0, 280.0], [280.0, 2000.0]]),
    ],
)
def test_scaled_moments_worked_by_hand(factor, total, products):
    # Of (1, 2) and (3, 4): the sum is (4, 6), that of the products [[10, 14], [14, 20]].
    scaled = moments.scale(moments.moments([[[[1.0, 2.0], [3.0, 4.0]]]]), factor)
    np.testing.assert_array_equal(scaled.total, [total])
    np.testing.assert_array_equal(scaled.products, [products])


def test_covariance_worked_by_hand():
    # The same less means (2, 3): (-1, -1) and (1, 1).
    features = [[[[1.0, 2.0], [3.0, 4.0]]]]
    np.testing.assert_allclose(moments.covariance(moments.moments(features)), [[[1.0, 1.0], [1.0, 1.0]]])


def test_a_mask_counts_only_what_it_covers(rng):
    features = rng.normal(size=(1, 4, 7, 3)).astype("float32")
    mask = np.zeros((1, 4, 7, 1), "float32")
    mask[:, :, :2] = 1.0
    masked, cut = moments.moments(features, mask=mask), moments.moments(features[:, :, :2])
    for found, expected in zip(masked, cut, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_moments_of_two_halves_add_up_to_those_of_the_whole(rng):
    features = rng.normal(size=(2, 4, 7, 3)).astype("float32")
    added = moments.add(moments.moments(features[:, :, :3]), moments.moments(features[:, :, 3:]))
    for found, expected in zip(added, moments.moments(features), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_scaled_moments_are_those_of_scaled_features(rng):
    features = rng.normal(size=(1, 4, 7, 3)).astype("float32")
    for found, expected in zip(
        moments.scale(moments.moments(features), 3.0), moments.moments(features * 3.0), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gram_is_symmetric_and_positive_semi_definite(rng):
    gram = moments.gram(moments.moments(rng.normal(size=(2, 3, 5, 6)).astype("float32"))).numpy()
    np.testing.assert_allclose(gram, gram.transpose(0, 2, 1), rtol=1e-6)
    assert (np.linalg.eigvalsh(gram) > -1e-6).all()


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_is_a_plain_one_to_second_order(masked, rng):
    height, shape = 9, (2, 9, 5, 4)
    features, direction = tf.constant(rng.normal(size=shape)), tf.constant(rng.normal(size=shape))
    mask = tf.constant(rng.uniform(size=(2, height, 5, 1))) if masked else None
    weights, of_total = tf.constant(rng.normal(size=(2, 4, 4))), tf.constant(rng.normal(size=(2, 4)))

    def plain(f):
        weighted = f if mask is None else f * mask
        return tf.reduce_sum(weighted, axis=(1, 2)), tf.einsum("bhwi,bhwj->bij", weighted, f)

    def orders(sums):
        with tf.GradientTape() as outer:
            outer.watch(features)
            with tf.GradientTape() as inner:
                inner.watch(features)
                total, products = sums(features)
                value = tf.reduce_sum(weights * products**2) + tf.reduce_sum(of_total * total**3)
            gradient = inner.gradient(value, features)
            along = tf.reduce_sum(gradient * direction)
        return gradient, outer.gradient(along, features)

    ours = orders(lambda f: moments.moments(f, mask=mask)[1:])
    for found, expected in zip(ours, orders(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(2, 41, 50, 3), (1, 3, 50, 3), (1, 5, 7, 70)])
def test_features_of_16_bits_are_summed_in_32(shape, masked, rng):
    """Their gradient is computed in bands of rows, of uneven height or empty, unless there are many channels."""
    features = tf.cast(rng.normal(size=shape) + 2.0, tf.bfloat16)
    mask = tf.constant(rng.uniform(size=(*shape[:3], 1)).astype("f4")) if masked else None
    exact = tf.cast(features, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([features, exact])
        found, expected = moments.moments(features, mask=mask), moments.moments(exact, mask=mask)
        values = [tf.reduce_sum(sums.products) + tf.reduce_sum(sums.total**2) for sums in (found, expected)]
    for part, wanted in zip(found, expected, strict=True):
        assert part.dtype == tf.float32
        np.testing.assert_array_equal(part, wanted)
    gradient = tape.gradient(values[0], features)
    assert gradient.dtype == tf.bfloat16
    np.testing.assert_array_equal(gradient, tf.cast(tape.gradient(values[1], exact), tf.bfloat16))


def test_the_deviation_of_a_constant_channel_has_a_finite_gradient():
    features = tf.ones((1, 3, 5, 2))
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = tf.reduce_sum(moments.mean_deviation(moments.moments(features)))
    assert np.isfinite(tape.gradient(value, features)).all()


@pytest.mark.parametrize("shape", [(4, 7, 3), (1, 2, 4, 7, 3)])
def test_moments_name_the_shape_they_received(shape):
    with pytest.raises(ValueError, match=r"Received: \(" + str(shape[0])):
        moments.moments(np.zeros(shape, "float32"))


def test_an_unknown_statistic_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'gram'"):
        moments.statistic("grams")


def test_a_flat_picture_has_no_variance_in_float32(rng):
    features = tf.constant(np.broadcast_to(rng.uniform(1.0, 4.0, size=5), (1, 300, 410, 5)).astype("float32"))
    assert np.abs(moments.covariance(moments.moments(features))).max() < 1e-4 * 16.0
