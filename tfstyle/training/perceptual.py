"""Trains networks on photographs: Johnson's transformer for one painting, AdaIN's decoder for any."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfstyle import images, losses, objective, total_variation, vgg, weights
from tfstyle.environment import keras, tf
from tfstyle.errors import UsageError
from tfstyle.feedforward import adain, inference
from tfstyle.feedforward.transformer_net import FILTERS, Transformer
from tfstyle.model import StyleContentModel, gradient_kernels, model_for, policy
from tfstyle.recipes.published import BALANCED
from tfstyle.recipes.recipe import Recipe
from tfstyle.training import checkpoint, dataset, progress, run_folder
from tfstyle.training.options import AdaINOptions, FastOptions, TrainingOptions
from tfstyle.training.trainer import Objective, Trainer, adam, fit, initialize


def fast_recipe(options: FastOptions) -> Recipe:
    """The losses of a transformer: the default recipe's style loss, with layers and weights of its own.

    One pass cannot place strokes as an optimiser does: it needs the photograph held at a shallower layer, and deeper
    layers of the style that count as much as shallow ones, or it learns a fine hatching and nothing larger. The
    deepest has fewer positions in a crop than channels and counts less: the rest of its distance cannot be closed.
    """
    return dataclasses.replace(
        BALANCED,
        name="fast",
        content_layers=("block3_conv3",),
        style_layer_weights=(0.3, 0.3, 0.2, 0.18, 0.02),
        content_weight=options.content_weight,
        style_weight=options.style_weight,
        tv_weight=options.tv_weight,
        precision=options.network_precision,
    )


def fast_objective(model: StyleContentModel, recipe: Recipe, painting: tf.Tensor) -> Objective:
    """The perceptual losses of a painted batch.

    Args:
        model: gives the features of a picture.
        recipe: gives layers and weights.
        painting: float32 [1, height, width, 3] in [0, 1], of any size.

    Returns:
        A function of the network and photographs [batch, height, width, 3] that returns the terms of
        `objective.loss_terms`; the gradient of all is that of "style", or of "content" if the style has no weight.

    References:
        Johnson, Alahi, Fei-Fei (ECCV 2016), equations 2 to 4.
    """
    style = objective.make_targets(model, recipe, painting, painting)["style"]
    factors = {
        "content": recipe.content_weight,
        "style": recipe.style_weight,
        "total_variation": recipe.tv_weight,
    }
    flipped = gradient_kernels(model, recipe)

    def terms(network: keras.Model, photographs: tf.Tensor) -> dict[str, tf.Tensor]:
        painted = network(photographs, training=True)
        targets = {"content": model(photographs)["content"], "style": style}
        evaluate = objective.make_objective(model, recipe, targets, factors, flipped=flipped)
        evaluation = evaluate(tf.stop_gradient(painted))
        found = {name: tf.stop_gradient(term) for name, term in evaluation.terms.items() if name != "total"}
        # Adds 0 whose gradient is the evaluation's: computed layer by layer, it takes less memory than a tape's.
        surrogate = tf.reduce_sum(tf.stop_gradient(evaluation.gradient) * painted)
        found["style" if recipe.style_weight else "content"] += surrogate - tf.stop_gradient(surrogate)
        return found

    return terms


def adain_objective(encoder: vgg.VGG, options: AdaINOptions) -> Objective:
    """AdaIN's losses, each layer's relative to the size of its target.

    Args:
        encoder: returns the features of `ADAIN_STYLE_LAYERS`, with reflection padding.
        options: gives the weights.

    Returns:
        A function of the decoder and (photographs, paintings), both [batch, height, width, 3], that returns "content",
        the distance of the result's features from those it was decoded from; "style", that of their means and
        deviations from the paintings'; and "total_variation".

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 12
        and 13.
    """
    last = adain.ADAIN_LAYER

    def described(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {layer: adain.describe(values) for layer, values in features.items()}

    def terms(decoder: keras.Model, pair: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        photographs, paintings = pair
        seen, target = encoder(photographs)[last], described(encoder(paintings))
        wanted = adain.adaptive_instance_normalisation(seen, adain.describe(seen), target[last])
        painted = decoder(wanted, training=True)
        found = encoder(painted)
        share = {layer: options.style_weight / len(target) for layer in target}
        kept = losses.layer_losses(found, {last: wanted}, {last: options.content_weight}, relative=True)
        style = losses.layer_losses(described(found), target, share, relative=True)
        smooth = options.tv_weight * total_variation.squared(painted)
        return {"content": kept[last], "style": tf.add_n(list(style.values())), "total_variation": smooth}

    return terms


ADAIN_STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", adain.ADAIN_LAYER)
"""Layers whose mean and deviation AdaIN's decoder is trained to reach."""


