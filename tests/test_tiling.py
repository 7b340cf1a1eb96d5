"""Loss and gradient in tiles against those of the whole image."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from tiles import COLUMNS, EXACT, LOSSES, SINGLE, WEIGHTS, check, compare, loss_of, network, pictures, weighed

from tfstyle import nearest, tiling, total_variation
from tfstyle.neighbors import PLACES
from tfstyle.objective import make_objective
from tfstyle.regions import Regions
from tfstyle.targets import describe, make_targets
from tfstyle.tiling import Tiling


@pytest.mark.parametrize("name", LOSSES)
def test_tiles_give_the_loss_and_the_gradient_of_the_whole(name, rng):
    check(*compare(loss_of(**LOSSES[name]), rng), EXACT)


@pytest.mark.parametrize("tile", [32, 48, 64, 112, 400])
@pytest.mark.parametrize("size", [(85, 119), (128, 64), (17, 200)])
def test_at_any_size_of_tile_and_image(tile, size, rng):
    check(*compare(loss_of(neighbor_layers=COLUMNS), rng, size=size, tile=tile), EXACT)


@pytest.mark.parametrize("name", ["wasserstein", "neighbors", "crossed"])
@pytest.mark.parametrize(("size", "bands"), [((85, 119), 2), ((200, 60), 5), ((40, 70), 16)])
def test_in_bands(name, size, bands, rng):
    check(*compare(loss_of(**LOSSES[name]), rng, size=size, tile=48, bands=bands), EXACT)


def test_bands_keep_less_between_blocks(rng, monkeypatch):
    kept = []
    tiling = Tiling(network(loss_of()), loss_of())
    content, style = pictures(rng, (320, 90), (61, 90), dtype="float32")
    targets = make_targets(tiling._model, loss_of(), content, [style])
    take_back = Tiling._take_back

    def measure(self, inputs, *arguments, **options):
        kept.append(max(int(np.any(of_group[0] != 0, axis=(1, 2)).sum()) for of_group in inputs[1:]))
        return take_back(self, inputs, *arguments, **options)

    monkeypatch.setattr(Tiling, "_take_back", measure)
    monkeypatch.setattr(np, "empty", np.zeros)  # What is not written stays 0.
    for bands in (1, 4):
        tiling.make_objective(targets, weights={"style": tf.constant(1.0)}, tile=32, bands=bands)(content)
    assert kept[0] == 160
    assert len(kept) == 5
    assert max(kept[1:]) <= 40 + 2 * 40  # Rows of half the size, and at most 80 pixels of context.


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


def own_variation(image):
    return tf.reduce_mean((image[:, 2:] - image[:, :-2]) ** 4)


@pytest.mark.parametrize("form", [*total_variation.FORMS, own_variation])
@pytest.mark.parametrize("pixels", [1, 1000])
def test_total_variation_is_that_of_the_whole(form, pixels, rng, monkeypatch):
    monkeypatch.setattr(tiling, "BAND", pixels)
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


@pytest.mark.parametrize("bands", [1, 4])
def test_targets_in_tiles_are_those_of_the_whole(bands, rng):
    loss = dataclasses.replace(loss_of(neighbor_layers=COLUMNS, terms=(weighed(),)), regions="2", recurrence=0.8)
    model = network(loss)
    content, style, start = pictures(rng, (85, 119), (77, 90), (85, 119), dtype="float32")
    options = {"image": start, "regions": [regions_of(rng, 2)]}
    tiling = Tiling(model, loss)
    see, search = (functools.partial(each, tile=32, bands=bands) for each in (tiling.describe, tiling.search))
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
