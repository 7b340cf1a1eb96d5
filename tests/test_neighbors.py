"""Hypercolumns, the search for the nearest, and the loss, against plain computations."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import SAMPLES, image, mini_recipe, miniature

from tfstyle import images, neighbors, objective
from tfstyle.recipes import get_recipe
from tfstyle.targets import make_targets
from tfstyle.vgg import load_vgg

LAYERS = {"block1_conv2": 1.0, "block2_conv1": 0.5, "block3_conv1": 2.0, "block4_conv1": 1.0}


def columns(rng, *size):
    return {layer: tf.constant(rng.gamma(1.0, size=(1, *size, 5 + i)), tf.float32) for i, layer in enumerate(LAYERS)}


def hypercolumns(features, weights):
    """The parts of the hypercolumns of a whole image, in float32."""
    size = tf.shape(features[neighbors.reference_layer(weights)])[1:3]
    return {layer: neighbors.to_grid(features[layer], layer, weights=weights, size=size) for layer in weights}


def loss_of(parts, targets):
    """The loss of an image's hypercolumns."""
    matches = [neighbors.match(parts[layer], neighbors.target_at(targets, layer)) for layer in parts]
    return neighbors.neighbor_loss(neighbors.Matches(*map(tf.add_n, zip(*matches, strict=True))))


def flat(parts):
    """Whole hypercolumns [positions, channels] in float64."""
    return np.concatenate([np.reshape(part, (-1, part.shape[-1])).astype("float64") for part in parts.values()], 1)


def cosines(queries, keys):
    """All centered cosines, the slow and obvious way."""
    centered = [flat(side) - flat(side).mean(0) for side in (queries, keys)]
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in centered)
    return left @ right.T


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


@pytest.mark.parametrize("sizes", [((9, 13), (11, 6)), ((3, 2), (1, 5)), ((40, 30), (2, 2))])
def test_a_search_without_projection_is_exhaustive(sizes, rng):
    queries, keys = (columns(rng, *size) for size in sizes)
    found = neighbors.nearest(queries, keys).numpy()
    expected = cosines(queries, keys)
    np.testing.assert_allclose(
        expected[np.arange(len(found)), found], expected.max(1), atol=2e-4
    )  # Directions are in float16.


def test_the_projected_search_finds_nearly_all_of_the_nearest():
    layers = get_recipe("nnst").loss.neighbor_layers
    network = load_vgg(tuple(layers))
    pictures = (images.fit(images.read(SAMPLES / name).image, 224) for name in ("colosseum.jpg", "harvest.jpg"))
    queries, keys = (hypercolumns(network(picture), layers) for picture in pictures)
    found = neighbors.nearest(queries, keys).numpy()
    expected = cosines(queries, keys)
    assert (found == expected.argmax(1)).mean() > 0.95
    lost = expected.max(1) - expected[np.arange(len(found)), found]
    assert lost[found != expected.argmax(1)].mean() < 0.01


def test_the_nearest_places_of_an_image_in_itself_are_its_own(rng):
    parts = columns(rng, 7, 11)
    np.testing.assert_array_equal(neighbors.nearest(parts, parts), np.arange(77))
    targets = neighbors.neighbor_targets(neighbors.mix_queries(parts, parts), parts)
    assert float(loss_of(parts, targets)) == pytest.approx(0.0, abs=1e-4)


def test_targets_are_the_chosen_places_of_the_style_image(rng):
    content, so_far, style = columns(rng, 5, 8), columns(rng, 5, 8), columns(rng, 6, 4)
    mixed = {layer: 0.75 * content[layer] + 0.25 * so_far[layer] for layer in LAYERS}
    chosen = flat(style)[cosines(mixed, style).argmax(1)]
    found = neighbors.neighbor_targets(neighbors.mix_queries(content, so_far), style)
    expected = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    parts = {layer: neighbors.target_at(found, layer) for layer in LAYERS}
    assert {part.dtype for part in parts.values()} == {tf.float16}
    np.testing.assert_allclose(flat(parts), expected, atol=1e-3)
    of_image = flat(so_far)
    cosine = (of_image * expected).sum(1) / np.linalg.norm(of_image, axis=1)
    assert float(loss_of(so_far, found)) == pytest.approx(1.0 - cosine.mean(), abs=1e-3)


def test_of_a_large_style_image_places_at_even_distances_are_searched(rng, monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_KEYS", 12)
    queries, style = columns(rng, 3, 4), columns(rng, 9, 11)
    found = neighbors.neighbor_targets(queries, style)
    thinned = {layer: part[:, 1::3, 1::3] for layer, part in style.items()}  # 99 places; 3 x 4 of them.
    np.testing.assert_array_equal(
        np.ravel(found[neighbors.PLACES]), cosines(neighbors.mix_queries(queries), thinned).argmax(1)
    )
    assert found["block1_conv2"].shape == (1, 12, 1, 5)


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
        targets = neighbors.neighbor_targets(content, style)
        assert all(np.isfinite(part).all() for part in targets.values())
        assert np.isfinite(loss_of(plain, targets))


def objective_of(weights, rng, *, sizes=((33, 47), (30, 41))):
    """An objective with the nearest-neighbor loss on the miniature, its model, targets and a start."""
    loss = mini_recipe(neighbor_layers=LAYERS).loss
    model = miniature(other_layers=tuple(LAYERS))
    content, style = (tf.constant(image(rng, *size)) for size in sizes)
    start = tf.constant(image(rng, *sizes[0]))
    targets = make_targets(model, loss, content, style, image=start)
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
