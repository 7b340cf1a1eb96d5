"""Image → image in one pass: AdaIN's encoder and decoder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tfstyle import statistics, vgg, weights
from tfstyle.environment import keras, tf

ADAIN_LAYER = "block4_conv1"
"""The layer whose features AdaIN decodes."""

_UPSAMPLED_BEFORE = ("decoder_conv2", "decoder_conv6", "decoder_conv8")
"""Convolutions of the decoder in front of which the features are doubled, mirroring the encoder's pools."""

_DECODER_FILTERS = (256, 256, 256, 256, 128, 128, 64, 64, 3)


def adaptive_instance_normalisation(features: tf.Tensor, own: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Gives each channel the style's mean and deviation.

    Args:
        features: [batch, height, width, channels], of the photograph or a part of it.
        own: means and deviations [batch, 2, channels] of the whole photograph's features.
        target: the same of the painting's.

    Returns:
        A tensor of the features' shape.

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 8.
    """
    own, target = own[:, :, None, None], target[:, :, None, None]
    return (features - own[:, 0]) / own[:, 1] * target[:, 1] + target[:, 0]


def describe(features: tf.Tensor) -> tf.Tensor:
    """Means and deviations [batch, 2, channels] of features [batch, height, width, channels], in float32.

    The same numbers as `statistics.mean_std`, without the products of channels that tiles would add up.
    """
    mean, variance = tf.nn.moments(tf.cast(features, tf.float32), axes=(1, 2))
    return tf.stack([mean, tf.sqrt(variance + statistics.VARIANCE_EPSILON)], axis=1)


def load_encoder() -> vgg.VGG:
    """AdaIN's encoder: VGG-19 up to `ADAIN_LAYER`, with reflection padding and the embedded weights."""
    return vgg.load_vgg([ADAIN_LAYER], edge="reflect")


def mirrored(features: tf.Tensor, margin: int) -> tf.Tensor:
    """Features with as many rows and columns around them as `margin` says, mirrored at the edge."""
    return tf.pad(features, [[0, 0], [margin, margin], [margin, margin], [0, 0]], "REFLECT")


def doubled(features: tf.Tensor) -> tf.Tensor:
    """Each position four times: twice as high and twice as wide, by nearest neighbour."""
    # `tf.image.resize` measures from pixel centres, which gives the same here but is no longer in ONNX.
    return tf.raw_ops.ResizeNearestNeighbor(images=features, size=2 * tf.shape(features)[1:3])


def decode(features: tf.Tensor, arrays: weights.Arrays) -> tf.Tensor:
    """Paints an image from features of `ADAIN_LAYER`.

    Nine 3x3 convolutions with reflection padding, ReLU after all but the last, and nearest-neighbour doubling in front
    of the second, sixth and eighth.

    Args:
        features: [batch, height, width, 512].
        arrays: kernels [3, 3, in, out] and biases, as `weights.read_embedded("adain-decoder")` returns them.

    Returns:
        [batch, 8 height, 8 width, 3], sRGB, nearly in [0, 1].
    """
    names = [name.removesuffix(".kernel") for name in arrays if name.endswith(".kernel")]
    for name in names:
        if name in _UPSAMPLED_BEFORE:
            features = doubled(features)
        features = tf.nn.conv2d(mirrored(features, 1), arrays[f"{name}.kernel"], 1, "VALID") + arrays[f"{name}.bias"]
        if name != names[-1]:
            features = tf.nn.relu(features)
    return features


class AdaIN:
    """Arbitrary style in one pass: the embedded encoder and a decoder, compiled once for all sizes.

    Args:
        decoder: a trained one; the embedded if None.

    Attributes:
        encode: image [1, height, width, 3] in [0, 1] → features [1, height // 8, width // 8, 512], sides at least 16.
        decode: such features → image: the decoder given, or the function `decode` with the embedded weights.

    References:
        Huang, Belongie (ICCV 2017), section 5; weights as in NOTICE.
    """

    def __init__(self, decoder: AdaINDecoder | None = None) -> None:
        self._encoder = load_encoder()
        paint = decoder or functools.partial(decode, arrays=weights.read_embedded("adain-decoder"))
        any_size, any_features = tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, 512])
        self.encode = tf.function(lambda image: self._encoder(image)[ADAIN_LAYER], input_signature=[any_size])
        self.decode = tf.function(lambda features: paint(features), input_signature=[any_features])


@keras.saving.register_keras_serializable(package="tfstyle")
class ArbitraryStyle(keras.Model):
    """AdaIN as one Keras model, for export: [image, painting] → the painted image.

    Args:
        decoder: paints features.
        **kwargs: of `keras.Model`.

    Call it on two float32 [batch, height, width, 3] in [0, 1], sides at least `smallest_side`; it returns the image's
    shape, in [0, 1].
    """

    smallest_side = 16

    def __init__(self, decoder: AdaINDecoder, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        self.encoder = load_encoder()
        self.decoder = decoder
        self.built = True

    def call(self, pictures: Sequence[tf.Tensor]) -> tf.Tensor:
        """Paints; see the class."""
        image, painting = pictures
        features = self.encoder(in_whole_cells(image, 8))[ADAIN_LAYER]
        style = self.encoder(in_whole_cells(painting, 8))[ADAIN_LAYER]
        normalised = adaptive_instance_normalisation(features, describe(features), describe(style))
        painted = self.decoder(normalised)
        return tf.clip_by_value(painted[:, : tf.shape(image)[1], : tf.shape(image)[2]], 0.0, 1.0)


def in_whole_cells(image: tf.Tensor, cell: int) -> tf.Tensor:
    """The image with mirrored rows and columns up to multiples of `cell`; a gather, which every export format knows."""
    for axis in (1, 2):
        length = tf.shape(image)[axis]
        positions = tf.range(length + (cell - length % cell) % cell)  # Of a negative number ONNX has another remainder.
        image = tf.gather(image, tf.minimum(positions, 2 * length - 1 - positions), axis=axis)
    return image


@functools.cache
def adain() -> AdaIN:
    """The network, loaded once a process and kept for the next picture."""
    return AdaIN()


@keras.saving.register_keras_serializable(package="tfstyle")
class AdaINDecoder(keras.Model):
    """The decoder as a Keras model, to be trained and saved: features [batch, h, w, 512] → [batch, 8 h, 8 w, 3].

    Weights are random until `assign` is called or a saved model is loaded.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights, named as those of the embedded file."""
        inputs = input_shape[-1]
        self._arrays = {}
        for number, filters in enumerate(_DECODER_FILTERS, 1):
            for part, shape in (("kernel", (3, 3, inputs, filters)), ("bias", (filters,))):
                first = "he_normal" if part == "kernel" else "zeros"
                name = f"decoder_conv{number}"
                weight = self.add_weight(name=f"{name}_{part}", shape=shape, initializer=first, dtype="float32")
                self._arrays[f"{name}.{part}"] = weight
            inputs = filters
        self.built = True

    def assign(self, arrays: weights.Arrays) -> None:
        """Takes over arrays named as in the embedded file."""
        for name, weight in self._arrays.items():
            weight.assign(arrays[name])

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Paints features; see `decode`."""
        arrays = {name: tf.cast(weight, self.compute_dtype) for name, weight in self._arrays.items()}
        return tf.cast(decode(tf.cast(features, self.compute_dtype), arrays), tf.float32)
