"""Perceptual losses by a plain computation, and whole trainings on tiny data, also of one content image."""

import functools

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from conftest import assert_resumes_exactly, image, make_run, miniature, small_transformer

from tfstyle import environment, objective, total_variation, vgg
from tfstyle.errors import InputError
from tfstyle.feedforward import serialization
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.recipes import get_recipe
from tfstyle.targets import make_targets
from tfstyle.training import perceptual, run_folder
from tfstyle.training.options import FastOptions

LAYERS = {
    "style_layers": {"block1_conv1": 0.7, "block2_conv1": 0.3},
    "content_layers": {"block2_conv2": 1.0},
}


def mini_recipe(options):
    recipe = perceptual.fast_recipe(options)
    return get_recipe(recipe, **LAYERS)


@pytest.fixture
def mini(monkeypatch):
    """Trainings on the miniature VGG and a small network."""
    make = perceptual.fast_recipe
    monkeypatch.setattr(perceptual, "fast_recipe", lambda o: get_recipe(make(o), **LAYERS))
    monkeypatch.setattr(perceptual, "build_model", lambda network, loss: miniature(statistic="mean_gram"))
    monkeypatch.setattr(
        perceptual, "TransformerNet", lambda filters, dtype: TransformerNet((4, 5, 6), blocks=0, dtype=dtype)
    )


def mean_and_covariance(statistic):
    mean, gram = np.asarray(statistic[0], "float64"), np.asarray(statistic[1:], "float64")
    return mean, gram - np.outer(mean, mean) + 1e-4 * np.eye(len(mean))


def test_the_objective_is_a_plain_computation(rng):
    options = FastOptions(content_weight=0.5, style_weight=2.0, tv_weight=3.0, precision="float32")
    recipe, model, style_image = mini_recipe(options), miniature(statistic="mean_gram"), 1.0 - image(rng, 50, 70)
    content_images = np.concatenate([image(rng, 32, 36), image(rng, 32, 36)])
    network = small_transformer()
    terms = perceptual.fast_objective(model, recipe, style_image)(network, tf.constant(content_images))
    stylized = network(content_images)
    seen, wanted, style = model(stylized), model(content_images)["content"], model(style_image)["style"]
    content = np.mean((seen["content"]["block2_conv2"] - wanted["block2_conv2"]) ** 2)
    assert float(terms["content"]) == pytest.approx(0.5 * content, rel=1e-3)
    expected = 0.0
    for layer, share in recipe.loss.style_layers.items():
        target, target_covariance = mean_and_covariance(style[layer][0])
        for one in seen["style"][layer]:  # The distance of one picture after the other, as the definition has it.
            mean, covariance = mean_and_covariance(one)
            shared = scipy.linalg.sqrtm(target_covariance @ covariance).real
            distance = np.sum((mean - target) ** 2) + np.trace(covariance + target_covariance - 2 * shared)
            expected += share * distance / len(mean) / len(content_images)
    assert float(terms["style"]) == pytest.approx(2.0 * expected, rel=1e-2)
    smooth = total_variation.squared(stylized)
    assert float(terms["total_variation"]) == pytest.approx(3.0 * float(smooth), rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "flips", "weights"),
    [
        (lambda f: f, False, {}),
        (tf.function, True, {}),
        (lambda f: f, False, {"style_weight": 0.0}),
        (lambda f: f, True, {"content_weight": 0.0}),
    ],
    ids=["eager", "graph", "content alone", "style alone"],
)
def test_the_objectives_gradient_is_that_of_the_plain_losses(mode, flips, weights, rng, monkeypatch):
    given, plain_features = [], vgg.VGG.features_and_pullback

    def features_and_pullback(network, picture, flipped=None):
        given.append(flipped)
        return plain_features(network, picture, flipped)

    monkeypatch.setattr(environment, "should_flip_kernels", lambda setting: flips)
    monkeypatch.setattr(vgg.VGG, "features_and_pullback", features_and_pullback)
    options = FastOptions(**({"content_weight": 0.5, "style_weight": 2.0, "tv_weight": 3.0} | weights))
    recipe, model, network = mini_recipe(options), miniature(statistic="mean_gram"), small_transformer()
    style_image = 1.0 - image(rng, 50, 70)
    content_images = tf.constant(np.concatenate([image(rng, 32, 36), image(rng, 32, 36)]))

    def plain(network, content_images):
        stylized = network(content_images)
        style = make_targets(model, recipe.loss, style_image, [style_image])["style"]
        targets = {"content": model(content_images)["content"], "style": style}
        factors = recipe.term_weights.by_term()
        sums, _ = objective.measure(model, recipe.loss, model.vgg(stylized), targets=targets, weights=factors)
        pixels = tf.constant(float(np.prod(stylized.shape[:3])))
        terms = objective.loss_terms(model, recipe.loss, sums, pixels=pixels, targets=targets, weights=factors)
        if "total_variation" in factors:
            variation = objective.variation_of(recipe.loss, stylized, weight=factors["total_variation"])
            terms["total_variation"] = variation
        return terms

    def terms_and_gradients(terms_of):
        with tf.GradientTape() as tape:
            terms = terms_of(network, content_images)
            loss = objective.total(terms)
        return terms, tape.gradient(loss, network.trainable_variables)

    terms, gradients = mode(
        functools.partial(terms_and_gradients, perceptual.fast_objective(model, recipe, style_image))
    )()
    expected, expected_gradients = terms_and_gradients(plain)
    assert any(given) == flips
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, err_msg=name)
    largest = max(np.abs(wanted).max() for wanted in expected_gradients)  # That of a bias in front of a mean is 0.
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * largest)


