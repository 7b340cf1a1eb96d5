"""Layout of the tiles in which a large image is computed: pieces of each group of blocks, and how they overlap.

The network runs one group of blocks over all tiles before the next group begins, on the pooled features of the whole
image. A tile of a group needs only the context that the group's convolutions see, a few positions, instead of the 80
pixels that the whole network sees.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tfstyle.boxes import ALIGNMENT, split
from tfstyle.environment import tf
from tfstyle.neighbors import reference_layer
from tfstyle.recipes.loss import Loss
from tfstyle.vgg import POOLED, VGG
from tfstyle.vgg19 import block_of
from tfstyle.windows import Window

SMALLEST_TILE = 2 * ALIGNMENT


class Span(NamedTuple):
    """The rows or the columns of a tile, as (start, stop) on the grid of its group's input.

    Attributes:
        core: what belongs to the tile; the cores of all tiles cover the image once.
        passed: what the next group needs of the tile: the core, and at the border of a `Part` more.
        outer: the latter and its context.
    """

    core: tuple[int, int]
    passed: tuple[int, int]
    outer: tuple[int, int]


class Part(NamedTuple):
    """Rows of an image that are computed at a time, as (start, stop) on the grid of a group's input.

    They are those of one worker, or of one band.

    Attributes:
        own: those whose features are summed up; those of all parts cover the image once.
        passed: those that are computed for the next group.
    """

    own: tuple[int, int]
    passed: tuple[int, int]


class Side(NamedTuple):
    """The rows or the columns of a tile on all grids, as (start, length).

    Attributes:
        outer: of the tile, on the grid of its group's input.
        cores: layer → what belongs to the tile, on the layer's grid of the whole image.
        own: layer → the same in the features of the tile.
        wide: layer of the hypercolumns → that from which `grid` is computed, in the features of the tile.
        skip: layer of the hypercolumns → what is left out at the beginning, as for `neighbors.to_grid`.
        grid: what belongs to the tile on the grid of the hypercolumns.
    """

    outer: tuple[int, int]
    cores: dict[str, tuple[int, int]]
    own: dict[str, tuple[int, int]]
    wide: dict[str, tuple[int, int]]
    skip: dict[str, int]
    grid: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Blocks that are computed together.

    Attributes:
        blocks: their numbers, from 1.
        layers: their layers that the loss uses.
        context: positions of the group's input that a tile needs around its core.
        goes_on: whether deeper blocks follow.
        scale: length of a tile on the grid of the group's input, divided by that of the first block alone; a tile's
            features then take the same memory in all groups.
    """

    blocks: range
    layers: tuple[str, ...]
    context: int
    goes_on: bool
    scale: float


def make_groups(vgg: VGG, loss: Loss) -> list[Group]:
    """Divides the blocks of a network into groups: each by itself, unless a custom term uses layers of several."""
    layers = dict.fromkeys((*loss.style_layers, *loss.content_layers, *loss.neighbor_layers))
    together = [[block_of(layer) for layer in term.layers] for term in loss.terms if term.weight]
    layers |= dict.fromkeys(layer for term in loss.terms if term.weight for layer in term.layers)
    deepest = max(map(block_of, layers))
    starts = [
        block for block in range(1, deepest + 1) if not any(min(blocks) < block <= max(blocks) for blocks in together)
    ]
    groups = []
    for start, after in itertools.pairwise((*starts, deepest + 1)):
        blocks = range(start, after)
        used = tuple(layer for layer in layers if block_of(layer) in blocks)
        context = _context(vgg, loss, blocks, used, goes_on=after <= deepest)
        scale = math.sqrt(sum(vgg.blocks[0]) / sum(sum(vgg.blocks[block - 1]) for block in blocks))
        groups.append(Group(blocks=blocks, layers=used, context=context, goes_on=after <= deepest, scale=scale))
    return groups


