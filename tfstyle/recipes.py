"""Names → numbers: what the papers and tutorials used, as frozen values with their sources. No TensorFlow here.

A recipe says which layers are looked at, what is asked of them and how the image moves. The command line's options,
their defaults and their types are read from the fields of `Recipe`, so they cannot disagree with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tfstyle.errors import unknown_name

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

STYLE_LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
"""The five style layers of Gatys, Ecker & Bethge (2016), section 2.2."""


def _option(default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = -math.inf) -> Any:
    """A field that is also an option of the command line; `low` is the smallest value allowed."""
    return field(default=default, metadata={"help": help, "choices": choices, "kind": type(default), "low": low})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a picture, apart from the two pictures it is made from.

    The loss is `content_weight` Σ w · content + `style_weight` Σ w · style + `tv_weight` · total variation, the sums
    over layers with the per-layer weights w. Fields made by `_option` are options of the command line under the same
    name.

    Attributes:
        name: what `--recipe` calls it.
        summary: one line for a person choosing.
        source: where its numbers were published.
        content_layers, content_layer_weights: layers whose features are kept near the photograph's, and their w.
        style_layers, style_layer_weights: layers whose statistic is moved to the painting's, and their w.
        statistic: what is compared at the style layers: "gram", "mean_deviation", "covariance" or "spectrum".
        relative: divide each layer's loss by the mean square of its target (`losses.layer_losses`).
        taps: "relu" looks at a layer after its ReLU, "conv" before.
        trained_on: the network its numbers were published for: "normalised" (the embedded one), "caffe" (Keras' raw
            VGG-19) or "torchvision".
        tv_form: which published total variation (`losses.TOTAL_VARIATIONS`).
        optimizer: "adam", "sgd" or "lbfgs".
        learning_rate, beta_1, beta_2, epsilon: of the optimiser, in units of the image; the last three Adam's only.
        history: pairs that L-BFGS remembers.
        clip: put the image back into [0, 1] after each step.
        scale_start: long side of the coarsest scale in pixels; 0 works at one scale only.
        scale_factor: ratio of one scale to the one before.
        scale_steps: steps at each scale, coarse to fine. A longer ladder repeats the last number; a shorter one drops
            the first ones, the coarsest.
    """

    name: str
    summary: str
    source: str

    content_layers: tuple[str, ...]
    content_layer_weights: tuple[float, ...]
    style_layers: tuple[str, ...] = STYLE_LAYERS
    style_layer_weights: tuple[float, ...] = (0.2,) * 5
    statistic: str = "gram"
    relative: bool = False
    taps: str = "relu"
    trained_on: str = "normalised"
    tv_form: str = "squared"

    optimizer: str = "adam"
    learning_rate: float = 0.02
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    history: int = 10
    clip: bool = True
    scale_start: int = 0
    scale_factor: float = 2.0
    scale_steps: tuple[int, ...] = (100,)

    size: int = _option(512, "long side of the result in pixels; a smaller picture is enlarged only when asked", low=16)
    steps: int = _option(0, "steps in all, shared among the scales as the recipe does", low=0)
    content_weight: float = _option(1.0, "how much the photograph's shapes count", low=0.0)
    style_weight: float = _option(1.0, "how much the painting's manner counts (the whole style term)", low=0.0)
    tv_weight: float = _option(0.0, "how much smoothness counts (total variation)", low=0.0)
    init: str = _option("content", "the image to start from: content, noise or a picture file")
    seed: int = _option(0, "seed of the start noise", low=0)
    weights: str = _option("embedded", "network weights: embedded, imagenet, or a .h5, .pth or .safetensors file")
    pooling: str = _option("max", "pooling between blocks", choices=("max", "average"))
    input_scale: str = _option(
        "auto",
        "pixel range the weights were trained on: keras (BGR, 0-255), torch (RGB, normalised), none (RGB, 0-1), "
        "or auto: torch for a .pth file, else keras",
        choices=("auto", "keras", "torch", "none"),
    )

    def __post_init__(self) -> None:
        """Checks every value that could have been typed; raises ValueError with one line."""
        for item in option_fields():
            _check_option(item, getattr(self, item.name))
        for kind in ("content", "style"):
            layers, weights = getattr(self, f"{kind}_layers"), getattr(self, f"{kind}_layer_weights")
            for layer in layers:
                if layer not in RAW_SCALES:
                    raise ValueError(unknown_name(f"{kind} layer", layer, RAW_SCALES))
            if len(layers) != len(weights):
                raise ValueError(f"{kind}_layers names {len(layers)} layers but {len(weights)} weights are given.")
        if not self.content_weight + self.style_weight > 0:
            raise ValueError("content_weight and style_weight are both 0; give at least one a positive weight.")

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

    def compiled_part(self) -> Recipe:
        """This recipe with every field set aside that may change without a new compiled graph."""
        shared: dict[str, Any] = {item.name: item.default for item in option_fields() if item.name in _RUN_FIELDS}
        used = {name: float(getattr(self, name) > 0) for name in ("content_weight", "style_weight", "tv_weight")}
        shared |= {"name": "", "summary": "", "source": "", "scale_start": 0, "scale_factor": 2.0, "scale_steps": (1,)}
        return dataclasses.replace(self, **(shared | used))


