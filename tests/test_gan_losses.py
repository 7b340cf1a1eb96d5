"""Losses worked by hand, penalties where the gradient is known, the image pool, augmentation."""

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


# Worked out at the scores 2, −½ of real images and ½, −3 of fake ones.
LOSSES = {
    "bce": (np.mean(softplus(-REAL)), np.mean(softplus(FAKE)), np.mean(softplus(-FAKE))),
    "lsgan": ((1.0 + 2.25) / 2, (0.25 + 9.0) / 2, (0.25 + 16.0) / 2),
    "hinge": ((0.0 + 1.5) / 2, (1.5 + 0.0) / 2, (-0.5 + 3.0) / 2),
    "wgan-gp": (-(2.0 - 0.5) / 2, (0.5 - 3.0) / 2, -(0.5 - 3.0) / 2),
    "r1": (np.mean(softplus(-REAL)), np.mean(softplus(FAKE)), np.mean(softplus(-FAKE))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_of_both_networks_are_those_worked_by_hand(name):
    loss = gan_losses.get_gan_loss(name)
    found = gan_losses.discriminator_losses(loss, tf.constant(REAL), tf.constant(FAKE))
    real, fake, of_generator = LOSSES[name]
    assert float(found["real"]) == pytest.approx(real, rel=1e-6)
    assert float(found["fake"]) == pytest.approx(fake, rel=1e-6)
    assert float(gan_losses.generator_loss(loss, tf.constant(FAKE))) == pytest.approx(of_generator, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_discriminator_and_generator_pull_in_opposite_directions(name):
    """The discriminator raises scores of real images and lowers those of fake ones; the generator raises the latter."""
    gan_loss, scores = gan_losses.get_gan_loss(name), tf.zeros([3]) + 0.25

    def slope(loss):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = tf.reduce_mean(loss(scores))
        return float(tf.reduce_sum(tape.gradient(value, scores)))

    assert slope(gan_loss.real) < 0 < slope(gan_loss.fake)
    assert slope(gan_loss.generator) < 0


def test_every_loss_of_the_options_exists():
    assert tuple(gan_losses.LOSSES) == GAN_LOSSES == tuple(LOSSES)


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'hinge'"):
        gan_losses.get_gan_loss("hinges")


@pytest.mark.parametrize("p", [0.5, 0.2, 0.999])
def test_entropy_is_its_definition(p):
    found = gan_losses.entropy(tf.constant([math.log(p / (1 - p))]))
    assert float(found[0]) == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p), rel=1e-3)


def test_entropy_is_greatest_at_zero_and_vanishes_far_away():
    found = gan_losses.entropy(tf.constant([-200.0, 0.0, 200.0])).numpy()
    np.testing.assert_allclose(found, [0.0, math.log(2), 0.0], atol=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("bce", 0.5), ("lsgan", 0.75), ("wgan-gp", 0.5)])
def test_accuracy_is_the_share_of_correct_scores(name, expected):
    """Thresholds 0, ½ and the mean, −¼; 2 and −3 are always correct, ½ for lsgan alone, and −½ never."""
    found = gan_losses.accuracy(gan_losses.get_gan_loss(name), tf.constant(REAL), tf.constant(FAKE))
    assert float(found) == expected


def linear(weights):
    return lambda images: tf.reduce_sum(images * weights, axis=(1, 2, 3))


def test_penalties_of_a_linear_discriminator_are_known(rng):
    """Its gradient is its weights anywhere: (‖w‖ − 1)² between the images, ½ ‖w‖² at the real ones."""
    real, fake = pair(rng)
    weights = rng.normal(size=(1, 9, 12, 3)).astype("float32") * 0.3
    norm = np.linalg.norm(weights)
    between = gan_losses.gradient_penalty(linear(weights), real, fake, tf.constant([1, 2]))
    assert float(between) == pytest.approx((norm - 1.0) ** 2, rel=1e-4)
    at_real = gan_losses.r1_penalty(linear(weights), real, fake, tf.constant([1, 2]))
    assert float(at_real) == pytest.approx(norm**2 / 2, rel=1e-5)


def test_each_pair_is_interpolated_uniformly_on_its_own(rng):
    real, fake = pair(rng, count=300, height=1, width=1)
    seen = []
    gan_losses.gradient_penalty(lambda x: seen.append(x) or tf.reduce_sum(x**2, (1, 2, 3)), real, fake, [3, 4])
    share = ((seen[0] - fake) / (real - fake)).numpy().reshape(300, 3)
    np.testing.assert_allclose(share, share[:, :1].repeat(3, 1), atol=0.02)
    assert share.min() + 0.02 >= 0.0
    assert share.max() <= 1.02
    assert np.histogram(share[:, 0], bins=4, range=(0, 1))[0].min() > 45


@pytest.mark.parametrize("penalty", [gan_losses.gradient_penalty, gan_losses.r1_penalty])
def test_penalties_are_finite_where_fake_equals_real_and_the_gradient_is_0(penalty, rng):
    real, _ = pair(rng)
    scale = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = penalty(lambda x: scale * tf.reduce_sum(x**2, (1, 2, 3)), real, real, tf.constant([1, 2]))
    assert math.isfinite(float(value))
    assert math.isfinite(float(tape.gradient(value, scale)))


def test_augmentation_is_the_same_for_the_same_seed_and_differentiable(rng):
    pictures = tf.constant(np.concatenate([image(rng, 32, 40)] * 2))
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        one = gan_losses.augment(pictures, tf.constant([1, 2]))
    other = gan_losses.augment(pictures, tf.constant([1, 2]))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - gan_losses.augment(pictures, tf.constant([1, 3]))).max() > 0.1
    assert np.abs(one[0] - one[1]).max() > 0.1  # Equal images of a batch are augmented differently.
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


def query_and_store(steps, seed=7):
    pool, returned = tf.zeros([6, 4, 5, 3]), []
    for step in range(steps):
        now, pool = gan_losses.query_image_pool(pool, numbered(2 * step + 1), step=step, seed=seed)
        returned.append(now.numpy()[:, 0, 0, 0])
    return np.array(returned), pool.numpy()[:, 0, 0, 0]


def test_a_pool_that_is_not_full_returns_the_new_images():
    returned, stored = query_and_store(3)
    np.testing.assert_array_equal(returned, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(stored, [1, 2, 3, 4, 5, 6])


def test_a_full_pool_exchanges_half_of_the_images_and_loses_none():
    returned, stored = query_and_store(200)
    everything = np.concatenate([returned[3:].ravel(), stored])
    np.testing.assert_array_equal(np.sort(everything), np.arange(1, 401))
    new = np.arange(1, 401).reshape(200, 2)
    assert 0.4 < np.mean(returned[3:] == new[3:]) < 0.6


def test_the_pool_is_a_function_of_seed_and_step():
    one, other, third = query_and_store(20), query_and_store(20), query_and_store(20, seed=8)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(one[1] != third[1])
