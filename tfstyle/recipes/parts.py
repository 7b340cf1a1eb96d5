"""Parts of a recipe, frozen self-validating values: network, optimizer, parametrization, start, style size, colors.

Each part is passed as a whole to the module that uses it. Fields made by `option` are also command-line options.
Imports no TensorFlow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePath

from tfstyle.errors import UsageError, unknown_name
from tfstyle.fields import LARGEST_SEED, CheckedFields, check_fields, field, option

BUILT_IN = ("embedded", "imagenet")
"""Weights that are no file of yours."""

STARTS = ("content", "noise", "adain")
"""Names of start images; any other value is the path of a picture."""

COLORS = ("style", "content", "match", "histogram")
"""Which colors a result has; see `ColorTransfer`."""


@dataclass(frozen=True, kw_only=True)
class Network(CheckedFields):
    """The network whose features are compared, and how it computes.

    Attributes:
        weights: "embedded", "imagenet", or a weights file.
        pooling: "max" or "average", between the blocks.
        precision: of the convolutions: "float32", "bfloat16", or "auto": bfloat16 where it is faster.
        flip_kernels: whether gradients are computed with flipped kernels (`environment.should_flip_kernels`).
        input_scale: pixel format the network was trained on, as for `vgg.VGG`, or "auto".
        activation: "post" takes features after the ReLU, "pre" before it.
        padding_mode: padding of the convolutions: "zero"; "replicate", for the first one only; "reflect", for all.
        ceil_mode: whether pooling keeps an odd last row or column. Otherwise an image's last rows and columns do not
            reach deep layers, unless its sides are multiples of 16.
        trained_on: the network that the recipe was published for: "normalized" (the embedded one), "caffe" (Keras' raw
            VGG-19) or "torchvision".
        published_scale: input scale of the published network if that is torchvision's: "torch", or "none" (0-1).
    """

    weights: str = option("embedded", "network weights: embedded, imagenet, or a .h5, .pth or .safetensors file")
    pooling: str = option("max", "pooling between the blocks of the network", choices=("max", "average"))
    precision: str = option(
        "float32",
        "precision of the convolutions; auto is bfloat16 where that is faster",
        choices=("auto", "float32", "bfloat16"),
    )
    flip_kernels: str = option(
        "auto",
        "gradients by flipped kernels: faster on processors without oneDNN, equal up to rounding",
        choices=("auto", "on", "off"),
    )
    input_scale: str = option(
        "auto",
        "pixels the network was trained on: keras (BGR, 0-255, minus the mean), torch (RGB, normalized), none (RGB, "
        "0-1), or auto: torch for a .pth or .safetensors file with torch's layer names, else keras; Caffe's weights "
        "in a .pth file need keras",
        choices=("auto", "keras", "torch", "none"),
    )
    activation: str = field("post", choices=("post", "pre"))
    padding_mode: str = field("zero", choices=("zero", "replicate", "reflect"))
    ceil_mode: bool = False
    trained_on: str = field("normalized", choices=("normalized", "caffe", "torchvision"))
    published_scale: str = field("torch", choices=("torch", "none"))

    def is_rescaled(self) -> bool:
        """Returns whether the recipe uses the embedded network but was published for another one."""
        return self.weights == "embedded" and self.trained_on != "normalized"

    def difference(self, pixels: str) -> str | None:
        """Returns how the network differs from the one the recipe was published for; None if it does not differ.

        Args:
            pixels: the network's `VGG.input_scale`: "keras" for Caffe's networks, the others for torchvision's.
        """
        if self.trained_on == "normalized":
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
        return f"was published for {published}; {how} ({exact} is the published network)."


@dataclass(frozen=True, kw_only=True)
class Decay(CheckedFields):
    """Keras' `ExponentialDecay`: the learning rate is multiplied by `rate` every `steps` steps.

    Attributes:
        rate: 0 to 1.
        steps: at least 1.
        staircase: decrease in one jump every `steps` steps instead of smoothly.
    """

    rate: float = field(0.96, low=1e-12, high=1.0)
    steps: int = field(100, low=1)
    staircase: bool = False


@dataclass(frozen=True, kw_only=True)
class Adam(CheckedFields):
    """Hyperparameters of Adam; see `optimizers.AdamOptimizer`.

    Attributes:
        learning_rate: in units of the image's space.
        beta_1, beta_2, epsilon: as in the paper.
        decay: decay of the learning rate; None keeps it constant.
    """

    learning_rate: float = field(0.02, low=1e-12)
    beta_1: float = field(0.9, low=0.0, high=1.0)
    beta_2: float = field(0.999, low=0.0, high=1.0)
    epsilon: float = field(1e-7, low=0.0)
    decay: Decay | None = None


@dataclass(frozen=True, kw_only=True)
class SGD(CheckedFields):
    """Hyperparameters of gradient descent; see `optimizers.SGDOptimizer`.

    Attributes:
        learning_rate: in units of the image's space.
        decay: decay of the learning rate; None keeps it constant.
    """

    learning_rate: float = field(0.01, low=1e-12)
    decay: Decay | None = None


@dataclass(frozen=True, kw_only=True)
class LBFGS(CheckedFields):
    """Hyperparameters of L-BFGS without line search; see `lbfgs.LBFGSOptimizer`.

    Attributes:
        learning_rate: length of a step as a fraction of the quasi-Newton step.
        history: number of stored pairs of a step and a gradient difference.
        store_projected_step: store the actual step, after the image was clipped; False stores the step before
            clipping, as with `torch.optim.LBFGS` when the image is clamped before each evaluation.
        max_step_rms: largest root mean square of a step, in units of the image's space; longer steps are shortened to
            it. 0 sets no limit.
        first_step_rms: root mean square of the first step of a level, in units of the image's space; it is shortened in
            proportion where the loss is so flat that its gradient has a root mean square below 1 / (number of values).
            0 scales the first step by min(1, 1 / sum of the gradient's absolute values), as torch does: in a large
            image such a step is lost in the rounding of float32, and the second step is far too long.
        max_step_peak: largest change of a value in a step, as a multiple of the step's root mean square; larger ones
            are clipped to it, so that no small area changes far more than the rest. 0 sets no limit.
        history_precision: precision in which the pairs are stored: "float32", or "bfloat16" for half the memory.
    """

    learning_rate: float = field(1.0, low=1e-12)
    history: int = field(10, low=1, high=1000)
    history_precision: str = field("float32", choices=("float32", "bfloat16"))
    store_projected_step: bool = True
    max_step_rms: float = field(0.0, low=0.0)
    first_step_rms: float = field(0.0, low=0.0)
    max_step_peak: float = field(0.0, low=0.0)


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """How the image is represented while it is optimized.

    Attributes:
        space: space of the image, and unit of learning rate, noise and total variation: "unit" (0-1), "torch" or
            "caffe" (the network's pixel format).
        clip: clip the image to [0, 1] after each step; in the space "unit" only.
        ema_decay: decay of the exponential moving average of the iterates, which is then the result; 0 takes the last
            iterate.
    """

    space: str = field("unit", choices=("unit", "torch", "caffe"))
    clip: bool = True
    ema_decay: float = field(0.0, low=0.0, high=0.9999)

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)
        if self.clip and self.space != "unit":
            raise UsageError(f"`clip` keeps the image in [0, 1] and needs the `space` 'unit', not {self.space!r}.")


@dataclass(frozen=True, kw_only=True)
class Start:
    """The image a run starts from.

    Attributes:
        init: a name in `STARTS`, or the path of a picture.
        noise: standard deviation of normal noise, in units of the image's space; 0 selects uniform noise over [0, 1].
        seed: seed of the noise.
    """

    init: str = option("content", "image to start from: content, noise, adain (a one-pass result) or a picture file")
    seed: int = option(0, "seed of the random start image", low=0, high=LARGEST_SEED)
    noise: float = field(0.0, low=0.0)

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)
        if self.init not in STARTS and PurePath(self.init).name == self.init and "." not in self.init:
            raise UsageError(unknown_name("start image", self.init, (*STARTS, "or the path of a picture")))


ENOUGH_PAINT = 256
"""Short side in pixels to which even a recipe that does not enlarge style images enlarges them."""


@dataclass(frozen=True, kw_only=True)
class StyleSize(CheckedFields):
    """The size of the style image: relative to the result, it determines the size of the brush strokes.

    Attributes:
        style_scale: factor for the size of the style image.
        style_resize: "long_side" or "width" to match that of the result, or "content" for exactly the result's size.
        style_crop: fraction of the style image's short side cropped at each edge, where scans show a frame or paper.
        style_enlarge: enlarge a style image that is smaller than this. Otherwise it is used at its own size for the
            levels that it is too small for: enlarged, it would be blurred, and its statistics those of no paint. If its
            short side is below `ENOUGH_PAINT`, it is enlarged that far.
    """

    style_scale: float = option(1.0, "size of the brush strokes: 2 makes them twice as large", low=0.1, high=10.0)
    style_resize: str = field("long_side", choices=("long_side", "width", "content"))
    style_crop: float = field(0.0, low=0.0, high=0.25)
    style_enlarge: bool = True

    def needed_side(self, result: tuple[int, int]) -> int:
        """Returns the long side at which to read the style image, if it does not depend on its proportions; else 0.

        Args:
            result: (height, width) of the result, in pixels.
        """
        return math.ceil(max(result) * self.style_scale) if self.style_resize == "long_side" else 0

    def sides(self, style: tuple[int, int], result: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """Computes the size to which the style image is resized.

        If the result is a narrow strip, a style image of the same length would have far more pixels than the result;
        it gets at most twice as many.

        Args:
            style, result: (height, width) in pixels.

        Returns:
            (height, width) that define the proportions, and the long side in pixels.
        """
        height, width = result if self.style_resize == "content" else style
        longest: float = max(result)
        if self.style_resize == "width":
            longest = round(result[1] * max(height, width) / width)
        elif self.style_resize == "long_side":
            aspect = max(height, width) / min(height, width)
            longest = min(longest, math.sqrt(2 * math.prod(result) * aspect))
        return (height, width), round(longest * self.style_scale)

    def used_sides(self, style: tuple[int, int], full: tuple[int, int]) -> tuple[int, int]:
        """Computes the size at which the style image is used for the finest level.

        Args:
            style: its own (height, width) in pixels.
            full: (height, width) that `sides` defines.
        """
        factor = max(max(style) / max(full), ENOUGH_PAINT / min(full))
        if self.style_enlarge or factor >= 1.0:
            return full
        height, width = (round(side * factor) for side in full)
        return height, width


@dataclass(frozen=True, kw_only=True)
class ColorTransfer(CheckedFields):
    """Which colors the result has, and how far they are moved.

    The style image is recolored before anything else (`color.recolor_style`). Then the content image is recolored by
    `color.match_colors`: the start image, the detail added at each level and the content features are those of the
    recolored one. The last step's image, and no other, is finished: `color.finish_colors` moves its broad colors, and
    `color.keep_colors` brings back the content image's. A run that ends early is not finished so.

    Attributes:
        color: "style", the style image's colors; or the content image's: "content" brings them back at the end and
            leaves only the lightness that was painted; "match" and "histogram" recolor the style image, by mean and
            covariance of its colors or by the histogram of each channel.
        color_strength: how far colors are moved to the content image's, 0 to 1; 0 is "style".
        palette: how far colors are moved to the (recolored) style image's, 0 to 1, both before and after; 0 changes
            nothing.
    """

    color: str = option(
        "style",
        "colors of the result: the painting's (style) or the photograph's: kept (content), or given to the painting "
        "beforehand, by mean and covariance (match) or by channel (histogram)",
        choices=COLORS,
    )
    color_strength: float = option(
        1.0, "how far colors are moved to the photograph's if --color asks for it: 0 to 1", low=0.0, high=1.0
    )
    palette: float = option(
        0.0, "how far colors are moved to the painting's, before the run and at its end: 0 to 1", low=0.0, high=1.0
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.color == "style" and self.color_strength != 1.0:
            raise UsageError('`color_strength` needs a `color` of "content", "match" or "histogram".')
