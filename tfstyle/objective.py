"""Image → loss, gradient, terms: what a recipe makes small, as one function of the image.

The image an objective is given lies in the recipe's own space (0-1, or the pixels of Caffe's or torch's networks),
where the published learning rates, noise and total variation are measured; the network is handed sRGB in [0, 1].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tfstyle import losses, statistics, total_variation
from tfstyle.environment import tf
from tfstyle.model import StyleContentModel
from tfstyle.recipes.recipe import Recipe
from tfstyle.statistics import sufficient_statistics
from tfstyle.vgg import scale_pixels, unscale_pixels, with_pullback

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
    """Computes what the image is compared with: the content's features and the style's statistics.

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
    recipe: Recipe,
    described: Mapping[str, Mapping[str, tf.Tensor]],
    variable: tf.Tensor,
    targets: Targets,
    weights: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """Computes the loss of an image, term by term.

    Args:
        recipe: gives the layers, their weights and the losses.
        described: what the model returns for the image.
        variable: the image [batch, height, width, 3] in the recipe's space.
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
        terms["total_variation"] = weights["total_variation"] * total_variation.lookup_form(recipe.tv_form)(variable)
    return terms


def total(terms: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The sum of the terms that are not parts of another."""
    return tf.add_n([term for name, term in terms.items() if "/" not in name])


def make_objective(
    model: StyleContentModel,
    recipe: Recipe,
    targets: Targets,
    weights: Mapping[str, Any],
    *,
    flipped: Mapping[str, tf.Tensor] | None = None,
) -> Objective:
    """Makes the function of the image that a run minimizes.

    The gradient is taken in three parts: of the loss towards features and moments, of the moments towards features,
    and of the features towards the image, from the deepest layer up, so that the gradient of one layer's statistic is
    held at a time.

    Args:
        model: describes the image.
        recipe: gives the layers, their weights, the losses and the space.
        targets: from `make_targets`.
        weights: as for `loss_terms`.
        flipped: as for `VGG.features_and_pullback`.

    Returns:
        A function of images [batch, height, width, 3] in the recipe's space that returns its `Evaluation`.
    """
    style = model.style_layers if recipe.style_weight else ()
    content = model.content_layers if recipe.content_weight else ()

    def evaluate(variable: tf.Tensor) -> Evaluation:
        image, image_to_variable = with_pullback(lambda v: from_space(v, recipe.space), variable)
        features, features_to_image = model.vgg.features_and_pullback(image, flipped)
        kept = {layer: features[layer] for layer in model.content_layers}
        sums = {layer: sufficient_statistics(features[layer]) for layer in model.style_layers}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((variable, kept, sums))
            terms = loss_terms(recipe, model.describe(kept, sums), variable, targets, weights)
            loss = total(terms)
        of_variable, of_kept, of_sums = tape.gradient(loss, (variable, kept, sums), unconnected_gradients="zero")

        def gradient_at(layer: str) -> tf.Tensor:
            gradients = [of_kept[layer]] if layer in content else []
            if layer in style:
                gradients.append(statistics.sums_gradient(features[layer], of_sums[layer]))
            return tf.add_n(gradients)

        towards = {layer: functools.partial(gradient_at, layer) for layer in (*style, *content)}
        gradient = image_to_variable(features_to_image(towards))
        if recipe.tv_weight:
            gradient += of_variable
        return Evaluation(loss, gradient, terms | {"total": loss})

    return evaluate
