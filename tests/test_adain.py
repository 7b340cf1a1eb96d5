"""AdaIN against a forward pass in NumPy and its own definition."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import embedded_decoder, image

from tfstyle import statistics, weights
from tfstyle.feedforward import adain, inference
from tfstyle.statistics import sufficient_statistics


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
    found = adain.decode(tf.constant(features), arrays)
    assert found.shape == (1, 24, 40, 3)
    np.testing.assert_allclose(found[0], decode_by_numpy(features, arrays), rtol=1e-3, atol=1e-4)


def mean_std(features):
    return statistics.mean_std(sufficient_statistics(tf.constant(features)))


def test_normalised_features_have_the_styles_mean_and_deviation(rng):
    features, style = rng.normal(size=(1, 7, 9, 4)), 3.0 + 2.0 * rng.normal(size=(1, 5, 8, 4))
    own, target = mean_std(features), mean_std(style)
    found = adain.adaptive_instance_normalisation(tf.constant(features), own, target).numpy()
    np.testing.assert_allclose(found.mean((0, 1, 2)), style.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.std((0, 1, 2)), style.std((0, 1, 2)), rtol=1e-3)


def test_its_own_style_changes_nothing(rng):
    features = tf.constant(rng.normal(size=(1, 7, 9, 4)))
    own = mean_std(features)
    found = adain.adaptive_instance_normalisation(features, own, own)
    np.testing.assert_allclose(found, features, rtol=1e-6, atol=1e-9)


def test_the_network_is_loaded_once():
    assert adain.adain() is adain.adain()


def encode_by_numpy(pixels):
    """VGG-19 up to `ADAIN_LAYER` by its definition: Caffe's pixels, reflection padding, 2x2 maxima between blocks."""
    layers = weights.read("embedded").layers
    x = pixels[0, ..., ::-1].astype("float64") * 255.0 - np.array([103.939, 116.779, 123.68])
    for block, convolutions in enumerate((2, 2, 4, 1), 1):
        if block > 1:
            rows, columns, channels = x.shape
            x = x.reshape(rows // 2, 2, columns // 2, 2, channels).max((1, 3))
        for number in range(1, convolutions + 1):
            x = np.maximum(convolve(x, *layers[f"block{block}_conv{number}"]), 0)
    return x


def test_the_encoder_is_its_plain_forward_pass(rng):
    pixels = image(rng, 16, 24)
    found = adain.AdaIN().encode(pixels)
    assert found.shape == (1, 2, 3, 512)
    np.testing.assert_allclose(found[0], encode_by_numpy(pixels), rtol=1e-3, atol=1e-3)


def test_described_is_the_moments_mean_and_deviation(rng):
    features = rng.normal(2.0, 3.0, size=(2, 5, 8, 4)).astype("float32")
    np.testing.assert_allclose(adain.describe(features), mean_std(features), rtol=1e-4)


def test_doubled_repeats_rows_and_columns(rng):
    features = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    np.testing.assert_array_equal(adain.doubled(features), features.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("size", [(8, 16), (9, 15), (13, 10)])
def test_whole_cells_are_mirrored(size, rng):
    pixels = image(rng, *size)
    margins = [(0, 0), *((0, -side % 8) for side in size), (0, 0)]
    np.testing.assert_array_equal(adain.in_whole_cells(pixels, 8), np.pad(pixels, margins, "symmetric"))


def test_a_decoder_as_a_model_is_the_function(rng):
    features = rng.uniform(0, 2, size=(1, 3, 5, 512)).astype("float32")
    expected = adain.decode(tf.constant(features), weights.read_embedded("adain-decoder"))
    np.testing.assert_allclose(embedded_decoder()(features), expected, atol=1e-5)


def test_any_style_as_one_model_is_adain(rng):
    pictures = image(rng, 33, 47), image(rng, 40, 26)
    found = adain.ArbitraryStyle(embedded_decoder())(pictures)
    np.testing.assert_allclose(found, inference.paint(adain.adain(), pictures[0], [pictures[1]]), atol=1e-4)
