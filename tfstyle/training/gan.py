"""Trains a generative adversarial network (GAN): a generator of stylized images against a discriminator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tfstyle import losses, objective, total_variation
from tfstyle.environment import dtype_policy, keras, tf
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import FILTERS
from tfstyle.model import StyleContentModel
from tfstyle.tensors import static_shape
from tfstyle.training import dataset, gan_losses
from tfstyle.training.discriminator import Discriminator
from tfstyle.training.options import GANOptions
from tfstyle.training.run import Run, list_names
from tfstyle.training.trainer import Trainer, adam, initialize, name_slots, name_weights
from tfstyle.vgg19 import STYLE_LAYERS

CONTENT_LAYER = "block4_conv1"
"""Layer of the content loss."""

TERMS = ("content", "style", "adversarial", "fake", "real", "penalty", "accuracy")
"""Values logged besides the generator's total loss: three of its terms, and the discriminator's losses and accuracy."""

ADAM_BETAS: Mapping[str, float] = MappingProxyType({"beta_1": 0.5, "beta_2": 0.99})
"""Decay rates of Adam's moments for both networks, as in White-box Cartoonization. With values closer to 1 the first
steps after pre-training, whose gradients are much larger than those before, would be many times too long and leave
permanent white spots."""

# Independent streams of random numbers within one step.
_CODE, _PRETRAINING_CODE, _DISCRIMINATOR_AUGMENTATION, _GRADIENT_PENALTY, _GENERATOR_AUGMENTATION, _STREAMS = range(6)

PerceptualLosses = Callable[..., dict[str, tf.Tensor]]
"""A function of generated, content and style images (or None) that returns scalar terms."""


def make_perceptual_losses(model: StyleContentModel, options: GANOptions) -> PerceptualLosses:
    """Makes the perceptual losses of the generator.

    Args:
        model: computes content features and style statistics; all its layers have the same weight.
        options: gives the weights of the losses.

    Returns:
        A function of generated, content and style images that returns "content" and "style", each relative to the size
        of its target, "total_variation" and "color". Only the first generated images, as many as there are style
        images, have a style loss, each with the style image at the same position. Without style images, in
        pre-training, the terms are "content", and "color" of weight 1; without it, bright skies would stay overexposed.
    """

    def mean_loss(values: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor], weight: float) -> tf.Tensor:
        shares = {layer: weight / len(values) for layer in values}
        return tf.add_n(list(losses.layer_losses(values, targets, shares, relative=True).values()))

    def terms(
        generated: tf.Tensor, content_images: tf.Tensor, style_images: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        found = model(generated)
        weighted = {"content": mean_loss(found["content"], model(content_images)["content"], options.content_weight)}
        if style_images is None:
            return weighted | {"color": losses.color_difference(generated, content_images)}
        style = {layer: statistic[: static_shape(style_images)[0]] for layer, statistic in found["style"].items()}
        weighted["style"] = mean_loss(style, model(style_images)["style"], options.style_weight)
        weighted["total_variation"] = options.tv_weight * total_variation.squared(generated)
        weighted["color"] = options.color_weight * losses.color_difference(generated, content_images)
        return weighted

    return terms


class GANTrainer(Trainer):
    """Trains a generator and a discriminator against each other.

    Args:
        generator, discriminator: built models.
        perceptual_losses: as from `make_perceptual_losses`.
        discriminator_optimizer: updates the discriminator; the optimizer of `compile` updates the generator.
        options: hyperparameters.

    `network`, which is saved and makes the sample sheets, is a copy of the generator whose weights are the exponential
    moving average (EMA) of the generator's. `fit` takes a dataset of pairs of content and style images, both [batch,
    size, size, 3]. Its logs are "loss", `TERMS` and "step"; the discriminator's are 0 in pre-training.

    References:
        Yazıcı et al.: The Unusual Effectiveness of Averaging in GAN Training (ICLR 2019), section 3.2.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        perceptual_losses: PerceptualLosses,
        *,
        discriminator_optimizer: keras.optimizers.Optimizer,
        options: GANOptions,
    ) -> None:
        average = Generator.from_config(generator.get_config())
        average.build((None, None, None, 3))
        average.set_weights(generator.get_weights())
        super().__init__(average, terms=TERMS)
        self.generator, self.discriminator = generator, discriminator
        self.perceptual_losses, self.options = perceptual_losses, options
        self.discriminator_optimizer = discriminator_optimizer
        discriminator_optimizer.build(discriminator.trainable_variables)
        self.gan_loss = gan_losses.get_gan_loss(options.gan_loss)
        slots = -(-options.image_pool // options.batch) * options.batch
        shape = (slots, options.size, options.size, 3)
        self.image_pool = self.add_weight(name="pool", shape=shape, initializer="zeros", trainable=False)

    @property
    def trained_network(self) -> keras.Model:
        """The network whose weights the optimizer of `compile` updates: the generator."""
        return self.generator

    def state(self) -> dict[str, Mapping[str, Any]]:
        """Returns everything that the next step depends on."""
        return super().state() | {
            "generator": name_weights(self.generator),
            "discriminator": name_weights(self.discriminator),
            "discriminator_optimizer": name_slots(self.discriminator_optimizer, self.discriminator),
            "pool": {"images": self.image_pool},
        }

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Makes one training step of the generator and the discriminator, or one step of pre-training."""
        content_images, style_images = batch
        step = tf.cast(self.optimizer.iterations, tf.int32)
        terms = tf.cond(
            step < self.options.pretraining_steps,
            lambda: self._pretrain(content_images, step),
            lambda: self._train_both(content_images, style_images, step),
        )
        self._update_averages(style_images, step)
        return self.log(terms)

    def _pretrain(self, content_images: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Trains the generator for one step to reproduce the content images, with random codes."""
        shape = tf.stack([tf.shape(content_images)[0], self.generator.code_size])
        code = tf.random.stateless_normal(shape, self._make_seed(step, _PRETRAINING_CODE))
        with tf.GradientTape() as tape:
            terms = self.perceptual_losses(self.generator(content_images, code), content_images)
            terms["loss"] = objective.total(terms)
        self._apply_gradients(self.optimizer, self.generator, tape, terms["loss"])
        return {name: terms.get(name, tf.zeros([])) for name in ("loss", *TERMS)}

    def _train_both(self, content_images: tf.Tensor, style_images: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Makes a step of the discriminator, then one of the generator against the updated discriminator."""
        options = self.options
        count = static_shape(style_images)[0]
        random_codes = min(max(1, count // 4), count - 1)
        coded = style_images[: count - random_codes]
        with tf.GradientTape() as tape:
            code, divergence = self._sample_codes(coded, random_codes, step)
            generated = self.generator(content_images, code)
            with tape.stop_recording():
                of_discriminator = self._train_discriminator(style_images, generated, step)
            terms = self.perceptual_losses(generated, content_images, coded)
            augmented = gan_losses.augment(generated, self._make_seed(step, _GENERATOR_AUGMENTATION))
            scores = self.discriminator(augmented)
            terms["adversarial"] = options.adversarial_weight * gan_losses.generator_loss(self.gan_loss, scores)
            terms["kl"] = options.kl_weight * divergence
            terms["loss"] = objective.total(terms)
        self._apply_gradients(self.optimizer, self.generator, tape, terms["loss"])
        return {name: (terms | of_discriminator)[name] for name in ("loss", *TERMS)}

    def _sample_codes(self, style_images: tf.Tensor, random_codes: int, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Samples a code for each style image, and some codes from the prior, the standard normal distribution.

        Returns:
            The codes, float32 [images + random_codes, code_size], and the mean KL divergence of the style images'
            distributions from the prior.

        References:
            Kingma, Welling: Auto-Encoding Variational Bayes (ICLR 2014), equations 4 and 10.
        """
        mean, log_variance = self.generator.encode_style(style_images)
        images = static_shape(style_images)[0]
        noise = tf.random.stateless_normal([images + random_codes, static_shape(mean)[1]], self._make_seed(step, _CODE))
        sampled = mean + tf.exp(0.5 * log_variance) * noise[:images]
        divergence = 0.5 * tf.reduce_mean(mean**2 + tf.exp(log_variance) - 1.0 - log_variance)
        return tf.concat([sampled, noise[images:]], axis=0), divergence

    def _train_discriminator(
        self, style_images: tf.Tensor, generated: tf.Tensor, step: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Makes a step of the discriminator and returns its losses and accuracy."""
        options, fake = self.options, generated
        if options.image_pool:
            fake, pool = gan_losses.query_image_pool(
                self.image_pool, generated, step=step - options.pretraining_steps, seed=options.seed
            )
            self.image_pool.assign(pool)
        both = tf.concat([style_images, fake], axis=0)
        both = gan_losses.augment(both, self._make_seed(step, _DISCRIMINATOR_AUGMENTATION))
        real, fake = tf.split(both, 2)
        self.discriminator.update_singular_vectors()
        with tf.GradientTape() as tape:
            scores = tf.split(self.discriminator(both), 2)
            terms = gan_losses.discriminator_losses(self.gan_loss, *scores)
            seed = self._make_seed(step, _GRADIENT_PENALTY)
            terms["penalty"] = self.gan_loss.penalty(self.discriminator, real, fake, seed)
            loss = terms["real"] + terms["fake"] + options.entropy_weight * terms["entropy"]
            loss += options.penalty_weight * terms["penalty"]
        self._apply_gradients(self.discriminator_optimizer, self.discriminator, tape, loss)
        return terms | {"accuracy": gan_losses.accuracy(self.gan_loss, *scores)}

    def _apply_gradients(
        self, optimizer: keras.optimizers.Optimizer, network: keras.Model, tape: tf.GradientTape, loss: tf.Tensor
    ) -> None:
        """Makes an optimizer's step on a network's trainable variables; unconnected ones get zero gradients."""
        variables = network.trainable_variables
        gradients = tape.gradient(
            loss, [v.value for v in variables], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        optimizer.apply(gradients, variables)

    def _update_averages(self, style_images: tf.Tensor, step: tf.Tensor) -> None:
        """Updates the EMA of the weights and the style statistics; a growing decay soon forgets the initial values."""
        done = tf.cast(step, tf.float32)
        early = (1.0 + done) / (10.0 + done)
        self.generator.update_style_statistics(style_images, tf.minimum(0.99, early))
        decay = tf.minimum(self.options.ema_decay, early)
        for mean, weight in zip(self.network.weights, self.generator.weights, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * weight)

    def _make_seed(self, step: tf.Tensor, stream: int) -> tf.Tensor:
        seed: tf.Tensor = tf.stack([self.options.seed, _STREAMS * step + stream])
        return seed


def stylize_by_codes(network: Generator, content_image: tf.Tensor, codes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Stylizes a content image [1, height, width, 3] with several codes [1, code_size], one result below the other."""
    stylized: list[tf.Tensor] = [network(content_image, code) for code in codes]
    return tf.concat(stylized, axis=1)


def train_gan(
    style_images: Sequence[str | Path], content_images: Sequence[str | Path], run: Run, *, options: GANOptions
) -> Path:
    """Trains a generator to stylize any content image in the styles of a set of images, and in styles between them.

    Args:
        style_images, content_images: picture files, as from `dataset.list_pictures`.
        run: the folder and settings of the training; the sample sheets show each content image stylized with two random
            codes and with the codes of two style images.
        options: hyperparameters.

    Returns:
        The file of the averaged generator, in `run.folder`.

    Raises:
        TfstyleError, Interrupted: as `perceptual.train_fast`.
    """
    content_crops = dataset.RandomCrops(content_images, size=options.size, seed=options.seed)
    style_crops = dataset.RandomCrops(style_images, size=options.size, seed=options.seed + 1)
    shown = [tf.constant(style_crops(int(item)))[None] for item in style_crops.permutation(0).argsort()[:2]]
    network_policy = dtype_policy(options.network_precision)
    generator = Generator(FILTERS[options.width], dtype=network_policy)
    discriminator = Discriminator()
    for network in (generator, discriminator):
        network.build((None, None, None, 3))
        initialize(network, options.seed)
    model = StyleContentModel(STYLE_LAYERS, [CONTENT_LAYER], dtype=network_policy)
    of_discriminator = dataclasses.replace(options, learning_rate=options.discriminator_learning_rate)
    first, second = (adam(numbers, **ADAM_BETAS) for numbers in (options, of_discriminator))
    trainer = GANTrainer(
        generator,
        discriminator,
        make_perceptual_losses(model, options),
        discriminator_optimizer=second,
        options=options,
    )
    trainer.compile(first)

    def batches_from(step: int) -> tf.data.Dataset:
        return dataset.make_pairs(content_crops, style_crops, size=options.size, batch=options.batch, start=step)

    def stylize(content_image: tf.Tensor) -> tf.Tensor:
        network = trainer.network
        codes = [network.random_code(1), network.random_code(2), *(network.encode_style(style)[0] for style in shown)]
        return stylize_by_codes(network, content_image, codes)

    fixed = {
        "kind": "gan",
        "style images": list_names(style_images),
        "content images": list_names(content_images),
    }
    return run.fit(trainer, batches_from, options, fixed=fixed, stylize=stylize)
