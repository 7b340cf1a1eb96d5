"""Numbers → a recipe: which layers are looked at, what is asked of them and how the image moves. No TensorFlow here.

The command line's options, their defaults and their types are read from the fields of `Recipe`, so they cannot disagree
with it. The published recipes are in `recipes`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import LARGEST_SEED, check_fields, field, option, option_fields
from tfstyle.vgg19 import STYLE_LAYERS, layer_names, smallest_side

STARTS = ("content", "noise", "adain")
"""Words for the image to start from; anything else is a picture file."""

STYLE_LOSSES: Mapping[str, str | None] = MappingProxyType(
    {"squared_error": None, "wasserstein": "mean_gram", "wasserstein_newton_schulz": "mean_gram"}
)
"""Names in `losses.STYLE_LOSSES`, and the statistic each needs; None takes any."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a picture, apart from the two pictures it is made from.

    The loss is `content_weight` Σ w · content + `style_weight` Σ w · style + `tv_weight` · total variation, the sums
    over layers with the per-layer weights w. Fields made by `option` are options of the command line under the same
    name.

    Attributes:
        name: what `--recipe` calls it.
        summary: one line for a person choosing.
        source: where its numbers were published.
        departures: where it does not do as its source, one sentence each; `network_note` is about the network.
        content_layers, content_layer_weights: layers whose features are kept near the photograph's, and their w.
        style_layers, style_layer_weights: layers whose statistic is moved to the painting's, and their w.
        statistic: what is compared at the style layers, a name in `statistics.STATISTICS`.
        style_loss: how it is compared, a name in `losses.STYLE_LOSSES`.
        reduction: "mean" over entries, or "sum" as Keras' example (`losses.reduction`).
        tv_form: which published total variation (`total_variation.TOTAL_VARIATIONS`).
        taps: "relu" looks at a layer after its ReLU, "conv" before.
        edge: padding of the network's first convolution, "zero" or "replicate".
        rounding: of the sides of odd features in pooling, "floor" or "ceil". With the former deep layers do not see a
            picture's last rows and columns, unless its sides are multiples of 16.
        trained_on: the network its numbers were published for: "normalised" (the embedded one), "caffe" (Keras' raw
            VGG-19) or "torchvision".
        published_scale: for numbers of torchvision's network, the pixels it was given: "torch", or "none" (0-1).
        space: where the image lives while it is optimised, the unit of learning rate, noise and total variation:
            "unit" (0-1), "torch" or "caffe" (the network's pixels).
        optimizer: "adam", "sgd" or "lbfgs".
        learning_rate, beta_1, beta_2, epsilon: of the optimiser, in units of the space; the last three Adam's only.
        decay_rate, decay_steps, staircase: Keras' `ExponentialDecay` of the learning rate; a rate of 1 is none.
        history: pairs that L-BFGS remembers.
        true_steps, longest_step: of L-BFGS (`optimizers.LBFGS`); the latter in units of the space.
        add_detail: begin each finer scale with the image and, added to it, the photograph's detail which the scale
            before could not hold; not where content counts for nothing.
        warm_start: begin each scale with the optimiser's state of the one before, resized.
        clip: put the image back into [0, 1] after each step; in the space "unit" only.
        average: how much of the running average of the iterates is kept at each step; the result is that average. 0
            takes the last iterate.
        noise: standard deviation of the normal start noise, in units of the space; 0 is uniform noise over [0, 1].
        style_fit: the painting's size: "long_side" as the result's, "width" as the result's, or "content", exactly the
            result's.
        style_margin: share of the painting's short side left out at each edge, where scans show frame or paper.
        scale_start: long side of the coarsest scale in pixels; 0 works at one scale only.
        scale_factor: ratio of one scale to the one before.
        scale_steps: steps at each scale, coarse to fine. With more scales the last number is repeated, with fewer the
            first ones, of the coarsest scales, are left out.
        first_steps: the coarsest scale takes at least as many steps, also where it is the only one.
    """

    name: str
    summary: str
    source: str
    departures: tuple[str, ...] = ()

    content_layers: tuple[str, ...] = field(MISSING, choices=layer_names())
    content_layer_weights: tuple[float, ...] = field((1.0,), low=0.0)
    style_layers: tuple[str, ...] = field(STYLE_LAYERS, choices=layer_names())
    style_layer_weights: tuple[float, ...] = field((0.2,) * 5, low=0.0)
    statistic: str = field("gram", choices=("gram", "summed_gram", "covariance", "mean_std", "mean_gram"))
    style_loss: str = field("squared_error", choices=tuple(STYLE_LOSSES))
    reduction: str = field("mean", choices=("mean", "sum"))
    tv_form: str = field("squared", choices=("squared", "absolute", "power", "sum", "nine_point"))
    taps: str = field("relu", choices=("relu", "conv"))
    edge: str = field("zero", choices=("zero", "replicate", "reflect"))
    rounding: str = field("floor", choices=("floor", "ceil"))
    trained_on: str = field("normalised", choices=("normalised", "caffe", "torchvision"))
    published_scale: str = field("torch", choices=("torch", "none"))

    space: str = field("unit", choices=("unit", "torch", "caffe"))
    optimizer: str = field("adam", choices=("adam", "sgd", "lbfgs"))
    learning_rate: float = field(0.02, low=1e-12)
    beta_1: float = field(0.9, low=0.0, high=1.0)
    beta_2: float = field(0.999, low=0.0, high=1.0)
    epsilon: float = field(1e-7, low=0.0)
    decay_rate: float = field(1.0, low=1e-12, high=1.0)
    decay_steps: int = field(100, low=1)
    staircase: bool = False
    history: int = field(10, low=1, high=1000)
    true_steps: bool = True
    longest_step: float = field(0.0, low=0.0)
    add_detail: bool = False
    warm_start: bool = False
    clip: bool = True
    average: float = field(0.0, low=0.0, high=0.9999)
    noise: float = field(0.0, low=0.0)
    style_fit: str = field("long_side", choices=("long_side", "width", "content"))
    style_margin: float = field(0.0, low=0.0, high=0.25)
    scale_start: int = field(0, low=0)
    scale_factor: float = field(2.0, low=1.01)
    scale_steps: tuple[int, ...] = field((100,), low=1)
    first_steps: int = field(0, low=0)

    size: int = option(512, "long side of the result in pixels; 0 is the photograph's own", low=0)
    steps: int = option(0, "total number of steps, divided among the scales as the recipe's own are", low=0)
    content_weight: float = option(1.0, "weight of the content loss: how closely to keep the photograph", low=0.0)
    style_weight: float = option(1.0, "weight of the style loss", low=0.0)
    tv_weight: float = option(0.0, "weight of the total variation loss: how smooth the result is", low=0.0)
    style_scale: float = option(1.0, "size of the brush strokes: 2 makes them twice as large", low=0.1, high=10.0)
    init: str = option("content", "image to start from: content, noise, adain (a result of one pass) or a picture file")
    seed: int = option(0, "seed of the random start image", low=0, high=LARGEST_SEED)
    weights: str = option("embedded", "network weights: embedded, imagenet, or a .h5, .pth or .safetensors file")
    pooling: str = option("max", "pooling between the blocks of the network", choices=("max", "average"))
    precision: str = option(
        "float32",
        "precision of the convolutions; auto is bfloat16 where the processor computes it faster",
        choices=("auto", "float32", "bfloat16"),
    )
    flip_kernels: str = option(
        "auto",
        "gradients by flipped kernels: faster on processors without oneDNN, equal but for rounding",
        choices=("auto", "on", "off"),
    )
    input_scale: str = option(
        "auto",
        "pixels the network was trained on: keras (BGR, 0-255, less the mean), torch (RGB, normalized), none (RGB, "
        "0-1), or auto: torch for a .pth or .safetensors file with torch's layer names, else keras; Caffe's weights "
        "in a .pth file need keras",
        choices=("auto", "keras", "torch", "none"),
    )

    def __post_init__(self) -> None:
        """Gives every value its field's type; raises UsageError, one line, where it may not stand there."""
        check_fields(self)
        for kind in ("content", "style"):
            layers, weights = getattr(self, f"{kind}_layers"), getattr(self, f"{kind}_layer_weights")
            if not layers and getattr(self, f"{kind}_weight"):
                raise UsageError(f"`{kind}_layers` is empty; name at least one layer.")
            if len(set(layers)) < len(layers):
                raise UsageError(f"`{kind}_layers` names a layer twice; name each once.")
            if len(layers) != len(weights):
                raise UsageError(
                    f"`{kind}_layers` names {len(layers)} layers but {len(weights)} weights are given; give "
                    f"`{kind}_layer_weights` one for each."
                )
        if not self.scale_steps:
            raise UsageError("`scale_steps` is empty; give at least one number of steps.")
        if not self.content_weight + self.style_weight > 0:
            raise UsageError("`content_weight` and `style_weight` are both 0; give at least one a positive weight.")
        needed = STYLE_LOSSES[self.style_loss]
        if needed not in (None, self.statistic):
            message = f"`style_loss` {self.style_loss!r} needs the `statistic` {needed!r}, not {self.statistic!r}."
            raise UsageError(message)
        if self.clip and self.space != "unit":
            raise UsageError(f"`clip` keeps the image in [0, 1] and needs the `space` 'unit', not {self.space!r}.")
        if self.init not in STARTS and PurePath(self.init).name == self.init and "." not in self.init:
            raise UsageError(unknown_name("start image", self.init, (*STARTS, "or the path of a picture")))

    def smallest_side(self) -> int:
        """The smallest side in pixels of a picture that reaches the deepest layer."""
        return smallest_side(self.style_layers + self.content_layers)

    def is_rescaled(self) -> bool:
        """Says whether its numbers were published for another network than the embedded one, on which it runs."""
        return self.weights == "embedded" and self.trained_on != "normalised"

    def network_note(self, pixels: str) -> str | None:
        """Says how the network differs from the one this recipe's numbers were published for; None if it does not.

        Args:
            pixels: those the network is given, `VGG.input_scale`: Caffe's networks "keras", torchvision's the others.
        """
        if self.trained_on == "normalised":
            return None
        published, exact = {
            "caffe": ("raw VGG-19 weights", '`weights` "imagenet"'),
            "torchvision": ("torchvision's VGG-19", "a torchvision .pth file as `weights`"),
        }[self.trained_on]
        if self.weights == "embedded":
            how = "the embedded network's features are rescaled for it, so results are similar, not identical"
        elif (self.trained_on == "caffe") == (pixels == "keras"):
            return None
        else:
            how = f"{self.weights} holds a network whose features have other magnitudes, so results differ"
        return f"{self.name} was published for {published}; {how} ({exact} is the published network)."

    def compiled_part(self) -> Recipe:
        """This recipe with every field set aside that may change without a new compiled graph."""
        shared: dict[str, Any] = {item.name: item.default for item in option_fields(Recipe) if item.name in _RUN_FIELDS}
        used = {name: float(getattr(self, name) > 0) for name in ("content_weight", "style_weight", "tv_weight")}
        shared |= {"name": "", "summary": "", "source": "", "departures": (), "style_margin": 0.0}
        shared |= {"noise": 0.0, "style_fit": "long_side", "add_detail": False, "warm_start": False}
        shared |= {"scale_start": 0, "scale_factor": 2.0, "scale_steps": (1,), "first_steps": 0}
        return dataclasses.replace(self, **(shared | used))


_RUN_FIELDS = ("size", "steps", "style_scale", "init", "seed")


def scale_sizes(recipe: Recipe, long_side: int, short_side: int) -> tuple[int, ...]:
    """Long sides of the scales, coarse to fine.

    From `long_side` down by `scale_factor`, as long as the long side stays at least `scale_start` and the shortest side
    at least 32 pixels, so that even the coarsest picture has more than one position at VGG-19's deepest layers.

    Args:
        recipe: gives start and factor.
        long_side: of the result, in pixels.
        short_side: the shortest side of all pictures at the finest scale, in pixels.
    """
    sizes = [long_side]
    while recipe.scale_start:
        smaller = round(long_side / recipe.scale_factor ** len(sizes))
        if smaller < recipe.scale_start or smaller * short_side < 32 * long_side:
            break
        sizes.append(smaller)
    return tuple(reversed(sizes))


def steps_per_scale(recipe: Recipe, scales: int) -> tuple[int, ...]:
    """Steps at each of `scales` scales, coarse to fine.

    Without `steps` they are `scale_steps`, its last number repeated for further scales or its first ones left out, and
    at least `first_steps` at the coarsest; with it, that total divided in the same proportions (largest remainders
    first), the finest scale never without.
    """
    planned = recipe.scale_steps + recipe.scale_steps[-1:] * (scales - len(recipe.scale_steps))
    first, *finer = planned[len(planned) - scales :]
    planned = (max(first, recipe.first_steps), *finer)
    if not recipe.steps:
        return planned
    shares = [recipe.steps * steps / sum(planned) for steps in planned]
    counts = [math.floor(share) for share in shares]
    order = sorted(range(scales), key=lambda i: (counts[i] - shares[i], -i))
    for index in order[: recipe.steps - sum(counts)]:
        counts[index] += 1
    if not counts[-1]:
        counts[counts.index(max(counts))] -= 1
        counts[-1] = 1
    return tuple(counts)
