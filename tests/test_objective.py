"""The objective against finite differences and a plain loop, in every space."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle import losses, objective, statistics, total_variation
from tfstyle.pixel_range import from_space, to_space
from tfstyle.recipes import Term
from tfstyle.regions import Regions
from tfstyle.targets import make_targets

WEIGHTS = {"content": 0.5, "style": 2.0, "total_variation": 3.0}
LOSS = mini_recipe().loss


def check_gradient(function, start, rng, *, rel):
    """Compares the gradient at an image with finite differences along random directions."""
    gradient = function(start).gradient.numpy()
    for _ in range(5):
        direction, h = rng.normal(size=start.shape), 1e-6
        ahead, behind = (float(function(start + sign * h * direction).loss) for sign in (1, -1))
        assert (gradient * direction).sum() == pytest.approx((ahead - behind) / (2 * h), rel=rel, abs=1e-6)


COMPARED = [(statistic, "squared_error") for statistic in statistics.STATISTICS if statistic != "mean_gram"]
COMPARED += [("mean_gram", "wasserstein"), ("mean_gram", "wasserstein_newton_schulz")]


@pytest.mark.parametrize(("statistic", "style_loss"), COMPARED)
@pytest.mark.parametrize("tv_form", total_variation.FORMS)
def test_the_gradient_agrees_with_finite_differences(statistic, style_loss, tv_form, rng):
    model = miniature(statistic=statistic, dtype="float64")
    recipe = mini_recipe(statistic=statistic, distance=style_loss, total_variation=tv_form)
    content, style, start = (tf.constant(image(rng, *size), tf.float64) for size in ((13, 19), (17, 11), (13, 19)))
    targets = make_targets(model, recipe.loss, content, [style])
    function = objective.make_objective(
        model, recipe.loss, targets, weights={k: tf.constant(v, tf.float64) for k, v in WEIGHTS.items()}
    )
    # Away from the kinks of the absolute value, of which the blocks of the test image are full.
    start += rng.uniform(0, 0.2, size=start.shape)
    # Of the fast root, eigenvalues too small to converge have half the gradient of what stands in their place.
    check_gradient(function, start, rng, rel=5e-3 if style_loss == "wasserstein" else 1e-5)


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
        targets = make_targets(model, LOSS, pictures[0], pictures[1:2])
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
        targets = make_targets(model, recipe.loss, pictures[0], pictures[1:2])
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
    targets = make_targets(model, loss, content, [tf.constant(image(rng, 30, 41))])
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
    targets = make_targets(model, loss, content, [style])
    weights = {name: tf.constant(weight, tf.float64) for name, weight in WEIGHTS.items()}
    function = objective.make_objective(model, loss, targets, weights=weights)
    check_gradient(function, start + rng.uniform(0, 0.2, size=start.shape), rng, rel=1e-5)


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
    targets = make_targets(model, loss, content, [content])
    assert targets["terms"] == {}
    assert "masked" not in objective.make_objective(model, loss, targets, weights=WEIGHTS)(content).terms


def masks(content, style, recurrence):
    """Regions from masks [height, width, regions]."""
    return Regions._make(tf.constant(mask[None], tf.float32) for mask in (content, style, recurrence))


def both_losses(loss, content, style, found, **options):
    """The losses of an image, without regions and with them."""
    model, start = miniature(statistic=loss.statistic, **options), content[:, :, ::-1]
    without = make_targets(model, loss, content, [style])
    within = make_targets(model, loss, content, [style], regions=[found])
    return [objective.make_objective(model, loss, each, weights=WEIGHTS)(start) for each in (without, within)]


@pytest.mark.parametrize(("statistic", "distance"), [("gram", "squared_error"), ("mean_gram", "wasserstein")])
def test_masks_that_sum_to_one_over_equal_parts_give_the_loss_without_masks(statistic, distance, rng):
    loss = mini_recipe(statistic=statistic, distance=distance, regions=2).loss
    content, style = tf.constant(image(rng, 24, 40)), tf.constant(image(rng, 30, 22))
    shares = np.full((3, 5, 2), (0.3, 0.7), "float32")  # Each region is the whole image, in parts.
    found = masks(shares, shares, np.ones((3, 5, 1), "float32"))
    without, within = both_losses(loss, content, style, found)
    for name, value in without.terms.items():
        assert float(within.terms[name]) == pytest.approx(float(value), rel=2e-4), name
    np.testing.assert_allclose(within.gradient, without.gradient, rtol=5e-3, atol=1e-4)


def test_each_half_gets_its_own_texture(rng):
    fine, even = image(rng, 24, 32), np.full((1, 24, 32, 3), 0.4, "float32")
    halves = [np.concatenate(pair, axis=2) for pair in ((fine, even), (even, fine))]
    left = np.zeros((3, 8, 2), "float32")
    left[:, :4, 0], left[:, 4:, 1] = 1.0, 1.0
    loss, model = mini_recipe(regions=2).loss, miniature()
    found = masks(left, left, np.ones((3, 8, 1), "float32"))
    swapped = []
    for regions in ([], [found]):
        targets = make_targets(model, loss, tf.constant(halves[0]), [tf.constant(halves[0])], regions=regions)
        function = objective.make_objective(model, loss, targets, weights={"style": 1.0})
        assert float(function(tf.constant(halves[0])).loss) == pytest.approx(0.0, abs=1e-6)
        swapped.append(float(function(tf.constant(halves[1])).loss))
    assert swapped[1] > 20.0 * swapped[0]  # Without regions, only the border between the halves differs.


def test_large_regions_count_more(rng):
    loss, model, content = mini_recipe(regions=2).loss, miniature(), tf.constant(image(rng, 24, 40))
    uneven = np.full((3, 5, 2), (0.1, 0.9), "float32")
    found = masks(uneven, uneven, np.ones((3, 5, 1), "float32"))
    target = make_targets(model, loss, content, [content], regions=[found])["style"]["block1_conv1"]
    np.testing.assert_allclose(target.shares, [0.1, 0.9], rtol=1e-4)
    statistic = tf.stack([part[0] for part in target.targets]) + tf.constant([2.0, 0.0])[:, None, None]
    found = objective._compare_regions(losses.squared_error, statistic, target)
    assert float(found) == pytest.approx(0.1 * 4.0, rel=1e-4)


@pytest.mark.parametrize("distance", ["squared_error", "wasserstein"])
def test_the_gradient_of_regions_agrees_with_finite_differences(distance, rng):
    statistic = "mean_gram" if distance == "wasserstein" else "gram"
    loss = mini_recipe(statistic=statistic, distance=distance, regions=2, recurrence=0.8).loss
    content, style, start = (tf.constant(image(rng, *size), tf.float64) for size in ((13, 19), (17, 11), (13, 19)))
    uneven = rng.dirichlet((1.0, 1.0), size=(4, 5)).astype("float32")
    found = masks(uneven, uneven[:3], rng.uniform(size=(3, 5, 1)))
    model = miniature(statistic=statistic, dtype="float64")
    targets = make_targets(model, loss, content, [style], regions=[found])
    weights = {name: tf.constant(weight, tf.float64) for name, weight in WEIGHTS.items()}
    function = objective.make_objective(model, loss, targets, weights=weights)
    rel = 1e-5 if distance == "squared_error" else 5e-3
    check_gradient(function, start + rng.uniform(0, 0.2, size=start.shape), rng, rel=rel)


def test_what_does_not_recur_counts_less_at_layers_that_show_objects(rng):
    layers = ("block2_conv1", "block3_conv1")
    loss = mini_recipe(style_layers=layers, regions=1, recurrence=1.0).loss
    model = miniature(style_layers=layers)
    parts = [image(rng, 24, 32), np.full((1, 24, 32, 3), 0.4, "float32")]
    style = tf.constant(np.concatenate(parts, axis=2))
    ones, left = np.ones((3, 8, 1), "float32"), np.zeros((3, 8, 1), "float32")
    left[:, :4] = 1.0
    of_all, of_left = (
        make_targets(model, loss, style, [style], regions=[masks(ones, ones, recurring)])["style"]
        for recurring in (ones, left)
    )
    np.testing.assert_allclose(of_left[layers[0]], of_all[layers[0]], rtol=1e-5)
    assert np.trace(of_left[layers[1]][0]) > 1.2 * np.trace(of_all[layers[1]][0])
