"""Trains a generative adversarial network (GAN): a generator and a discriminator, each against the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfstyle import losses, objective, total_variation
from tfstyle.environment import keras, tf
from tfstyle.feedforward.generator import Discriminator, Generator
from tfstyle.feedforward.transformer_net import FILTERS
from tfstyle.model import StyleContentModel, policy
from tfstyle.training import dataset, gan_losses
from tfstyle.training.options import GANOptions
from tfstyle.training.perceptual import Run, file_names
from tfstyle.training.trainer import Trainer, adam, initialize
from tfstyle.vgg19 import STYLE_LAYERS

CONTENT_LAYER = "block4_conv1"
"""Where the photograph's shapes are compared."""

TERMS = ("content", "style", "adversarial", "fake", "real", "penalty", "accuracy")
"""What is logged beside the generator's loss: three parts of it, and the discriminator's numbers."""

MOMENTS = {"beta_1": 0.5, "beta_2": 0.99}
"""Of both networks' Adam (White-box Cartoonization's): a longer memory would make the first steps after pre-training,
whose gradients are much larger than those before, many times too long, and white spots would burn in."""

_CODE, _NOISE, _SHOW, _SLOPE, _FOOL, _STREAMS = range(6)  # Random numbers of one step.

Perception = Callable[..., dict[str, tf.Tensor]]
"""(painted, photographs, paintings or None) → scalar terms."""