_RUN_FIELDS = ("size", "steps", "init", "seed")


def option_fields() -> tuple[dataclasses.Field, ...]:
    """The fields of `Recipe` that are options of the command line, in its order."""
    return tuple(item for item in dataclasses.fields(Recipe) if item.metadata)


def _check_option(item: dataclasses.Field, value: Any) -> None:
    """Raises ValueError unless `value` may stand in the field."""
    choices, kind, low = item.metadata["choices"], item.metadata["kind"], item.metadata["low"]
    if choices and value not in choices:
        raise ValueError(unknown_name(item.name, value, choices))
    if kind is str:
        return
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not math.isfinite(value):
        raise ValueError(f"{item.name} should be a finite {kind.__name__}, not {value!r}.")
    if value < low:
        raise ValueError(f"{item.name} should be at least {low:g}, not {value!r}.")


def scale_sizes(recipe: Recipe, long_side: int, short_side: int) -> tuple[int, ...]:
    """Long sides of the scales, coarse to fine.

    From `long_side` down by `scale_factor`, as long as the long side stays at least `scale_start` and the short side
    at least 32 pixels, so that even the coarsest picture means something at VGG-19's deepest layers.
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


TENSORFLOW_TUTORIAL = Recipe(
    name="tensorflow-tutorial",
    summary="TensorFlow's tutorial as its owner ran it: 600 px, 100 Adam steps, heavy total variation",
    # https://www.tensorflow.org/tutorials/generative/style_transfer; weights, size and total variation as the
    # project's owner ran it (the published notebook has 512 px, 1000 steps, another total variation).
    source="TensorFlow tutorial 'Neural style transfer', as run by this project's owner",
    content_layers=("block5_conv2",),
    content_layer_weights=(1.0,),
    style_layer_weights=(0.2,) * 5,  # The tutorial takes the mean over its five layers.
    trained_on="caffe",
    tv_form="squared",
    optimizer="adam",
    learning_rate=0.02,
    beta_1=0.99,
    epsilon=0.1,
    scale_steps=(100,),
    size=600,
    content_weight=1e4,
    style_weight=1e-2,
    tv_weight=1e8,
)

DEFAULT = Recipe(
    name="default",
    summary="our best picture in about a minute: coarse to fine, L-BFGS, embedded network",
    source="tfstyle",
    content_layers=("block4_conv2",),
    content_layer_weights=(1.0,),
    optimizer="lbfgs",
    learning_rate=1.0,
    scale_start=128,
    scale_steps=(100, 60, 25),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (DEFAULT, TENSORFLOW_TUTORIAL)})


def get_recipe(name: str | Recipe, **overrides: Any) -> Recipe:
    """Returns the recipe of that name, with some of its fields replaced.

    Args:
        name: a name in `RECIPES`, or a recipe of your own.
        **overrides: new values for its fields.

    Returns:
        A frozen `Recipe`.

    Raises:
        ValueError: if the name or a field is unknown, or a value is out of range.
    """
    if not isinstance(name, Recipe) and name not in RECIPES:
        raise ValueError(unknown_name("recipe", name, RECIPES))
    recipe = name if isinstance(name, Recipe) else RECIPES[name]
    fields = [item.name for item in dataclasses.fields(Recipe)]
    for override in overrides:
        if override not in fields:
            raise ValueError(unknown_name("recipe field", override, fields))
    return dataclasses.replace(recipe, **overrides)
