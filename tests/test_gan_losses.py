"""Losses worked by hand, penalties where the slope is known, spectral norm against NumPy, replay, augmentation."""

import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import image

from tfstyle.training import gan_losses
from tfstyle.training.options import GAN_LOSSES

REAL, FAKE = np.array([2.0, -0.5], "float32"), np.array([0.5, -3.0], "float32")


def pair(rng, count=2, height=9, width=12):
    return tuple(tf.constant(rng.uniform(size=(count, height, width, 3)).astype("float32")) for _ in range(2))


def softplus(x):
    return np.log1p(np.exp(x))


# Worked out at the answers 2, −½ to paintings and ½, −3 to what is painted.
LOSSES = {
    "bce": (np.mean(softplus(-REAL)), np.mean(softplus(FAKE)), np.mean(softplus(-FAKE))),
    "lsgan": ((1.0 + 2.25) / 2, (0.25 + 9.0) / 2, (0.25 + 16.0) / 2),
    "hinge": ((0.0 + 1.5) / 2, (1.5 + 0.0) / 2, (-0.5 + 3.0) / 2),
    "wgan-gp": (-(2.0 - 0.5) / 2, (0.5 - 3.0) / 2, -(0.5 - 3.0) / 2),
    "r1": (np.mean(softplus(-REAL)), np.mean(softplus(FAKE)), np.mean(softplus(-FAKE))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_both_players_losses_are_those_worked_by_hand(name):
    kind = gan_losses.family(name)
    found = gan_losses.discriminator_losses(kind, tf.constant(REAL), tf.constant(FAKE))
    real, fake, fool = LOSSES[name]
    assert float(found["real"]) == pytest.approx(real, rel=1e-6)
    assert float(found["fake"]) == pytest.approx(fake, rel=1e-6)
    assert float(gan_losses.generator_loss(kind, tf.constant(FAKE))) == pytest.approx(fool, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_players_pull_in_opposite_directions(name):
    """The discriminator wants higher answers to paintings and lower to painted ones, the generator higher."""
    kind, answers = gan_losses.family(name), tf.zeros([3]) + 0.25

    def slope(loss):
        with tf.GradientTape() as tape:
            tape.watch(answers)
            value = tf.reduce_mean(loss(answers))
        return float(tf.reduce_sum(tape.gradient(value, answers)))

    assert slope(kind.real) < 0 < slope(kind.fake)
    assert slope(kind.fool) < 0


def test_every_family_of_the_options_is_there():
    assert tuple(gan_losses.FAMILIES) == GAN_LOSSES == tuple(LOSSES)


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'hinge'"):
        gan_losses.family("hinges")


@pytest.mark.parametrize("p", [0.5, 0.2, 0.999])
def test_entropy_is_its_definition(p):
    found = gan_losses.entropy(tf.constant([math.log(p / (1 - p))]))
    assert float(found[0]) == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p), rel=1e-3)


def test_entropy_is_greatest_at_zero_and_vanishes_far_away():
    found = gan_losses.entropy(tf.constant([-200.0, 0.0, 200.0])).numpy()
    np.testing.assert_allclose(found, [0.0, math.log(2), 0.0], atol=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("bce", 0.5), ("lsgan", 0.75), ("wgan-gp", 0.5)])
def test_accuracy_is_the_share_of_right_answers(name, expected):
    """Boundaries 0, ½ and the mean, −¼; right are 2 and −3 everywhere, ½ for lsgan, and −½ nowhere."""
    found = gan_losses.accuracy(gan_losses.family(name), tf.constant(REAL), tf.constant(FAKE))
    assert float(found) == expected


def linear(weights):
    return lambda images: tf.reduce_sum(images * weights, axis=(1, 2, 3))


def test_penalties_of_a_linear_judge_are_known(rng):
    """Its slope is its weights anywhere: (‖w‖ − 1)² between the images, ½ ‖w‖² at the real ones."""
    real, fake = pair(rng)
    weights = rng.normal(size=(1, 9, 12, 3)).astype("float32") * 0.3
    norm = np.linalg.norm(weights)
    mixed = gan_losses.mixture_penalty(linear(weights), real, fake, tf.constant([1, 2]))
    assert float(mixed) == pytest.approx((norm - 1.0) ** 2, rel=1e-4)
    at_real = gan_losses.real_penalty(linear(weights), real, fake, tf.constant([1, 2]))
    assert float(at_real) == pytest.approx(norm**2 / 2, rel=1e-5)


def test_the_mixture_is_uniform_and_each_pairs_own(rng):
    real, fake = pair(rng, count=300, height=1, width=1)
    seen = []
    gan_losses.mixture_penalty(lambda x: seen.append(x) or tf.reduce_sum(x**2, (1, 2, 3)), real, fake, [3, 4])
    share = ((seen[0] - fake) / (real - fake)).numpy().reshape(300, 3)
    np.testing.assert_allclose(share, share[:, :1].repeat(3, 1), atol=0.02)
    assert share.min() + 0.02 >= 0.0
    assert share.max() <= 1.02
    assert np.histogram(share[:, 0], bins=4, range=(0, 1))[0].min() > 45


