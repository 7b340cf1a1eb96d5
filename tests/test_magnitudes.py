"""Factors for features: which recipes need them, and that they give the published magnitudes."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES

from tfstyle import images, vgg, weights
from tfstyle.magnitudes import PIXEL_FACTORS, RAW_SCALES, TORCHVISION_MAGNITUDES, feature_scales
from tfstyle.recipes import published
from tfstyle.vgg19 import layer_names

PHOTOGRAPHS = ("neuschwanstein", "colosseum", "chelsea")


def root_mean_squares(network, change=lambda image: image):
    """Layer → root mean square of each filter over the three sample photographs at 192 pixels."""
    sums = {}
    for name in PHOTOGRAPHS:
        for layer, found in network(change(images.fit(images.read(SAMPLES / f"{name}.jpg").image, 192))).items():
            sums[layer] = sums.get(layer, 0.0) + np.mean(found**2, axis=(0, 1, 2)) / len(PHOTOGRAPHS)
    return {layer: np.sqrt(value) for layer, value in sums.items()}


def test_only_numbers_of_another_network_are_rescaled_and_only_on_the_embedded_one():
    tutorial = published.TENSORFLOW_TUTORIAL
    assert list(feature_scales(tutorial).values()) == [24.56, 127.76, 130.61, 534.09, 48.19, 20.63]
    assert feature_scales(dataclasses.replace(tutorial, weights="imagenet")) == {}
    assert feature_scales(dataclasses.replace(published.D2L, weights="network.pth")) == {}
    assert feature_scales(published.BALANCED) == {}


def test_every_layer_has_its_magnitudes():
    assert set(RAW_SCALES) == set(TORCHVISION_MAGNITUDES) == set(layer_names())
    every = published.get_recipe(
        "d2l", style_layers=layer_names(), style_layer_weights=(1.0,) * 16, content_layers=["block5_conv4"]
    )
    filters = [len(factors) for factors in feature_scales(every).values()]
    assert filters == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    for factors in feature_scales(every).values():
        assert (np.isfinite(factors) & (factors > 0.0)).all()


@pytest.mark.parametrize("name", ["pytorch-lbfgs", "d2l"])
def test_before_the_relu_every_filter_has_the_magnitude_of_torchvisions_layer(name):
    recipe = published.RECIPES[name]
    scales = feature_scales(recipe)
    for layer, found in root_mean_squares(vgg.load_vgg(list(scales), taps="conv")).items():
        wanted = TORCHVISION_MAGNITUDES[layer][0]
        assert np.median(found) * np.median(scales[layer]) == pytest.approx(wanted, rel=0.35)
        assert np.sqrt(np.mean((found * scales[layer]) ** 2)) == pytest.approx(wanted, rel=0.25), layer
        assert np.max(found * scales[layer]) < 2.0 * wanted  # As it is, up to twelve times a layer's own.


def test_after_the_relu_every_layer_has_torchvisions_magnitude():
    scales = feature_scales(published.CROWSON)
    assert {scale.shape for scale in scales.values()} == {(1,)}
    for layer, found in root_mean_squares(vgg.load_vgg(list(scales))).items():
        wanted = TORCHVISION_MAGNITUDES[layer][1]
        assert np.sqrt(np.mean((found * scales[layer]) ** 2)) == pytest.approx(wanted, rel=0.25), layer


def test_pixels_of_0_to_1_make_features_about_a_quarter_as_large():
    """Torchvision's network was trained on (x - mean) / deviation; given x, it sees deviation · its pixels + mean."""
    network = vgg.load_vgg(["block1_conv2", "block2_conv2", "block3_conv1", "block4_conv1"], taps="conv")
    mean, deviation = tf.constant(vgg.CAFFE_MEAN_BGR[::-1]) / 255.0, tf.constant(vgg.TORCH_DEVIATION)
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
