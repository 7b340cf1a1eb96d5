"""The interface that the one-pass networks share, with seamless tiling, checks and estimates of memory."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from tfstyle.environment import keras, tf
from tfstyle.errors import InputError, UsageError
from tfstyle.feedforward.options import Options
from tfstyle.tensors import sides

CELL = 8
"""Sides of tiles are multiples of this, in pixels: the stride of AdaIN's encoder, and twice the TransformerNet's."""

SMALLEST_TILE = 64
"""Smallest side of a tile, in pixels."""

BYTES_PER_PIXEL = 60
"""Memory in bytes per pixel of the whole image, for its copies (original, padded, stylized, assembled and written): the
slope of a process's peak memory on images in tiles of 512 pixels."""


_Array = TypeVar("_Array", tf.Tensor, np.ndarray)


class OnePassNetwork(abc.ABC):
    """Base class of the networks that stylize in one pass.

    A subclass implements `_check_options`, `_stylize` and `memory_needed`.
    """

    def stylize(
        self,
        content: tf.Tensor,
        styles: Sequence[tf.Tensor | np.ndarray] = (),
        *,
        blend: Sequence[float] | None = None,
        strength: float = 1.0,
        seed: int | None = None,
        transform: str = "adain",
        precision: str = "auto",
        tile: int = 1024,
    ) -> tf.Tensor:
        """Stylizes an image.

        Args:
            content: float32 [1, height, width, 3] in [0, 1], of any size.
            styles: style images, each like `content`, of any size.
            blend: a weight of 0 or more for each style image, not all 0; None gives them equal weights.
            strength: of the style: 1 is the full style, 0 exactly the content image. AdaIN mixes features, the others
                mix the result with the content image.
            seed: seed of the random style when a generator gets no style image; 0 if None.
            transform: how AdaIN's network gives the features of the content image the look of the style: "adain",
                "monge", "attention" or "decorate", functions of `feedforward.transforms`.
            precision: of the convolutions of AdaIN's network: "float32", "bfloat16", or "auto": bfloat16 where it is
                faster.
            tile: side of the tiles that a larger image is stylized in, in pixels, at least `SMALLEST_TILE`.

        Returns:
            float32 tensor of the content's shape, in [0, 1].

        Raises:
            UsageError: as `check_options`.
            InputError: if an image is too small.
        """
        options = Options(
            blend=blend, strength=strength, seed=seed, transform=transform, precision=precision, tile=tile
        )
        self.check_options(len(styles), options)
        return self._stylize(content, styles, options)

    def check_options(self, styles: int, options: Options) -> None:
        """Checks the options of `stylize`, given the number of style images.

        Raises:
            UsageError: if an option is out of range, or the network does not take it.
        """
        check_tile(options.tile)
        self._check_options(styles, options)

    @abc.abstractmethod
    def memory_needed(self, content: tuple[int, int], *styles: tuple[int, int], options: Options) -> int:
        """Estimates how many bytes `stylize` takes beyond the imported library, on a CPU.

        Args:
            content: (height, width) of the content image.
            *styles: (height, width) of each style image.
            options: those of `stylize`.
        """

    @abc.abstractmethod
    def _check_options(self, styles: int, options: Options) -> None:
        """Checks the options that depend on the kind of network."""

    @abc.abstractmethod
    def _stylize(self, content: tf.Tensor, styles: Sequence[tf.Tensor | np.ndarray], options: Options) -> tf.Tensor:
        """Stylizes an image; the options have been checked."""


class Tile(NamedTuple):
    """A part of an image: rows [top, bottom) and columns [left, right), in pixels, all multiples of `CELL`."""

    top: int
    bottom: int
    left: int
    right: int

    def grow(self, halo: int, height: int, width: int) -> Tile:
        """Returns the tile enlarged by a halo on each side, within the image."""
        return Tile(
            max(self.top - halo, 0),
            min(self.bottom + halo, height),
            max(self.left - halo, 0),
            min(self.right + halo, width),
        )

    def crop(self, array: _Array, *, outer: Tile, cell: int = 1) -> _Array:
        """Crops this tile out of an array that covers `outer`, with `cell` pixels per entry."""
        top, left = (self.top - outer.top) // cell, (self.left - outer.left) // cell
        height, width = (self.bottom - self.top) // cell, (self.right - self.left) // cell
        return array[:, top : top + height, left : left + width]


