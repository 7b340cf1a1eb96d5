"""Hypercolumns and the loss, against plain computations."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature
from hypercolumns import LAYERS, columns, hypercolumns, loss_of

from tfstyle import nearest, neighbors, objective
from tfstyle.targets import make_targets


def test_a_grid_averages_cells_of_shallow_layers_and_enlarges_deep_ones(rng):
    shallow, same, deep = (rng.uniform(size=(1, *size, 2)).astype("float32") for size in ((8, 12), (2, 3), (1, 2)))
    features = {"block1_conv1": shallow, "block3_conv4": same, "block4_conv1": deep}
    weights = {"block1_conv1": 4.0, "block3_conv4": 1.0, "block4_conv1": 1.0}
    found = hypercolumns(features, weights)
    np.testing.assert_allclose(found["block1_conv1"][0], 2.0 * shallow.reshape(2, 4, 3, 4, 2).mean((1, 3)), rtol=1e-5)
    np.testing.assert_allclose(found["block3_conv4"], same, rtol=1e-6)
    np.testing.assert_allclose(found["block4_conv1"][0, :, 0], [deep[0, 0, 0]] * 2, rtol=1e-6)
    between = [0.75 * deep[0, 0, 0] + 0.25 * deep[0, 0, 1], 0.25 * deep[0, 0, 0] + 0.75 * deep[0, 0, 1]]
    np.testing.assert_allclose(found["block4_conv1"][0, 0, 1:], between, rtol=1e-6)


def test_deep_layers_alone_keep_their_own_grid(rng):
    deep = {"block4_conv1": rng.uniform(size=(1, 3, 4, 5)).astype("float32")}
    found = hypercolumns(deep, {"block4_conv1": 1.0})
    np.testing.assert_allclose(found["block4_conv1"], deep["block4_conv1"], rtol=1e-6)


@pytest.mark.parametrize("size", [(33, 47), (16, 18), (21, 64)])
def test_all_layers_have_one_grid_at_any_size(size, rng):
    for ceil_mode in (True, False):
        features = miniature((), tuple(LAYERS), ceil_mode=ceil_mode).vgg(tf.constant(image(rng, *size)))
        found = hypercolumns(features, LAYERS)
        assert {part.shape[1:3] for part in found.values()} == {features["block3_conv1"].shape[1:3]}


def test_opposite_hypercolumns_have_the_largest_loss():
    one = {"block3_conv1": tf.constant([[[[3.0, 4.0]]]])}
    for target, loss in (([-0.6, -0.8], 2.0), ([0.8, 0.6], 0.04)):
        targets = {"block3_conv1": tf.constant([[[target]]]), neighbors.PLACES: tf.zeros([1, 1, 1, 1], tf.int32)}
        assert float(loss_of(one, targets)) == pytest.approx(loss)


@pytest.mark.parametrize("kind", ["flat", "gray"])
def test_flat_and_gray_images_stay_finite(kind, rng):
    parts = columns(rng, 4, 6)
    plain = {layer: tf.fill(part.shape, 0.0 if kind == "gray" else 0.3) for layer, part in parts.items()}
    for content, style in ((parts, plain), (plain, parts), (plain, plain)):
        keys = nearest.make_keys(style)
        targets = nearest.neighbor_targets([nearest.search(content, keys)], [keys])
        assert all(np.isfinite(part).all() for part in targets.values())
        assert np.isfinite(loss_of(plain, targets))


def objective_of(weights, rng, *, sizes=((33, 47), (30, 41))):
    """An objective with the nearest-neighbor loss on the miniature, its model, targets and a start."""
    loss = mini_recipe(neighbor_layers=LAYERS).loss
    model = miniature(other_layers=tuple(LAYERS))
    content, style = (tf.constant(image(rng, *size)) for size in sizes)
    start = tf.constant(image(rng, *sizes[0]))
    targets = make_targets(model, loss, content, [style], image=start)
    return objective.make_objective(model, loss, targets, weights=weights), model, targets, start


@pytest.mark.parametrize("mode", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_the_gradient_is_that_of_tensorflow(mode, rng):
    function, model, targets, start = objective_of({"neighbor": 3.0}, rng)
    found = mode(function)(start)
    with tf.GradientTape() as tape:
        tape.watch(start)
        of_start = hypercolumns(model.vgg(start), LAYERS)
        loss = 3.0 * loss_of(of_start, targets["neighbor"])
    assert set(found.terms) == {"neighbor", "total"}
    assert float(found.loss) == pytest.approx(float(loss), rel=1e-5)
    expected = tape.gradient(loss, start).numpy()
    np.testing.assert_allclose(found.gradient, expected, atol=1e-5 * np.abs(expected).max())


def test_the_loss_adds_to_the_others(rng):
    alone, *_ = objective_of({"content": 0.5, "style": 2.0}, np.random.default_rng(3))
    both, _, _, start = objective_of({"content": 0.5, "style": 2.0, "neighbor": 3.0}, np.random.default_rng(3))
    one, other = alone(start), both(start)
    assert float(other.loss) == pytest.approx(float(one.loss + other.terms["neighbor"]), rel=1e-5)
    assert {"neighbor"} == set(other.terms) - set(one.terms)
