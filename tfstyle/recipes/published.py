"""Names → recipes: what the papers and tutorials used, as frozen values, each number beside its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfstyle.errors import UsageError, lookup, unknown_name
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import layer_names

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
    first_steps=40,  # So that a picture of less than 180 px, at one scale, is worked on as much as one a little larger.
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
    first_steps=12,
)

BEST = dataclasses.replace(
    BALANCED,
    name="best",
    summary="ours, highest quality: truer to shapes and colors, in three times the time",
    scale_steps=(150, 80, 110),
    first_steps=80,
    content_weight=0.0135,
)

FIRST_FIVE = layer_names()[:5]
FIRST_FIVE_FILTERS = (64, 64, 128, 128, 256)
STYLE_FILTERS = (64, 128, 256, 512, 512)

PYTORCH_LBFGS = Recipe(
    name="pytorch-lbfgs",
    summary="PyTorch's tutorial: first five convolutions, L-BFGS, 100 evaluations, the photograph's own size",
    # https://pytorch.org/tutorials/advanced/neural_style_tutorial.html. The image is clamped before each evaluation,
    # which is after each step; s stays unclamped.
    source="A. Jacq, PyTorch tutorial 'Neural Transfer Using PyTorch', as run by this project's owner",
    departures=(
        "100 evaluations, as this project's owner ran it; the tutorial takes 300.",
        "A step of L-BFGS changes the pixels by at most 0.2 (root mean square, of 0 to 1); torch's has no bound, and "
        "on the embedded network its second step can lose the photograph for the next hundred.",
    ),
    content_layers=("block2_conv2",),
    style_layers=FIRST_FIVE,
    style_layer_weights=tuple(1.0 / filters**2 for filters in FIRST_FIVE_FILTERS),  # Gram / (b c h w).
    taps="conv",
    trained_on="torchvision",
    optimizer="lbfgs",
    learning_rate=1.0,
    history=100,
    true_steps=False,
    longest_step=0.2,
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
    departures=(),
    published_scale="none",
    optimizer="adam",
    learning_rate=0.1,
    true_steps=True,
    longest_step=0.0,
    noise=1.0,
    scale_steps=(180,),
    size=128,
    init="noise",
    pooling="average",
)

TENSORFLOW_TUTORIAL = Recipe(
    name="tensorflow-tutorial",
    summary="TensorFlow's tutorial as its owner ran it: 600 px, 100 Adam steps, heavy total variation",
    # https://www.tensorflow.org/tutorials/generative/style_transfer
    source="TensorFlow tutorial 'Neural style transfer', as run by this project's owner",
    departures=(
        "600 px, 100 steps and 1e8 times the mean squared differences as total variation, as this project's owner ran "
        "it; the notebook has 512 px, 1000 steps and 30 times tf.image.total_variation.",
    ),
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
    # https://d2l.ai/chapter_computer-vision/neural-style.html
    source="A. Zhang et al.: Dive into Deep Learning, section 14.12, as run by this project's owner",
    departures=(
        "500 px and a learning rate that falls every 200 steps, as this project's owner ran it; the book has 450 px "
        "and every 50.",
        "Keeps the photograph's shape; the book resizes every photograph to one shape.",
    ),
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
    # https://github.com/leongatys/PytorchNeuralStyleTransfer: content r42 weight 1, style 1e3 / C^2. At normalised
    # magnitudes the first pair of L-BFGS has a curvature below torch's 1e-10 and the image never moves.
    source="L. Gatys, A. Ecker, M. Bethge (CVPR 2016); Gatys' notebook PytorchNeuralStyleTransfer",
    departures=(
        "512 and 800 px are the long sides of photograph and painting; in the notebook they are the short sides: for a "
        "photograph of 4:3, `size` 1067 gives the notebook's two sizes.",
        "The notebook does not say what its file vgg_conv.pth holds; its numbers are taken to be for raw VGG-19.",
        "The image goes to the second size in full precision; the notebook rounds it to 8 bits.",
    ),
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
    scale_steps=(200,),
    first_steps=500,
    size=800,
)

ANISH = Recipe(
    name="anish",
    summary="anishathalye/neural-style: noise start, 1000 Adam steps at rate 10, the photograph's own size",
    # https://github.com/anishathalye/neural-style, defaults. Its pixels are RGB; the losses do not see the order.
    source="A. Athalye: neural-style",
    departures=("The result is the last iterate; the source keeps the one of lowest loss.",),
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
    # https://keras.io/examples/generative/neural_style_transfer
    source="F. Chollet, keras.io example 'Neural style transfer'",
    departures=("The long side has 600 px; the example resizes to 400 rows.",),
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
    summary="style-transfer-pytorch: distance of mean and covariance, √2 pyramid, averaged Adam; an hour at 512 px",
    # https://github.com/crowsonkb/style-transfer-pytorch, defaults.
    source="K. Crowson: style-transfer-pytorch",
    departures=(
        "A painting smaller than the result is enlarged; the source leaves it at its own size.",
        "Adam's first moment is resized by TensorFlow's bicubic kernel (a = -0.5); the source's has a = -0.75.",
    ),
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
    scale_steps=(500,),
    first_steps=1000,
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
