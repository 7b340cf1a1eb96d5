"""Johnson's image transformation network, which stylizes in one pass; each network has one style."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfstyle import images
from tfstyle.environment import keras, tf
from tfstyle.errors import UsageError
from tfstyle.feedforward import inference
from tfstyle.feedforward.inference import OnePassNetwork, Tile
from tfstyle.feedforward.layers import InstanceNormalization, mean_std, pad_to_multiple, reflect_pad, upsample_bilinear
from tfstyle.feedforward.options import Options
from tfstyle.tensors import sides

FILTERS = {"slim": (16, 32, 64), "full": (32, 64, 128)}
"""Numbers of filters at full, half and quarter resolution, by width; "full" is the paper's."""

ENCODER_LAYERS = 3
"""Convolutions before the residual blocks, each with a normalization."""

STRIDE = 4
"""Pixels per position of the residual blocks' features."""

HALO = 64
"""Radius of the receptive field if the statistics are given: 60 pixels, rounded up to a multiple of `STRIDE`."""

SMALLEST = 8
"""Smallest side of an image, in pixels: reflection needs four neighbors."""

FIXED_BYTES = 20_000_000
"""Memory that a network takes whatever the image size, in bytes: weights, compiled graphs, oneDNN's kernel copies."""

BYTES_PER_TILE_PIXEL = 650
"""Peak memory of the layers in bytes per pixel of the largest tile, measured like `adain.BYTES_PER_TILE_PIXEL`."""

Statistics = Sequence[tf.Tensor]
"""Means and standard deviations [batch, 2, channels] of the input of each normalization, in order."""

Forward = Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]
"""`TransformerNet.forward`, compiled."""

Modulation = Sequence[tf.Tensor | float]
"""Offsets to the learned means and standard deviations of each normalization, [batch, 2, channels] or 0."""