@dataclasses.dataclass(frozen=True)
class Run:
    """The place of a training, and what goes on around it.

    Attributes:
        folder: new, empty, or of an earlier training if `resume` or `overwrite`.
        samples: photographs of the sample sheet, at least one, [1, height, width, 3] in [0, 1].
        resume: go on with the state in it.
        overwrite: discard the training in it and start again.
        mirrored: data-parallel training on all devices.
        callbacks: Keras callbacks.

    Raises:
        OutputError, UsageError: if the folder cannot be used so (`records.check`).
    """

    folder: Path
    samples: Sequence[Any]
    resume: bool = False
    overwrite: bool = False
    mirrored: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self) -> None:
        """Checks the folder."""
        object.__setattr__(self, "folder", Path(self.folder))
        run_folder.check(self.folder, resume=self.resume, overwrite=self.overwrite)

    def strategy(self, batch: int) -> tf.distribute.Strategy:
        """One device or all.

        Raises:
            UsageError: if they cannot share a batch evenly.
        """
        strategy = tf.distribute.MirroredStrategy() if self.mirrored else tf.distribute.get_strategy()
        count = strategy.num_replicas_in_sync
        if batch % count:
            raise UsageError(f"`batch` should be a multiple of the {count} devices that share it, not {batch}.")
        return strategy

    def fit(
        self,
        trainer: Trainer,
        batches_from: Callable[[int], tf.data.Dataset],
        options: TrainingOptions,
        fixed: dict[str, Any],
        *,
        paint: Callable[[tf.Tensor], Any],
    ) -> Path:
        """Trains a compiled trainer in the folder; returns the network's file. Raises what `fitting.fit` does."""
        fixed = options.fixed() | fixed
        if self.resume:
            checkpoint.restore_state(trainer, self.folder / run_folder.STATE, fixed=fixed)
        else:
            run_folder.clear(self.folder)
        sheet = progress.SampleSheet(self.folder, paint, self.samples, every=options.save_every)
        fit(
            trainer,
            batches_from,
            self.folder,
            steps=options.steps,
            every=options.save_every,
            fixed=fixed,
            callbacks=[*self.callbacks, sheet],
        )
        return self.folder / run_folder.NETWORK


def file_names(paths: Sequence[str | Path]) -> list[str]:
    """What a state remembers of its pictures, which may have been moved when it is resumed."""
    return [Path(path).name for path in paths]


def train_fast(painting: str | Path, photographs: Sequence[str | Path], run: Run, *, options: FastOptions) -> Path:
    """Trains a transformer to paint any photograph in the style of one painting.

    Args:
        painting: a picture file.
        photographs: picture files, as from `dataset.list_pictures`.
        run: where.
        options: the numbers.

    Returns:
        The file of the network, in `run.folder`.

    Raises:
        InputError: if a picture cannot be used.
        UsageError, WeightsError: if the training cannot be resumed so.
        DivergedError, OutputError, MemoryLimitError, Interrupted: as `fitting.fit`.
    """
    crops = dataset.Crops(photographs, size=options.size, seed=options.seed)
    image = images.fit(images.read(painting, long_side=options.style_size).image, options.style_size)
    recipe = fast_recipe(options)
    with run.strategy(options.batch).scope():
        network = Transformer(FILTERS[options.width], dtype=policy(options.network_precision))
        network.build((None, None, None, 3))
        initialize(network, options.seed)
        trainer = Trainer(network, fast_objective(model_for(recipe), recipe, image))
        trainer.compile(adam(options))

        def batches_from(step: int) -> tf.data.Dataset:
            return dataset.batches(crops, size=options.size, batch=options.batch, start=step)

        fixed = {"kind": "fast", "style": Path(painting).name, "photographs": file_names(photographs)}
        return run.fit(trainer, batches_from, options, fixed, paint=network)


def train_adain(
    paintings: Sequence[str | Path], photographs: Sequence[str | Path], run: Run, *, options: AdaINOptions
) -> Path:
    """Trains AdaIN's decoder to paint any photograph in the style of any painting.

    Args:
        paintings, photographs: picture files, as from `dataset.list_pictures`.
        run: where; its sample sheet shows the first painting.
        options: the numbers.

    Returns:
        The file of the decoder, in `run.folder`.

    Raises:
        As `train_fast`.
    """
    crops = dataset.Crops(photographs, size=options.size, seed=options.seed)
    styles = dataset.Crops(paintings, size=options.size, seed=options.seed + 1)
    image = images.fit(images.read(paintings[0], long_side=2 * options.size).image, 2 * options.size)
    with run.strategy(options.batch).scope():
        network_policy = policy(options.network_precision)
        encoder = vgg.load_vgg(ADAIN_STYLE_LAYERS, edge="reflect", dtype=network_policy)
        decoder = adain.AdaINDecoder(dtype=network_policy)
        decoder.build((None, None, None, 512))
        if options.start == "embedded":
            decoder.assign(weights.read_embedded("adain-decoder"))
        else:
            initialize(decoder, options.seed)
        trainer = Trainer(decoder, adain_objective(encoder, options))
        trainer.compile(adam(options))

        def batches_from(step: int) -> tf.data.Dataset:
            return dataset.pairs(crops, styles, size=options.size, batch=options.batch, start=step)

        fixed = {"kind": "adain", "styles": file_names(paintings), "photographs": file_names(photographs)}
        shown = adain.AdaIN(decoder)
        return run.fit(
            trainer, batches_from, options, fixed, paint=lambda photograph: inference.paint(shown, photograph, [image])
        )
