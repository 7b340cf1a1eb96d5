"""Hyperparameters of a training. This module does not import TensorFlow.

The fields of these dataclasses are the options of `tfstyle train`, with their defaults and types.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tfstyle.errors import UsageError
from tfstyle.fields import LARGEST_SEED, check_fields, option

PRECISIONS = ("auto", "float32", "mixed")
"""Choices of `TrainingOptions.precision`."""

WIDTHS = ("slim", "full")
"""Choices of `width`, the keys of `transformer_net.FILTERS`."""

GAN_LOSSES = ("bce", "lsgan", "hinge", "wgan-gp", "r1")
"""Choices of `GANOptions.gan_loss`, the keys of `gan_losses.LOSSES`."""

_WEIGHTS = ("content", "style", "tv", "color", "adversarial", "kl", "entropy", "penalty")
_MAY_CHANGE = ("steps", "save_every", "precision", "discriminator_learning_rate", *(f"{w}_weight" for w in _WEIGHTS))
"""Fields that may differ when a training is resumed. The weights of the losses and the discriminator's learning rate
are often adjusted during a training, to balance its losses."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Hyperparameters that all kinds of training share.

    Raises:
        UsageError: if a value is out of range.
    """

    steps: int = option(1600, "number of training steps", low=1)
    size: int = option(256, "side of the crops, in pixels", low=32)
    batch: int = option(2, "batch size", low=1)
    learning_rate: float = option(1e-3, "initial learning rate of Adam; it decays to a twentieth", low=1e-12)
    content_weight: float = option(0.15, "weight of the content loss", low=0.0)
    style_weight: float = option(1.0, "weight of the style loss", low=0.0)
    tv_weight: float = option(1.0, "weight of the total variation loss, which smooths", low=0.0)
    seed: int = option(0, "random seed of initial weights, order of images and crops", low=0, high=LARGEST_SEED)
    precision: str = option(
        "auto", "precision of the convolutions; auto is mixed where that is faster", choices=PRECISIONS
    )
    save_every: int = option(
        100, "steps per epoch; each ends with a checkpoint, a sample sheet and a line of losses", low=1
    )

    def __post_init__(self) -> None:
        """Raises UsageError if a value is out of range."""
        check_fields(self)
        if not self.content_weight + self.style_weight > 0:
            raise UsageError("`content_weight` and `style_weight` are both 0; give at least one a positive weight.")

    @property
    def network_precision(self) -> str:
        """The precision as `model.policy` names it."""
        return "bfloat16" if self.precision == "mixed" else self.precision

    def fixed(self) -> dict[str, Any]:
        """Returns the options that must be the same when a training is resumed."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _MAY_CHANGE}


@dataclass(frozen=True, kw_only=True)
class FastOptions(TrainingOptions):
    """Hyperparameters of the training of an image transformation network, for one style image."""

    style_size: int = option(
        512, "long side of the style image, in pixels; it decides how large its strokes are", low=64
    )
    width: str = option("slim", "width of the network; slim is four times as fast", choices=WIDTHS)


@dataclass(frozen=True, kw_only=True)
class AdaINOptions(TrainingOptions):
    """Hyperparameters of the training of the AdaIN decoder."""

    learning_rate: float = option(1e-4, "initial learning rate of Adam; it decays to a twentieth", low=1e-12)
    content_weight: float = option(1.0, "weight of the content loss", low=0.0)
    style_weight: float = option(3.0, "weight of the style loss", low=0.0)
    tv_weight: float = option(0.0, "weight of the total variation loss, which smooths", low=0.0)
    initial_weights: str = option("embedded", "initial weights of the decoder", choices=("embedded", "random"))


@dataclass(frozen=True, kw_only=True)
class GANOptions(TrainingOptions):
    """Hyperparameters of the training of a generative adversarial network (GAN): a generator and a discriminator."""

    steps: int = option(6000, "number of training steps", low=1)
    size: int = option(128, "side of the crops, in pixels", low=32)
    batch: int = option(4, "batch size; a quarter of it (1 image of 2 or 3) gets random style codes", low=1)
    learning_rate: float = option(
        1e-3, "initial learning rate of the generator's Adam; it decays to a twentieth", low=1e-12
    )
    discriminator_learning_rate: float = option(
        2e-3, "initial learning rate of the discriminator's Adam; it decays to a twentieth", low=1e-12
    )
    tv_weight: float = option(0.5, "weight of the total variation loss, which smooths", low=0.0)
    color_weight: float = option(0.0, "weight of the color difference from the content image", low=0.0)
    adversarial_weight: float = option(0.2, "weight of the adversarial loss", low=0.0)
    kl_weight: float = option(
        0.05, "weight of the KL divergence of style codes from their prior, a normal distribution", low=0.0
    )
    gan_loss: str = option("r1", "adversarial loss of generator and discriminator", choices=GAN_LOSSES)
    entropy_weight: float = option(0.01, "weight of the entropy penalty on the discriminator's scores", low=0.0)
    penalty_weight: float = option(1.0, "weight of the gradient penalty", low=0.0)
    pretraining_steps: int = option(
        200, "number of first steps that train only the generator, on content and color losses", low=0
    )
    image_pool: int = option(50, "size of the replay buffer of generated images", low=0)
    ema_decay: float = option(
        0.999, "decay of the exponential moving average (EMA) of the generator's weights, below 1", low=0.0
    )
    width: str = option("slim", "width of the generator; slim is four times as fast", choices=WIDTHS)
    save_every: int = option(
        50, "steps per epoch; each ends with a checkpoint, a sample sheet and a line of losses", low=1
    )

    def __post_init__(self) -> None:
        """Raises UsageError if a value is out of range."""
        super().__post_init__()
        if not self.ema_decay < 1.0:
            raise UsageError(f"`ema_decay` should be below 1, not {self.ema_decay!r}; at 1 the average never changes.")
