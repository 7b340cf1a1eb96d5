"""The generator: a network that stylizes in many styles, each given by a short code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfstyle.environment import keras, tf
from tfstyle.feedforward.transformer_net import ENCODED, FILTERS, Transformer

_GENTLE = 0.2
"""Initial scale of the style modulation; small, so that all codes start alike."""

_NARROW = 3.0
"""Subtracted from the predicted log-variance: a unit-variance posterior at the start makes the decoder ignore the code.
"""


@keras.saving.register_keras_serializable(package="tfstyle")
class Generator(Transformer):
    """A transformer that paints in many styles, each a short code.

    The encoder, its first three convolutions, takes an image apart: what is left after normalisation is its content,
    and the means and deviations that were taken away are its style. The decoder, all the rest, paints the content; its
    own normalisations give each channel a mean and a deviation that follow from the code. A painting has a code, by its
    style; normal noise is one too, so that one photograph gives several paintings.

    Args:
        filters, blocks: as for `Transformer`.
        code_size: numbers in a code.
        **kwargs: of `keras.Model`.

    Call it on an image as for `Transformer`, and a float32 [batch, code_size]; zeros, the middle of all codes, if None.

    References:
        Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style (ICLR 2017), equation 5. Code of an image
        or of noise: Zhu et al.: Toward Multimodal Image-to-Image Translation (NIPS 2017), section 3.
    """

    def __init__(
        self, filters: Sequence[int] = FILTERS["slim"], *, blocks: int = 5, code_size: int = 8, **kwargs: Any
    ) -> None:
        super().__init__(filters, blocks=blocks, **kwargs)
        self.code_size = code_size
        self.describing = [_dense(64, "describing"), _dense(2 * code_size, "described", relu=False)]
        self.mapping = _dense(64, "mapping")
        # A name after "layers": Keras would save a list of an earlier name under that name, in files of another layout.
        self.modulations = [
            _dense(2 * convolution.filters, f"{convolution.name}_manner", relu=False)
            for convolution in self.convolutions[ENCODED:-1]
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of every layer."""
        super().build(input_shape)
        self.describing[0].build((None, 2 * sum(self.filters)))
        self.describing[1].build((None, 64))
        self.mapping.build((None, self.code_size))
        for modulation in self.modulations:
            modulation.build((None, 64))
        numbers = (2 * sum(self.filters),)
        self.style_mean = self.add_weight(name="usual", shape=numbers, initializer="zeros", trainable=False)
        self.style_scale = self.add_weight(name="spread", shape=numbers, initializer="ones", trainable=False)

    def call(self, image: tf.Tensor, code: tf.Tensor | None = None) -> tf.Tensor:
        """Paints; see the class."""
        code = tf.zeros([tf.shape(image)[0], self.code_size]) if code is None else code
        return self.paint(image, changes=self.changes(code))[0]

    def changes(self, code: tf.Tensor) -> list[tf.Tensor | float]:
        """What a code adds to the learned means and deviations of the decoder's normalisations.

        Args:
            code: float32 [batch, code_size].

        Returns:
            [batch, 2, channels] for each normalisation, as `paint` takes them; 0 for those of the encoder.
        """
        mapped = self.mapping(code)
        modulated = [_GENTLE * tf.reshape(layer(mapped), [-1, 2, layer.units // 2]) for layer in self.modulations]
        return [0.0] * ENCODED + modulated

    def code_of(self, painting: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The codes a painting may have: a normal distribution.

        Args:
            painting: as an image of `Transformer`.

        Returns:
            Its mean and the logarithm of its variance, each float32 [batch, code_size].
        """
        described = (self.style_of(painting) - self.style_mean) / self.style_scale
        for layer in self.describing:
            described = layer(described)
        mean, log_variance = tf.split(described, 2, axis=1)
        return mean, tf.clip_by_value(log_variance - _NARROW, -8.0, 8.0)

    def style_of(self, painting: tf.Tensor) -> tf.Tensor:
        """The means and deviations that the encoder takes away, float32 [batch, 2 · sum of the filters]."""
        _, statistics = self.encode(painting)
        return tf.concat([tf.reshape(s, [-1, 2 * s.shape[-1]]) for s in statistics], axis=1)

    def update_style_statistics(self, paintings: tf.Tensor, keep: tf.Tensor) -> None:
        """Updates the running mean and mean absolute deviation that standardize styles.

        Args:
            paintings: as an image of `Transformer`.
            keep: decay of both, in [0, 1).
        """
        style = self.style_of(paintings)
        away = tf.reduce_mean(tf.abs(style - self.style_mean), axis=0)
        self.style_scale.assign(keep * self.style_scale + (1.0 - keep) * (away + 1e-3))
        self.style_mean.assign(keep * self.style_mean + (1.0 - keep) * tf.reduce_mean(style, axis=0))

    def random_code(self, seed: int) -> tf.Tensor:
        """A code [1, code_size] of normal noise, a function of the seed."""
        return tf.random.stateless_normal([1, self.code_size], [seed, 0])

    def get_config(self) -> dict[str, Any]:
        """Everything `__init__` needs."""
        return super().get_config() | {"code_size": self.code_size}


def _dense(units: int, name: str, *, relu: bool = True) -> keras.layers.Dense:
    return keras.layers.Dense(units, activation="relu" if relu else None, name=name, dtype="float32")
