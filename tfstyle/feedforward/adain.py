"""AdaIN: an encoder and a decoder that stylize an image with any style images in one pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfstyle import graphs, statistics, vgg, weights
from tfstyle.environment import dtype_policy, keras, tf
from tfstyle.errors import UsageError
from tfstyle.feedforward import inference, transforms
from tfstyle.feedforward.inference import OnePassNetwork, Tile
from tfstyle.feedforward.layers import (
    adaptive_instance_normalization,
    mean_std,
    pad_to_multiple,
    reflect_pad,
    upsample_nearest,
)
from tfstyle.feedforward.options import Options
from tfstyle.feedforward.transforms import Encoded
from tfstyle.statistics import sufficient_statistics
from tfstyle.tensors import sides

ADAIN_LAYER = "block4_conv1"
"""The layer whose features AdaIN decodes."""

CHANNELS = 512
"""Channels of that layer."""

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

FEATURE_BYTES_PER_PIXEL = CHANNELS * 4 // STRIDE**2
"""Memory of an encoded image in float32, in bytes per pixel."""

TRANSFORM_BYTES = {"attention": 200_000_000, "decorate": 400_000_000}
"""Memory that a transform takes for a style image, in bytes: its positions, the matrices of a band, oneDNN's copies."""

_UPSAMPLED_BEFORE = ("decoder_conv2", "decoder_conv6", "decoder_conv8")
"""Convolutions of the decoder whose input is upsampled, mirroring the encoder's pooling layers."""

_DECODER_FILTERS = (256, 256, 256, 256, 128, 128, 64, 64, 3)
"""Filters of the decoder's convolutions."""


def load_encoder(**options: Any) -> vgg.VGG:
    """Loads AdaIN's encoder: VGG-19 up to `ADAIN_LAYER`, with reflection padding and the embedded weights.

    Args:
        **options: further arguments of `vgg.VGG`.
    """
    return vgg.load_vgg([ADAIN_LAYER], padding_mode="reflect", **options)


def decode(features: tf.Tensor, arrays: Mapping[str, Any], dtype: str = "float32") -> tf.Tensor:
    """Decodes features of `ADAIN_LAYER` into an image.

    The decoder has nine 3x3 convolutions with reflection padding, a ReLU after all but the last, and nearest-neighbor
    upsampling before the second, sixth and eighth.

    Args:
        features: [batch, height, width, 512].
        arrays: kernels [3, 3, in, out] and biases, as `weights.read_embedded("adain-decoder")` returns them.
        dtype: of the convolutions but the last, "float32" or "bfloat16".

    Returns:
        float32 [batch, 8 height, 8 width, 3], sRGB, nearly in [0, 1].
    """
    names = [name.removesuffix(".kernel") for name in arrays if name.endswith(".kernel")]
    for name in names:
        if name == names[-1]:
            dtype = "float32"  # In bfloat16 the image would have steps of 1/256.
        features, kernel, bias = (
            tf.cast(tensor, dtype) for tensor in (features, arrays[f"{name}.kernel"], arrays[f"{name}.bias"])
        )
        if name in _UPSAMPLED_BEFORE:
            features = upsample_nearest(features)
        features = tf.nn.conv2d(reflect_pad(features, 1), kernel, 1, "VALID") + bias
        if name != names[-1]:
            features = tf.nn.relu(features)
    return features


class Coder(NamedTuple):
    """An encoder and a decoder that compute in one precision, each compiled once for all sizes.

    Attributes:
        dtype: of the convolutions and the features.
        encode: computes the features [1, height // 8, width // 8, 512] of an image [1, height, width, 3] in [0, 1],
            sides at least 16.
        decode: decodes such features, in float32, into an image.
    """

    dtype: tf.DType
    encode: Callable[[tf.Tensor], tf.Tensor]
    decode: Callable[[tf.Tensor], tf.Tensor]