@pytest.mark.parametrize("penalty", [gan_losses.mixture_penalty, gan_losses.real_penalty])
def test_penalties_are_finite_where_fake_equals_real_and_nothing_slopes(penalty, rng):
    real, _ = pair(rng)
    scale = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = penalty(lambda x: scale * tf.reduce_sum(x**2, (1, 2, 3)), real, real, tf.constant([1, 2]))
    assert math.isfinite(float(value))
    assert math.isfinite(float(tape.gradient(value, scale)))


@pytest.mark.parametrize("shape", [(4, 4, 3, 7), (10, 5)])
def test_spectral_norm_is_the_largest_singular_value(shape, rng):
    kernel = rng.normal(size=shape).astype("float32")
    left, values, right = np.linalg.svd(kernel.reshape(-1, shape[-1]), full_matrices=False)
    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        sigma, vector = gan_losses.spectral_norm(kernel, tf.ones([shape[-1]]), iterations=200)
    assert float(sigma) == pytest.approx(values[0], rel=1e-5)
    assert abs(np.dot(vector, right[0])) == pytest.approx(1.0, rel=1e-4)
    gradient = tape.gradient(sigma, kernel).numpy().reshape(-1, shape[-1])
    np.testing.assert_allclose(gradient, np.outer(left[:, 0], right[0]), atol=5e-3)


def test_spectral_norm_without_iterations_leaves_its_vector(rng):
    kernel, vector = tf.constant(rng.normal(size=(6, 4)).astype("float32")), tf.constant([3.0, 0.0, 0.0, 4.0])
    sigma, same = gan_losses.spectral_norm(kernel, vector)
    np.testing.assert_allclose(same, [0.6, 0.0, 0.0, 0.8], rtol=1e-6)
    assert float(sigma) == pytest.approx(np.linalg.norm(kernel.numpy() @ same.numpy()), rel=1e-5)


def test_augmentation_is_the_same_for_the_same_seed_and_differentiable(rng):
    pictures = tf.constant(np.concatenate([image(rng, 32, 40)] * 2))
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        one = gan_losses.augment(pictures, tf.constant([1, 2]))
    other = gan_losses.augment(pictures, tf.constant([1, 2]))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - gan_losses.augment(pictures, tf.constant([1, 3]))).max() > 0.1
    assert np.abs(one[0] - one[1]).max() > 0.1  # Each of a batch in its own way.
    gradient = tape.gradient(one, pictures)
    assert gradient.shape == pictures.shape
    assert 0.5 < np.mean(gradient.numpy() != 0) <= 1.0


def test_augmentation_keeps_the_range_nearly_and_hides_at_most_a_quarter(rng):
    pictures = tf.constant(np.concatenate([0.9 * image(rng, 32, 48)] * 40))
    found = gan_losses.augment(pictures, tf.constant([0, 5])).numpy()
    assert found.min() > -0.5
    assert found.max() < 1.5
    hidden = np.all(found == 0.5, axis=-1).mean(axis=(1, 2))
    assert hidden.mean() > 0.0
    assert hidden.max() <= 0.26


def numbered(first, batch=2):
    """Images that are all one number."""
    return tf.ones([batch, 4, 5, 3]) * tf.reshape(tf.range(first, first + batch, dtype=tf.float32), [-1, 1, 1, 1])


def shown_and_kept(steps, seed=7):
    pool, shown = tf.zeros([6, 4, 5, 3]), []
    for step in range(steps):
        now, pool = gan_losses.replay(pool, numbered(2 * step + 1), step, seed)
        shown.append(now.numpy()[:, 0, 0, 0])
    return np.array(shown), pool.numpy()[:, 0, 0, 0]


def test_a_pool_that_fills_shows_what_is_new():
    shown, kept = shown_and_kept(3)
    np.testing.assert_array_equal(shown, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(kept, [1, 2, 3, 4, 5, 6])


def test_a_full_pool_exchanges_half_and_loses_nothing():
    shown, kept = shown_and_kept(200)
    everything = np.concatenate([shown[3:].ravel(), kept])
    np.testing.assert_array_equal(np.sort(everything), np.arange(1, 401))
    new = np.arange(1, 401).reshape(200, 2)
    assert 0.4 < np.mean(shown[3:] == new[3:]) < 0.6


def test_the_pool_is_a_function_of_seed_and_step():
    one, other, third = shown_and_kept(20), shown_and_kept(20), shown_and_kept(20, seed=8)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(one[1] != third[1])
