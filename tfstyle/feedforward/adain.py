"""AdaIN: an encoder and a decoder that stylize an image with any style images in one pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfstyle import statistics, vgg, weights
from tfstyle.environment import keras, tf
from tfstyle.errors import UsageError
from tfstyle.feedforward import inference
from tfstyle.feedforward.inference import OnePassNetwork, Options, Tile
from tfstyle.feedforward.layers import (
    adaptive_instance_normalization,
    mean_std,
    pad_to_multiple,
    reflect_pad,
    upsample_nearest,
)
from tfstyle.statistics import sufficient_statistics
from tfstyle.tensors import sides

ADAIN_LAYER = "block4_conv1"
"""The layer whose features AdaIN decodes."""

STRIDE = 8
"""Pixels per position of the encoder's features."""

ENCODER_HALO = 32
"""Radius of the receptive field of the encoder: 30 pixels, rounded up to a multiple of `STRIDE`."""

DECODER_HALO = 32
"""Radius of the receptive field of the decoder: 30 pixels, rounded up to a multiple of `STRIDE`."""

FIXED_BYTES = 230_000_000
"""Memory that AdaIN takes whatever the image size, in bytes: weights, compiled graphs, oneDNN's kernel copies."""

BYTES_PER_TILE_PIXEL = 1000
"""Peak memory of the layers in bytes per pixel of the largest tile: the slope of a process's peak memory between single
tiles of 512x384 and 1448x1086 pixels, in float32 on a CPU."""

_UPSAMPLED_BEFORE = ("decoder_conv2", "decoder_conv6", "decoder_conv8")
"""Convolutions of the decoder whose input is upsampled, mirroring the encoder's pooling layers."""

_DECODER_FILTERS = (256, 256, 256, 256, 128, 128, 64, 64, 3)
"""Filters of the decoder's convolutions."""


def load_encoder() -> vgg.VGG:
    """Loads AdaIN's encoder: VGG-19 up to `ADAIN_LAYER`, with reflection padding and the embedded weights."""
    return vgg.load_vgg([ADAIN_LAYER], padding_mode="reflect")


def decode(features: tf.Tensor, arrays: weights.Arrays) -> tf.Tensor:
    """Decodes features of `ADAIN_LAYER` into an image.

    The decoder has nine 3x3 convolutions with reflection padding, a ReLU after all but the last, and nearest-neighbor
    upsampling before the second, sixth and eighth.

    Args:
        features: [batch, height, width, 512].
        arrays: kernels [3, 3, in, out] and biases, as `weights.read_embedded("adain-decoder")` returns them.

    Returns:
        [batch, 8 height, 8 width, 3], sRGB, nearly in [0, 1].
    """
    names = [name.removesuffix(".kernel") for name in arrays if name.endswith(".kernel")]
    for name in names:
        if name in _UPSAMPLED_BEFORE:
            features = upsample_nearest(features)
        features = tf.nn.conv2d(reflect_pad(features, 1), arrays[f"{name}.kernel"], 1, "VALID") + arrays[f"{name}.bias"]
        if name != names[-1]:
            features = tf.nn.relu(features)
    return features


class AdaIN(OnePassNetwork):
    """Stylizes with any style images, by the embedded encoder and a decoder, compiled once for all sizes.

    Args:
        decoder: a trained decoder; the embedded one if None.

    Attributes:
        encode: computes the features [1, height // 8, width // 8, 512] of an image [1, height, width, 3] in [0, 1],
            sides at least 16.
        decode: decodes such features into an image, with the given decoder or with `decode` and the embedded weights.

    References:
        Huang, Belongie (ICCV 2017), section 5; NOTICE gives the source of the weights.
    """

    def __init__(self, decoder: AdaINDecoder | None = None) -> None:
        self._encoder = load_encoder()
        decoder_call = decoder or functools.partial(decode, arrays=weights.read_embedded("adain-decoder"))
        any_size, any_features = tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, 512])
        self.encode = tf.function(lambda image: self._encoder(image)[ADAIN_LAYER], input_signature=[any_size])
        self.decode = tf.function(lambda features: decoder_call(features), input_signature=[any_features])

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options that depend on the kind of network."""
        if not styles:
            raise UsageError("give at least one style image, or a network as `model`.")
        if options.seed is not None:
            raise UsageError("`seed` is for a generator without style images; leave it out.")
        if not 0.0 <= options.alpha <= 1.0:
            raise UsageError(f"`alpha` should be from 0 to 1, not {options.alpha!r}.")
        inference.blend_weights(styles, options.blend)

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image with the weighted mean of the style images' statistics.

        Tiles are normalized by the statistics of the whole image and computed with a halo, so the result is the same as
        with a single tile.
        """
        alpha, tile = options.alpha, options.tile
        targets = [_statistics(*self._prepare(style, "the style image"), tile) for style in styles]
        target = inference.weighted_mean(targets, inference.blend_weights(len(styles), options.blend))
        height, width = sides(content)
        padded, encode_tile = self._prepare(content, "the content image")
        own = _statistics(padded, encode_tile, tile)

        def stylize_tile(outer: Tile) -> tf.Tensor:
            features = encode_tile(outer)
            styled = adaptive_instance_normalization(features, own, target)
            decoded: tf.Tensor = self.decode(alpha * styled + (1.0 - alpha) * features)
            return decoded

        image = inference.map_tiles(stylize_tile, padded, tile=tile, halo=DECODER_HALO)
        return tf.clip_by_value(image[:, :height, :width], 0.0, 1.0)

    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], tile: int) -> int:
        """Estimates the memory of `stylize` in bytes; see `inference.OnePassNetwork`."""
        sizes = (content, *styles)
        pixels = max(inference.largest_tile(*size, tile=tile, halo=DECODER_HALO) for size in sizes)
        whole = sum(height * width for height, width in sizes)
        return FIXED_BYTES + BYTES_PER_TILE_PIXEL * pixels + inference.BYTES_PER_PIXEL * whole

    def _prepare(self, image: tf.Tensor | np.ndarray, name: str) -> tuple[tf.Tensor, Callable[[Tile], tf.Tensor]]:
        """Pads an image, and makes a function that encodes a tile of it and caches the features of the last tile."""
        inference.check_sides(image, STRIDE + 1, name)  # A single position cannot be reflected.
        padded = pad_to_multiple(image, STRIDE)

        @functools.lru_cache(maxsize=1)
        def encode_tile(tile: Tile) -> tf.Tensor:
            outer = tile.grow(ENCODER_HALO, *sides(padded))
            features = self.encode(outer.crop(padded, outer=inference.whole_tile(padded)))
            return tile.crop(features, outer=outer, cell=STRIDE)

        return padded, encode_tile


