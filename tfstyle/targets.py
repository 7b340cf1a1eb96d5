"""Targets: what an image is compared with, computed once from the content image and the style image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfstyle import losses, nearest, neighbors
from tfstyle.environment import tf
from tfstyle.model import StyleContentModel
from tfstyle.recipes.loss import Loss
from tfstyle.regions import OBJECT_LAYERS, Regions, on_grid
from tfstyle.statistics import SufficientStatistics, sufficient_statistics
from tfstyle.windows import Window, core, place, whole

Targets = Mapping[str, Mapping[str, Any]]
"""What `make_targets` returns."""


class Pictured(NamedTuple):
    """An image and its features, as a `recipes.Term` receives them.

    Attributes:
        image: float32 [1, height, width, 3] in [0, 1].
        features: layer → float32 [1, height', width', channels].
    """

    image: tf.Tensor
    features: Mapping[str, tf.Tensor]


class RegionTargets(NamedTuple):
    """Targets of one layer's statistic in each region.

    Attributes:
        shares: [regions], the part of the content image that each region takes.
        targets: the target of each region, prepared for the distance.
    """

    shares: tf.Tensor
    targets: tuple[Any, ...]


class Described(NamedTuple):
    """What targets are computed from, of one image.

    Attributes:
        features: layer → features, scaled by `model.scale`, of the layers that are compared position by position.
        columns: hypercolumns in float16; empty if the loss has no neighbors.
        sums: layer → sums over the positions, for the style layers.
        sizes: style layer → (height, width) of its features.
    """

    features: Mapping[str, tf.Tensor]
    columns: neighbors.Columns
    sums: Mapping[str, SufficientStatistics]
    sizes: Mapping[str, Any]


Weigh = Callable[[str, Any], "tf.Tensor | None"]
"""(layer, (height, width)) → weights of the positions for `sufficient_statistics`."""


def describe(
    model: StyleContentModel,
    loss: Loss,
    image: tf.Tensor,
    *,
    layers: Iterable[str] = (),
    weigh: Weigh | None = None,
    places: str = "all",
) -> Described:
    """Describes an image.

    Args:
        model: computes features.
        loss: defines the layers.
        image: float32 [1, height, width, 3] in [0, 1].
        layers: layers whose features are returned.
        weigh: weights of the positions in the sums; None computes no sums.
        places: those whose hypercolumns are returned, if the loss compares any: "all", "keys" (as `nearest.thin`) or
            "none".
    """
    found, _ = model.vgg.features_and_pullback(image)  # In the compute dtype, of half the size in 16 bits.
    sizes = {layer: tf.shape(found[layer])[1:3] for layer in model.style_layers}
    weights = {} if weigh is None else {layer: weigh(layer, size) for layer, size in sizes.items()}
    window = whole(found, loss)
    features, sums = describe_window(model, found, window, layers=layers, weights=weights)
    columns = {} if places == "none" else make_columns(model, loss, found, window=window)
    return Described(features, nearest.thin(columns) if columns and places == "keys" else columns, sums, sizes)


def describe_window(
    model: StyleContentModel,
    found: Mapping[str, tf.Tensor],
    window: Window,
    *,
    layers: Iterable[str],
    weights: Mapping[str, tf.Tensor | None],
) -> tuple[dict[str, tf.Tensor], dict[str, SufficientStatistics]]:
    """Describes an image or a tile by its features.

    Args:
        model, layers: as for `describe`.
        found: layer → features, as the network returns them.
        window: the part that counts.
        weights: style layer → weights of the positions, or None.

    Returns:
        The `features` and `sums` of `Described`.
    """
    return (
        model.scale({layer: core(found[layer], layer, window) for layer in layers}),
        {
            layer: sufficient_statistics(core(found[layer], layer, window), weights=weight)
            for layer, weight in weights.items()
        },
    )


def make_columns(
    model: StyleContentModel, loss: Loss, found: Mapping[str, tf.Tensor], *, window: Window
) -> dict[str, tf.Tensor]:
    """Returns the parts of the hypercolumns of an image or a tile at the layers that were found, in float16."""

    def place_half(layer: str) -> tf.Tensor:
        scaled = model.scale({layer: tf.identity(found[layer])})[layer]
        return neighbors.to_half(place(scaled, layer, window, weights=loss.neighbor_layers))

    return neighbors.in_turn(place_half, [layer for layer in loss.neighbor_layers if layer in found])


def make_targets(
    model: StyleContentModel,
    loss: Loss,
    content: tf.Tensor,
    style: tf.Tensor,
    *,
    image: tf.Tensor | None = None,
    regions: Regions | None = None,
    see: Callable[..., Described] | None = None,
    search: Callable[..., tf.Tensor] | None = None,
) -> Targets:
    """Computes the targets: the features of the content image and the statistics of the style image.

    Args:
        model: computes features and statistics.
        loss: defines the distance and custom terms.
        content, style: float32 [1, height, width, 3] in [0, 1].
        image: the image so far, of the content image's size, for which nearest neighbors are searched; None is the
            content image.
        regions: the regions to compare; None compares the whole images.
        see: (image, layers=, weigh=, places=) → `Described`; None is `describe`.
        search: (content image, image so far, keys) → places, as from `nearest.search`; None searches for hypercolumns
            from `see`.

    Returns:
        {"content": {layer: features}, "style": {layer: statistic, prepared for the distance, or `RegionTargets`},
        "neighbor": from `nearest.neighbor_targets`, "terms": {name: target of a custom term}}, and with several
        regions "masks": {layer: mask on the layer's grid}.
    """
    see = see or functools.partial(describe, model, loss)
    prepare = losses.find_distance(loss.distance).prepare
    own = tuple(layer for term in loss.terms if term.weight for layer in term.layers)
    of_content = see(content, layers=(*model.content_layers, *own), places="all" if search is None else "none")
    queries: neighbors.Columns = {}
    if of_content.columns:
        so_far = None
        if image is not None:
            with tf.control_dependencies(list(of_content.columns.values())):  # One image's features at a time.
                so_far = see(tf.identity(image)).columns
        queries = nearest.mix_queries(of_content.columns, so_far)
        of_content, so_far = of_content._replace(columns={}), None  # To release them.

    def weigh(layer: str, size: Any) -> tf.Tensor | None:
        return None if regions is None else _style_weights(regions, loss, layer, size)

    with tf.control_dependencies(list(queries.values())):
        of_style = see(tf.identity(style), layers=own, weigh=weigh, places="keys")
    of_neighbors: neighbors.Columns = {}
    if of_style.columns:
        keys = nearest.make_keys(of_style.columns)
        of_style = of_style._replace(columns={})
        places = nearest.search(queries, keys) if search is None else search(content, image, keys)
        of_neighbors = nearest.neighbor_targets(places, keys)
    pictured = Pictured(content, of_content.features), Pictured(style, of_style.features)
    targets: dict[str, Any] = {
        "content": {layer: of_content.features[layer] for layer in model.content_layers},
        "neighbor": of_neighbors,
        "terms": {term.name: term.target(*pictured) for term in loss.terms if term.weight},
    }
    statistics = model.statistics(of_style.sums)
    if regions is None or loss.region_count == 1:
        return targets | {"style": {layer: prepare(found) for layer, found in statistics.items()}}
    masks = {layer: on_grid(regions.content, size) + _NO_POSITION for layer, size in of_content.sizes.items()}
    of_regions = {
        layer: RegionTargets(
            tf.reduce_mean(masks[layer], axis=(0, 1, 2)),
            tuple(prepare(found[number : number + 1]) for number in range(loss.region_count)),
        )
        for layer, found in statistics.items()
    }
    return targets | {"style": of_regions, "masks": masks}


_NO_POSITION = 1e-6
"""Added to masks, so that the statistic of an empty region is finite."""


def _style_weights(regions: Regions, loss: Loss, layer: str, size: Any) -> tf.Tensor:
    """Computes the weights of the style image's positions in each region at a layer.

    At layers that show objects, what recurs counts more, and a region of which less than half recurs, such as a
    person, is mixed with the whole style image.
    """
    weights = on_grid(regions.style, size)
    if not layer.startswith(OBJECT_LAYERS):
        return weights + _NO_POSITION
    recurring = on_grid(regions.recurrence, tf.shape(regions.style)[1:3])
    shares, recur = (
        tf.reduce_mean(part, axis=(1, 2), keepdims=True) for part in (regions.style, regions.style * recurring)
    )
    lacking = loss.recurrence * tf.maximum(1.0 - 2.0 * recur / (shares + _NO_POSITION), 0.0)
    weights = (1.0 - lacking) * weights + lacking * shares
    return weights * (1.0 - loss.recurrence * (1.0 - on_grid(regions.recurrence, size))) + _NO_POSITION
