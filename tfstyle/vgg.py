"""A frozen VGG-19 that computes features of an image, cut after the deepest requested layer.

An image is float32 [batch, height, width, 3], sRGB, in [0, 1]; the network itself converts it to the pixel format it
was trained on.

References:
    Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (ICLR 2015), table 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from tfstyle import environment
from tfstyle import weights as weight_files
from tfstyle.environment import keras, require_channels_last, tf
from tfstyle.errors import InputError, UsageError, unknown_name
from tfstyle.pixel_range import scale_pixels
from tfstyle.tensors import sides
from tfstyle.vgg19 import VGG19_BLOCKS, block_of, layer_names, smallest_side

INPUT_SCALES = ("keras", "torch", "none")
POOLINGS = ("max", "average")
ACTIVATIONS = ("post", "pre")
PADDING_MODES = ("zero", "replicate", "reflect")

POOLED = "pooled"
"""The layer between two blocks, for `VGG.features_and_pullback` of some blocks."""

Blocks = Sequence[Sequence[int]]

Pullback = Callable[[Mapping[str, Callable[[], tf.Tensor]]], tf.Tensor]
"""{layer: () → gradient at its features} → gradient at the image."""


def _one_of(kind: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise UsageError(unknown_name(kind, value, choices))
    return value


@keras.saving.register_keras_serializable(package="tfstyle")
class VGG(keras.Model):
    """A frozen VGG network that returns the features of the requested layers.

    Args:
        layers: Keras names of the convolutions whose features to return; the network ends at the deepest.
        activation: "post" takes features after the ReLU, "pre" before it; or layer → one of them ("post" if absent).
        pooling: "max" or "average", both 2x2.
        ceil_mode: whether pooling pools an odd last row or column alone, as in Caffe; otherwise it drops it, as in
            Keras and torch.
        padding_mode: padding of a convolution's input: "zero"; "replicate", which repeats the border for the first
            convolution and pads all others with zeros; "reflect", which mirrors the input of every convolution.
        input_scale: pixel format the network was trained on, as for `scale_pixels`.
        blocks: number of filters of each convolution, block by block; VGG-19's by default, fewer in tests.
        **kwargs: arguments of `keras.Model`; `dtype="mixed_bfloat16"` computes convolutions in bfloat16.

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
        # Regardless of the global policy; and the image itself is never rounded to a policy's compute dtype.
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
        """Sets the weights to those of a file."""
        if not self.built:
            self.build((None, None, None, 3))
        for convolution in self.convolutions:
            convolution.set_weights(network.layers[convolution.name])

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the features of the requested layers; see the class."""
        features = self._run(image, lambda function, x: (function(x), _same), {}, None)[0]
        return {name: tf.cast(features[name], self.variable_dtype) for name in self.feature_layers}

    def features_and_pullback(
        self, image: tf.Tensor, flipped: Mapping[str, tf.Tensor] | None = None, *, blocks: range | None = None
    ) -> tuple[dict[str, tf.Tensor], Pullback]:
        """Computes features, and returns them with a pullback from gradients at the features to one at the image.

        TensorFlow's own gradient computes the gradients of all layers' losses as soon as the loss is known, each as
        large as the features, and holds them until the gradient from the deeper layers is known: a third of the peak
        memory. The pullback computes the gradient of a layer's loss only after that of the deeper layers.

        Args:
            image: as for a call; with `blocks` that begin after the first, the input of their first convolution, in the
                network's compute dtype.
            flipped: layer → kernel from `flipped_kernels`, used for the gradient; other layers use TensorFlow's own.
            blocks: numbers of the blocks to compute, from 1; None computes the whole network.

        Returns:
            {layer: features}, in the network's compute dtype, and a function {layer: () → gradient at its features} →
            gradient at the image. If the network goes on after `blocks`, `POOLED` is a layer as well: the input of the
            first convolution that follows.
        """
        features, stages = self._run(image, with_pullback, flipped or {}, blocks)

        def pullback(gradients: Mapping[str, Callable[[], tf.Tensor]]) -> tf.Tensor:
            gradient: tf.Tensor | None = None
            for name, back in reversed(stages):
                if name in gradients:
                    with tf.control_dependencies([] if gradient is None else [gradient]):
                        own = gradients[name]()
                    gradient = own if gradient is None else gradient + own
                elif gradient is not None:
                    gradient = back(gradient)
            return cast(tf.Tensor, gradient)  # At least one layer has a gradient.

        return features, pullback

    def _run(
        self, x: tf.Tensor, compute: Callable[..., Any], flipped: Mapping[str, tf.Tensor], blocks: range | None
    ) -> tuple[dict[str, tf.Tensor], list[tuple[str, Callable[[tf.Tensor], tf.Tensor]]]]:
        """Returns features in the compute dtype, and the stages in order: a layer's name or "", and the pullback.

        `compute` is `with_pullback`, or a function that keeps nothing for a gradient.
        """
        blocks = range(1, len(self.blocks) + 1) if blocks is None else blocks
        stages: list[tuple[str, Callable[[tf.Tensor], tf.Tensor]]] = []
        features = {}
        for convolution in self.convolutions:
            name = convolution.name
            block, begins = block_of(name), name.endswith("_conv1")
            if block not in blocks:
                continue
            if begins and block == 1:
                x, back = compute(
                    lambda x: tf.cast(scale_pixels(x, self.input_scale), self.compute_dtype), self.check_image(x)
                )
                stages.append(("", back))
            elif begins and block != blocks[0]:
                x, back = compute(self._pool, x)
                stages.append(("", back))
            x, back = compute(functools.partial(self._padded, name), x)
            stages.append(("", back))
            convolved, back = compute(convolution, x)
            if name in flipped:
                back = functools.partial(tf.nn.conv2d, filters=flipped[name], strides=1, padding="SAME")
            stages.append(("", back))
            x, back = compute(tf.nn.relu, convolved)
            if name in self.feature_layers:
                features[name] = x if self._activation(name) == "post" else convolved
            stages += [("", back), (name, _same)] if self._activation(name) == "post" else [(name, _same), ("", back)]
        if blocks[-1] < self.depth:
            features[POOLED], back = compute(self._pool, x)
            stages += [("", back), (POOLED, _same)]
        return features, stages

    @property
    def depth(self) -> int:
        """The number of the deepest block."""
        return block_of(self.convolutions[-1].name)

    def flipped_kernels(self, setting: str = "on") -> dict[str, tf.Tensor]:
        """Returns the current kernels rotated by 180°, with inputs and outputs exchanged.

        The gradient of a convolution is a convolution with the flipped kernel, which is faster and takes less memory
        where `environment.should_flip_kernels` is true.

        Args:
            setting: as for `environment.should_flip_kernels`: "on", "off" or "auto".

        Returns:
            {layer: [3, 3, out, in]} of all layers except the first, whose gradient has only three channels, and those
            that are not padded with zeros. Empty, so that TensorFlow's own gradients are used, where kernels are not to
            be flipped or the network does not compute in float32.
        """
        if self.compute_dtype != "float32" or not environment.should_flip_kernels(setting):
            return {}
        return {
            c.name: tf.transpose(tf.reverse(tf.cast(c.kernel, self.compute_dtype), [0, 1]), [0, 1, 3, 2])
            for c in self.convolutions[1:]
            if c.padding == "same"
        }

    def _padding(self, name: str) -> str:
        return "valid" if self._own_padding(name) else "same"

    def _own_padding(self, name: str) -> bool:
        """Returns whether a convolution's input is padded with anything other than zeros."""
        return self.padding_mode == "reflect" or (self.padding_mode == "replicate" and name == "block1_conv1")

    def _padded(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Pads a convolution's input; "SYMMETRIC" by one pixel repeats the border."""
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
        """The smallest side in pixels that an image needs to reach the deepest layer."""
        positions = 2 if self.padding_mode == "reflect" else 1  # One position cannot be reflected.
        return positions * smallest_side(self.feature_layers)

    def check_size(self, image: tf.Tensor, what: str = "the picture") -> None:
        """Checks that an image is large enough to reach the deepest layer.

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
        """Checks the image, then calls the network; Keras would add lines to an error raised inside `call`."""
        features: dict[str, tf.Tensor] = super().__call__(self.check_image(image), *args, **kwargs)
        return features

    def check_image(self, image: tf.Tensor) -> tf.Tensor:
        """Checks a batch of images; a symbolic Keras tensor is returned as it is.

        Returns:
            The batch as a tensor.

        Raises:
            UsageError: if it is not a batch of floating-point images.
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
        """Returns the arguments of `__init__`."""
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
    """Returns the value of a function and its pullback, from a gradient at the value to one at `x`, usable once."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)

    def pullback(upstream: tf.Tensor) -> tf.Tensor:
        gradient = tape.gradient(
            value, x, output_gradients=[upstream], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
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