def perception(model: StyleContentModel, options: GANOptions) -> Perception:
    """The generator's perceptual losses.

    Args:
        model: describes pictures; all its layers count alike.
        options: gives the weights.

    Returns:
        (painted, photographs, paintings) → "content" and "style", each relative to the size of its target,
        "total_variation" and "color". The first pictures of `painted`, as many as there are paintings, are compared
        with these one by one. Without paintings the photograph itself is wanted: "content", and "color" at weight 1,
        or bright skies would have burnt out for good before there is any style.
    """

    def mean_loss(values: Mapping[str, tf.Tensor], targets: Mapping[str, tf.Tensor], weight: float) -> tf.Tensor:
        shares = {layer: weight / len(values) for layer in values}
        return tf.add_n(list(losses.layer_losses(values, targets, shares, relative=True).values()))

    def terms(painted: tf.Tensor, photographs: tf.Tensor, paintings: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        seen = model(painted)
        found = {"content": mean_loss(seen["content"], model(photographs)["content"], options.content_weight)}
        if paintings is None:
            return found | {"color": losses.color_difference(painted, photographs)}
        styled = {layer: statistic[: paintings.shape[0]] for layer, statistic in seen["style"].items()}
        found["style"] = mean_loss(styled, model(paintings)["style"], options.style_weight)
        found["total_variation"] = options.tv_weight * total_variation.squared(painted)
        found["color"] = options.color_weight * losses.color_difference(painted, photographs)
        return found

    return terms


class GANTrainer(Trainer):
    """A generator and a discriminator that are trained against each other.

    Args:
        generator: built; paints.
        discriminator: built; tells paintings from what is painted.
        perceive: as from `perception`.
        discriminator_optimizer: moves the discriminator; the one of `compile` moves the generator.
        options: the numbers.

    `network`, which is saved and shown, is a copy of the generator with the average of its weights. `fit` takes a
    dataset of (photographs, paintings), both [batch, size, size, 3]; its logs are "loss", `TERMS` and "step", those of
    the discriminator 0 in pre-training.

    References:
        Yazıcı et al.: The Unusual Effectiveness of Averaging in GAN Training (ICLR 2019), section 3.2.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        perceive: Perception,
        *,
        discriminator_optimizer: keras.optimizers.Optimizer,
        options: GANOptions,
    ) -> None:
        average = Generator.from_config(generator.get_config())
        average.build((None, None, None, 3))
        average.set_weights(generator.get_weights())
        super().__init__(average, perceive, terms=TERMS)
        self.generator, self.discriminator = generator, discriminator
        self.perceive, self.options = perceive, options
        self.discriminator_optimizer = discriminator_optimizer
        discriminator_optimizer.build(discriminator.trainable_variables)
        self.family = gan_losses.family(options.gan_loss)
        slots = -(-options.pool // options.batch) * options.batch
        shape = (slots, options.size, options.size, 3)
        self.pool = self.add_weight(name="pool", shape=shape, initializer="zeros", trainable=False)

    @property
    def trained(self) -> keras.Model:
        """What the first optimiser moves: the generator."""
        return self.generator

    def state(self) -> dict[str, Sequence[Any]]:
        """Everything that the next step depends on."""
        return super().state() | {
            "generator": self.generator.weights,
            "discriminator": self.discriminator.weights,
            "discriminator_optimizer": self.discriminator_optimizer.variables,
            "pool": [self.pool],
        }

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """One step of generator and discriminator, or of pre-training."""
        photographs, paintings = batch
        step = tf.cast(self.optimizer.iterations, tf.int32)
        terms = tf.cond(
            step < self.options.pretraining,
            lambda: self._pretrain(photographs, step),
            lambda: self._play(photographs, paintings, step),
        )
        self._follow(paintings, step)
        return self.log(terms)

    def _pretrain(self, photographs: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """A step towards the photograph, whatever the code."""
        shape = [tf.shape(photographs)[0], self.generator.code_size]
        code = tf.random.stateless_normal(shape, self._seed(step, _NOISE))
        with tf.GradientTape() as tape:
            terms = self.perceive(self.generator(photographs, code), photographs)
            terms["loss"] = objective.total(terms)
        self._move(self.optimizer, self.generator, tape, terms["loss"])
        return {name: terms.get(name, tf.zeros([])) for name in ("loss", *TERMS)}

    def _play(self, photographs: tf.Tensor, paintings: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """A step of the discriminator, and one of the generator against it as it is then."""
        options = self.options
        count = paintings.shape[0]
        noise = min(max(1, count // 4), count - 1)
        followed = paintings[: count - noise]
        with tf.GradientTape() as tape:
            code, divergence = self._codes(followed, noise, step)
            painted = self.generator(photographs, code)
            with tape.stop_recording():
                judged = self._judge(paintings, painted, step)
            terms = self.perceive(painted, photographs, followed)
            answers = self.discriminator(gan_losses.augment(painted, self._seed(step, _FOOL)))
            terms["adversarial"] = options.adversarial_weight * gan_losses.generator_loss(self.family, answers)
            terms["code"] = options.code_weight * divergence
            terms["loss"] = objective.total(terms)
        self._move(self.optimizer, self.generator, tape, terms["loss"])
        return {name: (terms | judged)[name] for name in ("loss", *TERMS)}

    def _codes(self, paintings: tf.Tensor, noise: int, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A code of each painting and of noise, and how far the former are from the latter.

        References:
            Kingma, Welling: Auto-Encoding Variational Bayes (ICLR 2014), equations 4 and 10.
        """
        mean, log_variance = self.generator.code_of(paintings)
        numbers = tf.random.stateless_normal([paintings.shape[0] + noise, mean.shape[1]], self._seed(step, _CODE))
        drawn = mean + tf.exp(0.5 * log_variance) * numbers[: paintings.shape[0]]
        divergence = 0.5 * tf.reduce_mean(mean**2 + tf.exp(log_variance) - 1.0 - log_variance)
        return tf.concat([drawn, numbers[paintings.shape[0] :]], axis=0), divergence

    def _judge(self, paintings: tf.Tensor, painted: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """The discriminator's step."""
        if self.options.pool:
            shown, pool = gan_losses.replay(self.pool, painted, step - self.options.pretraining, self.options.seed)
            self.pool.assign(pool)
        else:
            shown = painted
        both = gan_losses.augment(tf.concat([paintings, shown], axis=0), self._seed(step, _SHOW))
        real, fake = tf.split(both, 2)
        self.discriminator.refine()
        with tf.GradientTape() as tape:
            answers = tf.split(self.discriminator(both), 2)
            terms = gan_losses.discriminator_losses(self.family, *answers)
            terms["penalty"] = self.family.penalty(self.discriminator, real, fake, self._seed(step, _SLOPE))
            loss = terms["real"] + terms["fake"] + self.options.entropy_weight * terms["entropy"]
            loss += self.options.penalty_weight * terms["penalty"]
        self._move(self.discriminator_optimizer, self.discriminator, tape, loss)
        return terms | {"accuracy": gan_losses.accuracy(self.family, *answers)}

    def _move(
        self, optimizer: keras.optimizers.Optimizer, network: keras.Model, tape: tf.GradientTape, loss: tf.Tensor
    ) -> None:
        """An optimiser's step on a network's trainable variables; unconnected ones get zero gradients."""
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply(gradients, variables)

    def _follow(self, paintings: tf.Tensor, step: tf.Tensor) -> None:
        """Updates the averages of weights and styles; their decay warms up, to forget the random beginning."""
        done = tf.cast(step, tf.float32)
        early = (1.0 + done) / (10.0 + done)
        self.generator.update_style_statistics(paintings, tf.minimum(0.99, early))
        keep = tf.minimum(self.options.average, early)
        for mean, weight in zip(self.network.weights, self.generator.weights, strict=True):
            mean.assign(keep * mean + (1.0 - keep) * weight)

    def _seed(self, step: tf.Tensor, stream: int) -> tf.Tensor:
        return tf.stack([self.options.seed, _STREAMS * step + stream])


def invented(network: Generator, photograph: tf.Tensor, codes: Sequence[tf.Tensor]) -> tf.Tensor:
    """One photograph [1, height, width, 3] painted by several codes [1, code_size], one below the other."""
    return tf.concat([network(photograph, code) for code in codes], axis=1)


def train_gan(
    paintings: Sequence[str | Path], photographs: Sequence[str | Path], run: Run, *, options: GANOptions
) -> Path:
    """Trains a generator to paint any photograph in the styles of a set of paintings, and in styles between them.

    Args:
        paintings, photographs: picture files, as from `dataset.list_pictures`.
        run: where; its sample sheets show each photograph by two codes of noise and by the first two paintings.
        options: the numbers.

    Returns:
        The file of the averaged generator, in `run.folder`.

    Raises:
        As `training.train_fast`.
    """
    crops = dataset.Crops(photographs, size=options.size, seed=options.seed)
    styles = dataset.Crops(paintings, size=options.size, seed=options.seed + 1)
    shown = [tf.constant(styles(int(item)))[None] for item in styles.order(0).argsort()[:2]]
    network_policy = policy(options.network_precision)
    generator = Generator(FILTERS[options.width], dtype=network_policy)
    discriminator = Discriminator()
    for network in (generator, discriminator):
        network.build((None, None, None, 3))
        initialize(network, options.seed)
    model = StyleContentModel(STYLE_LAYERS, [CONTENT_LAYER], dtype=network_policy)
    of_discriminator = dataclasses.replace(options, learning_rate=options.discriminator_rate)
    first, second = (adam(numbers, **MOMENTS) for numbers in (options, of_discriminator))
    trainer = GANTrainer(
        generator, discriminator, perception(model, options), discriminator_optimizer=second, options=options
    )
    trainer.compile(first)

    def batches_from(step: int) -> tf.data.Dataset:
        return dataset.pairs(crops, styles, size=options.size, batch=options.batch, start=step)

    def paint(photograph: tf.Tensor) -> tf.Tensor:
        network = trainer.network
        codes = [network.random_code(1), network.random_code(2), *(network.code_of(style)[0] for style in shown)]
        return invented(network, photograph, codes)

    fixed = {"kind": "gan", "styles": file_names(paintings), "photographs": file_names(photographs)}
    return run.fit(trainer, batches_from, options, fixed, paint=paint)
