"""AdaIN against a forward pass in NumPy and its own definition."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES, image

from tfstyle import images, metrics, moments, vgg, weights
from tfstyle.errors import InputError
from tfstyle.feedforward import networks


def convolve(x, kernel, bias):
    """[h, w, in] by its definition, mirrored at the edge."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), "reflect")
    rows, columns = x.shape[:2]
    patches = [padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)]
    return sum(patches) + bias


def decode_by_numpy(features, arrays):
    x = features[0].astype("float64")
    for number in range(1, 10):
        if number in (2, 6, 8):
            x = np.kron(x, np.ones((2, 2, 1)))
        x = convolve(x, *(arrays[f"decoder_conv{number}.{part}"].astype("float64") for part in ("kernel", "bias")))
        x = x if number == 9 else np.maximum(x, 0)
    return x


def test_the_decoder_is_its_plain_forward_pass(rng):
    arrays = weights.read_embedded("adain-decoder")
    features = rng.uniform(0, 2, size=(1, 3, 5, 512)).astype("float32")
    found = networks.decode(tf.constant(features), arrays)
    assert found.shape == (1, 24, 40, 3)
    np.testing.assert_allclose(found[0], decode_by_numpy(features, arrays), rtol=1e-3, atol=1e-4)


def test_normalised_features_have_the_styles_mean_and_deviation(rng):
    features, style = rng.normal(size=(1, 7, 9, 4)), 3.0 + 2.0 * rng.normal(size=(1, 5, 8, 4))
    found = networks.adaptive_instance_normalisation(tf.constant(features), moments.moments(style)).numpy()
    np.testing.assert_allclose(found.mean((0, 1, 2)), style.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.std((0, 1, 2)), style.std((0, 1, 2)), rtol=1e-3)


def test_its_own_style_changes_nothing(rng):
    features = tf.constant(rng.normal(size=(1, 7, 9, 4)))
    found = networks.adaptive_instance_normalisation(features, moments.moments(features))
    np.testing.assert_allclose(found, features, rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def adain():
    return networks.AdaIN()


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (50, 121)])
def test_any_size_comes_back_at_its_own(size, adain, rng):
    found = adain(image(rng, *size), image(rng, 40, 57)).numpy()
    assert found.shape == (1, *size, 3)
    assert found.min() >= 0.0
    assert found.max() <= 1.0


def test_it_brings_the_style_and_keeps_the_content(adain):
    content, style = (
        images.fit(images.read(SAMPLES / f"{name}.jpg").image, 160) for name in ("chelsea", "starry_night")
    )
    network = vgg.load_vgg(metrics.LAYERS)
    before, after = (metrics.compare(network, content, style, p) for p in (content, adain(content, style)))
    assert after.sliced_wasserstein < 0.7 * before.sliced_wasserstein
    assert after.colors < 0.7 * before.colors
    assert after.content < metrics.compare(network, content, style, images.resize(style, 106, 160)).content


def test_a_picture_too_small_is_refused(adain, rng):
    with pytest.raises(InputError, match="the style is 9x5 where the network needs 8"):
        adain(image(rng), image(rng, 5, 9))