@keras.saving.register_keras_serializable(package="tfstyle", name="Transformer")
class TransformerNet(OnePassNetwork, keras.Model):
    """Stylizes in one style, with two strided convolutions, residual blocks and two upsampling steps.

    Args:
        filters: numbers of filters at full, half and quarter resolution.
        blocks: number of residual blocks.
        **kwargs: arguments of `keras.Model`; `dtype="mixed_bfloat16"` computes convolutions in bfloat16.

    Call it on float32 [batch, height, width, 3] in [0, 1], sides at least `SMALLEST`; it returns the same
    shape, in [0, 1].

    Differs from the paper: reflection padding before every convolution instead of 40 pixels once; bilinear upsampling
    and a convolution instead of a transposed one (no checkerboard; Odena, Dumoulin, Olah: Deconvolution and
    Checkerboard Artifacts, 2016; nearest-neighbor upsampling left a grid pattern of four pixels); instance
    instead of batch normalization.

    References:
        Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution (ECCV 2016),
        supplement, table 1.
    """

    smallest_side = SMALLEST
    """Smallest side of an image, in pixels."""

    def __init__(self, filters: Sequence[int] = FILTERS["slim"], *, blocks: int = 5, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32", "autocast": False} | kwargs))
        self.filters, self.blocks = tuple(int(number) for number in filters), blocks
        first, second, third = self.filters
        residual = [(f"residual{number}_{half}", third, 3, 1) for number in range(1, blocks + 1) for half in "ab"]
        plan = [("down1", first, 9, 1), ("down2", second, 3, 2), ("down3", third, 3, 2), *residual]
        plan += [("up1", second, 3, 1), ("up2", first, 3, 1), ("output", 3, 9, 1)]
        # Names of attributes that hold layers are part of the layout of saved files; see `Generator`.
        self.convolutions = [
            keras.layers.Conv2D(count, side, stride, padding="valid", name=name, dtype=self.dtype_policy)
            for name, count, side, stride in plan
        ]
        self.normalizations = [InstanceNormalization(name=f"{name}_norm") for name, *_ in plan[:-1]]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights of every layer."""
        inputs = input_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, inputs))
            inputs = convolution.filters
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=False):
            normalization.build((None, None, None, convolution.filters))
        self.built = True

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Stylizes a batch; see the class."""
        return self.forward(image)[0]

    def forward(
        self, image: tf.Tensor, statistics: Statistics | None = None, modulation: Modulation | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Computes the stylized image and the statistics that it was normalized by.

        Args:
            image: as for a call of the network.
            statistics: statistics to normalize by, for a tile of a larger image; the image's own if None.
            modulation: offsets to the means and standard deviations that each normalization has learned; 0 if None.

        Returns:
            The stylized image, and the statistics, its own or those given.
        """
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        x, used = self.encode(image, statistics, modulation)
        layer = functools.partial(self._layer, used=used, statistics=statistics, modulation=modulation)
        for _ in range(self.blocks):
            x += layer(tf.nn.relu(layer(x)))
        for _ in range(2):
            x = tf.nn.relu(layer(tf.cast(upsample_bilinear(x), self.compute_dtype)))
        x = self.convolutions[-1](reflect_pad(x, 4))
        return tf.sigmoid(tf.cast(x, tf.float32))[:, :height, :width], used

    def encode(
        self, image: tf.Tensor, statistics: Statistics | None = None, modulation: Modulation | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Computes the input of the residual blocks.

        Args:
            image, statistics, modulation: as for `forward`.

        Returns:
            Features at quarter resolution, and the statistics of the first `ENCODER_LAYERS` normalizations.
        """
        x = pad_to_multiple(tf.cast(image, self.compute_dtype), STRIDE)
        used: list[tf.Tensor] = []
        for _ in range(ENCODER_LAYERS):
            x = tf.nn.relu(self._layer(x, used, statistics, modulation))
        return x, used

    def _layer(
        self,
        x: tf.Tensor,
        used: list[tf.Tensor],
        statistics: Statistics | None,
        modulation: Modulation | None,
    ) -> tf.Tensor:
        """Applies the next convolution and its normalization, and appends the normalization's statistics to `used`."""
        number = len(used)
        convolution = self.convolutions[number]
        x = convolution(reflect_pad(x, convolution.kernel_size[0] // 2))
        used.append(mean_std(x) if statistics is None else statistics[number])
        offset = 0.0 if modulation is None else modulation[number]
        normalized: tf.Tensor = self.normalizations[number](x, used[-1], offset=offset)
        return tf.cast(normalized, self.compute_dtype)

    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options that depend on the kind of network."""
        inference.refuse_adain_options(options)
        if styles or options.blend is not None:
            raise UsageError("a network of one style takes no style image; leave it out.")
        if options.seed is not None:
            raise UsageError("`seed` is for a generator without style images; leave it out.")

    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image in the network's one style."""
        return inference.weaken(self.stylize_tiles(content, tile=options.tile), content, options.strength)

    def stylize_tiles(self, content: tf.Tensor, *, modulation: Modulation | None = None, tile: int = 1024) -> tf.Tensor:
        """Stylizes an image of any size.

        An image of more than tile x tile pixels is stylized in tiles of that side. All tiles are normalized by the
        statistics of the whole image, reduced to tile x tile pixels, and computed with a halo, so that there are no
        seams.

        Args:
            content: float32 [1, height, width, 3] in [0, 1].
            modulation: as for `forward`.
            tile: side of the tiles in pixels, at least `inference.SMALLEST_TILE`.

        Returns:
            float32 tensor of the content's shape, in [0, 1].

        Raises:
            UsageError: if `tile` is too small.
            InputError: if the image is too small.

        References:
            Statistics of a reduced image: Chen, Wang, Xie, Lu, Luo: Towards Ultra-Resolution Neural Style Transfer via
            Thumbnail Instance Normalization (AAAI 2022), section 3.2.
        """
        inference.check_tile(tile)
        inference.check_sides(content, SMALLEST, "the content image")
        height, width = sides(content)
        content = tf.cast(content, tf.float32)
        options: dict[str, Any] = {} if modulation is None else {"modulation": modulation}
        forward = _compiled_forward(self)
        if height * width <= tile**2:
            return forward(content, **options)[0]
        reduced = images.fit(content, round(max(height, width) * tile / math.sqrt(height * width)))
        _, options["statistics"] = forward(reduced, **options)
        padded = pad_to_multiple(content, STRIDE)

        def stylize_tile(outer: Tile) -> tf.Tensor:
            return forward(outer.crop(padded, outer=inference.whole_tile(padded)), **options)[0]

        return inference.map_tiles(stylize_tile, padded, tile=tile, halo=HALO)[:, :height, :width]

    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], options: Options) -> int:
        """Estimates the memory of `stylize` in bytes; see `inference.OnePassNetwork`.

        For style images only the pixels themselves are counted, because a generator encodes them at a reduced size.
        """
        pixels = math.prod(content)
        if pixels > options.tile**2:
            pixels = inference.largest_tile(*content, tile=options.tile, halo=HALO)
        whole = sum(height * width for height, width in (content, *styles))
        return FIXED_BYTES + BYTES_PER_TILE_PIXEL * pixels + inference.BYTES_PER_PIXEL * whole

    def export_model(self) -> keras.Model:
        """Makes the model to export: input `image` [N, H, W, 3], output "painting" of the same shape."""
        image = inference.image_input("image")
        return inference.export_model([image], self(image))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of `__init__`."""
        config: dict[str, Any] = super().get_config()
        return config | {"filters": list(self.filters), "blocks": self.blocks}


def _compiled_forward(network: TransformerNet) -> Forward:
    """Compiles `network.forward` for one image of any size, once; the compiled function is cached on the network."""
    functions: dict[tuple[str, ...], Forward] = {}

    def run(image: tf.Tensor, **options: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
        names = tuple(options)
        if names not in functions:
            shapes = tf.nest.map_structure(lambda value: tf.TensorSpec(tf.convert_to_tensor(value).shape), options)
            function = tf.function(lambda image, options: network.forward(image, **options), autograph=False)
            functions[names] = function.get_concrete_function(tf.TensorSpec([1, None, None, 3]), shapes)
        return functions[names](image, options)

    kept: Forward = network.__dict__.setdefault("_compiled", run)
    return kept  # Hidden from Keras, which would save an attribute with the network.
