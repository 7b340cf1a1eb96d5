"""Image → features: a frozen VGG-19, cut after the deepest layer asked for.

The only module that knows what pixels a network was trained on (BGR or RGB, 255 or 1, means); everywhere else an image
is float32 [batch, height, width, 3], sRGB, in [0, 1].

References:
    Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (ICLR 2015), table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfstyle import weights as weight_files
from tfstyle.environment import keras, require_channels_last, tf
from tfstyle.errors import InputError, UsageError, unknown_name
from tfstyle.recipe import VGG19_BLOCKS, layer_names

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean ImageNet pixel of the Caffe networks, 0-255 (Simonyan & Zisserman's model card; Keras uses the same)."""

TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet pixels, RGB, 0-1 (torchvision's documentation)."""

INPUT_SCALES = ("keras", "torch", "none")
POOLINGS = ("max", "average")
TAPS = ("relu", "conv")
ROUNDINGS = ("floor", "ceil")
EDGES = ("zero", "replicate", "reflect")

Blocks = Sequence[Sequence[int]]


def scale_pixels(image: tf.Tensor, input_scale: str) -> tf.Tensor:
    """Gives pixels the range and order a network was trained on.

    Args:
        image: float32 [batch, height, width, 3] in [0, 1].
        input_scale: "keras" (BGR, 0-255, less the mean pixel), "torch" (RGB, less the mean, over the deviation) or
            "none" (unchanged).

    Returns:
        A tensor of the same shape.
    """
    image = tf.convert_to_tensor(image)
    if input_scale == "keras":
        return image[..., ::-1] * 255.0 - tf.constant(CAFFE_MEAN_BGR, image.dtype)
    if input_scale == "torch":
        return (image - tf.constant(TORCH_MEAN, image.dtype)) / tf.constant(TORCH_DEVIATION, image.dtype)
    return image


def unscale_pixels(pixels: tf.Tensor, input_scale: str) -> tf.Tensor:
    """The inverse of `scale_pixels`."""
    if input_scale == "keras":
        return ((pixels + tf.constant(CAFFE_MEAN_BGR, pixels.dtype)) / 255.0)[..., ::-1]
    if input_scale == "torch":
        return pixels * tf.constant(TORCH_DEVIATION, pixels.dtype) + tf.constant(TORCH_MEAN, pixels.dtype)
    return pixels


def _one_of(kind: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise UsageError(unknown_name(kind, value, choices))
    return value


@keras.saving.register_keras_serializable(package="tfstyle")
class VGG(keras.Model):
    """A frozen VGG network that returns the features of the layers asked for.

    Args:
        layers: Keras names of the convolutions to look at; the network ends at the deepest.
        taps: "relu" looks after the ReLU, "conv" before it; or a mapping from layer to either ("relu" if absent).
        pooling: "max" or "average", both 2x2.
        rounding: what pooling does with an odd last row or column: "floor" leaves it out, as Keras and torch; "ceil"
            pools it alone, as Caffe.
        edge: what lies around a layer's input: "zero"; "replicate", for the first convolution the border repeated and
            zeros for all others; "reflect", the input mirrored, for every convolution.
        input_scale: what `scale_pixels` should do with an image.
        blocks: filters of each convolution, block by block; VGG-19's by default, a few in tests.
        **kwargs: of `keras.Model`; `dtype="mixed_bfloat16"` computes convolutions in bfloat16.

    Raises:
        UsageError: if a name is unknown.

    Call it on float32 [batch, height, width, 3] in [0, 1]; it returns {layer: float32 [batch, height', width',
    filters]}. Weights are random until `assign` is called or a saved model is loaded; `load_vgg` does the former.
    """

    def __init__(
        self,
        layers: Sequence[str],
        *,
        taps: str | Mapping[str, str] = "relu",
        pooling: str = "max",
        rounding: str = "floor",
        edge: str = "zero",
        input_scale: str = "keras",
        blocks: Blocks = VGG19_BLOCKS,
        **kwargs: Any,
    ) -> None:
        # Whatever the global policy says; and the image itself is never rounded to a policy's compute type.
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        require_channels_last()
        self.blocks = tuple(tuple(int(filters) for filters in block) for block in blocks)
        known = layer_names(self.blocks)
        self.tapped = tuple(_one_of("layer", name, known) for name in layers)
        if not self.tapped:
            raise UsageError(f"layers is empty; name at least one of {', '.join(known)}.")
        self.taps = taps if isinstance(taps, str) else dict(taps)
        for tap in [taps] if isinstance(taps, str) else taps.values():
            _one_of("tap", tap, TAPS)
        self.pooling = _one_of("pooling", pooling, POOLINGS)
        self.rounding = _one_of("rounding", rounding, ROUNDINGS)
        self.edge = _one_of("edge", edge, EDGES)
        self.input_scale = _one_of("input scale", input_scale, INPUT_SCALES)
        used = known[: max(known.index(name) for name in self.tapped) + 1]
        self.convolutions = [
            keras.layers.Conv2D(filters, 3, padding=self._padding(name), name=name, dtype=self.dtype_policy)
            for name, filters in zip(used, sum(self.blocks, ()), strict=False)
        ]
        self._turned: dict[str, tf.Tensor] = {}
        self.trainable = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of every convolution."""
        inputs = input_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, inputs))
            inputs = convolution.filters
        self.built = True

    def assign(self, network: weight_files.NetworkWeights) -> None:
        """Takes over the weights of a file."""
        if not self.built:
            self.build((None, None, None, 3))
        for convolution in self.convolutions:
            convolution.set_weights(network.layers[convolution.name])

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Features of the layers asked for; see the class."""
        return self.describe(image, {})[0]

    def describe(
        self, image: tf.Tensor, statistics: Mapping[str, Callable[[tf.Tensor], tf.Tensor]]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Features, and what is made of some of them on the way.

        The same as taking the statistics afterwards, but their gradients are held one layer at a time (`_on_the_way`).

        Args:
            image: as for the call.
            statistics: layer → (features → tensor).

        Returns:
            {layer: features} and {layer: statistic}.
        """
        x = scale_pixels(image, self.input_scale)
        x = tf.cast(x, self.compute_dtype)
        features, described = {}, {}
        for convolution in self.convolutions:
            name = convolution.name
            if name.endswith("_conv1") and name != "block1_conv1":
                x = self._pool(x)
            x = self._convolved(self._padded(x, name), convolution)
            for at in ("conv", "relu"):
                x = tf.nn.relu(x) if at == "relu" else x
                if name in self.tapped and self._tap(name) == at:
                    if name in statistics:
                        x, described[name] = _on_the_way(x, statistics[name])
                    features[name] = tf.cast(x, self.variable_dtype)
        return {name: features[name] for name in self.tapped}, described

    def turn_kernels(self) -> None:
        """Takes gradients towards the image by the kernels turned around, as they stand now; weights get none any more.

        The same gradients, sooner and in less memory where `environment.turned_kernels_are_fast`.
        """
        for convolution in self.convolutions[1:]:  # The first gives back three channels only: nothing to gain.
            if convolution.padding == "same":
                turned = tf.reverse(tf.cast(convolution.kernel, self.compute_dtype), [0, 1])
                self._turned[convolution.name] = tf.transpose(turned, [0, 1, 3, 2])

    def _convolved(self, x: tf.Tensor, convolution: keras.layers.Conv2D) -> tf.Tensor:
        if convolution.name not in self._turned:
            return convolution(x)
        turned = self._turned[convolution.name]

        @tf.custom_gradient
        def passed(x: tf.Tensor, convolved: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            return tf.identity(convolved), lambda upstream: (tf.nn.conv2d(upstream, turned, 1, "SAME"), None)

        return passed(x, convolution(tf.stop_gradient(x)))

    def _padding(self, name: str) -> str:
        return "valid" if self._own_padding(name) else "same"

    def _own_padding(self, name: str) -> bool:
        """Whether a convolution's input is padded with anything but zeros."""
        return self.edge == "reflect" or (self.edge == "replicate" and name == "block1_conv1")

    def _padded(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """A convolution's input with its edge around it; "SYMMETRIC" by one pixel repeats the border."""
        if not self._own_padding(name):
            return x
        return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT" if self.edge == "reflect" else "SYMMETRIC")

    def _pool(self, x: tf.Tensor) -> tf.Tensor:
        pool = tf.nn.max_pool2d if self.pooling == "max" else tf.nn.avg_pool2d
        return pool(x, 2, 2, "VALID" if self.rounding == "floor" else "SAME")

    def _tap(self, name: str) -> str:
        return self.taps if isinstance(self.taps, str) else self.taps.get(name, "relu")

    @property
    def smallest_side(self) -> int:
        """The smallest side in pixels of an image that reaches the deepest layer."""
        return 2 ** sum(c.name.endswith("_conv1") for c in self.convolutions) // 2

    def check_size(self, image: tf.Tensor, what: str = "the picture") -> None:
        """Refuses an image too small to reach the deepest layer.

        Raises:
            InputError: if a side is smaller than `smallest_side`.
        """
        height, width = image.shape[1:3]
        if min(height, width) < self.smallest_side:
            raise InputError(
                f"{what} is {width}x{height} where the network needs {self.smallest_side} pixels on each side; choose "
                "a larger --size or a picture of another shape."
            )

    def get_config(self) -> dict[str, Any]:
        """Everything `__init__` needs."""
        return super().get_config() | {
            "layers": list(self.tapped),
            "taps": self.taps,
            "pooling": self.pooling,
            "rounding": self.rounding,
            "edge": self.edge,
            "input_scale": self.input_scale,
            "blocks": [list(block) for block in self.blocks],
        }


def _on_the_way(x: tf.Tensor, statistic: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Features for the next layer, and a statistic of them whose gradient waits until the next layer's has arrived.

    It is as large as the features. TensorFlow would compute it for all layers as soon as the loss is known and hold
    every one until the gradient from the deeper layers comes by: a third of the peak memory.
    """

    @tf.custom_gradient
    def fork(x: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
        def gradient(deeper: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([deeper]), tf.GradientTape() as tape:
                again = tf.identity(x)  # In a graph only what the gradient needs is computed again.
                tape.watch(again)
                value = statistic(again)
            return deeper + tape.gradient(value, again, output_gradients=upstream)

        return (tf.identity(x), statistic(x)), gradient

    return fork(x)


def load_vgg(layers: Sequence[str], *, weights: str = "embedded", input_scale: str = "auto", **options: Any) -> VGG:
    """Builds a VGG network with the weights of a file.

    Args:
        layers: as for `VGG`.
        weights: as for `weights.read`.
        input_scale: as for `VGG`, or "auto" for what the weights file suggests.
        **options: further arguments of `VGG`.

    Returns:
        A built, frozen `VGG`.

    Raises:
        WeightsError: if the weights cannot be used.
        UsageError: if a name is unknown.
    """
    network = weight_files.read(weights, blocks=options.get("blocks", VGG19_BLOCKS))
    vgg = VGG(layers, input_scale=network.input_scale if input_scale == "auto" else input_scale, **options)
    vgg.assign(network)
    return vgg
