"""The style and content model: what it returns, and what a recipe makes of it."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, miniature

from tfstyle import environment, model, statistics, vgg
from tfstyle.errors import UsageError
from tfstyle.recipes import get_recipe
from tfstyle.statistics import sufficient_statistics


def test_it_returns_statistics_and_features_by_layer(rng):
    network, pixels = miniature(), image(rng)
    found = network(pixels)
    features = network.vgg(pixels)
    assert {kind: list(layers) for kind, layers in found.items()} == {
        "style": ["block1_conv1", "block2_conv1"],
        "content": ["block2_conv2"],
    }
    for layer, gram in found["style"].items():
        flat = features[layer].numpy().reshape(-1, features[layer].shape[-1])
        np.testing.assert_allclose(gram[0], flat.T @ flat / len(flat), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["content"]["block2_conv2"], features["block2_conv2"], rtol=1e-6)


@pytest.mark.parametrize("statistic", statistics.STATISTICS)
def test_feature_scales_act_before_the_statistic(statistic, rng):
    scales = {"block1_conv1": 3.0, "block2_conv2": 5.0}
    plain, scaled = (miniature(statistic=statistic, feature_scales=s) for s in ({}, scales))
    pixels = image(rng)
    features = plain.vgg(pixels)
    expected = statistics.find_statistic(statistic)(sufficient_statistics(3.0 * features["block1_conv1"]))
    found = scaled(pixels)
    np.testing.assert_allclose(found["style"]["block1_conv1"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["content"]["block2_conv2"], 5.0 * features["block2_conv2"], rtol=1e-5)
    np.testing.assert_array_equal(found["style"]["block2_conv1"], plain(pixels)["style"]["block2_conv1"])


@pytest.mark.parametrize("statistic", statistics.STATISTICS)
def test_every_filter_may_have_a_factor_of_its_own(statistic, rng):
    scales = {"block1_conv1": rng.uniform(0.5, 2.0, 4), "block2_conv2": rng.uniform(0.5, 2.0, 7)}
    plain, scaled = (miniature(statistic=statistic, feature_scales=s) for s in ({}, scales))
    pixels = image(rng)
    features = plain.vgg(pixels)
    expected = statistics.find_statistic(statistic)(
        sufficient_statistics(scales["block1_conv1"] * features["block1_conv1"])
    )
    found = scaled(pixels)
    np.testing.assert_allclose(found["style"]["block1_conv1"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["content"]["block2_conv2"], scales["block2_conv2"] * features["block2_conv2"], rtol=1e-5
    )


def test_gradients_pass_through_the_factors_of_filters(rng):
    """Those of a sum of a linear statistic: the factors times the gradient of the features."""
    factors = np.array([0.5, 2.0, 3.0, 1.5], "float32")
    scaled, pixels = miniature(statistic="mean_gram", feature_scales={"block1_conv1": factors}), tf.constant(image(rng))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        found = tf.reduce_sum(scaled(pixels)["style"]["block1_conv1"][:, 0])
        expected = tf.reduce_sum(factors * tf.reduce_mean(scaled.vgg(pixels)["block1_conv1"], axis=(1, 2)))
    np.testing.assert_allclose(tape.gradient(found, pixels), tape.gradient(expected, pixels), rtol=1e-4, atol=1e-8)


def test_a_layer_may_serve_both_content_and_style(rng):
    found = miniature(style_layers=("block1_conv2",), content_layers=("block1_conv2",))(image(rng))
    assert set(found["style"]) == set(found["content"]) == {"block1_conv2"}


def build(recipe):
    """The model a recipe looks through."""
    return model.build_model(recipe.network, recipe.loss)


@pytest.mark.parametrize(
    ("precision", "fast", "policy"),
    [
        ("float32", True, "float32"),
        ("bfloat16", False, "mixed_bfloat16"),
        ("auto", True, "mixed_bfloat16"),
        ("auto", False, "float32"),
    ],
)
def test_a_recipe_chooses_the_precision(precision, fast, policy, monkeypatch):
    monkeypatch.setattr(environment, "bfloat16_is_fast", lambda: fast)
    assert build(get_recipe("default", precision=precision)).dtype_policy.name == policy


def test_the_embedded_network_serves_without_arguments(rng):
    network = model.StyleContentModel(["block1_conv1"], ["block2_conv1"])
    found = network(image(rng, 40, 56))
    assert found["style"]["block1_conv1"].shape == (1, 64, 64)
    assert found["content"]["block2_conv1"].shape == (1, 20, 28, 128)
    assert network.trainable_variables == []


def test_a_recipe_brings_its_scales_to_the_model():
    network = build(get_recipe("tensorflow-tutorial"))
    assert network.feature_scales["block5_conv2"] == [20.63]
    assert not build(get_recipe("balanced")).feature_scales


@pytest.mark.parametrize(
    ("name", "kind", "typed", "pixels"),
    [
        ("avgpool-noise", "torch", "auto", "none"),
        ("avgpool-noise", "keras", "auto", "keras"),
        ("avgpool-noise", "torch", "torch", "torch"),
        ("d2l", "torch", "auto", "torch"),
        ("johnson", "torch", "auto", "torch"),
        ("johnson", "torch", "keras", "keras"),
    ],
)
@pytest.mark.parametrize("weights", ["network.pth", "network.safetensors"])
def test_a_network_is_given_the_pixels_its_file_was_trained_on(name, kind, typed, pixels, weights, monkeypatch):
    """What the file is says it, not its ending; a source that gave torchvision's network others is followed."""
    network = vgg.weight_files.read("embedded")._replace(input_scale=kind)
    monkeypatch.setattr(vgg.weight_files, "read", lambda source, **options: network)
    found = build(get_recipe(name, weights=weights, input_scale=typed))
    assert found.vgg.input_scale == found.get_config()["input_scale"] == pixels
    assert not found.feature_scales


def test_an_unknown_layer_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'block1_conv1'"):
        model.StyleContentModel(["blok1_conv1"], [], weights=None)


def test_keras_own_export_leads_to_ours(tmp_path):
    with pytest.raises(UsageError, match=r"use tfstyle\.export_extractor"):
        miniature().export(tmp_path / "model")


def test_what_is_no_image_is_one_line():
    with pytest.raises(UsageError, match="images should be floating") as caught:
        miniature()(np.zeros((1, 20, 30, 3), "uint8"))
    assert "\n" not in str(caught.value)