class AdaIN(OnePassNetwork):
    """Stylizes with any style images, by the embedded encoder and a decoder.

    Args:
        decoder: a trained decoder; the embedded one if None.

    Differs from the paper: with `strength` below 1 the features are mixed as there (equation 14), and 1 − strength of
    what the decoder loses of the content image is added, so that `strength` 0 is exactly the content image.

    References:
        Huang, Belongie (ICCV 2017), section 5; NOTICE gives the source of the weights.
    """

    def __init__(self, decoder: AdaINDecoder | None = None) -> None:
        self._arrays = weights.read_embedded("adain-decoder") if decoder is None else decoder.arrays
        self._coders: dict[str, Coder] = {}

    def coder(self, precision: str = "float32") -> Coder:
        """Returns the encoder and decoder of a precision, as for `stylize`; they are made once."""
        policy = dtype_policy(precision)
        if policy not in self._coders:
            encoder = load_encoder(dtype=policy)
            dtype = encoder.compute_dtype
            any_size, any_features = (tf.TensorSpec([1, None, None, channels]) for channels in (3, CHANNELS))
            self._coders[policy] = Coder(
                tf.as_dtype(dtype),
                graphs.compile_once(lambda image: tf.cast(encoder(image)[ADAIN_LAYER], dtype), any_size),
                graphs.compile_once(lambda features: decode(features, self._arrays, dtype), any_features),
            )
        return self._coders[policy]

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options that depend on the kind of network."""
        if not styles:
            raise UsageError("give at least one style image, or a network as `model`.")
        if options.seed is not None:
            raise UsageError("`seed` is for a generator without style images; leave it out.")
        inference.blend_weights(styles, options.blend)

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image with the weighted mean of its features transformed to each style.

        Tiles are transformed by the statistics of the whole image and decoded with a halo, so the result is the same as
        with a single tile.
        """
        for image, name in ((content, "the content image"), *((style, "the style image") for style in styles)):
            inference.check_sides(image, STRIDE + 1, name)  # A single position cannot be reflected.
        content, strength = tf.cast(content, tf.float32), options.strength
        if strength == 0.0:
            return content
        coder, (height, width) = self.coder(options.precision), sides(content)
        padded = pad_to_multiple(content, STRIDE)
        whole, encoded = inference.whole_tile(padded), _encode(padded, coder, options.tile)
        make = transforms.TRANSFORMS[options.transform]
        to_styles = [make(encoded, _encode(pad_to_multiple(style, STRIDE), coder, options.tile)) for style in styles]
        blend = inference.blend_weights(len(styles), options.blend)

        def stylize_tile(outer: Tile) -> tf.Tensor:
            region = outer.grow(transforms.HALO * STRIDE, *sides(padded))
            features = tf.cast(region.crop(encoded.features, outer=whole, cell=STRIDE), tf.float32)
            styled = inference.weighted_mean([transform(features) for transform in to_styles], blend)
            features, styled = (outer.crop(part, outer=region, cell=STRIDE) for part in (features, styled))
            decoded = coder.decode(strength * styled + (1.0 - strength) * features)
            if strength < 1.0:
                decoded += (1.0 - strength) * (outer.crop(padded, outer=whole) - coder.decode(features))
            return decoded

        image = inference.map_tiles(stylize_tile, padded, tile=options.tile, halo=DECODER_HALO)
        return tf.clip_by_value(image[:, :height, :width], 0.0, 1.0)

    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], options: Options) -> int:
        """Estimates the memory of `stylize` in bytes; see `inference.OnePassNetwork`."""
        sizes = (content, *styles)
        pixels = max(inference.largest_tile(*size, tile=options.tile, halo=DECODER_HALO) for size in sizes)
        whole = sum(height * width for height, width in sizes)
        fixed = FIXED_BYTES + TRANSFORM_BYTES.get(options.transform, 0) * len(styles)
        return fixed + BYTES_PER_TILE_PIXEL * pixels + (inference.BYTES_PER_PIXEL + FEATURE_BYTES_PER_PIXEL) * whole


def _encode(padded: tf.Tensor, coder: Coder, tile: int) -> Encoded:
    """Encodes an image, its sides multiples of `STRIDE`, tile by tile with a halo."""
    height, width = sides(padded)
    whole, sums = inference.whole_tile(padded), []
    # In main memory, of which there is more than on a GPU; and concatenated tiles would take it twice.
    features = np.empty([1, height // STRIDE, width // STRIDE, CHANNELS], coder.dtype.as_numpy_dtype)
    for part in inference.split_into_tiles(padded, tile):
        outer = part.grow(ENCODER_HALO, height, width)
        inner = part.crop(coder.encode(outer.crop(padded, outer=whole)), outer=outer, cell=STRIDE)
        part.crop(features, outer=whole, cell=STRIDE)[...] = inner
        sums.append(sufficient_statistics(inner))
    return Encoded(features, functools.reduce(statistics.add, sums))


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

    @property
    def arrays(self) -> Mapping[str, keras.Variable]:
        """The weights, named as in the embedded file."""
        return self._arrays

    def assign(self, arrays: weights.Arrays) -> None:
        """Sets the weights to arrays named as in the embedded file."""
        for name, weight in self._arrays.items():
            weight.assign(arrays[name])

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Decodes features; see `decode`."""
        return decode(features, self._arrays, self.compute_dtype)

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options as `AdaIN` does."""
        load_adain(self).check_options(styles, options)

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image as `AdaIN` does."""
        return load_adain(self).stylize(content, styles, **vars(options))

    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], options: Options) -> int:
        """Estimates the memory of `stylize` in bytes, as `AdaIN` does."""
        return load_adain(self).memory_needed(content, *styles, options=options)

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
