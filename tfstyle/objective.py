"""Image → loss, gradient, terms: what a recipe makes small, as one function of the image.

The image an objective is given lies in the recipe's own space (0-1, or the pixels of Caffe's or torch's networks),
where the published learning rates, noise and total variation are measured; the network is handed sRGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfstyle import losses
from tfstyle.environment import tf
from tfstyle.model import StyleContentModel
from tfstyle.recipe import Recipe
from tfstyle.vgg import scale_pixels, unscale_pixels

Targets = Mapping[str, Mapping[str, Any]]

_SPACES = {"unit": "none", "torch": "torch", "caffe": "keras"}


class Evaluation(NamedTuple):
    """Value and gradient of an objective at an image, and the terms the value is the sum of."""

    loss: tf.Tensor
    gradient: tf.Tensor
    terms: dict[str, tf.Tensor]


Objective = Callable[[tf.Tensor], Evaluation]


def to_space(image: tf.Tensor, space: str) -> tf.Tensor:
    """An sRGB image in [0, 1] as a recipe's variable: "unit", "torch" or "caffe"."""
    return scale_pixels(image, _SPACES[space])


def from_space(variable: tf.Tensor, space: str) -> tf.Tensor:
    """A recipe's variable as an sRGB image, in [0, 1] if the recipe clips."""
    return unscale_pixels(variable, _SPACES[space])


def make_targets(model: StyleContentModel, recipe: Recipe, content: tf.Tensor, style: tf.Tensor) -> Targets:
    """What the image is compared with, computed once: the content's features and the style's statistics.

    Args:
        model: describes the pictures.
        recipe: says how statistics are compared.
        content, style: float32 [1, height, width, 3] in [0, 1].

    Returns:
        {"content": {layer: features}, "style": {layer: statistic, as the style loss wants it}}.
    """
    prepare, _ = losses.style_loss(recipe.style_loss)
    statistics = model(style)["style"]
    return {
        "content": model(content)["content"],
        "style": {layer: prepare(statistic) for layer, statistic in statistics.items()},
    }


def loss_terms(
    model: StyleContentModel, recipe: Recipe, variable: tf.Tensor, targets: Targets, weights: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """What a recipe makes small, term by term.

    Args:
        model: describes the image.
        recipe: gives the layers, their weights, the losses and the space.
        variable: [batch, height, width, 3] in the recipe's space.
        targets: as from `make_targets`; one painting's statistics serve a whole batch.
        weights: factors of the terms "content", "style" and "total_variation"; a term whose weight in the recipe is 0
            is left out.

    Returns:
        Scalars: "content" and "style" with their parts "content/LAYER", "style/LAYER", and "total_variation".
    """
    layers = {
        "content": dict(zip(recipe.content_layers, recipe.content_layer_weights, strict=True)),
        "style": dict(zip(recipe.style_layers, recipe.style_layer_weights, strict=True)),
    }
    compare = {"content": losses.squared_error, "style": losses.style_loss(recipe.style_loss)[1]}
    described = model(from_space(variable, recipe.space))
    pixels = tf.cast(tf.size(variable[..., 0]), variable.dtype)
    terms: dict[str, tf.Tensor] = {}
    for kind in layers:
        if not getattr(recipe, f"{kind}_weight"):
            continue
        factor = losses.reduction(recipe.reduction, kind, pixels)
        by_layer = losses.layer_losses(described[kind], targets[kind], layers[kind], compare=compare[kind])
        for layer, loss in by_layer.items():
            terms[f"{kind}/{layer}"] = weights[kind] * factor(described[kind][layer]) * loss
        terms[kind] = tf.add_n([terms[f"{kind}/{layer}"] for layer in by_layer])
    if recipe.tv_weight:
        terms["total_variation"] = weights["total_variation"] * losses.total_variation(recipe.tv_form)(variable)
    return terms


def total(terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The sum of the terms that are not parts of another."""
    return tf.add_n([term for name, term in terms.items() if "/" not in name])


def make_objective(model: StyleContentModel, recipe: Recipe, targets: Targets, weights: Mapping[str, Any]) -> Objective:
    """The function of the image that a recipe makes small.

    Args:
        model: describes the image.
        recipe: gives the layers, their weights, the losses and the space.
        targets: from `make_targets`.
        weights: as for `loss_terms`.

    Returns:
        variable [1, height, width, 3] in the recipe's space → `Evaluation`.
    """

    def value_and_gradient(variable: tf.Tensor) -> Evaluation:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variable)
            terms = loss_terms(model, recipe, variable, targets, weights)
            loss = total(terms)
        return Evaluation(loss, tape.gradient(loss, variable), terms | {"total": loss})

    return value_and_gradient
