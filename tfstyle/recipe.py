"""Numbers → a recipe: which layers are looked at, what is asked of them and how the image moves. No TensorFlow here.

The command line's options, their defaults and their types are read from the fields of `Recipe`, so they cannot disagree
with it. The published recipes are in `recipes`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, unknown_name

VGG19_BLOCKS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
"""Filters of VGG-19's sixteen convolutions, block by block (Simonyan & Zisserman 2015, table 1, column E)."""


def layer_names(blocks: tuple[tuple[int, ...], ...] = VGG19_BLOCKS) -> tuple[str, ...]:
    """Keras' names of the convolutions, in order: block1_conv1, block1_conv2, block2_conv1, …"""
    return tuple(f"block{b}_conv{c}" for b, block in enumerate(blocks, 1) for c, _ in enumerate(block, 1))


_RAW_SCALES = (
    (24.56, 123.86),
    (127.76, 113.27),
    (130.61, 166.25, 349.37, 516.48),
    (534.09, 345.94, 186.25, 45.91),
    (48.19, 20.63, 8.40, 1.23),
)
# Root mean square, over the filters of a layer, of (raw VGG-19 activation / embedded activation). Measured from the two
# weight files, which differ by one factor per filter.

RAW_SCALES: Mapping[str, float] = MappingProxyType(dict(zip(layer_names(), itertools.chain(*_RAW_SCALES), strict=True)))
"""What to multiply the embedded network's features by, layer by layer, to give them the raw network's magnitude."""

STARTS = ("content", "noise", "adain")
"""Words for the image to start from; anything else is a picture file."""

STYLE_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
"""The five style layers of Gatys, Ecker & Bethge (2016), section 2.2."""


def option(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = -math.inf, high: float = math.inf
) -> Any:
    """A field that is also an option of the command line; `low` and `high` are the outermost values allowed."""
    metadata = {"help": help, "choices": choices, "kind": type(default), "low": low, "high": high}
    return field(default=default, metadata=metadata)


