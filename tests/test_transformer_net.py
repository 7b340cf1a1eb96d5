"""The transformer against a forward pass in NumPy, at every size, and its parts by their definitions."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, small_transformer

from tfstyle.environment import keras
from tfstyle.feedforward import transformer_net


def convolve(x, layer):
    """[h, w, in] by its definition, mirrored at the edge."""
    kernel, bias = (array.astype("float64") for array in layer.get_weights())
    side, stride = kernel.shape[0], layer.strides[0]
    padded = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)), "reflect")
    rows, columns = x.shape[:2]
    patches = [padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(side) for j in range(side)]
    return (sum(patches) + bias)[::stride, ::stride]


def normalise(x, layer):
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) * layer.scale.numpy() + layer.shift.numpy()


def double(x):
    """Between positions three quarters of the nearer and one of the farther, along each axis; the edge repeated."""
    for axis in (0, 1):
        before, after = (np.take(x, np.clip(np.arange(x.shape[axis]) + s, 0, x.shape[axis] - 1), axis) for s in (-1, 1))
        halves = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = halves.reshape([n * (2 if k == axis else 1) for k, n in enumerate(x.shape)])
    return x


def paint_by_numpy(network, pixels):
    layers = iter(zip(network.convolutions, network.normalisations, strict=False))

    def normalised(x):
        convolution, normalisation = next(layers)
        return normalise(convolve(x, convolution), normalisation)

    x = pixels[0].astype("float64")
    for _ in range(3):
        x = np.maximum(normalised(x), 0)
    for _ in range(network.blocks):
        x = x + normalised(np.maximum(normalised(x), 0))
    for _ in range(2):
        x = np.maximum(normalised(double(x)), 0)
    return 1 / (1 + np.exp(-convolve(x, network.convolutions[-1])))


def test_it_is_its_plain_forward_pass(rng):
    network, pixels = small_transformer(), rng.uniform(size=(1, 20, 28, 3)).astype("float32")
    np.testing.assert_allclose(network(pixels)[0], paint_by_numpy(network, pixels), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (33, 47), (64, 9), (13, 50), (40, 30)])
def test_any_size_comes_back_at_its_own_and_in_range(size, rng):
    painted = small_transformer()(image(rng, *size)).numpy()
    assert painted.shape == (1, *size, 3)
    assert painted.min() >= 0.0
    assert painted.max() <= 1.0


def test_an_odd_size_is_the_mirrored_larger_one_cut(rng):
    network, pixels = small_transformer(), rng.uniform(size=(1, 21, 30, 3)).astype("float32")
    mirrored = np.pad(pixels, ((0, 0), (0, 3), (0, 2), (0, 0)), "symmetric")
    np.testing.assert_allclose(network(pixels), network(mirrored)[:, :21, :30], atol=1e-6)


def test_pictures_of_a_batch_do_not_see_each_other(rng):
    network, pictures = small_transformer(), rng.uniform(size=(3, 16, 20, 3)).astype("float32")
    alone = np.concatenate([network(picture[None]) for picture in pictures])
    np.testing.assert_allclose(network(pictures), alone, atol=1e-5)


def test_its_own_statistics_given_change_nothing(rng):
    network, pixels = small_transformer(), image(rng, 24, 36)
    painted, statistics = network.paint(pixels)
    assert [found.shape[-1] for found in statistics] == [layer.filters for layer in network.convolutions[:-1]]
    np.testing.assert_allclose(network.paint(pixels, statistics)[0], painted, atol=1e-6)
    other = network.paint(image(rng, 24, 36))[1]
    assert np.abs(network.paint(pixels, other)[0] - painted).max() > 0.01


def test_instance_normalisation_worked_by_hand():
    # Channel values 1 and 3: mean 2, deviation 1.
    layer = transformer_net.InstanceNormalisation()
    layer.build((None, None, None, 1))
    layer.shift.assign([10.0])
    layer.scale.assign([2.0])
    found = layer(tf.constant([[[[1.0], [3.0]]]]))
    np.testing.assert_allclose(found[0, 0, :, 0], [8.0, 12.0], rtol=1e-4)


def test_instance_normalisation_stays_in_float32_under_a_mixed_policy():
    layer = transformer_net.InstanceNormalisation(dtype="mixed_bfloat16")
    found = layer(tf.cast(tf.random.stateless_normal([1, 5, 7, 3], (1, 2)), tf.bfloat16))
    assert found.dtype == tf.float32
    assert layer.scale.dtype == "float32"


def test_a_global_policy_changes_nothing(rng):
    pixels = image(rng, 16, 20)
    expected = small_transformer()(pixels)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        np.testing.assert_allclose(small_transformer()(pixels), expected, atol=1e-6)
    finally:
        keras.config.set_dtype_policy("float32")


def test_widths_are_johnsons_and_half_of_them():
    full, slim = (transformer_net.Transformer(transformer_net.FILTERS[width]) for width in ("full", "slim"))
    for network in (full, slim):
        network.build((None, None, None, 3))
    assert full.filters == (32, 64, 128)
    # Ten 3x3 convolutions at quarter resolution hold most of it; biases and normalisations included.
    assert 3.9 < full.count_params() / slim.count_params() < 4.0
