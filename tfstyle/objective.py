"""The objective that a recipe minimizes: loss, gradient and terms as one function of the image.

An objective takes an image in the recipe's own space (0-1, or the pixels of Caffe's or torch's networks), the unit of
the published learning rates, noise and total variation; the network receives sRGB in [0, 1].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from tfstyle import losses, neighbors, total_variation
from tfstyle.environment import tf
from tfstyle.model import StyleContentModel
from tfstyle.pixel_range import from_space
from tfstyle.recipes.loss import Loss
from tfstyle.regions import OBJECT_LAYERS, Regions, on_grid
from tfstyle.statistics import SufficientStatistics, sufficient_statistics, sums_gradient
from tfstyle.vgg import with_pullback

Targets = Mapping[str, Mapping[str, Any]]


class Evaluation(NamedTuple):
    """Value and gradient of an objective at an image, and the terms that the value sums."""

    loss: tf.Tensor
    gradient: tf.Tensor
    terms: dict[str, tf.Tensor]


Objective = Callable[[tf.Tensor], Evaluation]


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


def make_targets(
    model: StyleContentModel,
    loss: Loss,
    content: tf.Tensor,
    style: tf.Tensor,
    *,
    image: tf.Tensor | None = None,
    regions: Regions | None = None,
) -> Targets:
    """Computes the targets: the features of the content image and the statistics of the style image.

    Args:
        model: computes features and statistics.
        loss: defines the distance and custom terms.
        content, style: float32 [1, height, width, 3] in [0, 1].
        image: the image so far, of the content image's size, for which nearest neighbors are searched; None is the
            content image.
        regions: the regions to compare; None compares the whole images.

    Returns:
        {"content": {layer: features}, "style": {layer: statistic, prepared for the distance, or `RegionTargets`},
        "neighbor": {layer: features of the style image, arranged like the content image's}, "terms": {name: target of
        a custom term}}, and with several regions "masks": {layer: mask on the layer's grid}.
    """
    prepare = losses.find_distance(loss.distance).prepare
    of_content = model.scale(model.vgg(content))
    queries = _neighbor_queries(model, loss, of_content, image)
    with tf.control_dependencies(list(queries.values())):  # One image's features at a time are in memory.
        of_style = model.vgg(tf.identity(style))
    pictured = Pictured(content, of_content), Pictured(style, model.scale(of_style))
    targets: dict[str, Any] = {
        "content": {layer: of_content[layer] for layer in model.content_layers},
        "neighbor": {},
        "terms": {term.name: term.target(*pictured) for term in loss.terms if term.weight},
    }
    if queries:
        columns = neighbors.hypercolumns(pictured[1].features, loss.neighbor_layers)
        targets["neighbor"] = neighbors.neighbor_targets(queries, columns)
    weights = {
        layer: None if regions is None else _style_weights(regions, loss, layer, of_style[layer])
        for layer in model.style_layers
    }
    sums = {layer: sufficient_statistics(of_style[layer], weights=weight) for layer, weight in weights.items()}
    if regions is None or loss.region_count == 1:
        return targets | {"style": {layer: prepare(found) for layer, found in model.statistics(sums).items()}}
    masks = {layer: on_grid(regions.content, of_content[layer]) + _NO_POSITION for layer in model.style_layers}
    of_regions = {
        layer: RegionTargets(
            tf.reduce_mean(masks[layer], axis=(0, 1, 2)),
            tuple(prepare(found[number : number + 1]) for number in range(loss.region_count)),
        )
        for layer, found in model.statistics(sums).items()
    }
    return targets | {"style": of_regions, "masks": masks}


def _neighbor_queries(
    model: StyleContentModel, loss: Loss, of_content: Mapping[str, tf.Tensor], image: tf.Tensor | None
) -> neighbors.Columns:
    """Computes the hypercolumns that neighbors are searched for; none if the loss has no neighbors."""
    if not loss.neighbor_layers:
        return {}
    content = neighbors.hypercolumns(of_content, loss.neighbor_layers)
    if image is None:
        return content
    with tf.control_dependencies(list(content.values())):
        seen = model.scale(model.vgg(tf.identity(image)))
    return neighbors.mix_queries(content, neighbors.hypercolumns(seen, loss.neighbor_layers))


_NO_POSITION = 1e-6
"""Added to masks, so that the statistic of an empty region is finite."""


def _style_weights(regions: Regions, loss: Loss, layer: str, features: tf.Tensor) -> tf.Tensor:
    """Computes the weights of the style image's positions in each region at a layer.

    At layers that show objects, what recurs counts more, and a region of which less than half recurs, such as a
    person, is mixed with the whole style image.
    """
    weights = on_grid(regions.style, features)
    if not layer.startswith(OBJECT_LAYERS):
        return weights + _NO_POSITION
    recurring = on_grid(regions.recurrence, regions.style)
    shares, recur = (
        tf.reduce_mean(part, axis=(1, 2), keepdims=True) for part in (regions.style, regions.style * recurring)
    )
    lacking = loss.recurrence * tf.maximum(1.0 - 2.0 * recur / (shares + _NO_POSITION), 0.0)
    weights = (1.0 - lacking) * weights + lacking * shares
    return weights * (1.0 - loss.recurrence * (1.0 - on_grid(regions.recurrence, features))) + _NO_POSITION


def _compare_regions(compare: Callable[..., tf.Tensor], statistic: tf.Tensor, target: RegionTargets) -> tf.Tensor:
    """Compares the statistic of each region with its own target; large regions count more."""
    parts = [compare(statistic[number : number + 1], part) for number, part in enumerate(target.targets)]
    return tf.reduce_sum(tf.cast(target.shares, statistic.dtype) * tf.stack(parts))


def loss_terms(
    loss: Loss,
    features: Mapping[str, tf.Tensor],
    statistics: Mapping[str, tf.Tensor],
    *,
    image: tf.Tensor,
    targets: Targets,
    weights: Mapping[str, Any],
    columns: neighbors.Columns = MappingProxyType({}),
) -> dict[str, tf.Tensor]:
    """Computes the loss of an image, term by term.

    Args:
        loss: defines the layers, their weights and how they are compared.
        features: layer → features of the image, scaled by `model.scale`.
        statistics: layer → statistic of the image.
        image: [batch, height, width, 3] in the recipe's space.
        targets: from `make_targets`; one style image's statistics are used for a whole batch.
        weights: factors of the terms "content", "style", "neighbor" and "total_variation"; a term without one is left
            out.
        columns: hypercolumns of the image, for the term "neighbor".

    Returns:
        Scalars: "content" and "style" with their parts "content/LAYER", "style/LAYER", "neighbor", "total_variation",
        and custom terms under their names.
    """
    compare_style = losses.find_distance(loss.distance).compare
    if "masks" in targets:
        compare_style = functools.partial(_compare_regions, compare_style)
    compared = {
        "content": (features, loss.content_layers, losses.squared_error),
        "style": (statistics, loss.style_layers, compare_style),
    }
    pixels = tf.cast(tf.size(image[..., 0]), image.dtype)  # type: ignore[index]  # The stubs lack `...`.
    terms: dict[str, tf.Tensor] = {}
    for kind, (values, layers, compare) in compared.items():
        if kind not in weights:
            continue
        factor = losses.reduction(loss.reduction, kind, pixels)
        by_layer = losses.layer_losses(values, targets[kind], layers, compare=compare)
        for layer, value in by_layer.items():
            terms[f"{kind}/{layer}"] = weights[kind] * factor(values[layer]) * value
        terms[kind] = tf.add_n([terms[f"{kind}/{layer}"] for layer in by_layer])
    if "neighbor" in weights:
        terms["neighbor"] = weights["neighbor"] * neighbors.neighbor_loss(columns, targets["neighbor"])
    if "total_variation" in weights:
        variation = total_variation.find_form(loss.total_variation)
        terms["total_variation"] = weights["total_variation"] * variation(image)
    for term in loss.terms:
        if term.weight:
            target = targets["terms"][term.name]
            sums = term.sums({layer: features[layer] for layer in term.layers}, target)
            terms[term.name] = term.weight * term.loss(sums, target)
    return terms


def total(terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns the sum of the terms that are not parts of another term."""
    return tf.add_n([term for name, term in terms.items() if "/" not in name])


def make_objective(
    model: StyleContentModel,
    loss: Loss,
    targets: Targets,
    *,
    weights: Mapping[str, Any],
    space: str = "unit",
    flipped: Mapping[str, tf.Tensor] | None = None,
) -> Objective:
    """Makes the function of the image that a run minimizes.

    The gradient is computed in three parts: of the loss with respect to features and sums, of the sums with respect
    to features, and of the features with respect to the image, starting at the deepest layer, so that only one layer's
    gradient of the statistic is held at a time.

    Args:
        model: computes features and statistics.
        loss: what is compared, and how.
        targets: from `make_targets`.
        weights: as for `loss_terms`.
        space: the space of the image, as for `to_space`.
        flipped: as for `VGG.features_and_pullback`.

    Returns:
        A function of images [batch, height, width, 3] in that space that returns their `Evaluation`.
    """
    style = model.style_layers if "style" in weights else ()
    content = model.content_layers if "content" in weights else ()
    own = (layer for term in loss.terms if term.weight for layer in term.layers)
    local = tuple(dict.fromkeys((*content, *own)))
    masks = targets.get("masks", {})
    matched = loss.neighbor_layers if "neighbor" in weights else {}

    def evaluate(variable: tf.Tensor) -> Evaluation:
        image, image_to_variable = with_pullback(lambda v: from_space(v, space), variable)
        features, features_to_image = model.vgg.features_and_pullback(image, flipped)
        kept = {layer: features[layer] for layer in local}
        sums = {layer: sufficient_statistics(features[layer], weights=masks.get(layer)) for layer in style}

        def place(layer: str, found: tf.Tensor) -> tf.Tensor:
            return neighbors.to_grid(model.scale({layer: found})[layer], layer, features=features, weights=matched)

        placed: dict[str, tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]] = {}
        for layer in matched:
            before = [column for column, _ in list(placed.values())[-1:]]
            with tf.control_dependencies(before):  # One layer after the other, to save memory.
                placed[layer] = with_pullback(functools.partial(place, layer), features[layer])
        columns = {layer: column for layer, (column, _) in placed.items()}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((variable, kept, sums, columns))
            terms = loss_terms(
                loss,
                model.scale(kept),
                model.statistics(sums),
                image=variable,
                targets=targets,
                weights=weights,
                columns=columns,
            )
            value = total(terms)
        of_variable, of_kept, of_sums, of_columns = cast(  # Gradients have the structure of the variables.
            tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, SufficientStatistics], dict[str, tf.Tensor]],
            tape.gradient(value, (variable, kept, sums, columns), unconnected_gradients=tf.UnconnectedGradients.ZERO),
        )

        def gradient_at(layer: str) -> tf.Tensor:
            gradients = [of_kept[layer]] if layer in local else []
            if layer in style:
                gradients.append(sums_gradient(features[layer], of_sums[layer], weights=masks.get(layer)))
            if layer in matched:
                gradients.append(placed[layer][1](of_columns[layer]))
            return tf.add_n(gradients)

        towards = {layer: functools.partial(gradient_at, layer) for layer in (*style, *local, *matched)}
        gradient = image_to_variable(features_to_image(towards))
        if "total_variation" in weights:
            gradient += of_variable
        return Evaluation(value, gradient, terms | {"total": value})

    return evaluate
