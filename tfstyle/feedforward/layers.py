"""Layers that the one-pass networks share: normalization, padding and upsampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfstyle import statistics
from tfstyle.environment import keras, tf


def adaptive_instance_normalization(features: tf.Tensor, own: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Gives each channel the mean and standard deviation of the style.

    Args:
        features: [batch, height, width, channels], of the content image or a tile of it.
        own: means and standard deviations [batch, 2, channels] of the features of the whole content image.
        target: those of the style image's features.

    Returns:
        A tensor of the features' shape.

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 8.
    """
    own, target = own[:, :, None, None], target[:, :, None, None]
    return (features - own[:, 0]) / own[:, 1] * target[:, 1] + target[:, 0]


def mean_std(features: tf.Tensor) -> tf.Tensor:
    """Computes each channel's mean and standard deviation over all positions.

    Gives the same values as `statistics.mean_std`, but faster: that function computes products of all pairs of
    channels, which can be added over tiles.

    Args:
        features: [batch, height, width, channels].

    Returns:
        float32 [batch, 2, channels]: means, then standard deviations.
    """
    mean, variance = tf.nn.moments(tf.cast(features, tf.float32), axes=(1, 2))
    return tf.stack([mean, tf.sqrt(variance + statistics.VARIANCE_EPSILON)], axis=1)


def reflect_pad(features: tf.Tensor, margin: int) -> tf.Tensor:
    """Pads each side by `margin` rows or columns, reflected at the edge without repeating it."""
    return tf.pad(features, [[0, 0], [margin, margin], [margin, margin], [0, 0]], "REFLECT")


def upsample_nearest(features: tf.Tensor) -> tf.Tensor:
    """Doubles height and width by nearest-neighbor interpolation."""
    # `tf.image.resize` uses half-pixel centers, which gives the same result here but is no longer supported by ONNX.
    doubled: tf.Tensor = tf.raw_ops.ResizeNearestNeighbor(images=features, size=2 * tf.shape(features)[1:3])
    return doubled


def upsample_bilinear(features: tf.Tensor) -> tf.Tensor:
    """Doubles height and width by bilinear interpolation; the result is float32 for features of any dtype."""
    doubled: tf.Tensor = tf.image.resize(features, 2 * tf.shape(features)[1:3], "bilinear")
    return doubled


def pad_to_multiple(image: tf.Tensor | np.ndarray, divisor: int) -> tf.Tensor:
    """Pads at the bottom and on the right up to multiples of `divisor`, mirrored with the edge repeated."""
    return _pad_axis(_pad_axis(image, 1, divisor), 2, divisor)


def _pad_axis(image: tf.Tensor | np.ndarray, axis: int, divisor: int) -> tf.Tensor:
    """Pads one axis like `pad_to_multiple`, with a gather, which every export format supports."""
    length = tf.shape(image)[axis]
    # ONNX defines the remainder of a negative number differently.
    extra = tf.math.floormod(divisor - tf.math.floormod(length, divisor), divisor)
    positions = tf.range(length + extra)
    padded: tf.Tensor = tf.gather(image, tf.minimum(positions, 2 * length - 1 - positions), axis=axis)
    return padded


@keras.saving.register_keras_serializable(package="tfstyle", name="InstanceNormalisation")
class InstanceNormalization(keras.layers.Layer):
    """Gives each channel of each image a learned mean and standard deviation; always computed in float32.

    References:
        Ulyanov, Vedaldi, Lempitsky: Instance Normalization: The Missing Ingredient for Fast Stylization (2016), eq. 2.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates a mean and a standard deviation for each channel."""
        self.shift = self.add_weight(name="shift", shape=input_shape[-1:], initializer="zeros")
        self.scale = self.add_weight(name="scale", shape=input_shape[-1:], initializer="ones")
        self.built = True

    def call(self, features: tf.Tensor, own: tf.Tensor | None = None, offset: tf.Tensor | float = 0.0) -> tf.Tensor:
        """Normalizes features.

        Args:
            features: [batch, height, width, channels].
            own: means and standard deviations [batch, 2, channels] to normalize by; those of the features if None.
            offset: added to the learned means and standard deviations, [batch, 2, channels].

        Returns:
            A tensor of the features' shape.
        """
        target = tf.stack([tf.convert_to_tensor(self.shift), tf.convert_to_tensor(self.scale)])[None] + offset
        own = mean_std(features) if own is None else own
        return adaptive_instance_normalization(features, own, target)


# Keras stores the weights of layers in a list under their class name; existing files have this spelling.
InstanceNormalization.__name__ = "InstanceNormalisation"
