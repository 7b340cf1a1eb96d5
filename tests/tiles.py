"""Losses on the miniature network, and what compares their evaluations as a whole and in tiles."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle.objective import make_objective
from tfstyle.pixel_range import to_space
from tfstyle.recipes import Term
from tfstyle.targets import make_targets
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


def compare(loss, rng, *, size=(85, 119), tile=32, dtype="float64", regions=(), space="unit", bands=1, **options):
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
    tiling = Tiling(model, loss, space=space)
    tiled = tiling.make_objective(targets, weights=weights, tile=tile, bands=bands)(variable)
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
