"""Image → features: a frozen VGG-19, cut after the deepest layer asked for.

An image is float32 [batch, height, width, 3], sRGB, in [0, 1]; the network itself converts it to the pixels it was
trained on.

References:
    Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (ICLR 2015), table 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from tfstyle import weights as weight_files
from tfstyle.environment import keras, require_channels_last, tf
from tfstyle.errors import InputError, UsageError, unknown_name
from tfstyle.pixel_range import scale_pixels
from tfstyle.tensors import sides
from tfstyle.vgg19 import VGG19_BLOCKS, layer_names, smallest_side

INPUT_SCALES = ("keras", "torch", "none")
POOLINGS = ("max", "average")
ACTIVATIONS = ("post", "pre")
PADDING_MODES = ("zero", "replicate", "reflect")

Blocks = Sequence[Sequence[int]]

Pullback = Callable[[Mapping[str, Callable[[], tf.Tensor]]], tf.Tensor]
"""{layer: () → gradient at its features} → gradient at the image."""


def _one_of(kind: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise UsageError(unknown_name(kind, value, choices))
    return value


@keras.saving.register_keras_serializable(package="tfstyle")
class VGG(keras.Model):
    """A frozen VGG network that returns the features of the layers asked for.

    Args:
        layers: Keras names of the convolutions to look at; the network ends at the deepest.
        activation: "post" takes features after the ReLU, "pre" before it; or layer → either ("post" if absent).
        pooling: "max" or "average", both 2x2.
        ceil_mode: whether pooling pools an odd last row or column alone, as Caffe; else it leaves it out, as Keras and
            torch.
        padding_mode: what lies around a layer's input: "zero"; "replicate", for the first convolution the border
            repeated and zeros for all others; "reflect", the input mirrored, for every convolution.
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
        activation: str | Mapping[str, str] = "post",
        pooling: str = "max",
        ceil_mode: bool = False,
        padding_mode: str = "zero",
        input_scale: str = "keras",
        blocks: Blocks = VGG19_BLOCKS,
        **kwargs: Any,
    ) -> None:
        # Whatever the global policy says; and the image itself is never rounded to a policy's compute type.
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        require_channels_last()
        self.blocks = tuple(tuple(int(filters) for filters in block) for block in blocks)
        known = layer_names(self.blocks)
        self.feature_layers = tuple(_one_of("layer", name, known) for name in layers)
        if not self.feature_layers:
            raise UsageError(f"layers is empty; name at least one of {', '.join(known)}.")
        self.activation = activation if isinstance(activation, str) else dict(activation)
        for value in [activation] if isinstance(activation, str) else activation.values():
            _one_of("activation", value, ACTIVATIONS)
        self.pooling = _one_of("pooling", pooling, POOLINGS)
        self.ceil_mode = bool(ceil_mode)
        self.padding_mode = _one_of("padding mode", padding_mode, PADDING_MODES)
        self.input_scale = _one_of("input scale", input_scale, INPUT_SCALES)
        used = known[: max(known.index(name) for name in self.feature_layers) + 1]
        self.convolutions = [
            keras.layers.Conv2D(filters, 3, padding=self._padding(name), name=name, dtype=self.dtype_policy)
            for name, filters in zip(used, sum(self.blocks, ()), strict=False)
        ]
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
        features = self._run(image, lambda function, x: (function(x), _same), {})[0]
        return {name: tf.cast(features[name], self.variable_dtype) for name in self.feature_layers}

    def features_and_pullback(
        self, image: tf.Tensor, flipped: Mapping[str, tf.Tensor] | None = None
    ) -> tuple[dict[str, tf.Tensor], Pullback]:
        """Features, and the function that takes gradients at them back to the image.

        TensorFlow computes the gradients of the losses of all layers as soon as the loss is known, each as large as
        the features, and holds every one until the gradient from the deeper layers arrives: a third of the peak
        memory. The pullback asks for the gradient of a layer when the deeper layers' has arrived.

        Args:
            image: as for a call.
            flipped: layer → kernel from `flipped_kernels`, used for the gradient; TensorFlow's own gradient for others.

        Returns:
            {layer: features}, in the network's compute type, and a function {layer: () → gradient at its features} →
            gradient at the image.
        """
        features, stages = self._run(image, with_pullback, flipped or {})

        def pullback(gradients: Mapping[str, Callable[[], tf.Tensor]]) -> tf.Tensor:
            gradient: tf.Tensor | None = None
            for name, back in reversed(stages):
                if name in gradients:
                    with tf.control_dependencies([] if gradient is None else [gradient]):
                        own = gradients[name]()
                    gradient = own if gradient is None else gradient + own
                elif gradient is not None:
                    gradient = back(gradient)
            return cast(tf.Tensor, gradient)  # Some layer has one.

        return features, pullback

    def _run(
        self, image: tf.Tensor, compute: Callable[..., Any], flipped: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tuple[str, Callable[[tf.Tensor], tf.Tensor]]]]:
        """Features in the compute type, and the stages in order: a layer's name or "", and how a gradient goes back.

        `compute` is `with_pullback`, or returns the value alone, where nothing is to be kept for a gradient.
        """
        image = self.check_image(image)
        x, scaled = compute(lambda x: tf.cast(scale_pixels(x, self.input_scale), self.compute_dtype), image)
        stages: list[tuple[str, Callable[[tf.Tensor], tf.Tensor]]] = [("", scaled)]
        features = {}
        for convolution in self.convolutions:
            name = convolution.name
            x, prepared = compute(functools.partial(self._prepare, name), x)
            convolved, back = compute(convolution, x)
            if name in flipped:
                back = functools.partial(tf.nn.conv2d, filters=flipped[name], strides=1, padding="SAME")
            activated, relu = compute(tf.nn.relu, convolved)
            if name in self.feature_layers:
                features[name] = activated if self._activation(name) == "post" else convolved
            stages += [("", prepared), ("", back)]
            stages += [("", relu), (name, _same)] if self._activation(name) == "post" else [(name, _same), ("", relu)]
            x = activated
        return features, stages

    def flipped_kernels(self) -> dict[str, tf.Tensor]:
        """The kernels rotated by 180°, inputs and outputs exchanged, as the weights are now.

        The gradient of a convolution is a convolution with the flipped kernel: faster and in less memory where
        `environment.should_flip_kernels`.

        Returns:
            {layer: [3, 3, out, in]} of all layers but the first, whose gradient has only three channels, and those
            that are not padded with zeros.
        """
        return {
            c.name: tf.transpose(tf.reverse(tf.cast(c.kernel, self.compute_dtype), [0, 1]), [0, 1, 3, 2])
            for c in self.convolutions[1:]
            if c.padding == "same"
        }

    def _prepare(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """What a convolution is given: pooled where a block begins, padded."""
        if name.endswith("_conv1") and name != "block1_conv1":
            x = self._pool(x)
        return self._padded(x, name)

    def _padding(self, name: str) -> str:
        return "valid" if self._own_padding(name) else "same"

    def _own_padding(self, name: str) -> bool:
        """Whether a convolution's input is padded with anything but zeros."""
        return self.padding_mode == "reflect" or (self.padding_mode == "replicate" and name == "block1_conv1")

    def _padded(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """A convolution's input with its edge around it; "SYMMETRIC" by one pixel repeats the border."""
        if not self._own_padding(name):
            return x
        return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT" if self.padding_mode == "reflect" else "SYMMETRIC")

    def _pool(self, x: tf.Tensor) -> tf.Tensor:
        pool = tf.nn.max_pool2d if self.pooling == "max" else tf.nn.avg_pool2d
        return pool(x, 2, 2, "SAME" if self.ceil_mode else "VALID")

    def _activation(self, name: str) -> str:
        return self.activation if isinstance(self.activation, str) else self.activation.get(name, "post")

    @property
    def smallest_side(self) -> int:
        """The smallest side in pixels of an image that reaches the deepest layer."""
        return smallest_side(self.feature_layers)

    def check_size(self, image: tf.Tensor, what: str = "the picture") -> None:
        """Refuses an image too small to reach the deepest layer.

        Raises:
            InputError: if a side is smaller than `smallest_side`.
        """
        height, width = sides(image)
        if min(height, width) < self.smallest_side:
            raise InputError(
                f"{what} is {width}x{height} where the network needs {self.smallest_side} pixels on each side; choose "
                "a larger `size` or a picture of another shape."
            )

    def __call__(self, image: tf.Tensor, *args: Any, **kwargs: Any) -> dict[str, tf.Tensor]:
        """Calls the network; what is wrong with an image is said here, since Keras adds lines to errors of `call`."""
        features: dict[str, tf.Tensor] = super().__call__(self.check_image(image), *args, **kwargs)
        return features

    def check_image(self, image: tf.Tensor) -> tf.Tensor:
        """Checks a batch of images; a symbolic tensor of Keras is passed through.

        Returns:
            It, as a tensor.

        Raises:
            UsageError: if it is not a batch of floating images.
            InputError: if a side is known to be too small.
        """
        if isinstance(image, keras.KerasTensor):
            return image
        image = tf.convert_to_tensor(image)
        if not image.dtype.is_floating or image.shape.rank != 4 or image.shape[-1] not in (None, 3):
            raise UsageError(
                "images should be floating [batch, height, width, 3] in [0, 1], as tfstyle.read(path).image is; "
                f"received {image.dtype.name} {image.shape}."
            )
        if None not in image.shape[1:3]:
            self.check_size(image)
        return image

    def get_config(self) -> dict[str, Any]:
        """Everything `__init__` needs."""
        config: dict[str, Any] = super().get_config()
        return config | {
            "layers": list(self.feature_layers),
            "activation": self.activation,
            "pooling": self.pooling,
            "ceil_mode": self.ceil_mode,
            "padding_mode": self.padding_mode,
            "input_scale": self.input_scale,
            "blocks": [list(block) for block in self.blocks],
        }


def with_pullback(
    function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Value of a function, and the function that takes a gradient at the value back to `x`, once."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)

    def pullback(upstream: tf.Tensor) -> tf.Tensor:
        gradient = tape.gradient(value, x, output_gradients=[upstream])
        return cast(tf.Tensor, gradient)  # Dense: no function here gathers from `x`.

    return value, pullback


def _same(gradient: tf.Tensor) -> tf.Tensor:
    return gradient


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
