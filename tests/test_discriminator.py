"""The discriminator: spectral norm against NumPy, scores by a plain computation, and what changes the weights."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, small_discriminator

from tfstyle.training import gan_losses
from tfstyle.training.discriminator import spectral_norm


def change(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).mean())


@pytest.mark.parametrize("shape", [(4, 4, 3, 7), (10, 5)])
def test_spectral_norm_is_the_largest_singular_value(shape, rng):
    kernel = rng.normal(size=shape).astype("float32")
    left, values, right = np.linalg.svd(kernel.reshape(-1, shape[-1]), full_matrices=False)
    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        sigma, vector = spectral_norm(kernel, tf.ones([shape[-1]]), iterations=200)
    assert float(sigma) == pytest.approx(values[0], rel=1e-5)
    assert abs(np.dot(vector, right[0])) == pytest.approx(1.0, rel=1e-4)
    gradient = tape.gradient(sigma, kernel).numpy().reshape(-1, shape[-1])
    np.testing.assert_allclose(gradient, np.outer(left[:, 0], right[0]), atol=5e-3)


def test_spectral_norm_without_iterations_leaves_its_vector(rng):
    kernel, vector = tf.constant(rng.normal(size=(6, 4)).astype("float32")), tf.constant([3.0, 0.0, 0.0, 4.0])
    sigma, same = spectral_norm(kernel, vector)
    np.testing.assert_allclose(same, [0.6, 0.0, 0.0, 0.8], rtol=1e-6)
    assert float(sigma) == pytest.approx(np.linalg.norm(kernel.numpy() @ same.numpy()), rel=1e-5)


def test_the_score_of_an_image_is_a_plain_computation(rng):
    """Kernels over their largest singular values, by NumPy; convolution and moments by TensorFlow's own."""
    network, picture = small_discriminator(), image(rng, 32, 48)
    network.update_singular_vectors(iterations=300)
    x = 2.0 * picture - 1.0
    kernels = [k.numpy() / np.linalg.svd(k.numpy().reshape(-1, k.shape[-1]))[1][0] for k in network.kernels]
    for kernel in kernels[:-1]:
        x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, kernel, 2, "VALID"), 0.2).numpy()
    statistics = np.concatenate([x.mean((1, 2)), np.sqrt(x.var((1, 2)) + 1e-5)], axis=1)
    np.testing.assert_allclose(network(picture), (statistics @ kernels[-1])[:, 0], rtol=1e-3, atol=1e-4)


def test_a_call_changes_no_weight_and_a_power_iteration_only_the_singular_vectors(rng):
    network, picture = small_discriminator(), tf.constant(image(rng, 32, 48))
    before = network.get_weights()
    network(picture, training=True)
    gan_losses.r1_penalty(network, picture, picture, tf.constant([0, 0]))
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    trainable = [weight.numpy() for weight in network.trainable_variables]
    vectors = [vector.numpy() for vector in network.vectors]
    network.update_singular_vectors()
    for one, weight in zip(trainable, network.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, weight.numpy())
    assert max(change(one, vector.numpy()) for one, vector in zip(vectors, network.vectors, strict=True)) > 1e-3
