"""Image → image in one pass: Johnson's transformer, one network for one style."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tfstyle.environment import keras, tf
from tfstyle.feedforward.adain import adaptive_instance_normalisation, describe, in_whole_cells, mirrored

FILTERS = {"slim": (16, 32, 64), "full": (32, 64, 128)}
"""Width → filters at full, half and quarter resolution; full is the paper's."""

ENCODED = 3
"""Convolutions in front of the residual body, each with a normalisation."""

BODY_CELL = 4
"""Pixels of a position of the residual body."""

HALO = 64
"""Radius of the receptive field, given the statistics: 60 pixels, rounded up to a cell of the encoder."""

SMALLEST = 8
"""Smallest side of a picture, in pixels: mirroring needs four neighbours."""

Statistics = Sequence[tf.Tensor]
"""Means and deviations [batch, 2, channels] of the features in front of each normalisation, in order."""


@keras.saving.register_keras_serializable(package="tfstyle")
class InstanceNormalisation(keras.layers.Layer):
    """Gives each channel of each picture a learned mean and deviation; in float32, whatever the policy.

    References:
        Ulyanov, Vedaldi, Lempitsky: Instance Normalization: The Missing Ingredient for Fast Stylization (2016), eq. 2.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates a mean and a deviation for each channel."""
        self.shift = self.add_weight(name="shift", shape=input_shape[-1:], initializer="zeros")
        self.scale = self.add_weight(name="scale", shape=input_shape[-1:], initializer="ones")
        self.built = True

    def call(self, features: tf.Tensor, own: tf.Tensor | None = None, change: tf.Tensor | float = 0.0) -> tf.Tensor:
        """Normalises features by their own means and deviations or by those given; `change` is added to the learned."""
        target = tf.stack([tf.convert_to_tensor(self.shift), tf.convert_to_tensor(self.scale)])[None] + change
        own = describe(features) if own is None else own
        return adaptive_instance_normalisation(features, own, target)


@keras.saving.register_keras_serializable(package="tfstyle")
class Transformer(keras.Model):
    """A network that paints in one style: two strided convolutions, residual blocks, two doublings.

    Args:
        filters: at full, half and quarter resolution.
        blocks: residual blocks.
        **kwargs: of `keras.Model`; `dtype="mixed_bfloat16"` computes convolutions in bfloat16.

    Call it on float32 [batch, height, width, 3] in [0, 1], sides at least `SMALLEST`; it returns the same
    shape, in [0, 1].

    Differs from the paper: reflection padding in front of every convolution instead of 40 pixels once, linear doubling
    and a convolution instead of a transposed one (no checkerboard; Odena, Dumoulin, Olah: Deconvolution and
    Checkerboard Artifacts, 2016; nearest neighbours left a mesh of four pixels), instance instead of batch
    normalisation.

    References:
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution (ECCV 2016),
        supplement, table 1.
    """

    def __init__(self, filters: Sequence[int] = FILTERS["slim"], *, blocks: int = 5, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        self.filters, self.blocks = tuple(int(number) for number in filters), blocks
        first, second, third = self.filters
        body = [(f"residual{number}_{half}", third, 3, 1) for number in range(1, blocks + 1) for half in "ab"]
        plan = [("inner", first, 9, 1), ("half", second, 3, 2), ("quarter", third, 3, 2), *body]
        plan += [("double", second, 3, 1), ("whole", first, 3, 1), ("painted", 3, 9, 1)]
        self.convolutions = [
            keras.layers.Conv2D(count, side, stride, padding="valid", name=name, dtype=self.dtype_policy)
            for name, count, side, stride in plan
        ]
        self.normalisations = [InstanceNormalisation(name=f"{name}_norm") for name, *_ in plan[:-1]]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of every layer."""
        inputs = input_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, inputs))
            inputs = convolution.filters
        for convolution, normalisation in zip(self.convolutions, self.normalisations, strict=False):
            normalisation.build((None, None, None, convolution.filters))
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Paints; see the class."""
        return self.paint(image)[0]

    def paint(
        self, image: tf.Tensor, statistics: Statistics | None = None, changes: Sequence[tf.Tensor | float] | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Paints, and returns the statistics that were used.

        Args:
            image: as for a call.
            statistics: to normalise by, for a part of a larger picture; its own if None.
            changes: what is added to the means and deviations that each normalisation has learned; nothing if None.

        Returns:
            The painted image, and the statistics of its own or those given.
        """
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        x, used = self.encode(image, statistics, changes)
        normalised = functools.partial(self._normalised, used=used, statistics=statistics, changes=changes)
        for _ in range(self.blocks):
            x += normalised(tf.nn.relu(normalised(x)))
        for _ in range(2):
            x = tf.nn.relu(normalised(tf.cast(_doubled(x), self.compute_dtype)))
        x = self.convolutions[-1](mirrored(x, 4))
        return tf.sigmoid(tf.cast(x, tf.float32))[:, :height, :width], used

    def encode(
        self, image: tf.Tensor, statistics: Statistics | None = None, changes: Sequence[tf.Tensor | float] | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Computes what the residual body is given.

        Args:
            image, statistics, changes: as for `paint`.

        Returns:
            Features at quarter resolution, and the statistics of the first `ENCODED` normalisations.
        """
        x = in_whole_cells(tf.cast(image, self.compute_dtype), BODY_CELL)
        used: list[tf.Tensor] = []
        for _ in range(ENCODED):
            x = tf.nn.relu(self._normalised(x, used, statistics, changes))
        return x, used

    def _normalised(
        self,
        x: tf.Tensor,
        used: list[tf.Tensor],
        statistics: Statistics | None,
        changes: Sequence[tf.Tensor | float] | None,
    ) -> tf.Tensor:
        """Applies the next convolution and its normalisation, whose statistics it appends to those used before."""
        number = len(used)
        convolution = self.convolutions[number]
        x = convolution(mirrored(x, convolution.kernel_size[0] // 2))
        used.append(describe(x) if statistics is None else statistics[number])
        change = 0.0 if changes is None else changes[number]
        return tf.cast(self.normalisations[number](x, used[-1], change=change), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Everything `__init__` needs."""
        return super().get_config() | {"filters": list(self.filters), "blocks": self.blocks}


def _doubled(x: tf.Tensor) -> tf.Tensor:
    """Twice as high and twice as wide, linear between positions."""
    return tf.image.resize(x, 2 * tf.shape(x)[1:3], "bilinear")