def _statistics(padded: tf.Tensor, encode_tile: Callable[[Tile], tf.Tensor], tile: int) -> tf.Tensor:
    """Computes the means and standard deviations [1, 2, channels] of an image's features from sums over its tiles."""
    parts = (sufficient_statistics(encode_tile(part)) for part in inference.split_into_tiles(padded, tile))
    return statistics.mean_std(functools.reduce(statistics.add, parts))


@functools.lru_cache(maxsize=2)
def load_adain(decoder: AdaINDecoder | None = None) -> AdaIN:
    """Makes the network with the given decoder, or the embedded one, and caches it for later calls."""
    return AdaIN(decoder)


@keras.saving.register_keras_serializable(package="tfstyle")
class AdaINDecoder(OnePassNetwork, keras.Model):
    """The decoder as a Keras model that can be trained and saved.

    Call it on features [batch, h, w, 512]; it returns images [batch, 8 h, 8 w, 3]. Its weights are random until
    `assign` is called or a saved model is loaded.
    """

    smallest_side = 16
    """Smallest side of an image that the exported network takes, in pixels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights, with the names of the embedded file."""
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
        """Sets the weights to arrays named as in the embedded file."""
        for name, weight in self._arrays.items():
            weight.assign(arrays[name])

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Decodes features; see `decode`."""
        arrays = {name: tf.cast(weight, self.compute_dtype) for name, weight in self._arrays.items()}
        return tf.cast(decode(tf.cast(features, self.compute_dtype), arrays), tf.float32)

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options as `AdaIN` does."""
        load_adain(self).check_options(styles, options)

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image as `AdaIN` does."""
        return load_adain(self).stylize(content, styles, **options._asdict())

    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], tile: int) -> int:
        """Estimates the memory of `stylize` in bytes, as `AdaIN` does."""
        return load_adain(self).memory_needed(content, *styles, tile=tile)

    def export_model(self) -> keras.Model:
        """Makes the model to export: inputs `image` and `style` [N, H, W, 3], output "painting" shaped like `image`."""
        inputs = [inference.image_input("image"), inference.image_input("style")]
        return inference.export_model(inputs, ArbitraryStyle(self)(inputs))


@keras.saving.register_keras_serializable(package="tfstyle")
class ArbitraryStyle(keras.Model):
    """AdaIN as one Keras model, for export: stylizes a content image with a style image.

    Args:
        decoder: decodes features.
        **kwargs: arguments of `keras.Model`.

    Call it on a list of a content and a style image, float32 [batch, height, width, 3] in [0, 1], sides at least
    `AdaINDecoder.smallest_side`; it returns a tensor of the content image's shape, in [0, 1].
    """

    def __init__(self, decoder: AdaINDecoder, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        self.encoder = load_encoder()
        self.decoder = decoder
        self.built = True

    def call(self, images: Sequence[tf.Tensor]) -> tf.Tensor:
        """Stylizes a batch; see the class."""
        content, style = (self.encoder(pad_to_multiple(image, STRIDE))[ADAIN_LAYER] for image in images)
        normalized = adaptive_instance_normalization(content, mean_std(content), mean_std(style))
        stylized, size = self.decoder(normalized), tf.shape(images[0])
        return tf.clip_by_value(stylized[:, : size[1], : size[2]], 0.0, 1.0)
