"""The objective that a recipe minimizes: loss, gradient and terms as one function of the image.

An objective takes an image in the recipe's own space (0-1, or the pixels of Caffe's or torch's networks), the unit of
the published learning rates, noise and total variation; the network receives sRGB in [0, 1].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from tfstyle import losses, neighbors, total_variation
from tfstyle.environment import tf
from tfstyle.errors import UsageError
from tfstyle.model import StyleContentModel
from tfstyle.pixel_range import from_space
from tfstyle.recipes.loss import Loss, Term
from tfstyle.statistics import SufficientStatistics, sufficient_statistics, sums_gradient
from tfstyle.targets import RegionTargets, Targets
from tfstyle.vgg import with_pullback
from tfstyle.windows import Window, core, place, whole


class Evaluation(NamedTuple):
    """Value and gradient of an objective at an image, and the terms that the value sums."""

    loss: tf.Tensor
    gradient: tf.Tensor
    terms: dict[str, tf.Tensor]


Objective = Callable[[tf.Tensor], Evaluation]


def _compare_regions(compare: Callable[..., tf.Tensor], statistic: tf.Tensor, target: RegionTargets) -> tf.Tensor:
    """Compares the statistic of each region with its own target; large regions count more."""
    parts = [compare(statistic[number : number + 1], part) for number, part in enumerate(target.targets)]
    return tf.reduce_sum(tf.cast(target.shares, statistic.dtype) * tf.stack(parts))


class Sums(NamedTuple):
    """The loss of an image is a function of these sums; those of the tiles of a large image add up to the image's.

    Attributes:
        content: layer → sum of the squared differences of features and targets.
        style: layer → sums of its features.
        terms: name of a custom term → its sums.
        matches: of the hypercolumns, position by position, summed over layers; () if there are none.
    """

    content: dict[str, tf.Tensor]
    style: dict[str, SufficientStatistics]
    terms: dict[str, Any]
    matches: Any


def measure(
    model: StyleContentModel,
    loss: Loss,
    features: Mapping[str, tf.Tensor],
    *,
    targets: Targets,
    weights: Mapping[str, Any],
    window: Window | None = None,
) -> tuple[Sums, Callable[[Sums], dict[str, Callable[[], tf.Tensor]]]]:
    """Computes the sums from which the loss is computed, and the function that takes their gradient back to features.

    Args:
        model: scales features.
        loss: defines the layers; only those in `features` are used.
        features: layer → features of the image or of a tile, as the network returns them.
        targets: from `make_targets`, of the tile's core positions.
        weights: as for `loss_terms`.
        window: the tile's core; None is the whole image.

    Returns:
        The `Sums`, and a function gradient with respect to them → {layer: () → gradient at its features}.
    """
    masks = targets.get("masks", {})
    style = tuple(layer for layer in model.style_layers if layer in features and "style" in weights)
    content = tuple(layer for layer in model.content_layers if layer in features and "content" in weights)
    terms = [term for term in loss.terms if term.weight and set(term.layers) <= set(features)]
    local = dict.fromkeys((*content, *(layer for term in terms for layer in term.layers)))
    matched = [layer for layer in loss.neighbor_layers if layer in features and "neighbor" in weights]
    window = window or whole(features, loss)

    def squares(layer: str, found: tf.Tensor) -> tf.Tensor:
        scaled = model.scale({layer: found})[layer]
        return tf.reduce_sum(tf.math.squared_difference(scaled, targets["content"][layer]))

    def placed_at(layer: str, found: tf.Tensor) -> tf.Tensor:
        return place(model.scale({layer: found})[layer], layer, window, weights=loss.neighbor_layers)

    cores = {
        layer: with_pullback(functools.partial(core, layer=layer, window=window), features[layer])
        for layer in (*style, *local)
    }
    differences = {layer: with_pullback(functools.partial(squares, layer), cores[layer][0]) for layer in content}
    placed: dict[str, tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]] = {}
    parts: list[neighbors.Matches] = []
    for layer in matched:
        with tf.control_dependencies([column for column, _ in list(placed.values())[-1:]]):  # To save memory.
            placed[layer] = with_pullback(functools.partial(placed_at, layer), features[layer])
            parts.append(neighbors.match(placed[layer][0], neighbors.target_at(targets["neighbor"], layer)))
    own, of_own = _measure_terms(model, terms, {layer: cores[layer][0] for layer in local}, targets)
    sums = Sums(
        content={layer: difference for layer, (difference, _) in differences.items()},
        style={layer: sufficient_statistics(cores[layer][0], weights=masks.get(layer)) for layer in style},
        terms=own,
        matches=neighbors.Matches(*map(tf.add_n, zip(*parts, strict=True))) if parts else (),
    )

    def to_features(upstream: Sums) -> dict[str, Callable[[], tf.Tensor]]:
        of_terms = functools.cache(lambda: of_own(upstream.terms))

        def gradient_at(layer: str) -> tf.Tensor:
            of_core = [differences[layer][1](upstream.content[layer])] if layer in content else []
            if layer in style:
                gradient = sums_gradient(cores[layer][0], upstream.style[layer], weights=masks.get(layer))
                of_core.append(gradient)
            if any(layer in term.layers for term in terms):
                of_core.append(of_terms()[layer])
            found = [cores[layer][1](tf.add_n(of_core))] if of_core else []
            if layer in matched:
                column, to_layer = placed[layer]
                with tf.control_dependencies([upstream.matches.products]):  # Gathered anew, to save memory.
                    target = neighbors.target_at(targets["neighbor"], layer)
                found.append(to_layer(neighbors.match_gradient(column, target, upstream.matches)))
            return tf.add_n(found)

        return {layer: functools.partial(gradient_at, layer) for layer in dict.fromkeys((*style, *local, *matched))}

    return sums, to_features


def _measure_terms(
    model: StyleContentModel, terms: Iterable[Term], features: Mapping[str, tf.Tensor], targets: Targets
) -> tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, tf.Tensor]]]:
    """Computes the sums of custom terms, and the function gradient with respect to them → gradients at the features."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        scaled = model.scale(features)
        sums = {
            term.name: term.sums({layer: scaled[layer] for layer in term.layers}, targets["terms"][term.name])
            for term in terms
        }

    def to_features(upstream: dict[str, Any]) -> dict[str, tf.Tensor]:
        gradients = tape.gradient(
            tf.nest.flatten(sums),
            features,
            output_gradients=tf.nest.flatten(upstream),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return cast(dict[str, tf.Tensor], gradients)  # Gradients have the structure of the variables.

    return sums, to_features


def loss_terms(
    model: StyleContentModel,
    loss: Loss,
    sums: Sums,
    *,
    pixels: tf.Tensor,
    targets: Targets,
    weights: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """Computes the loss of an image, term by term, but for the total variation.

    Args:
        model: computes statistics.
        loss: defines the layers, their weights and how they are compared.
        sums: of the whole image, from `measure`.
        pixels: number of pixels of the images, a scalar.
        targets: from `make_targets`; one style image's statistics are used for a whole batch.
        weights: factors of the terms "content", "style" and "neighbor"; a term without one is left out.

    Returns:
        Scalars: "content" and "style" with their parts "content/LAYER", "style/LAYER", "neighbor", and custom terms
        under their names.

    Raises:
        UsageError: if a custom distance or term returns another tensor than a scalar.
    """
    compare_style = losses.find_distance(loss.distance).compare
    if "masks" in targets:
        compare_style = functools.partial(_compare_regions, compare_style)
    terms: dict[str, tf.Tensor] = {}
    for kind, layers in (("content", loss.content_layers), ("style", loss.style_layers)):
        if kind not in weights:
            continue
        factor = losses.reduction(loss.reduction, kind, pixels)
        if kind == "content":
            values, sized = sums.content, targets["content"]
            by_layer = losses.layer_losses(values, sized, layers, compare=_mean)
        else:
            values = sized = model.statistics(sums.style)
            by_layer = losses.layer_losses(values, targets["style"], layers, compare=compare_style)
        for layer, value in by_layer.items():
            name = f"{kind}/{layer}"
            terms[name] = _scalar(name, weights[kind] * factor(sized[layer]) * value)
        terms[kind] = tf.add_n([terms[f"{kind}/{layer}"] for layer in by_layer])
    if "neighbor" in weights:
        terms["neighbor"] = weights["neighbor"] * neighbors.neighbor_loss(sums.matches)
    for term in loss.terms:
        if term.weight:
            value = term.weight * term.loss(sums.terms[term.name], targets["terms"][term.name])
            terms[term.name] = _scalar(term.name, value)
    return terms


def variation_of(loss: Loss, image: tf.Tensor, *, weight: Any) -> tf.Tensor:
    """Computes the term "total_variation" of an image [batch, height, width, 3] in the recipe's space, a scalar.

    Raises:
        UsageError: if a custom total variation returns another tensor than a scalar.
    """
    return _scalar("total_variation", weight * total_variation.find_form(loss.total_variation)(image))


def _scalar(name: str, value: tf.Tensor) -> tf.Tensor:
    """Returns the value of a loss term; raises `UsageError` if it is no scalar."""
    if value.shape.rank:
        raise UsageError(f"the loss term {name!r} should be one number, not a tensor of shape {value.shape}.")
    return value


def _mean(sum_: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Divides a sum over the entries of a target by their number."""
    mean: tf.Tensor = sum_ / tf.cast(tf.size(target), sum_.dtype)
    return mean


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

    def evaluate(variable: tf.Tensor) -> Evaluation:
        image, image_to_variable = with_pullback(lambda v: from_space(v, space), variable)
        features, features_to_image = model.vgg.features_and_pullback(image, flipped)
        sums, sums_to_features = measure(model, loss, features, targets=targets, weights=weights)
        pixels = tf.cast(tf.reduce_prod(tf.shape(variable)[:-1]), variable.dtype)
        value, terms, of_sums = evaluate_sums(model, loss, sums, pixels=pixels, targets=targets, weights=weights)
        gradient = image_to_variable(features_to_image(sums_to_features(of_sums)))
        if "total_variation" in weights:
            vary = functools.partial(variation_of, loss, weight=weights["total_variation"])
            variation, variation_to_variable = with_pullback(vary, variable)
            value, gradient = value + variation, gradient + variation_to_variable(tf.ones_like(variation))
            terms["total_variation"] = variation
        return Evaluation(value, gradient, terms | {"total": value})

    return evaluate


def evaluate_sums(
    model: StyleContentModel,
    loss: Loss,
    sums: Sums,
    *,
    pixels: tf.Tensor,
    targets: Targets,
    weights: Mapping[str, Any],
) -> tuple[tf.Tensor, dict[str, tf.Tensor], Sums]:
    """Computes the loss from sums.

    Args:
        model, loss, sums, pixels, targets, weights: as for `loss_terms`.

    Returns:
        The loss, its terms, and its gradient with respect to the sums.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sums)
        terms = loss_terms(model, loss, sums, pixels=pixels, targets=targets, weights=weights)
        value = total(terms)
    # Gradients have the structure of the variables.
    of_sums = cast(Sums, tape.gradient(value, sums, unconnected_gradients=tf.UnconnectedGradients.ZERO))
    return value, terms, of_sums