def whole_tile(image: tf.Tensor) -> Tile:
    """Returns the tile that covers an image."""
    height, width = sides(image)
    return Tile(0, height, 0, width)


def split_into_tiles(image: tf.Tensor, side: int) -> Iterator[Tile]:
    """Yields tiles that cover an image row by row; no tile is smaller than half of `side`, unless the image is."""
    side -= side % CELL
    height, width = sides(image)
    for top, bottom in _spans(height, side):
        for left, right in _spans(width, side):
            yield Tile(top, bottom, left, right)


def map_tiles(stylize: Callable[[Tile], tf.Tensor], padded: tf.Tensor, *, tile: int, halo: int) -> tf.Tensor:
    """Stylizes an image tile by tile.

    Args:
        stylize: a function of a tile with its halo that returns this part stylized.
        padded: the content image, its sides multiples of `CELL` or of the network's stride.
        tile: side of the tiles.
        halo: pixels around a tile that are stylized with it and cropped.

    Returns:
        A tensor of the shape of `padded`.
    """
    rows: dict[int, list[tf.Tensor]] = {}
    for part in split_into_tiles(padded, tile):
        outer = part.grow(halo, *sides(padded))
        rows.setdefault(part.top, []).append(part.crop(stylize(outer), outer=outer))
    return tf.concat([tf.concat(row, axis=2) for row in rows.values()], axis=1)


def largest_tile(height: int, width: int, *, tile: int, halo: int) -> int:
    """Counts the pixels of the largest tile of an image, with its halo."""
    side = max(tile - tile % CELL, CELL)
    longest = (max(end - start for start, end in _spans(length, side)) + 2 * halo for length in (height, width))
    return math.prod(min(span, length) for span, length in zip(longest, (height, width), strict=True))


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """Splits a length into spans [start, end); a short remainder is merged into the span before it."""
    starts = list(range(0, max(length - side // 2, 1), side))
    return list(zip(starts, [*starts[1:], length], strict=True))


def blend_weights(styles: int, blend: Sequence[float] | None) -> list[float]:
    """Returns the weight of each style image; the weights add up to 1.

    Raises:
        UsageError: if `blend` does not hold one finite weight of 0 or more for each style image, or all are 0.
    """
    weights = [1.0] * styles if blend is None else list(blend)
    if not styles or len(weights) != styles or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UsageError(f"`blend` should hold one weight of 0 or more for each of {styles} styles, not {blend!r}.")
    return [weight / sum(weights) for weight in weights]


def weighted_mean(tensors: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """Computes the weighted sum of tensors of one shape; it is their mean if the weights add up to 1."""
    return tf.add_n([weight * tensor for weight, tensor in zip(weights, tensors, strict=True)])


def weaken(result: tf.Tensor, content: tf.Tensor, strength: float) -> tf.Tensor:
    """Mixes a result with the content image; strength 1 returns the result itself, 0 the content image."""
    return result if strength == 1.0 else content + strength * (result - content)


def check_sides(image: tf.Tensor | np.ndarray, smallest: int, name: str) -> None:
    """Raises InputError if a side of the image has fewer than `smallest` pixels."""
    height, width = sides(image)
    if min(height, width) < smallest:
        raise InputError(f"{name} is {width}x{height}; at least {smallest} pixels are needed on each side.")


def refuse_adain_options(options: Options) -> None:
    """Raises UsageError if an option is set that only AdaIN's network has."""
    if options.transform != "adain" or options.precision == "bfloat16":
        raise UsageError(
            "`transform` and `precision` are for AdaIN's network, without `model` or with a decoder's file."
        )


def check_tile(tile: int) -> None:
    """Raises UsageError if the side of the tiles is below `SMALLEST_TILE`."""
    if tile < SMALLEST_TILE:
        raise UsageError(f"`tile` should be at least {SMALLEST_TILE} pixels, not {tile!r}.")


def export_model(inputs: Sequence[keras.KerasTensor], stylized: keras.KerasTensor) -> keras.Model:
    """Makes a functional model with these named inputs and the output "painting"."""
    output = keras.layers.Identity(name="painting", dtype="float32")(stylized)
    return keras.Model(list(inputs) if len(inputs) > 1 else inputs[0], {"painting": output})


def image_input(name: str) -> keras.KerasTensor:
    """Makes an input for images [N, height, width, 3] of any size."""
    images: keras.KerasTensor = keras.Input((None, None, 3), name=name, dtype="float32")
    return images
