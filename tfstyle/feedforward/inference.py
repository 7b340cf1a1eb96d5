"""Picture → picture now: AdaIN with any styles, transformer and generator with theirs, in tiles that leave no seam."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tfstyle import images, statistics
from tfstyle.environment import tf
from tfstyle.errors import InputError, UsageError
from tfstyle.feedforward.adain import AdaIN, adaptive_instance_normalisation, in_whole_cells
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import BODY_CELL, HALO, SMALLEST, Transformer
from tfstyle.statistics import sufficient_statistics

CELL = 8
"""Pixels of a position of the encoder's features."""

ENCODER_HALO = 32
"""Radius of the receptive field of a tile's features: 30 pixels, in whole cells."""

DECODER_HALO = 32
"""Radius of the receptive field of what is painted from features: 30 pixels, in whole cells."""

BYTES_AT_LEAST = {"adain": 230_000_000, "transformer": 20_000_000}
"""Memory that the network takes at any size, in bytes: weights, compiled graphs, oneDNN's copies of the kernels."""

BYTES_PER_PIECE_PIXEL = {"adain": 1000, "transformer": 650}
"""Peak memory of the layers for each pixel of the largest piece: the slope of a process's peak between single pieces of
512x384 and 1448x1086 pixels, in float32 on a CPU."""

BYTES_PER_PIXEL = 60
"""Memory for each pixel of the whole picture: itself, padded, painted, assembled and written; measured likewise, on
pictures in pieces of 512 pixels."""


STYLE_SIDE = 256
"""Long side at which a generator looks at a painting, in pixels: about the strokes of its training at 128."""


