"""Recipes published in papers, tutorials and well-known programs, each value next to its source."""

from __future__ import annotations

import math

from tfstyle.recipes.loss import Loss, TermWeights
from tfstyle.recipes.parts import LBFGS, SGD, Adam, Decay, Network, Parametrization, Start, StyleSize
from tfstyle.recipes.presets import WASSERSTEIN_WEIGHTS
from tfstyle.recipes.pyramid import Pyramid
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import STYLE_LAYERS, layer_names


def _over_squared_filters(first: float, layers: tuple[str, ...], filters: tuple[int, ...]) -> dict[str, float]:
    """Returns layer weights: `first` divided by the square of each layer's number of filters."""
    return {layer: first / count**2 for layer, count in zip(layers, filters, strict=True)}


STYLE_FILTERS = (64, 128, 256, 512, 512)

FIRST_FIVE_LAYERS = _over_squared_filters(1.0, layer_names()[:5], (64, 64, 128, 128, 256))
"""Gram / (b c h w), as in PyTorch's tutorial."""

PYTORCH_LBFGS = Recipe(
    name="pytorch-lbfgs",
    summary="PyTorch's tutorial: first five convolutions, L-BFGS, 100 evaluations, the photograph's own size",
    # https://pytorch.org/tutorials/advanced/neural_style_tutorial.html. The image is clamped before each evaluation,
    # hence after each step; the stored step s is not clamped.
    source="A. Jacq, PyTorch tutorial 'Neural Transfer Using PyTorch', as run by this project's owner",
    departures=(
        "100 evaluations, as this project's owner ran it; the tutorial takes 300.",
        "A step of L-BFGS changes the pixels by at most 0.2 (root mean square, of 0 to 1); torch sets no limit, and "
        "on the embedded network its second step can lose the photograph's content for the next hundred steps.",
    ),
    loss=Loss(content_layers={"block2_conv2": 1.0}, style_layers=FIRST_FIVE_LAYERS),
    term_weights=TermWeights(style_weight=1e6),
    network=Network(activation="pre", trained_on="torchvision"),
    optimizer=LBFGS(history=100, store_projected_step=False, max_step_rms=0.2),
    pyramid=Pyramid(size=0),
    style_size=StyleSize(style_resize="content"),
)

AVGPOOL_NOISE = Recipe(
    name="avgpool-noise",
    summary="first five convolutions, average pooling, noise start: 128 px, 180 Adam steps at rate 0.1",
    # The project owner's variant; its exercises use style weights 1e5 (6 steps), 1e6 and 1e7 (600 steps), both starts.
    source="this project's owner",
    loss=PYTORCH_LBFGS.loss,
    term_weights=PYTORCH_LBFGS.term_weights,
    network=Network(activation="pre", trained_on="torchvision", published_scale="none", pooling="average"),
    optimizer=Adam(learning_rate=0.1),
    pyramid=Pyramid(size=128, scale_steps=(180,)),
    start=Start(init="noise", noise=1.0),
    style_size=PYTORCH_LBFGS.style_size,
)

TENSORFLOW_TUTORIAL = Recipe(
    name="tensorflow-tutorial",
    summary="TensorFlow's tutorial as run by this project's owner: 600 px, 100 Adam steps, heavy total variation",
    # https://www.tensorflow.org/tutorials/generative/style_transfer
    source="TensorFlow tutorial 'Neural style transfer', as run by this project's owner",
    departures=(
        "600 px, 100 steps and 1e8 times the mean squared differences as total variation, as this project's owner ran "
        "it; the notebook has 512 px, 1000 steps and 30 times tf.image.total_variation.",
    ),
    loss=Loss(content_layers={"block5_conv2": 1.0}),  # The tutorial takes the mean over its five style layers.
    term_weights=TermWeights(content_weight=1e4, style_weight=1e-2, tv_weight=1e8),
    network=Network(trained_on="caffe"),
    optimizer=Adam(learning_rate=0.02, beta_1=0.99, epsilon=0.1),
    pyramid=Pyramid(size=600),
)

D2L = Recipe(
    name="d2l",
    summary="Dive into Deep Learning 14.12: 500 Adam steps at rate 0.3 on the normalized image",
    # https://d2l.ai/chapter_computer-vision/neural-style.html
    source="A. Zhang et al.: Dive into Deep Learning, section 14.12, as run by this project's owner",
    departures=(
        "500 px and a learning rate that decays every 200 steps, as this project's owner ran it; the book has 450 px "
        "and every 50 steps.",
        "Keeps the photograph's shape; the book resizes every photograph to one shape.",
    ),
    loss=Loss(
        content_layers={"block4_conv4": 1.0},
        style_layers=_over_squared_filters(1.0, STYLE_LAYERS, STYLE_FILTERS),  # Gram / (c h w).
        total_variation="absolute",
    ),
    term_weights=TermWeights(style_weight=1e4, tv_weight=10.0),
    network=Network(activation="pre", trained_on="torchvision"),
    optimizer=Adam(learning_rate=0.3, decay=Decay(rate=0.8, steps=200, staircase=True)),
    parametrization=Parametrization(space="torch", clip=False),
    pyramid=Pyramid(size=500, scale_steps=(500,)),
    style_size=StyleSize(style_resize="content"),
)