def test_a_training_lowers_its_loss_and_writes_network_losses_and_sheets(mini, pictures, rng, tmp_path):
    content_images, style_image = pictures
    options = FastOptions(steps=12, precision="float32", size=32, save_every=4, learning_rate=0.01, style_size=64)
    path = perceptual.train_fast(style_image, content_images, make_run(tmp_path / "out", rng), options=options)
    assert path == tmp_path / "out" / run_folder.NETWORK
    rows = run_folder.read_losses(tmp_path / "out")
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["loss"] < 0.95 * rows[0]["loss"]
    sheets = [file.name for file in sorted((tmp_path / "out" / run_folder.SHEETS).iterdir())]
    assert sheets == ["000000.jpg", "000004.jpg", "000008.jpg", "000012.jpg"]
    assert serialization.load(path)(image(rng, 33, 47)).shape == (1, 33, 47, 3)


@pytest.mark.parametrize("without", ["content", "style"])
def test_a_loss_without_weight_is_logged_as_0(without, mini, pictures, rng, tmp_path):
    content_images, style_image = pictures
    weights = {f"{without}_weight": 0.0}
    options = FastOptions(steps=1, precision="float32", size=32, batch=1, style_size=64, **weights)
    paths = [str(path) for path in content_images]  # Paths may be strings.
    perceptual.train_fast(str(style_image), paths, make_run(tmp_path / "out", rng), options=options)
    (row,) = run_folder.read_losses(tmp_path / "out")
    assert [row[name] == 0.0 for name in ("content", "style")] == [name == without for name in ("content", "style")]


def test_a_training_of_one_content_image_is_resumed_exactly_and_with_no_others(mini, pictures, rng, tmp_path):
    content_images, style_image = pictures
    options = FastOptions(steps=5, size=40, batch=1, save_every=2, style_size=64, precision="float32")

    def train(content_images, folder, **place):
        perceptual.train_fast(style_image, content_images, make_run(tmp_path / folder, rng, **place), options=options)

    assert_resumes_exactly(lambda *args, **place: train(content_images[:1], *args, **place), tmp_path)
    with pytest.raises(ValueError, match="was made with content images"):
        train(content_images, "whole", resume=True)


def test_a_training_of_damaged_content_images_alone_makes_no_folder(pictures, rng, tmp_path):
    content_images, style_image = pictures
    for path in content_images:
        path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError):
        perceptual.train_fast(
            style_image, content_images, make_run(tmp_path / "out", rng), options=FastOptions(size=32)
        )
    assert not (tmp_path / "out").exists()
