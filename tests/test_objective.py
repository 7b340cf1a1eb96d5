"""The objective against finite differences and a plain loop, in every space."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle import objective, statistics, total_variation
from tfstyle.pixel_range import from_space, to_space
from tfstyle.recipes import Term

WEIGHTS = {"content": 0.5, "style": 2.0, "total_variation": 3.0}
LOSS = mini_recipe().loss


COMPARED = [(statistic, "squared_error") for statistic in statistics.STATISTICS if statistic != "mean_gram"]
COMPARED += [("mean_gram", "wasserstein"), ("mean_gram", "wasserstein_newton_schulz")]


@pytest.mark.parametrize(("statistic", "style_loss"), COMPARED)
@pytest.mark.parametrize("tv_form", total_variation.FORMS)
def test_the_gradient_agrees_with_finite_differences(statistic, style_loss, tv_form, rng):
    model = miniature(statistic=statistic, dtype="float64")
    recipe = mini_recipe(statistic=statistic, distance=style_loss, total_variation=tv_form)
    content, style, start = (tf.constant(image(rng, *size), tf.float64) for size in ((13, 19), (17, 11), (13, 19)))
    targets = objective.make_targets(model, recipe.loss, content, style)
    function = objective.make_objective(
        model, recipe.loss, targets, weights={k: tf.constant(v, tf.float64) for k, v in WEIGHTS.items()}
    )
    # Away from the kinks of the absolute value, of which the blocks of the test image are full.
    start += rng.uniform(0, 0.2, size=start.shape)
    gradient = function(start).gradient.numpy()
    for _ in range(5):
        direction, h = rng.normal(size=start.shape), 1e-6
        ahead, behind = (float(function(start + sign * h * direction).loss) for sign in (1, -1))
        # Of the fast root, eigenvalues too small to converge have half the gradient of what stands in their place.
        rel = 5e-3 if style_loss == "wasserstein" else 1e-5
        assert (gradient * direction).sum() == pytest.approx((ahead - behind) / (2 * h), rel=rel, abs=1e-6)


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_the_terms_are_what_a_plain_computation_says(mode, rng):
    model, recipe = miniature(), mini_recipe()
    content, style, start = image(rng, 33, 47), image(rng, 30, 21), image(rng, 33, 47)
    targets = {"content": model(content)["content"], "style": model(style)["style"]}
    found = mode(objective.make_objective(model, recipe.loss, targets, weights=WEIGHTS))(tf.constant(start))

    def gram(picture, layer):
        flat = model.vgg(picture)[layer].numpy()
        flat = flat.reshape(-1, flat.shape[-1])
        return flat.T @ flat / len(flat)

    expected = {
        f"style/{layer}": 2.0 * weight * np.mean((gram(start, layer) - gram(style, layer)) ** 2)
        for layer, weight in (("block1_conv1", 0.7), ("block2_conv1", 0.3))
    }
    difference = model.vgg(start)["block2_conv2"] - model.vgg(content)["block2_conv2"]
    expected["content/block2_conv2"] = expected["content"] = 0.5 * np.mean(difference**2)
    expected["style"] = expected["style/block1_conv1"] + expected["style/block2_conv1"]
    expected["total_variation"] = 3.0 * sum(np.mean(np.diff(start, axis=axis) ** 2) for axis in (1, 2))
    expected["total"] = expected["style"] + expected["content"] + expected["total_variation"]
    assert set(found.terms) == set(expected)
    for name, value in expected.items():
        assert float(found.terms[name]) == pytest.approx(value, rel=1e-4), name
    assert float(found.loss) == pytest.approx(expected["total"], rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "terms"),
    [({"style": 2.0}, {"style", "total"}), ({"content": 0.5}, {"content", "total"})],
)
def test_a_term_without_weight_is_left_out(weights, terms, rng):
    model = miniature()
    found = objective.make_objective(model, mini_recipe().loss, model(image(rng)), weights=weights)(
        tf.constant(image(rng))
    )
    assert {name for name in found.terms if "/" not in name} == terms


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("unit", [1.0, 0.5, 0.0]),
        ("torch", [0.515 / 0.229, 0.044 / 0.224, -0.406 / 0.225]),  # RGB less torchvision's mean, over its deviation.
        ("caffe", [-103.939, 127.5 - 116.779, 255.0 - 123.68]),  # BGR from 0 to 255, less the mean pixel.
    ],
)
def test_a_space_is_its_networks_pixels_and_comes_back(space, expected, rng):
    np.testing.assert_allclose(to_space(tf.constant([[[[1.0, 0.5, 0.0]]]]), space)[0, 0, 0], expected, rtol=1e-5)
    picture = tf.constant(image(rng))
    np.testing.assert_allclose(from_space(to_space(picture, space), space), picture, atol=1e-6)


@pytest.mark.parametrize("space", ["torch", "caffe"])
def test_only_total_variation_and_the_gradient_feel_the_space(space, rng):
    model, pictures = miniature(), [tf.constant(image(rng)) for _ in range(3)]
    found = {}
    for name in ("unit", space):
        targets = objective.make_targets(model, LOSS, *pictures[:2])
        function = objective.make_objective(model, LOSS, targets, weights=WEIGHTS, space=name)
        found[name] = function(to_space(pictures[2], name))
    for term in ("style", "content"):
        assert float(found[space].terms[term]) == pytest.approx(float(found["unit"].terms[term]), rel=1e-4)
    variation = float(total_variation.squared(to_space(pictures[2], space)))
    assert float(found[space].terms["total_variation"]) == pytest.approx(3.0 * variation, rel=1e-4)


def test_sums_are_means_times_their_entries(rng):
    model, pictures = miniature(statistic="summed_gram"), [tf.constant(image(rng)) for _ in range(3)]
    found = {}
    for reduction in ("mean", "sum"):
        recipe = mini_recipe(statistic="summed_gram", reduction=reduction)
        targets = objective.make_targets(model, recipe.loss, *pictures[:2])
        found[reduction] = objective.make_objective(model, recipe.loss, targets, weights=WEIGHTS)(pictures[2]).terms
    pixels = 33 * 47
    content_entries, gram_entries = 16 * 23 * 7, 4 * 4
    ratios = {name: float(found["sum"][name] / found["mean"][name]) for name in found["sum"]}
    assert ratios["content/block2_conv2"] == pytest.approx(content_entries, rel=1e-4)
    assert ratios["style/block1_conv1"] == pytest.approx(gram_entries / (36 * pixels**2), rel=1e-4)
    assert ratios["total_variation"] == pytest.approx(1.0)


def masked(content, style):
    """Features of the content image, and weights that rise from left to right."""
    features = content.features["block2_conv1"]
    return {"features": features, "mask": tf.linspace(0.0, 1.0, features.shape[2])[None, None, :, None]}


def masked_sums(features, target):
    difference = features["block2_conv1"] - tf.cast(target["features"], features["block2_conv1"].dtype)
    return tf.reduce_sum(tf.cast(target["mask"], difference.dtype) * difference**2)


TERM = Term(
    name="masked",
    layers=("block2_conv1",),
    weight=0.25,
    target=masked,
    sums=masked_sums,
    loss=lambda sums, target: 0.01 * sums,
)


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_a_term_of_ones_own_is_added_with_its_weight(mode, rng):
    model, loss = miniature(feature_scales={"block2_conv1": 2.0}), mini_recipe(terms=[TERM]).loss
    content, start = (tf.constant(image(rng)) for _ in range(2))
    targets = objective.make_targets(model, loss, content, tf.constant(image(rng, 30, 41)))
    found = mode(objective.make_objective(model, loss, targets, weights=WEIGHTS))(start)
    plain = objective.make_objective(model, mini_recipe().loss, targets, weights=WEIGHTS)(start)
    features = [2.0 * model.vgg(picture)["block2_conv1"].numpy() for picture in (start, content)]
    mask = np.linspace(0.0, 1.0, features[0].shape[2])[None, None, :, None]
    expected = 0.25 * 0.01 * np.sum(mask * (features[0] - features[1]) ** 2)
    assert float(found.terms["masked"]) == pytest.approx(expected, rel=1e-4)
    assert float(found.loss - plain.loss) == pytest.approx(expected, rel=1e-3)


def test_the_gradient_of_terms_of_ones_own_agrees_with_finite_differences(rng):
    own = {"statistic": lambda sums: sums.products / 400.0, "distance": cosine, "total_variation": rough}
    loss = mini_recipe(terms=[TERM], **own).loss
    content, style, start = (tf.constant(image(rng, *size), tf.float64) for size in ((13, 19), (17, 11), (13, 19)))
    model = miniature(statistic=loss.statistic, dtype="float64")
    targets = objective.make_targets(model, loss, content, style)
    weights = {name: tf.constant(weight, tf.float64) for name, weight in WEIGHTS.items()}
    function = objective.make_objective(model, loss, targets, weights=weights)
    start += rng.uniform(0, 0.2, size=start.shape)
    gradient = function(start).gradient.numpy()
    for _ in range(3):
        direction, h = rng.normal(size=start.shape), 1e-6
        ahead, behind = (float(function(start + sign * h * direction).loss) for sign in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-6)


def cosine(statistic, target):
    """One less the cosine between two statistics."""
    along = tf.reduce_sum(statistic * target)
    return 1.0 - along / tf.sqrt(tf.reduce_sum(statistic**2) * tf.reduce_sum(target**2))


def rough(picture):
    """The mean square of the differences along diagonals."""
    return tf.reduce_mean((picture[:, 1:, 1:] - picture[:, :-1, :-1]) ** 2)


def fail(*_):
    raise RuntimeError


def test_a_term_without_weight_is_not_computed(rng):
    silent = dataclasses.replace(TERM, weight=0.0, target=fail, sums=fail)
    model, loss = miniature(), mini_recipe(terms=[silent]).loss
    content = tf.constant(image(rng))
    targets = objective.make_targets(model, loss, content, content)
    assert targets["terms"] == {}
    assert "masked" not in objective.make_objective(model, loss, targets, weights=WEIGHTS)(content).terms
