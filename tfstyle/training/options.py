"""Hyperparameters of a training: how long, on how large crops, with which weights. No TensorFlow here.

The options of `tfstyle train`, their defaults and their types are read from these fields, as those of `tfstyle stylize`
are from `Recipe`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tfstyle.errors import UsageError
from tfstyle.fields import LARGEST_SEED, check_fields, option

PRECISIONS = ("auto", "float32", "mixed")
WIDTHS = ("slim", "full")
GAN_LOSSES = ("bce", "lsgan", "hinge", "wgan-gp", "r1")

_WEIGHTS = ("content", "style", "tv", "color", "adversarial", "code", "entropy", "penalty")
_MAY_CHANGE = ("steps", "save_every", "precision", "discriminator_rate", *(f"{name}_weight" for name in _WEIGHTS))
"""Fields that may differ when a training is resumed: weights are often found on the way, and so is the rate at which
the discriminator neither wins nor loses."""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Everything that decides a training, apart from its pictures.

    Raises:
        UsageError: if a number is out of range.
    """

    steps: int = option(1600, "steps in all", low=1)
    size: int = option(256, "side of the crops, in pixels", low=32)
    batch: int = option(2, "batch size: crops in a step", low=1)
    learning_rate: float = option(1e-3, "of Adam at the first step; it falls to a twentieth", low=1e-12)
    content_weight: float = option(0.15, "weight of the content loss", low=0.0)
    style_weight: float = option(1.0, "weight of the style loss", low=0.0)
    tv_weight: float = option(1.0, "weight of the total variation, which smooths", low=0.0)
    seed: int = option(
        0, "of first weights, order of the photographs and places of the crops", low=0, high=LARGEST_SEED
    )
    precision: str = option("auto", "of the convolutions; auto is mixed where that is faster", choices=PRECISIONS)
    save_every: int = option(
        100, "steps of an epoch: from one checkpoint, sample sheet and line of losses to the next", low=1
    )

    def __post_init__(self) -> None:
        """Refuses numbers out of range."""
        check_fields(self)
        if not self.content_weight + self.style_weight > 0:
            raise UsageError("`content_weight` and `style_weight` are both 0; give at least one a positive weight.")

    @property
    def network_precision(self) -> str:
        """The precision as `model.policy` names it."""
        return "bfloat16" if self.precision == "mixed" else self.precision

    def fixed(self) -> dict[str, Any]:
        """The numbers that must be the same when a training is resumed."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _MAY_CHANGE}


@dataclass(frozen=True, kw_only=True)
class FastOptions(TrainingOptions):
    """A transformer's training."""

    style_size: int = option(512, "long side of the painting, in pixels: how large its strokes are", low=64)
    width: str = option("slim", "of the network: slim is four times as fast", choices=WIDTHS)


@dataclass(frozen=True, kw_only=True)
class AdaINOptions(TrainingOptions):
    """The AdaIN decoder's training."""

    learning_rate: float = option(1e-4, "of Adam at the first step; it falls to a twentieth", low=1e-12)
    content_weight: float = option(1.0, "weight of the content loss", low=0.0)
    style_weight: float = option(3.0, "weight of the style loss", low=0.0)
    tv_weight: float = option(0.0, "weight of the total variation, which smooths", low=0.0)
    start: str = option("embedded", "weights to begin from", choices=("embedded", "random"))


@dataclass(frozen=True, kw_only=True)
class GANOptions(TrainingOptions):
    """The training of a generative adversarial network (GAN): a generator against a discriminator."""

    steps: int = option(6000, "steps in all", low=1)
    size: int = option(128, "side of the crops, in pixels", low=32)
    batch: int = option(4, "crops in a step; a quarter of several, one at least, is painted from noise", low=1)
    learning_rate: float = option(1e-3, "of the generator's Adam; it falls to a twentieth", low=1e-12)
    discriminator_rate: float = option(2e-3, "the same of the discriminator's", low=1e-12)
    tv_weight: float = option(0.5, "weight of the total variation, which smooths", low=0.0)
    color_weight: float = option(0.0, "weight of the difference in color from the photograph", low=0.0)
    adversarial_weight: float = option(0.2, "weight of the adversarial loss", low=0.0)
    code_weight: float = option(0.05, "weight of the prior on style codes", low=0.0)
    gan_loss: str = option("r1", "adversarial loss of generator and discriminator", choices=GAN_LOSSES)
    entropy_weight: float = option(0.01, "weight of the discriminator's entropy penalty", low=0.0)
    penalty_weight: float = option(1.0, "weight of the gradient penalty", low=0.0)
    pretraining: int = option(200, "first steps, in which the generator learns the content alone", low=0)
    pool: int = option(50, "size of the replay buffer of generated images", low=0)
    average: float = option(0.999, "decay of the exponential moving average (EMA) of the weights, below 1", low=0.0)
    width: str = option("slim", "of the generator: slim is four times as fast", choices=WIDTHS)
    save_every: int = option(
        50, "steps of an epoch: from one checkpoint, sample sheet and line of losses to the next", low=1
    )

    def __post_init__(self) -> None:
        """Refuses values that are wrong."""
        super().__post_init__()
        if not self.average < 1.0:
            raise UsageError(f"`average` should be below 1, not {self.average!r}; the averaged weights would not move.")
