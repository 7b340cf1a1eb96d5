"""Targets: what an image is compared with, computed once from the content image and the style image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from tfstyle import losses, nearest, neighbors
from tfstyle.environment import tf
from tfstyle.model import StyleContentModel
from tfstyle.nearest import Found, Keys
from tfstyle.recipes.loss import Loss
from tfstyle.regions import OBJECT_LAYERS, Regions, erode, on_grid
from tfstyle.statistics import SufficientStatistics, average, sufficient_statistics
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
    places: int | None = None,
) -> Described:
    """Describes an image.

    Args:
        model: computes features.
        loss: defines the layers.
        image: float32 [1, height, width, 3] in [0, 1].
        layers: layers whose features are returned.
        weigh: weights of the positions in the sums; None computes no sums.
        places: number of those whose hypercolumns are returned, if the loss compares any, as for `nearest.thin`; None
            returns all.
    """
    found, _ = model.vgg.features_and_pullback(image)  # In the compute dtype, of half the size in 16 bits.
    sizes = {layer: tf.shape(found[layer])[1:3] for layer in model.style_layers}
    weights = {} if weigh is None else {layer: weigh(layer, size) for layer, size in sizes.items()}
    window = whole(found, loss)
    features, sums = describe_window(model, found, window, layers=layers, weights=weights)
    columns = {} if places == 0 else make_columns(model, loss, found, window=window)
    return Described(features, nearest.thin(columns, places) if columns and places else columns, sums, sizes)


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
    styles: Sequence[tf.Tensor],
    *,
    image: tf.Tensor | None = None,
    regions: Sequence[Regions] = (),
    shares: Mapping[str, tf.Tensor] = MappingProxyType({}),
    see: Callable[..., Described] | None = None,
    search: Callable[..., Found] | None = None,
) -> Targets:
    """Computes the targets: the features of the content image and the statistics of the style.

    Args:
        model: computes features and statistics.
        loss: defines the distance and custom terms.
        content: float32 [1, height, width, 3] in [0, 1].
        styles: the style images, likewise; several need `shares`.
        image: the image so far, of the content image's size, for which nearest neighbors are searched; None is the
            content image.
        regions: for each style image the regions that it shares with the content image; () compares the whole images.
            Of those drawn by hand, each layer's statistic is that of positions that see nothing outside.
        shares: style layer → float32 [images, regions], the share of each style image in the statistic of each region;
            likewise "neighbor", its share of the places.
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
    of_content = see(content, layers=(*model.content_layers, *own), places=None if search is None else 0)
    queries: neighbors.Columns = {}
    if of_content.columns:
        so_far = None
        if image is not None:
            with tf.control_dependencies(list(of_content.columns.values())):  # One image's features at a time.
                so_far = see(tf.identity(image)).columns
        queries = nearest.mix_queries(of_content.columns, so_far)
        of_content, so_far = of_content._replace(columns={}), None  # To release them.

    described: list[Described] = []
    keys: list[Keys] = []
    found: list[Found] = []
    for number, each in enumerate(styles):
        before = list(queries.values()) if not described else tf.nest.flatten((described[-1].sums, found[-1:]))
        weigh = functools.partial(_style_weights, regions[number], loss) if regions else _weigh_equally
        with tf.control_dependencies(before):
            of_style = see(tf.identity(each), layers=own, weigh=weigh, places=nearest.MAX_KEYS // len(styles))
        if of_style.columns:
            keys.append(nearest.make_keys(of_style.columns))
            found.append(nearest.search(queries, keys[-1]) if search is None else search(content, image, keys[-1]))
        described.append(of_style._replace(columns={}))
    pictured = Pictured(content, of_content.features), Pictured(styles[0], described[0].features)
    targets: dict[str, Any] = {
        "content": {layer: of_content.features[layer] for layer in model.content_layers},
        "neighbor": {},
        "terms": {term.name: term.target(*pictured) for term in loss.terms if term.weight},
    }
    if keys:
        places = tf.shape(found[0].places)[1:3]
        masks = on_grid(regions[0].content, places) if loss.drawn_regions else None
        targets["neighbor"] = nearest.neighbor_targets(found, keys, shares.get("neighbor"), masks=masks)
    sums = described[0].sums
    if len(styles) > 1:
        sums = {layer: average([one.sums[layer] for one in described], shares[layer]) for layer in sums}
    statistics = model.statistics(sums)
    if not regions or (loss.region_count == 1 and not loss.drawn_regions):
        return targets | {"style": {layer: prepare(statistic) for layer, statistic in statistics.items()}}
    whole_masks = {layer: on_grid(regions[0].content, size) + _NO_POSITION for layer, size in of_content.sizes.items()}
    seen = {layer: erode(mask, layer) if loss.drawn_regions else mask for layer, mask in whole_masks.items()}
    of_regions = {
        layer: RegionTargets(
            tf.reduce_mean(whole_masks[layer], axis=(0, 1, 2)),
            tuple(prepare(statistic[number : number + 1]) for number in range(loss.region_count)),
        )
        for layer, statistic in statistics.items()
    }
    return targets | {"style": of_regions, "masks": seen}


def _weigh_equally(layer: str, size: Any) -> None:
    """Weighs all positions equally."""


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