def _context(vgg: VGG, loss: Loss, blocks: range, layers: Iterable[str], *, goes_on: bool) -> int:
    """Returns how far the positions used in some blocks see, on the grid of the blocks' input, as whole positions."""
    reach, needed = 0, 0
    reference = block_of(reference_layer(loss.neighbor_layers)) if loss.neighbor_layers else len(vgg.blocks)
    for block in blocks:
        stride = 1 << (block - blocks[0])
        for convolution in (c.name for c in vgg.convolutions if block_of(c.name) == block):
            reach += stride  # Each convolution sees one position around.
            if convolution in layers:
                enlarged = convolution in loss.neighbor_layers and block > reference
                needed = max(needed, reach + stride * enlarged)  # Interpolation sees one more.
    unit = 1 << len(blocks)
    return -(-max(needed, reach if goes_on else 0) // unit) * unit


def grid_sizes(vgg: VGG, height: int, width: int) -> dict[int, tuple[int, int]]:
    """Returns the size of each block's layers, {number of the block: (height, width)}."""
    sizes = {1: (height, width)}
    for block in range(2, vgg.depth + 1):
        above = sizes[block - 1]
        sizes[block] = (above[0] + vgg.ceil_mode) // 2, (above[1] + vgg.ceil_mode) // 2
    return sizes


def make_parts(groups: Sequence[Group], lengths: dict[int, int], own: tuple[int, int]) -> list[Part]:
    """Returns the part in each group.

    Args:
        groups: from `make_groups`.
        lengths: as for `make_sides`.
        own: its rows of the image, from a multiple of 16 to a multiple of 16 or the end.
    """
    parts: list[Part] = []
    needed = (0, 0)
    for group in reversed(groups):
        first, after = group.blocks[0], group.blocks[-1] + 1
        length, unit = lengths[first], 1 << (after - first)
        stop = length if own[1] == lengths[1] else own[1] >> (first - 1)
        part = passed = (own[0] >> (first - 1), stop)
        if group.goes_on:
            passed = (unit * needed[0], length if needed[1] == lengths[after] else unit * needed[1])
        parts.append(Part(part, passed))
        needed = (max(0, passed[0] - group.context), min(length, passed[1] + group.context))
    return parts[::-1]


def make_spans(length: int, tile: int, context: int, *, part: Part | None = None) -> list[Span]:
    """Divides a length into tiles of about one length, none longer than `tile` by more than half the alignment.

    Args:
        length: rows or columns of the group's input.
        tile: length of a tile.
        context: as in `Group`.
        part: what is divided of the length, from `make_parts`; None is all of it.
    """
    (start, stop), passed = part or Part((0, length), (0, length))
    count = -(-(stop - start) // tile)
    spans = []
    for first, last in split((start, stop), count):
        wide = (passed[0] if first == start else first, passed[1] if last == stop else last)
        spans.append(Span((first, last), wide, (max(0, wide[0] - context), min(length, wide[1] + context))))
    return spans


def make_sides(
    group: Group,
    lengths: dict[int, int],
    *,
    tile: int,
    neighbor_layers: Collection[str] = (),
    part: Part | None = None,
) -> list[Side]:
    """Divides the rows, or the columns, of an image into those of tiles.

    Args:
        group: the blocks that are computed together.
        lengths: number of a block → rows or columns of its layers.
        tile: length of a tile of the first block, in pixels.
        neighbor_layers: the layers of the hypercolumns.
        part: as for `make_spans`.
    """
    first, length = group.blocks[0], max(SMALLEST_TILE, round(tile * group.scale / ALIGNMENT) * ALIGNMENT)
    layers = {layer: block_of(layer) for layer in group.layers}
    if group.goes_on:
        layers[POOLED] = group.blocks[-1] + 1
    reference = block_of(reference_layer(neighbor_layers)) if neighbor_layers else first
    return [
        _side(span, first, lengths, layers, reference, [layer for layer in neighbor_layers if layer in layers])
        for span in make_spans(lengths[first], length, group.context, part=part)
    ]


def _side(
    span: Span, first: int, lengths: dict[int, int], layers: dict[str, int], reference: int, matched: list[str]
) -> Side:
    def project(block: int, interval: tuple[int, int] = span.core) -> tuple[int, int]:
        start, stop = (int(place * 2.0 ** (first - block)) for place in interval)
        return start, lengths[block] if interval[1] == lengths[first] else stop

    cores = {layer: project(block, span.passed if layer == POOLED else span.core) for layer, block in layers.items()}
    wide, skip = {}, {}
    for layer in matched:
        (start, stop), block = cores[layer], layers[layer]
        before = block > reference and start > 0  # Interpolation sees one position more on either side.
        after = block > reference and stop < lengths[block]
        wide[layer], skip[layer] = (start - before, stop + after), before << max(block - reference, 0)

    def own(interval: tuple[int, int], block: int) -> tuple[int, int]:
        return interval[0] - (span.outer[0] >> (block - first)), interval[1] - interval[0]

    begin, end = project(reference)
    return Side(
        outer=(span.outer[0], span.outer[1] - span.outer[0]),
        cores={layer: (start, stop - start) for layer, (start, stop) in cores.items()},
        own={layer: own(interval, layers[layer]) for layer, interval in cores.items()},
        wide={layer: own(interval, layers[layer]) for layer, interval in wide.items()},
        skip=skip,
        grid=(begin, end - begin),
    )


class Piece(NamedTuple):
    """A tile of a group: its rows and its columns."""

    rows: Side
    columns: Side

    def outer(self) -> tuple[slice, ...]:
        """Returns where the tile is in the group's input."""
        return _slices(self.rows.outer, self.columns.outer)

    def core(self, layer: str) -> tuple[slice, ...]:
        """Returns where the tile's core is on the grid of a layer."""
        return _slices(self.rows.cores[layer], self.columns.cores[layer])

    def grid(self) -> tuple[slice, ...]:
        """Returns where the tile's core is on the grid of the hypercolumns."""
        return _slices(self.rows.grid, self.columns.grid)

    def window(self) -> Window:
        """Returns the window of the tile."""
        rows, columns = self
        return Window(
            core={layer: _box(rows.own[layer], columns.own[layer]) for layer in rows.own},
            wide={layer: _box(rows.wide[layer], columns.wide[layer]) for layer in rows.wide},
            skip={layer: tf.constant([rows.skip[layer], columns.skip[layer]]) for layer in rows.skip},
            size=tf.constant([rows.grid[1], columns.grid[1]]),
        )


def _slices(rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, ...]:
    return slice(None), slice(rows[0], sum(rows)), slice(columns[0], sum(columns))


def _box(rows: tuple[int, int], columns: tuple[int, int]) -> tf.Tensor:
    return tf.constant([rows[0], columns[0], rows[1], columns[1]])


def make_pieces(
    group: Group,
    sizes: dict[int, tuple[int, int]],
    *,
    tile: int,
    neighbor_layers: Collection[str] = (),
    rows: Part | None = None,
) -> list[Piece]:
    """Returns the tiles of a group, row by row.

    Args:
        group: the blocks that are computed together.
        sizes: from `grid_sizes`.
        tile, neighbor_layers: as for `make_sides`.
        rows: from `make_parts`; None are all rows.
    """
    sides = (
        make_sides(
            group,
            {block: size[axis] for block, size in sizes.items()},
            tile=tile,
            neighbor_layers=neighbor_layers,
            part=part,
        )
        for axis, part in enumerate((rows, None))
    )
    return [Piece(*both) for both in itertools.product(*sides)]
