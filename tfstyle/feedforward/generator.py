"""Image and code → painting, painting → answer: the generator and the discriminator that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfstyle.environment import keras, tf
from tfstyle.feedforward.adain import describe, mirrored
from tfstyle.feedforward.transformer_net import ENCODED, FILTERS, Transformer
from tfstyle.training.gan_losses import spectral_norm

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


class Discriminator(keras.Model):
    """Says whether an image is a painting: strided convolutions, and a dense head over means and deviations.

    Every kernel is divided by its spectral norm. There is no normalisation of features, which a gradient penalty does
    not allow across a batch, and everything is computed in float32.

    Args:
        filters: of each convolution; every one halves the sides.
        **kwargs: of `keras.Model`.

    Call it on float32 [batch, height, width, 3] in [0, 1], sides at least 2^len(filters); it returns answers [batch],
    the higher, the more like a painting. A call changes nothing: `refine` makes the round of power iteration that
    belongs to a step of its own.

    References:
        Miyato et al.: Spectral Normalization for Generative Adversarial Networks (ICLR 2018), table 3.
    """

    def __init__(self, filters: Sequence[int] = (32, 64, 128, 128), **kwargs: Any) -> None:
        super().__init__(**(kwargs | {"dtype": "float32", "autocast": False}))
        self.filters = tuple(filters)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernels, biases, and the singular vectors of the kernels."""
        sides = zip((input_shape[-1], *self.filters), self.filters, strict=False)
        shapes = [*((4, 4, inputs, outputs) for inputs, outputs in sides), (2 * self.filters[-1], 1)]
        self.kernels, self.biases, self.vectors = [], [], []
        for number, shape in enumerate(shapes, 1):
            self.kernels.append(self.add_weight(name=f"kernel{number}", shape=shape, initializer="he_normal"))
            self.biases.append(self.add_weight(name=f"bias{number}", shape=shape[-1:], initializer="zeros"))
            first = keras.initializers.RandomNormal(seed=number)
            vector = self.add_weight(name=f"vector{number}", shape=shape[-1:], initializer=first, trainable=False)
            self.vectors.append(vector)
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Judges; see the class."""
        x = 2.0 * image - 1.0
        for kernel, bias in zip(self._normalised(), self.biases, strict=True):
            if len(kernel.shape) == 4:
                x = tf.nn.conv2d(mirrored(x, 1), kernel, 2, "VALID") + bias
                x = tf.maximum(x, 0.2 * x)  # Fused leaky ReLUs confuse Grappler where a penalty is differentiated.
            else:
                x = tf.reshape(describe(x), [-1, kernel.shape[0]]) @ kernel + bias
        return x[:, 0]

    def _normalised(self) -> list[tf.Tensor]:
        kernels = [tf.convert_to_tensor(kernel) for kernel in self.kernels]
        return [k / spectral_norm(k, v)[0] for k, v in zip(kernels, self.vectors, strict=True)]

    def refine(self, *, iterations: int = 1) -> None:
        """Brings the singular vectors nearer to those of the kernels."""
        for kernel, vector in zip(self.kernels, self.vectors, strict=True):
            vector.assign(spectral_norm(tf.convert_to_tensor(kernel), vector, iterations=iterations)[1])
