"""Factors for features: which recipes need them, and that they give the published magnitudes."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES

from tfstyle import images, vgg, weights
from tfstyle.magnitudes import PIXEL_FACTORS, RAW_SCALES, TORCHVISION_MAGNITUDES, feature_scales
from tfstyle.pixel_range import CAFFE_MEAN_BGR, TORCH_STD
from tfstyle.recipes import get_recipe
from tfstyle.vgg19 import layer_names

PHOTOGRAPHS = ("neuschwanstein", "colosseum", "chelsea")


def root_mean_squares(network, change=lambda image: image):
    """Layer → root mean square of each filter over the three sample photographs at 192 pixels."""
    sums = {}
    for name in PHOTOGRAPHS:
        for layer, found in network(change(images.fit(images.read(SAMPLES / f"{name}.jpg").image, 192))).items():
            sums[layer] = sums.get(layer, 0.0) + np.mean(found**2, axis=(0, 1, 2)) / len(PHOTOGRAPHS)
    return {layer: np.sqrt(value) for layer, value in sums.items()}


def scales_of(recipe, **overrides):
    """The factors a recipe's layers get."""
    recipe = get_recipe(recipe, **overrides)
    return feature_scales(recipe.network, recipe.loss.layers())


def test_only_numbers_of_another_network_are_rescaled_and_only_on_the_embedded_one():
    found = list(scales_of("tensorflow-tutorial").values())
    assert found == [24.56, 127.76, 130.61, 534.09, 48.19, 20.63]
    assert scales_of("tensorflow-tutorial", weights="imagenet") == {}
    assert scales_of("d2l", weights="network.pth") == {}
    assert scales_of("balanced") == {}


def test_every_layer_has_its_magnitudes():
    assert set(RAW_SCALES) == set(TORCHVISION_MAGNITUDES) == set(layer_names())
    every = scales_of("d2l", style_layers=layer_names(), content_layers=["block5_conv4"])
    assert [len(factors) for factors in every.values()] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    for factors in every.values():
        assert (np.isfinite(factors) & (factors > 0.0)).all()


@pytest.mark.parametrize("name", ["pytorch-lbfgs", "d2l"])
def test_before_the_relu_every_filter_has_the_magnitude_of_torchvisions_layer(name):
    scales = scales_of(name)
    for layer, found in root_mean_squares(vgg.load_vgg(list(scales), activation="pre")).items():
        wanted = TORCHVISION_MAGNITUDES[layer][0]
        assert np.median(found) * np.median(scales[layer]) == pytest.approx(wanted, rel=0.35)
        assert np.sqrt(np.mean((found * scales[layer]) ** 2)) == pytest.approx(wanted, rel=0.25), layer
        assert np.max(found * scales[layer]) < 2.0 * wanted  # As it is, up to twelve times a layer's own.


def test_after_the_relu_every_layer_has_torchvisions_magnitude():
    scales = scales_of("crowson")
    assert {scale.shape for scale in scales.values()} == {(1,)}
    for layer, found in root_mean_squares(vgg.load_vgg(list(scales))).items():
        wanted = TORCHVISION_MAGNITUDES[layer][1]
        assert np.sqrt(np.mean((found * scales[layer]) ** 2)) == pytest.approx(wanted, rel=0.25), layer


def test_pixels_of_0_to_1_make_features_about_a_quarter_as_large():
    """Torchvision's network was trained on (x - mean) / deviation; given x, it sees deviation · its pixels + mean."""
    network = vgg.load_vgg(["block1_conv2", "block2_conv2", "block3_conv1", "block4_conv1"], activation="pre")
    mean, deviation = tf.constant(CAFFE_MEAN_BGR[::-1]) / 255.0, tf.constant(TORCH_STD)
    plain, given = root_mean_squares(network), root_mean_squares(network, lambda x: deviation * x + mean)
    for layer, found in given.items():
        ratio = np.linalg.norm(found) / np.linalg.norm(plain[layer])
        assert ratio == pytest.approx(PIXEL_FACTORS["none"], abs=0.05), layer


def test_the_measured_file_is_made_again_byte_for_byte(monkeypatch):
    """Its first four layers, which are the largest pictures; the script makes all sixteen in a quarter of a minute."""
    monkeypatch.syspath_prepend(str(SAMPLES.parents[2] / "scripts"))
    import measure_magnitudes as script

    monkeypatch.delitem(sys.modules, "measure_magnitudes")
    network = weights.read("embedded").layers
    first = {layer: network[layer] for layer in layer_names()[:4]}
    found = script.measure(first, [script.photograph(SAMPLES / f"{name}.jpg") for name in script.PHOTOGRAPHS])
    stored = weights.read_embedded("vgg19-magnitudes")
    assert len(found) == 8
    for name, magnitudes in found.items():
        np.testing.assert_array_equal(magnitudes.astype("float32"), stored[name])
