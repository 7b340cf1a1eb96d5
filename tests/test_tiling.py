"""Loss and gradient in tiles against those of the whole image."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle import nearest, total_variation
from tfstyle.neighbors import PLACES
from tfstyle.objective import make_objective
from tfstyle.pixel_range import to_space
from tfstyle.recipes import Term
from tfstyle.regions import Regions
from tfstyle.targets import describe, make_targets
from tfstyle.tiling import Tiling

STYLE = ("block1_conv1", "block2_conv2", "block3_conv1", "block4_conv1", "block5_conv1")
CONTENT = ("block2_conv1", "block4_conv1")
COLUMNS = {"block1_conv2": 1.0, "block2_conv1": 0.5, "block3_conv1": 2.0, "block4_conv1": 1.0, "block5_conv1": 0.3}
WEIGHTS = {"content": 0.5, "style": 2.0, "neighbor": 1.5, "total_variation": 3.0}
EXACT, SINGLE = 1e-10, 1e-5


def cross_gram(target):
    """A custom term of two layers on different grids."""

    def sums(features, expected):
        shallow = tf.nn.avg_pool2d(features["block2_conv1"], 4, 4, "VALID")
        deep = features["block4_conv1"]
        height, width = (tf.minimum(tf.shape(shallow)[axis], tf.shape(deep)[axis]) for axis in (1, 2))
        return {"products": tf.einsum("bhwi,bhwj->ij", shallow[:, :height, :width], deep[:, :height, :width])}

    return Term(
        name="crossed",
        layers=("block2_conv1", "block4_conv1"),
        weight=0.7,
        target=lambda content, style: {"matrix": target},
        sums=sums,
        loss=lambda found, expected: tf.reduce_mean((found["products"] / 1000.0 - expected["matrix"]) ** 2),
    )


def weighed():
    """A custom term whose target is a map, as a mask would be."""
    return Term(
        name="weighed",
        layers=("block3_conv1",),
        weight=0.3,
        target=lambda content, style: content.features["block3_conv1"][..., :1],
        sums=lambda features, target: tf.reduce_sum(target * features["block3_conv1"] ** 2),
        loss=lambda found, target: found / 1e3,
    )


def pictures(rng, *sizes, dtype="float64"):
    return [tf.constant(image(rng, *size) + rng.uniform(0, 0.2, size=(1, *size, 3)), dtype) for size in sizes]


def network(loss, **options):
    """The miniature with the layers of a loss, but for those that find regions, which it lacks."""
    own = (layer for term in loss.terms for layer in term.layers)
    return miniature(STYLE, CONTENT, other_layers=(*loss.neighbor_layers, *own), **options)


def compare(loss, rng, *, size=(85, 119), tile=32, dtype="float64", regions=(), space="unit", **options):
    """Evaluates an image as a whole and in tiles; returns both evaluations."""
    model = network(loss, statistic=loss.statistic, dtype=dtype, **options)
    content, style, start = pictures(rng, size, (61, 90), size, dtype="float64" if dtype == "float64" else "float32")
    targets = make_targets(model, loss, content, [style], image=start, regions=regions)
    weights = {name: tf.cast(weight, start.dtype) for name, weight in WEIGHTS.items()}
    if not loss.neighbor_layers:
        del weights["neighbor"]
    variable = to_space(start, space)
    evaluate = tf.function(make_objective(model, loss, targets, weights=weights, space=space), autograph=False)
    whole = evaluate(variable)
    tiled = Tiling(model, loss, space=space).make_objective(targets, weights=weights, tile=tile)(variable)
    return whole, tiled


def check(whole, tiled, tolerance):
    assert set(whole.terms) == set(tiled.terms)
    for name, value in whole.terms.items():
        assert float(tiled.terms[name]) == pytest.approx(float(value), rel=tolerance, abs=tolerance), name
    error = np.linalg.norm(tiled.gradient - whole.gradient) / np.linalg.norm(whole.gradient)
    assert error < tolerance


def loss_of(**options):
    options = {"style_layers": dict.fromkeys(STYLE, 0.2), "content_layers": dict.fromkeys(CONTENT, 0.5)} | options
    return mini_recipe(**options).loss


LOSSES = {
    "gram": {},
    "covariance": {"statistic": "covariance"},
    "mean_std": {"statistic": "mean_std"},
    "wasserstein": {"statistic": "mean_gram", "distance": "wasserstein"},
    "newton_schulz": {"statistic": "mean_gram", "distance": "wasserstein_newton_schulz"},
    "sums": {"statistic": "summed_gram", "reduction": "sum"},
    "neighbors": {"neighbor_layers": COLUMNS},
    "deep_neighbors": {"neighbor_layers": {"block4_conv1": 1.0, "block5_conv1": 1.0}},
    "crossed": {"terms": (cross_gram(tf.ones([6, 9], tf.float64)),)},
}


@pytest.mark.parametrize("name", LOSSES)
def test_tiles_give_the_loss_and_the_gradient_of_the_whole(name, rng):
    check(*compare(loss_of(**LOSSES[name]), rng), EXACT)


@pytest.mark.parametrize("tile", [32, 48, 64, 112, 400])
@pytest.mark.parametrize("size", [(85, 119), (128, 64), (17, 200)])
def test_at_any_size_of_tile_and_image(tile, size, rng):
    check(*compare(loss_of(neighbor_layers=COLUMNS), rng, size=size, tile=tile), EXACT)


def test_graphs_serve_targets_of_any_rank(rng):
    """The factor of a covariance has a column for each direction in which the features deviate."""
    loss = loss_of(**LOSSES["wasserstein"])
    model = network(loss, statistic=loss.statistic, dtype="float64")
    content, rich = pictures(rng, (37, 50), (61, 90))
    tiling, weights, ranks = Tiling(model, loss), {"style": tf.constant(1.0, tf.float64)}, set()
    for style in (rich, 0.0 * rich + 0.5):
        targets = make_targets(model, loss, content, [style])
        ranks.add(tuple(target.factor.shape[-1] for target in targets["style"].values()))
        whole = make_objective(model, loss, targets, weights=weights)(content)
        check(whole, tiling.make_objective(targets, weights=weights, tile=32)(content), 1e-8)
    assert len(ranks) == 2
    graphs = len(tiling._graphs)
    check(whole, tiling.make_objective(targets, weights=weights, tile=64)(content), 1e-8)
    assert len(tiling._graphs) == graphs


@pytest.mark.parametrize("padding_mode", ["zero", "replicate", "reflect"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_in_any_network(padding_mode, pooling, ceil_mode, rng):
    options = {"padding_mode": padding_mode, "pooling": pooling, "ceil_mode": ceil_mode}
    check(*compare(loss_of(neighbor_layers=COLUMNS), rng, size=(85, 107), **options), EXACT)


@pytest.mark.parametrize("space", ["caffe", "torch"])
@pytest.mark.parametrize("activation", ["pre", {"block2_conv2": "pre"}])
def test_in_any_space_before_and_after_the_relu(space, activation, rng):
    check(*compare(loss_of(), rng, space=space, activation=activation), EXACT)


@pytest.mark.parametrize("form", total_variation.FORMS)
def test_total_variation_is_that_of_the_whole(form, rng):
    check(*compare(loss_of(total_variation=form), rng), EXACT)


def test_in_float32(rng):
    check(*compare(loss_of(neighbor_layers=COLUMNS, terms=(weighed(),)), rng, dtype="float32"), SINGLE)


def test_in_bfloat16_up_to_its_rounding(rng):
    loss = loss_of(neighbor_layers=COLUMNS)
    whole, tiled = compare(loss, rng, dtype="mixed_bfloat16")
    check(whole, tiled, 5e-3)


def regions_of(rng, count):
    content, style = (rng.uniform(size=(1, *size, count)) for size in ((40, 55), (30, 45)))
    masks = [tf.constant(part / part.sum(-1, keepdims=True), tf.float32) for part in (content, style)]
    return Regions(*masks, tf.constant(rng.uniform(size=(1, 8, 11, 1)), tf.float32))


@pytest.mark.parametrize(
    ("count", "parts"), [(1, {}), (3, {"regions": "3"}), (4, {"orientation": "edges"}), (1, {"orientation": "45"})]
)
def test_with_regions_and_recurrence(count, parts, rng):
    loss = dataclasses.replace(loss_of(), recurrence=0.8, **parts)
    check(*compare(loss, rng, regions=[regions_of(rng, count)]), 1e-6)  # Masks are in float32.


def test_targets_in_tiles_are_those_of_the_whole(rng):
    loss = dataclasses.replace(loss_of(neighbor_layers=COLUMNS, terms=(weighed(),)), regions="2", recurrence=0.8)
    model = network(loss)
    content, style, start = pictures(rng, (85, 119), (77, 90), (85, 119), dtype="float32")
    options = {"image": start, "regions": [regions_of(rng, 2)]}
    tiling = Tiling(model, loss)
    see, search = (functools.partial(each, tile=32) for each in (tiling.describe, tiling.search))
    whole = make_targets(model, loss, content, [style], **options)
    tiled = make_targets(model, loss, content, [style], see=see, search=search, **options)
    columns = see(start).columns
    expected = describe(model, loss, start).columns
    assert {column.dtype for column in columns.values()} == {tf.float16}
    for layer, column in expected.items():
        np.testing.assert_allclose(columns[layer], column, rtol=1e-3, atol=1e-3)
    thinned, expected = see(start, places=30).columns, nearest.thin(expected, 30)
    for layer, column in expected.items():
        assert 10 < np.prod(column.shape[1:3]) <= 30
        np.testing.assert_allclose(thinned[layer], column, rtol=1e-3, atol=1e-3)
    assert not see(start, places=0).columns
    same = tiled["neighbor"][PLACES] == whole["neighbor"][PLACES]
    tables = [dict(side["neighbor"], **{PLACES: 0}) for side in (tiled, whole)]
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), *tables)
    assert np.mean(same) > 0.98  # Of two places that are as near, rounding chooses.
    for kind in ("content", "style", "masks", "terms"):
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), tiled[kind], whole[kind]
        )


def test_graphs_are_shared_by_sizes_and_tiles(rng):
    loss = loss_of(neighbor_layers=COLUMNS)
    model = network(loss)
    tiling, counts = Tiling(model, loss), []
    for size, tile in (((85, 119), 32), ((64, 70), 32), ((100, 85), 48)):
        content, style = pictures(rng, size, (50, 60), dtype="float32")
        targets = make_targets(model, loss, content, [style])
        tiling.make_objective(targets, weights=WEIGHTS, tile=tile)(content)
        counts.append(len(tiling._graphs))
    assert counts[0] == counts[-1]


def test_the_gradient_is_as_large_on_the_borders_of_tiles_as_elsewhere(rng):
    rows = np.arange(256) % 64
    at_borders, ratios = np.isin(rows, (63, 0)), []
    for evaluation in compare(loss_of(neighbor_layers=COLUMNS), rng, size=(256, 320), tile=64, dtype="float32"):
        energy = np.square(evaluation.gradient.numpy()[0]).sum(-1)
        ratios.append(energy[at_borders].mean() / energy[~at_borders].mean())
    assert ratios[1] == pytest.approx(ratios[0], rel=1e-4)  # Of the picture itself, which is random.
