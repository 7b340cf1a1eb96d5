"""Names → recipes: what the papers and tutorials used, as frozen values, each number beside its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, lookup, unknown_name
from tfstyle.recipe import Recipe, layer_names

WASSERSTEIN_WEIGHTS = tuple(weight / 341 for weight in (256, 64, 16, 4, 1))
"""Style layer weights of style-transfer-pytorch, over their sum."""

BALANCED = Recipe(
    name="balanced",
    summary="ours, the default: coarse to fine, distance of mean and covariance, L-BFGS; a minute at 512 px",
    # The style loss and its layer weights are those of `crowson`, but for the iteration that finds the root.
    source="tfstyle, tuned by the figures of metrics.compare and by eye on 6 to 12 pairs",
    content_layers=("block4_conv2",),
    style_layer_weights=WASSERSTEIN_WEIGHTS,
    statistic="mean_gram",
    style_loss="wasserstein",
    edge="replicate",
    rounding="ceil",  # With "floor", and with the painting's own edges, pale bands came out at the lower edge.
    style_margin=0.02,
    optimizer="lbfgs",
    learning_rate=1.0,
    longest_step=0.04,  # Without it an early step can be so long that light and dark end exchanged, or a sky has spots.
    scale_start=90,  # From 128 / √2, so that sizes near 512 and 256 have as many scales as these.
    scale_steps=(60, 40, 28),
    add_detail=True,  # Straight lines stay straight, and the loss falls as far in three quarters of the evaluations.
    warm_start=True,
    content_weight=0.0125,
    tv_weight=2.0,
)

DRAFT = dataclasses.replace(
    BALANCED,
    name="draft",
    summary="ours, a preview: a third of the time, in bfloat16 where that is faster; some ten seconds at 512 px",
    precision="auto",
    scale_steps=(20, 12, 8),
)

BEST = dataclasses.replace(
    BALANCED,
    name="best",
    summary="ours, finished: truer to the photograph's shapes and the painting's colours, in three times the time",
    scale_steps=(150, 80, 110),
    content_weight=0.0135,
)

FIRST_FIVE = layer_names()[:5]
FIRST_FIVE_FILTERS = (64, 64, 128, 128, 256)
STYLE_FILTERS = (64, 128, 256, 512, 512)

PYTORCH_LBFGS = Recipe(
    name="pytorch-lbfgs",
    summary="PyTorch's tutorial: first five convolutions, L-BFGS, 100 evaluations, the photograph's own size",
    # https://pytorch.org/tutorials/advanced/neural_style_tutorial.html; 100 evaluations as the project's owner ran it
    # (300 there). The image is clamped before each evaluation, which is after each step; s stays unclamped.
    source="A. Jacq, PyTorch tutorial 'Neural Transfer Using PyTorch', as run by this project's owner",
    content_layers=("block2_conv2",),
    style_layers=FIRST_FIVE,
    style_layer_weights=tuple(1.0 / filters**2 for filters in FIRST_FIVE_FILTERS),  # Gram / (b c h w).
    taps="conv",
    trained_on="torchvision",
    optimizer="lbfgs",
    learning_rate=1.0,
    history=100,
    true_steps=False,
    style_fit="content",
    size=0,
    style_weight=1e6,
)

AVGPOOL_NOISE = dataclasses.replace(
    PYTORCH_LBFGS,
    name="avgpool-noise",
    summary="the same layers with average pooling, from noise: 128 px, 180 Adam steps at rate 0.1",
    # The owner's variant, with its exercises: style weights 1e5 (6 steps), 1e6 and 1e7 (600 steps), both starts.
    source="this project's owner",
    published_scale="none",
    optimizer="adam",
    learning_rate=0.1,
    true_steps=True,
    noise=1.0,
    scale_steps=(180,),
    size=128,
    init="noise",
    pooling="average",
)

TENSORFLOW_TUTORIAL = Recipe(
    name="tensorflow-tutorial",
    summary="TensorFlow's tutorial as its owner ran it: 600 px, 100 Adam steps, heavy total variation",
    # https://www.tensorflow.org/tutorials/generative/style_transfer; weights, size and total variation as the
    # project's owner ran it (the published notebook has 512 px, 1000 steps, another total variation).
    source="TensorFlow tutorial 'Neural style transfer', as run by this project's owner",
    content_layers=("block5_conv2",),
    style_layer_weights=(0.2,) * 5,  # The tutorial takes the mean over its five layers.
    trained_on="caffe",
    optimizer="adam",
    learning_rate=0.02,
    beta_1=0.99,
    epsilon=0.1,
    size=600,
    content_weight=1e4,
    style_weight=1e-2,
    tv_weight=1e8,
)

D2L = Recipe(
    name="d2l",
    summary="Dive into Deep Learning 14.12: 500 Adam steps at rate 0.3 on the normalised image",
    # https://d2l.ai/chapter_computer-vision/neural-style.html; 500 px and a decay every 200 steps as the project's
    # owner ran it (450 px, every 50). The book resizes to 400x500 whatever the photograph's shape; its shape is kept.
    source="A. Zhang et al.: Dive into Deep Learning, section 14.12, as run by this project's owner",
    content_layers=("block4_conv4",),
    style_layer_weights=tuple(1.0 / filters**2 for filters in STYLE_FILTERS),  # Gram / (c h w).
    tv_form="absolute",
    taps="conv",
    trained_on="torchvision",
    space="torch",
    optimizer="adam",
    learning_rate=0.3,
    decay_rate=0.8,
    decay_steps=200,
    staircase=True,
    clip=False,
    style_fit="content",
    scale_steps=(500,),
    size=500,
    style_weight=1e4,
    tv_weight=10.0,
)

JOHNSON = Recipe(
    name="johnson",
    summary="neural-style (J. Johnson) in its PyTorch form: noise start, L-BFGS with history 100, 1000 evaluations",
    # https://github.com/ProGamerGov/neural-style-pt, defaults; its Lua original divides the total variation otherwise.
    source="J. Johnson: neural-style; ProGamerGov: neural-style-pt",
    content_layers=("block4_conv2",),
    style_layer_weights=tuple(1.0 / filters**2 for filters in STYLE_FILTERS),  # Gram / (C H W).
    tv_form="sum",
    trained_on="caffe",
    space="caffe",
    optimizer="lbfgs",
    learning_rate=1.0,
    history=100,
    clip=False,
    noise=0.001,
    scale_steps=(1000,),
    content_weight=5.0,
    style_weight=100.0,
    tv_weight=1e-3,
    init="noise",
)

GATYS = Recipe(
    name="gatys",
    summary="the notebook of Gatys et al.: L-BFGS, 500 evaluations at 512 px and 200 at 800",
    # https://github.com/leongatys/PytorchNeuralStyleTransfer: content r42 weight 1, style 1e3 / C^2. Which network its
    # vgg_conv.pth holds is not said. At normalised magnitudes the first pair of L-BFGS has a curvature below torch's
    # 1e-10 and the image never moves, so the numbers are taken to be for the raw network.
    source="L. Gatys, A. Ecker, M. Bethge (CVPR 2016); Gatys' notebook PytorchNeuralStyleTransfer",
    content_layers=("block4_conv2",),
    style_layer_weights=tuple(1e3 / filters**2 for filters in STYLE_FILTERS),
    trained_on="caffe",
    space="caffe",
    optimizer="lbfgs",
    learning_rate=1.0,
    history=100,
    clip=False,
    scale_start=512,
    scale_factor=800 / 512,
    scale_steps=(500, 200),
    size=800,
)

ANISH = Recipe(
    name="anish",
    summary="anishathalye/neural-style: noise start, 1000 Adam steps at rate 10, the photograph's own size",
    # https://github.com/anishathalye/neural-style, defaults. Its pixels are RGB; the losses do not see the order.
    # It keeps the iterate of lowest loss, where this keeps the last.
    source="A. Athalye: neural-style",
    content_layers=("block4_conv2",),
    style_layer_weights=tuple(0.2 / filters**2 for filters in STYLE_FILTERS),  # Gram / (H W C), equal layers.
    tv_form="squared",
    trained_on="caffe",
    space="caffe",
    optimizer="adam",
    learning_rate=10.0,
    epsilon=1e-8,
    clip=False,
    noise=0.256,
    style_fit="width",
    scale_steps=(1000,),
    size=0,
    content_weight=5.0,
    style_weight=500.0,
    tv_weight=100.0,
    init="noise",
)

KERAS_IO = Recipe(
    name="keras-io",
    summary="Keras' own example: sums instead of means, 4000 SGD steps from rate 100, which suits 600 px only",
    # https://keras.io/examples/generative/neural_style_transfer: 400 rows there, a long side of 600 pixels here.
    source="F. Chollet, keras.io example 'Neural style transfer'",
    content_layers=("block5_conv2",),
    statistic="summed_gram",
    reduction="sum",
    tv_form="power",
    trained_on="caffe",
    space="caffe",
    optimizer="sgd",
    learning_rate=100.0,
    decay_rate=0.96,
    decay_steps=100,
    clip=False,
    style_fit="content",
    scale_steps=(4000,),
    size=600,
    content_weight=2.5e-8,
    style_weight=1e-6,
    tv_weight=1e-6,
)

CROWSON = Recipe(
    name="crowson",
    summary="style-transfer-pytorch: distance of mean and covariance, 128 to 512 px by root 2, averaged Adam; an hour",
    # https://github.com/crowsonkb/style-transfer-pytorch, defaults.
    source="K. Crowson: style-transfer-pytorch",
    content_layers=("block4_conv2",),
    style_layer_weights=WASSERSTEIN_WEIGHTS,
    statistic="mean_gram",
    style_loss="wasserstein_newton_schulz",
    tv_form="nine_point",
    edge="replicate",
    trained_on="torchvision",
    optimizer="adam",
    learning_rate=0.02,
    beta_2=0.99,
    epsilon=1e-8,
    warm_start=True,
    average=0.99,
    scale_start=128,
    scale_factor=math.sqrt(2),
    scale_steps=(1000, 500),
    content_weight=0.015,
    tv_weight=2.0,
)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            BALANCED,
            DRAFT,
            BEST,
            TENSORFLOW_TUTORIAL,
            PYTORCH_LBFGS,
            AVGPOOL_NOISE,
            D2L,
            JOHNSON,
            GATYS,
            ANISH,
            KERAS_IO,
            CROWSON,
        )
    }
)
"""Every recipe by its name."""


def get_recipe(name: str | Recipe, **overrides: Any) -> Recipe:
    """Returns the recipe of that name, with some of its fields replaced.

    Args:
        name: a name in `RECIPES`, "default" for `balanced`, or a recipe of your own.
        **overrides: new values for its fields.

    Returns:
        A frozen `Recipe`.

    Raises:
        UsageError: if the name or a field is unknown, or a value is out of range.
    """
    recipe = name if isinstance(name, Recipe) else lookup("recipe", name, {"default": BALANCED, **RECIPES})
    fields = [item.name for item in dataclasses.fields(Recipe)]
    for override in overrides:
        if override not in fields:
            raise UsageError(unknown_name("recipe field", override, fields))
    return dataclasses.replace(recipe, **overrides)