class _Tile(NamedTuple):
    """A piece of a picture, in pixels, all multiples of `CELL`: [top, bottom) and [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, halo: int, height: int, width: int) -> _Tile:
        """The tile with a halo, as far as the picture reaches."""
        return _Tile(
            max(self.top - halo, 0),
            min(self.bottom + halo, height),
            max(self.left - halo, 0),
            min(self.right + halo, width),
        )

    def cut(self, array: tf.Tensor, *, outer: _Tile, cell: int = 1) -> tf.Tensor:
        """This tile out of an array that covers `outer`, with `cell` pixels an entry."""
        top, left = (self.top - outer.top) // cell, (self.left - outer.left) // cell
        height, width = (self.bottom - self.top) // cell, (self.right - self.left) // cell
        return array[:, top : top + height, left : left + width]


def paint(
    network: AdaIN,
    content: tf.Tensor,
    styles: Sequence[tf.Tensor],
    *,
    blend: Sequence[float] | None = None,
    alpha: float = 1.0,
    tile: int = 1024,
) -> tf.Tensor:
    """Paints a photograph in the style of one painting or several.

    Args:
        network: encoder and decoder.
        content: float32 [1, height, width, 3] in [0, 1], of any size.
        styles: the same, of any sizes.
        blend: a weight ≥ 0 for each style, not all 0; None weighs them equally.
        alpha: 1 is the whole style, 0 the photograph as the decoder sees it.
        tile: side of the pieces a larger picture is painted in, in pixels, at least 64. Their statistics are those of
            the whole picture and their surroundings are seen, so the result is the one of a single piece.

    Returns:
        float32 tensor of the content's shape, in [0, 1].

    Raises:
        UsageError: if `alpha`, `blend` or `tile` is out of range.
        InputError: if a picture is too small for the encoder.
    """
    if not 0.0 <= alpha <= 1.0:
        raise UsageError(f"`alpha` should be from 0 to 1, not {alpha!r}.")
    _check_tile(tile)
    target = _blended([_statistics(*_encoded(network, style, "the painting"), tile) for style in styles], blend)
    height, width = content.shape[1:3]
    padded, features_of = _encoded(network, content, "the photograph")
    own = _statistics(padded, features_of, tile)

    def painted(seen: _Tile) -> tf.Tensor:
        features = features_of(seen)
        styled = adaptive_instance_normalisation(features, own, target)
        return network.decode(alpha * styled + (1.0 - alpha) * features)

    image = _assembled(padded, tile, DECODER_HALO, painted)
    return tf.clip_by_value(image[:, :height, :width], 0.0, 1.0)


def transform(
    network: Transformer, content: tf.Tensor, *, code: tf.Tensor | None = None, tile: int = 1024
) -> tf.Tensor:
    """Paints a photograph in the one style of a transformer, or in one of a generator's.

    Args:
        network: a trained one.
        content: float32 [1, height, width, 3] in [0, 1], of any size.
        code: of a generator's style, as from `choose_code`.
        tile: a picture of more than tile x tile pixels is painted in pieces of that side, at least 64. All of them are
            normalised by the statistics of the whole picture, taken where it is reduced to tile x tile pixels, and see
            their surroundings, so that no seam is left.

    Returns:
        float32 tensor of the content's shape, in [0, 1].

    Raises:
        UsageError: if `tile` is out of range.
        InputError: if the picture is too small.

    References:
        Statistics of a reduced picture: Chen, Wang, Xie, Lu, Luo: Towards Ultra-Resolution Neural Style Transfer via
        Thumbnail Instance Normalization (AAAI 2022), section 3.2.
    """
    _check_tile(tile)
    _check_sides(content, SMALLEST, "the photograph")
    height, width = content.shape[1:3]
    content = tf.cast(content, tf.float32)
    arguments = {"changes": network.changes(code)} if isinstance(network, Generator) else {}
    run = _compiled(network)
    if height * width <= tile**2:
        return run(content, **arguments)[0]
    reduced = images.fit(content, round(max(height, width) * tile / math.sqrt(height * width)))
    _, arguments["statistics"] = run(reduced, **arguments)
    padded = in_whole_cells(content, BODY_CELL)
    whole = _Tile(0, padded.shape[1], 0, padded.shape[2])

    def painted(seen: _Tile) -> tf.Tensor:
        return run(seen.cut(padded, outer=whole), **arguments)[0]

    return _assembled(padded, tile, HALO, painted)[:, :height, :width]


def _compiled(network: Transformer) -> Callable[..., Any]:
    """`network.paint` of one picture, compiled once for all sizes; kept with the network, as long as that lives."""
    functions: dict[tuple[str, ...], Any] = {}

    def run(image: tf.Tensor, **given: Any) -> Any:
        names = tuple(given)
        if names not in functions:
            shapes = tf.nest.map_structure(lambda value: tf.TensorSpec(tf.convert_to_tensor(value).shape), given)
            function = tf.function(lambda image, given: network.paint(image, **given), autograph=False)
            functions[names] = function.get_concrete_function(tf.TensorSpec([1, None, None, 3]), shapes)
        return functions[names](image, given)

    return network.__dict__.setdefault("_compiled", run)  # Past Keras, which would save an attribute with the network.


def choose_code(
    network: Generator, styles: Sequence[tf.Tensor], *, blend: Sequence[float] | None = None, seed: int = 0
) -> tf.Tensor:
    """The code of a generator's style: between those of some paintings, or a random one.

    Args:
        network: a trained one.
        styles: float32 [1, height, width, 3] in [0, 1], of any sizes; none for a random code.
        blend: as for `paint`.
        seed: of the random code.

    Returns:
        float32 [1, code_size].

    Raises:
        UsageError: if `blend` is out of range.
        InputError: if a painting is too small.
    """
    if not styles:
        return network.random_code(seed)
    for style in styles:
        _check_sides(style, SMALLEST, "the painting")
    reduced = [images.fit(style, min(STYLE_SIDE, max(style.shape[1:3]))) for style in styles]
    return _blended([network.code_of(style)[0] for style in reduced], blend)


def memory_needed(network: AdaIN | Transformer, *sizes: tuple[int, int], tile: int) -> int:
    """Estimates how many bytes `paint` or `transform` take beyond the imported library, on a CPU.

    Args:
        network: what is to paint.
        *sizes: (height, width) of the photograph first, then of the paintings.
        tile: as for `paint` or `transform`.
    """
    if isinstance(network, Transformer):
        kind, in_one = "transformer", math.prod(sizes[0]) <= tile**2  # A generator looks at reduced paintings.
        piece = math.prod(sizes[0]) if in_one else _largest_piece(*sizes[0], tile, HALO)
    else:
        kind, piece = "adain", max(_largest_piece(*size, tile, DECODER_HALO) for size in sizes)
    whole = sum(height * width for height, width in sizes)
    return BYTES_AT_LEAST[kind] + BYTES_PER_PIECE_PIXEL[kind] * piece + BYTES_PER_PIXEL * whole


def _largest_piece(height: int, width: int, tile: int, halo: int) -> int:
    """Pixels of the largest piece that a picture is painted in, with its halo."""
    side = max(tile - tile % CELL, CELL)
    longest = (max(end - start for start, end in _spans(length, side)) + 2 * halo for length in (height, width))
    return math.prod(min(span, length) for span, length in zip(longest, (height, width), strict=True))


def _check_sides(image: tf.Tensor, smallest: int, what: str) -> None:
    height, width = image.shape[1:3]
    if min(height, width) < smallest:
        raise InputError(f"{what} is {width}x{height}; at least {smallest} pixels are needed on each side.")


def _check_tile(tile: int) -> None:
    if tile < 64:
        raise UsageError(f"`tile` should be at least 64 pixels, not {tile!r}.")


def _assembled(padded: tf.Tensor, tile: int, halo: int, painted: Callable[[_Tile], tf.Tensor]) -> tf.Tensor:
    """A picture painted in pieces.

    Args:
        padded: the photograph, in whole cells.
        tile: side of the pieces.
        halo: how much around a piece is painted with it and cut off.
        painted: a piece with its halo → what is painted there.
    """
    rows: dict[int, list[tf.Tensor]] = {}
    for piece in _tiles(padded, tile):
        seen = piece.grown(halo, *padded.shape[1:3])
        rows.setdefault(piece.top, []).append(piece.cut(painted(seen), outer=seen))
    return tf.concat([tf.concat(row, axis=2) for row in rows.values()], axis=1)


def _tiles(image: tf.Tensor, side: int) -> Iterator[_Tile]:
    """Pieces that cover an image row by row, none smaller than half a side unless the image is."""
    side -= side % CELL
    for top, bottom in _spans(image.shape[1], side):
        for left, right in _spans(image.shape[2], side):
            yield _Tile(top, bottom, left, right)


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """[start, end) of the pieces of a length; a short rest joins the piece before it."""
    starts = list(range(0, max(length - side // 2, 1), side))
    return list(zip(starts, [*starts[1:], length], strict=True))


def _features(network: AdaIN, image: tf.Tensor, piece: _Tile) -> tf.Tensor:
    """The features of a piece as they are in the whole picture."""
    seen = piece.grown(ENCODER_HALO, *image.shape[1:3])
    whole = _Tile(0, image.shape[1], 0, image.shape[2])
    return piece.cut(network.encode(seen.cut(image, outer=whole)), outer=seen, cell=CELL)


def _encoded(network: AdaIN, image: tf.Tensor, what: str) -> tuple[tf.Tensor, Callable[[_Tile], tf.Tensor]]:
    """A picture in whole cells, and a function that returns the features of a piece, the last of which it keeps."""
    _check_sides(image, CELL + 1, what)  # One cell could not be mirrored at its edge.
    padded = in_whole_cells(image, CELL)
    return padded, functools.lru_cache(maxsize=1)(functools.partial(_features, network, padded))


def _statistics(padded: tf.Tensor, features_of: Callable[[_Tile], tf.Tensor], tile: int) -> tf.Tensor:
    """Means and deviations [1, 2, channels] of a picture's features, summed over its pieces."""
    parts = (sufficient_statistics(features_of(piece)) for piece in _tiles(padded, tile))
    return statistics.mean_std(functools.reduce(statistics.add, parts))


def _blended(targets: Sequence[tf.Tensor], blend: Sequence[float] | None) -> tf.Tensor:
    """The weighted mean of the styles' means and deviations."""
    weights = [1.0] * len(targets) if blend is None else list(blend)
    if not targets or len(weights) != len(targets) or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UsageError(
            f"`blend` should hold one weight of 0 or more for each of {len(targets)} styles, not {blend!r}."
        )
    return tf.add_n([weight / sum(weights) * target for weight, target in zip(weights, targets, strict=True)])