LARGEST_SEED = 2**31 - 1


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
        content_layers, content_layer_weights: layers whose features are kept near the photograph's, and their w.
        style_layers, style_layer_weights: layers whose statistic is moved to the painting's, and their w.
        statistic: what is compared at the style layers, a name in `moments.STATISTICS`.
        style_loss: how it is compared, a name in `losses.STYLE_LOSSES`.
        reduction: "mean" over entries, or "sum" as Keras' example (`losses.reduction`).
        tv_form: which published total variation (`losses.TOTAL_VARIATIONS`).
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
        scale_steps: steps at each scale, coarse to fine. A longer ladder repeats the last number; a shorter one drops
            the first ones, the coarsest.
    """

    name: str
    summary: str
    source: str

    content_layers: tuple[str, ...]
    content_layer_weights: tuple[float, ...] = (1.0,)
    style_layers: tuple[str, ...] = STYLE_LAYERS
    style_layer_weights: tuple[float, ...] = (0.2,) * 5
    statistic: str = "gram"
    style_loss: str = "squared_error"
    reduction: str = "mean"
    tv_form: str = "squared"
    taps: str = "relu"
    edge: str = "zero"
    rounding: str = "floor"
    trained_on: str = "normalised"
    published_scale: str = "torch"

    space: str = "unit"
    optimizer: str = "adam"
    learning_rate: float = 0.02
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    decay_rate: float = 1.0
    decay_steps: int = 100
    staircase: bool = False
    history: int = 10
    true_steps: bool = True
    longest_step: float = 0.0
    add_detail: bool = False
    warm_start: bool = False
    clip: bool = True
    average: float = 0.0
    noise: float = 0.0
    style_fit: str = "long_side"
    style_margin: float = 0.0
    scale_start: int = 0
    scale_factor: float = 2.0
    scale_steps: tuple[int, ...] = (100,)

    size: int = option(512, "long side of the result in pixels; 0 is the photograph's own", low=0)
    steps: int = option(0, "steps in all, shared among the scales as the recipe does", low=0)
    content_weight: float = option(1.0, "how much the photograph's shapes count", low=0.0)
    style_weight: float = option(1.0, "how much the painting's manner counts (the whole style term)", low=0.0)
    tv_weight: float = option(0.0, "how much smoothness counts (total variation)", low=0.0)
    style_scale: float = option(
        1.0, "size of the painting's strokes beside the picture, 1 as in the painting", low=0.1, high=10.0
    )
    init: str = option("content", "the image to start from: content, noise, adain (one pass) or a picture file")
    seed: int = option(0, "seed of the start noise", low=0, high=LARGEST_SEED)
    weights: str = option("embedded", "network weights: embedded, imagenet, or a .h5, .pth or .safetensors file")
    pooling: str = option("max", "pooling between blocks", choices=("max", "average"))
    precision: str = option(
        "float32",
        "of the convolutions; auto is bfloat16 where the processor computes it faster",
        choices=("auto", "float32", "bfloat16"),
    )
    flip_kernels: str = option(
        "auto",
        "gradients by flipped kernels: faster on processors without oneDNN, equal but for rounding",
        choices=("auto", "on", "off"),
    )
    input_scale: str = option(
        "auto",
        "pixel range the weights were trained on: keras (BGR, 0-255), torch (RGB, normalised), none (RGB, 0-1), "
        "or auto: torch for a .pth file, else keras",
        choices=("auto", "keras", "torch", "none"),
    )

    def __post_init__(self) -> None:
        """Checks every value that could have been typed; raises UsageError with one line."""
        for item in option_fields():
            check_option(item, getattr(self, item.name))
        for kind in ("content", "style"):
            layers, weights = getattr(self, f"{kind}_layers"), getattr(self, f"{kind}_layer_weights")
            for layer in layers:
                if layer not in RAW_SCALES:
                    raise UsageError(unknown_name(f"{kind} layer", layer, RAW_SCALES))
            if len(layers) != len(weights):
                raise UsageError(f"{kind}_layers names {len(layers)} layers but {len(weights)} weights are given.")
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} should be from {low:g} to {high:g}, not {getattr(self, name)!r}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(unknown_name(name, getattr(self, name), choices))
        if not self.content_weight + self.style_weight > 0:
            raise UsageError("content_weight and style_weight are both 0; give at least one a positive weight.")
        if self.style_loss.startswith("wasserstein") and self.statistic != "mean_gram":
            raise UsageError(f"the style loss {self.style_loss!r} needs the statistic 'mean_gram'.")
        if self.clip and self.space != "unit":
            raise UsageError(f"clip keeps the image in [0, 1] and needs the space 'unit', not {self.space!r}.")

    def feature_scales(self) -> tuple[float, ...]:
        """Factor for the features of each style layer, then of each content layer.

        1 throughout, except where numbers published for raw VGG-19 run on the embedded network: there the factor
        gives each layer its published magnitude. A departure: within a layer the filters keep the embedded network's
        balance.
        """
        layers = self.style_layers + self.content_layers
        if not self.is_rescaled():
            return (1.0,) * len(layers)
        return tuple(RAW_SCALES[layer] for layer in layers)

    def smallest_side(self) -> int:
        """The smallest side in pixels of a picture that reaches the deepest layer: each block halves it."""
        return 2 ** (max(int(layer[len("block")]) for layer in self.style_layers + self.content_layers) - 1)

    def is_rescaled(self) -> bool:
        """Says whether this recipe runs on a network its numbers were not published for, rescaled to it."""
        return self.trained_on == "caffe" and self.weights == "embedded"

    def departure(self) -> str | None:
        """What to confess before the run: that its numbers were published for another network than it runs on."""
        if self.is_rescaled():
            return (
                f"{self.name} was published for raw VGG-19 weights; on the embedded network its layers are rescaled to "
                "the published magnitudes, so the look is near, not equal (--weights imagenet is exact)."
            )
        if self.trained_on == "torchvision" and not self.weights.endswith((".pth", ".safetensors")):
            return (
                f"{self.name} was published for torchvision's VGG-19, whose activations are of the same order as the "
                "embedded network's; the look is near, not equal (--weights FILE.pth is exact)."
            )
        return None

    def resolved_input_scale(self) -> str:
        """`input_scale`, with "auto" replaced where the recipe's source gave torchvision's network other pixels."""
        if self.input_scale == "auto" and self.trained_on == "torchvision" and self.weights.endswith(".pth"):
            return self.published_scale
        return self.input_scale

    def compiled_part(self) -> Recipe:
        """This recipe with every field set aside that may change without a new compiled graph."""
        shared: dict[str, Any] = {item.name: item.default for item in option_fields() if item.name in _RUN_FIELDS}
        used = {name: float(getattr(self, name) > 0) for name in ("content_weight", "style_weight", "tv_weight")}
        shared |= {"name": "", "summary": "", "source": "", "scale_start": 0, "scale_factor": 2.0, "scale_steps": (1,)}
        shared["style_margin"] = 0.0
        return dataclasses.replace(self, **(shared | used))


_RANGES = (
    ("learning_rate", 1e-12, math.inf),
    ("beta_1", 0.0, 1.0),
    ("beta_2", 0.0, 1.0),
    ("epsilon", 0.0, math.inf),
    ("decay_rate", 1e-12, 1.0),
    ("decay_steps", 1, math.inf),
    ("history", 1, 1000),
    ("longest_step", 0.0, math.inf),
    ("average", 0.0, 0.9999),
    ("noise", 0.0, math.inf),
    ("style_margin", 0.0, 0.25),
    ("scale_start", 0, math.inf),
    ("scale_factor", 1.01, math.inf),
)
"""Field → smallest and largest value, for the fields that are not options."""

_CHOICES = {
    "optimizer": ("adam", "sgd", "lbfgs"),
    "space": ("unit", "torch", "caffe"),
    "reduction": ("mean", "sum"),
    "trained_on": ("normalised", "caffe", "torchvision"),
    "style_fit": ("long_side", "width", "content"),
}
"""Field → words it may hold; other words are checked where they are looked up."""

_RUN_FIELDS = ("size", "steps", "style_scale", "init", "seed")


def option_fields(kind: type = Recipe) -> tuple[dataclasses.Field, ...]:
    """The fields of a dataclass, such as `Recipe`, that are options of the command line, in its order."""
    return tuple(item for item in dataclasses.fields(kind) if item.metadata)


def check_option(item: dataclasses.Field, value: Any) -> None:
    """Checks a value for a field made by `option`.

    Raises:
        UsageError: unless it may stand there.
    """
    choices, kind, low, high = (item.metadata[name] for name in ("choices", "kind", "low", "high"))
    if choices and value not in choices:
        raise UsageError(unknown_name(item.name, value, choices))
    if kind is str:
        return
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not math.isfinite(value):
        raise UsageError(f"{item.name} should be a finite {kind.__name__}, not {value!r}.")
    if value < low:
        raise UsageError(f"{item.name} should be at least {low:g}, not {value!r}.")
    if value > high:
        raise UsageError(f"{item.name} should be at most {high:.12g}, not {value!r}.")


def scale_sizes(recipe: Recipe, long_side: int, short_side: int) -> tuple[int, ...]:
    """Long sides of the scales, coarse to fine.

    From `long_side` down by `scale_factor`, as long as the long side stays at least `scale_start` and the shortest side
    at least 32 pixels, so that even the coarsest picture means something at VGG-19's deepest layers.

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

    Without `steps` they are `scale_steps`, its last number repeated for further scales or its first ones dropped;
    with it, that total divided in the same proportions (largest remainders first), the finest scale never without.
    """
    planned = recipe.scale_steps + recipe.scale_steps[-1:] * (scales - len(recipe.scale_steps))
    planned = planned[len(planned) - scales :]
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
