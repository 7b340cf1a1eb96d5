"""A generator that stylizes in many styles, each represented by a short code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfstyle import images
from tfstyle.environment import keras, tf
from tfstyle.errors import UsageError
from tfstyle.feedforward import inference
from tfstyle.feedforward.options import Options
from tfstyle.feedforward.transformer_net import ENCODER_LAYERS, FILTERS, SMALLEST, Modulation, TransformerNet
from tfstyle.tensors import sides, static_shape

INITIAL_MODULATION = 0.2
"""Initial scale of the style modulation; small, so that at first all codes give nearly the same result."""

LOG_VARIANCE_OFFSET = 3.0
"""Subtracted from the predicted log-variance, because with a posterior of unit variance at the start of the training
the decoder learns to ignore the code (posterior collapse)."""

STYLE_SIDE = 256
"""Long side at which a generator encodes a style image, in pixels; strokes are then about as large as in the 128-pixel
crops of its training."""


@keras.saving.register_keras_serializable(package="tfstyle")
class Generator(TransformerNet):
    """Stylizes in many styles, each represented by a short code.

    The encoder (the first three convolutions) separates content and style: the normalized features are the content,
    and the means and standard deviations that normalization removes are the style. The decoder (all other layers)
    computes the image from the content; its normalizations give each channel a mean and a standard deviation that
    depend on the code. The code of a style image is predicted from these means and standard deviations. A code can also
    be drawn from the normal distribution, so one content image can give several results.

    Args:
        filters, blocks: as for `TransformerNet`.
        code_size: length of a code.
        **kwargs: arguments of `keras.Model`.

    Call it on an image as for `TransformerNet` and a code, float32 [batch, code_size]; None stands for zeros, the mean
    of all codes.

    References:
        Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style (ICLR 2017), equation 5. For codes of
        images and of noise: Zhu et al.: Toward Multimodal Image-to-Image Translation (NIPS 2017), section 3.
    """

    def __init__(
        self, filters: Sequence[int] = FILTERS["slim"], *, blocks: int = 5, code_size: int = 8, **kwargs: Any
    ) -> None:
        super().__init__(filters, blocks=blocks, **kwargs)
        self.code_size = code_size
        self.style_encoder = [_dense(64, "style_encoder1"), _dense(2 * code_size, "style_encoder2", relu=False)]
        self.mapping = _dense(64, "mapping")
        # Keras saves a layer under the alphabetically first attribute that holds it; for these and `mapping`, "layers".
        self.modulations = [
            _dense(2 * convolution.filters, f"{convolution.name}_modulation", relu=False)
            for convolution in self.convolutions[ENCODER_LAYERS:-1]
        ]

    @property
    def describing(self) -> list[keras.layers.Dense]:
        """The style encoder, under its name in saved files."""
        return self.style_encoder

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of every layer."""
        super().build(input_shape)
        self.style_encoder[0].build((None, 2 * sum(self.filters)))
        self.style_encoder[1].build((None, 64))
        self.mapping.build((None, self.code_size))
        for layer in self.modulations:
            layer.build((None, 64))
        shape = (2 * sum(self.filters),)
        self.style_mean = self.add_weight(name="style_mean", shape=shape, initializer="zeros", trainable=False)
        self.style_scale = self.add_weight(name="style_scale", shape=shape, initializer="ones", trainable=False)

    def call(self, image: tf.Tensor, code: tf.Tensor | None = None) -> tf.Tensor:
        """Stylizes a batch; see the class."""
        code = tf.zeros([tf.shape(image)[0], self.code_size]) if code is None else code
        return self.forward(image, modulation=self.code_to_modulation(code))[0]

    def code_to_modulation(self, code: tf.Tensor) -> Modulation:
        """Computes what a code adds to the learned means and standard deviations of the decoder's normalizations.

        Args:
            code: float32 [batch, code_size].

        Returns:
            [batch, 2, channels] for each normalization, as `forward` takes them; 0 for those of the encoder.
        """
        mapped = self.mapping(code)
        offsets = [
            INITIAL_MODULATION * tf.reshape(layer(mapped), [-1, 2, layer.units // 2]) for layer in self.modulations
        ]
        return [0.0] * ENCODER_LAYERS + offsets

    def encode_style(self, style: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Predicts the normal distribution of the code of a style image.

        Args:
            style: float32 [batch, height, width, 3] in [0, 1].

        Returns:
            Its mean and the logarithm of its variance, each float32 [batch, code_size].
        """
        x = (self.style_statistics(style) - self.style_mean) / self.style_scale
        for layer in self.style_encoder:
            x = layer(x)
        mean, log_variance = tf.split(x, 2, axis=1)
        return mean, tf.clip_by_value(log_variance - LOG_VARIANCE_OFFSET, -8.0, 8.0)

    def style_statistics(self, style: tf.Tensor) -> tf.Tensor:
        """Computes the statistics that the encoder's normalizations remove, float32 [batch, 2 sum(filters)]."""
        _, statistics = self.encode(style)
        return tf.concat([tf.reshape(s, [-1, 2 * static_shape(s)[-1]]) for s in statistics], axis=1)

    def update_style_statistics(self, styles: tf.Tensor, keep: tf.Tensor) -> None:
        """Updates the running mean and mean absolute deviation that standardize style statistics.

        Args:
            styles: float32 [batch, height, width, 3] in [0, 1].
            keep: decay of the running values, in [0, 1).
        """
        style = self.style_statistics(styles)
        deviation = tf.reduce_mean(tf.abs(style - self.style_mean), axis=0)
        self.style_scale.assign(keep * self.style_scale + (1.0 - keep) * (deviation + 1e-3))
        self.style_mean.assign(keep * self.style_mean + (1.0 - keep) * tf.reduce_mean(style, axis=0))

    def random_code(self, seed: int) -> tf.Tensor:
        """Draws a code [1, code_size] from the normal distribution; the same seed gives the same code."""
        return tf.random.stateless_normal([1, self.code_size], (seed, 0))

    def choose_code(
        self, styles: Sequence[tf.Tensor | np.ndarray], *, blend: Sequence[float] | None = None, seed: int = 0
    ) -> tf.Tensor:
        """Computes the weighted mean of the codes of style images, or draws a random code.

        Args:
            styles: float32 [1, height, width, 3] in [0, 1], of any sizes; empty for a random code.
            blend: as for `stylize`.
            seed: seed of the random code.

        Returns:
            float32 [1, code_size].

        Raises:
            UsageError: if `blend` is out of range.
            InputError: if a style image is too small.
        """
        if not styles:
            return self.random_code(seed)
        for style in styles:
            inference.check_sides(style, SMALLEST, "the style image")
        weights = inference.blend_weights(len(styles), blend)
        reduced = [images.fit(style, min(STYLE_SIDE, max(sides(style)))) for style in styles]
        # Not compiled: tracing takes longer than it saves on fewer than eight style images.
        return inference.weighted_mean([self.encode_style(style)[0] for style in reduced], weights)

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options that depend on the kind of network."""
        inference.refuse_adain_options(options)
        if options.seed is not None and styles:
            raise UsageError("`seed` is for a generator without style images; leave it out.")
        if options.blend is not None and not styles:
            raise UsageError("a generator takes a `blend` of style images only.")
        if styles:
            inference.blend_weights(styles, options.blend)

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image with the code that `choose_code` returns."""
        code = self.choose_code(styles, blend=options.blend, seed=options.seed or 0)
        result = self.stylize_tiles(content, modulation=self.code_to_modulation(code), tile=options.tile)
        return inference.weaken(result, content, options.strength)

    def export_model(self) -> keras.Model:
        """Makes the model to export: inputs `image` [N, H, W, 3] and `code` [N, code_size], output "painting"."""
        inputs = [inference.image_input("image"), keras.Input((self.code_size,), name="code", dtype="float32")]
        return inference.export_model(inputs, self(*inputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of `__init__`."""
        config: dict[str, Any] = super().get_config()
        return config | {"code_size": self.code_size}


def _dense(units: int, name: str, *, relu: bool = True) -> keras.layers.Dense:
    return keras.layers.Dense(units, activation="relu" if relu else None, name=name, dtype="float32")
