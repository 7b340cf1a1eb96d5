"""Trains an image transformation network for one style image, on the perceptual losses of Johnson et al."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfstyle import images, objective
from tfstyle.environment import dtype_policy, keras, tf
from tfstyle.feedforward.transformer_net import FILTERS, TransformerNet
from tfstyle.model import StyleContentModel, build_model
from tfstyle.recipes.catalog import get_recipe
from tfstyle.recipes.recipe import Recipe
from tfstyle.targets import make_targets
from tfstyle.training import dataset
from tfstyle.training.options import FastOptions
from tfstyle.training.run import Run, list_names
from tfstyle.training.trainer import Objective, ObjectiveTrainer, adam, initialize
from tfstyle.vgg19 import STYLE_LAYERS


def fast_recipe(options: FastOptions) -> Recipe:
    """Makes the recipe of the network's losses: the style loss of `wasserstein`, with other layers and weights.

    A network that stylizes in one pass cannot place strokes as the optimization of pixels does. It needs a content loss
    at a shallower layer, and deep style layers with as much weight as shallow ones; otherwise it learns only fine
    hatching and no larger strokes. The deepest layer has fewer positions in a crop than channels, so its distance
    cannot be reduced to 0, and it has a smaller weight.
    """
    return get_recipe(
        "wasserstein",
        name="fast",
        content_layers={"block3_conv3": 1.0},
        style_layers=dict(zip(STYLE_LAYERS, (0.3, 0.3, 0.2, 0.18, 0.02), strict=True)),
        content_weight=options.content_weight,
        style_weight=options.style_weight,
        tv_weight=options.tv_weight,
        precision=options.network_precision,
    )


def fast_objective(model: StyleContentModel, recipe: Recipe, style_image: tf.Tensor) -> Objective:
    """Makes the perceptual losses of a batch of stylized images.

    Args:
        model: computes content features and style statistics of an image.
        recipe: gives layers and weights.
        style_image: float32 [1, height, width, 3] in [0, 1], of any size.

    Returns:
        A function of the network and content images [batch, height, width, 3] that returns the terms of
        `objective.loss_terms`. The gradient of their sum is attached to "style", or to "content" if the style has no
        weight.

    References:
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution (ECCV 2016),
        equations 2 to 4.
    """
    style = make_targets(model, recipe.loss, style_image, [style_image])["style"]
    factors = recipe.term_weights.by_term()
    flipped = model.vgg.flipped_kernels(recipe.network.flip_kernels)

    def terms(network: keras.Model, content_images: tf.Tensor) -> dict[str, tf.Tensor]:
        stylized = network(content_images, training=True)
        targets = {"content": model(content_images)["content"], "style": style}
        evaluate = objective.make_objective(model, recipe.loss, targets, weights=factors, flipped=flipped)
        evaluation = evaluate(tf.stop_gradient(stylized))
        found = {name: tf.stop_gradient(term) for name, term in evaluation.terms.items() if name != "total"}
        # Adds 0, with the gradient of the evaluation: computed layer by layer, that takes less memory than a tape's.
        surrogate = tf.reduce_sum(tf.stop_gradient(evaluation.gradient) * stylized)
        found["style" if "style" in factors else "content"] += surrogate - tf.stop_gradient(surrogate)
        return found

    return terms


def train_fast(
    style_image: str | Path, content_images: Sequence[str | Path], run: Run, *, options: FastOptions
) -> Path:
    """Trains a network to stylize any content image in the style of one style image.

    Args:
        style_image: a picture file.
        content_images: picture files, as from `dataset.list_pictures`.
        run: the folder and settings of the training.
        options: hyperparameters.

    Returns:
        The file of the network, in `run.folder`.

    Raises:
        InputError: if a picture cannot be used.
        UsageError, WeightsError: if the training cannot be resumed with these options.
        DivergedError, Interrupted, MemoryLimitError, OutputError: as `trainer.fit`.
    """
    crops = dataset.RandomCrops(content_images, size=options.size, seed=options.seed)
    image = images.fit(images.read(style_image, long_side=options.style_size).image, options.style_size)
    recipe = fast_recipe(options)
    with run.share(options.batch).scope():
        network = TransformerNet(FILTERS[options.width], dtype=dtype_policy(options.network_precision))
        network.build((None, None, None, 3))
        initialize(network, options.seed)
        trainer = ObjectiveTrainer(network, fast_objective(build_model(recipe.network, recipe.loss), recipe, image))
        trainer.compile(adam(options))

        def batches_from(step: int) -> tf.data.Dataset:
            return dataset.make_batches(crops, size=options.size, batch=options.batch, start=step)

        fixed = {
            "kind": "fast",
            "style image": Path(style_image).name,
            "content images": list_names(content_images),
        }
        return run.fit(trainer, batches_from, options, fixed=fixed, stylize=network)