JOHNSON = Recipe(
    name="johnson",
    summary="neural-style (J. Johnson) in its PyTorch form: noise start, L-BFGS with history 100, 1000 evaluations",
    # https://github.com/ProGamerGov/neural-style-pt, defaults; its Lua original scales the total variation differently.
    source="J. Johnson: neural-style; ProGamerGov: neural-style-pt",
    loss=Loss(
        content_layers={"block4_conv2": 1.0},
        style_layers=_over_squared_filters(1.0, STYLE_LAYERS, STYLE_FILTERS),  # Gram / (C H W).
        total_variation="absolute_sum",
    ),
    term_weights=TermWeights(content_weight=5.0, style_weight=100.0, tv_weight=1e-3),
    network=Network(trained_on="caffe"),
    optimizer=LBFGS(history=100),
    parametrization=Parametrization(space="caffe", clip=False),
    pyramid=Pyramid(scale_steps=(1000,)),
    start=Start(init="noise", noise=0.001),
)

GATYS = Recipe(
    name="gatys",
    summary="the notebook of Gatys et al.: L-BFGS, 500 evaluations at 512 px and 200 at 800",
    # https://github.com/leongatys/PytorchNeuralStyleTransfer: content layer r42 with weight 1, style 1e3 / C^2. At
    # normalized magnitudes the first pair of L-BFGS has a curvature below torch's 1e-10 and the image never changes.
    source="L. Gatys, A. Ecker, M. Bethge (CVPR 2016); Gatys' notebook PytorchNeuralStyleTransfer",
    departures=(
        "512 and 800 px are the long sides of photograph and painting; in the notebook they are the short sides: for a "
        "4:3 photograph, `size` 1067 gives the notebook's two sizes.",
        "The notebook does not say what its file vgg_conv.pth holds; its numbers are taken to be for raw VGG-19.",
        "The image is carried to the second size in full precision; the notebook rounds it to 8 bits.",
    ),
    loss=Loss(
        content_layers={"block4_conv2": 1.0},
        style_layers=_over_squared_filters(1e3, STYLE_LAYERS, STYLE_FILTERS),
    ),
    network=Network(trained_on="caffe"),
    optimizer=LBFGS(history=100),
    parametrization=Parametrization(space="caffe", clip=False),
    pyramid=Pyramid(size=800, scale_start=512, scale_factor=800 / 512, scale_steps=(200,), first_steps=500),
)

ANISH = Recipe(
    name="anish",
    summary="anishathalye/neural-style: noise start, 1000 Adam steps at rate 10, the photograph's own size",
    # https://github.com/anishathalye/neural-style, defaults. Its pixels are RGB; the losses do not depend on the order.
    source="A. Athalye: neural-style",
    departures=("The result is the last iterate; the source keeps the one with the lowest loss.",),
    loss=Loss(
        content_layers={"block4_conv2": 1.0},
        style_layers=_over_squared_filters(0.2, STYLE_LAYERS, STYLE_FILTERS),  # Gram / (H W C), equal layer weights.
    ),
    term_weights=TermWeights(content_weight=5.0, style_weight=500.0, tv_weight=100.0),
    network=Network(trained_on="caffe"),
    optimizer=Adam(learning_rate=10.0, epsilon=1e-8),
    parametrization=Parametrization(space="caffe", clip=False),
    pyramid=Pyramid(size=0, scale_steps=(1000,)),
    start=Start(init="noise", noise=0.256),
    style_size=StyleSize(style_resize="width"),
)

KERAS_IO = Recipe(
    name="keras-io",
    summary="Keras' own example: sums instead of means, 4000 SGD steps, initial rate 100, which suits 600 px only",
    # https://keras.io/examples/generative/neural_style_transfer
    source="F. Chollet, keras.io example 'Neural style transfer'",
    departures=("The long side has 600 px; the example resizes to 400 rows.",),
    loss=Loss(content_layers={"block5_conv2": 1.0}, statistic="summed_gram", reduction="sum", total_variation="power"),
    term_weights=TermWeights(content_weight=2.5e-8, style_weight=1e-6, tv_weight=1e-6),
    network=Network(trained_on="caffe"),
    optimizer=SGD(learning_rate=100.0, decay=Decay(rate=0.96, steps=100)),
    parametrization=Parametrization(space="caffe", clip=False),
    pyramid=Pyramid(size=600, scale_steps=(4000,)),
    style_size=StyleSize(style_resize="content"),
)

CROWSON = Recipe(
    name="crowson",
    summary="style-transfer-pytorch: distance of mean and covariance, √2 pyramid, averaged Adam; an hour at 512 px",
    # https://github.com/crowsonkb/style-transfer-pytorch, defaults.
    source="K. Crowson: style-transfer-pytorch",
    departures=(
        "A painting with a short side below 256 pixels is enlarged as far; the source leaves it at its own size.",
        "Adam's first moment is resized by TensorFlow's bicubic kernel (a = -0.5); the source's has a = -0.75.",
    ),
    loss=Loss(
        content_layers={"block4_conv2": 1.0},
        style_layers=WASSERSTEIN_WEIGHTS,
        statistic="mean_gram",
        distance="wasserstein_newton_schulz",
        total_variation="nine_point",
    ),
    term_weights=TermWeights(content_weight=0.015, tv_weight=2.0),
    network=Network(padding_mode="replicate", trained_on="torchvision"),
    optimizer=Adam(learning_rate=0.02, beta_2=0.99, epsilon=1e-8),
    parametrization=Parametrization(ema_decay=0.99),
    pyramid=Pyramid(scale_start=128, scale_factor=math.sqrt(2), scale_steps=(500,), first_steps=1000, warm_start=True),
    style_size=StyleSize(style_enlarge=False),
)
