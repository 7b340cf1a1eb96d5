"""Descriptions of an image of any size, computed in tiles, and the search for nearest neighbors without hypercolumns
of the whole image.

Each group of blocks passes over all its tiles before the next (`layout`); kept are the pooled features between two
groups, 30 numbers per pixel for VGG-19.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from tfstyle import layout, nearest
from tfstyle.boxes import split
from tfstyle.distribution import Devices
from tfstyle.environment import tf
from tfstyle.graphs import any_size_specs, common_specs
from tfstyle.layout import Group, Part, Piece, make_parts, make_pieces
from tfstyle.model import StyleContentModel
from tfstyle.nearest import Found, Keys
from tfstyle.neighbors import Columns, reference_layer
from tfstyle.recipes.loss import Loss
from tfstyle.statistics import add
from tfstyle.targets import Described, Weigh, describe_window, make_columns
from tfstyle.tensors import sides
from tfstyle.vgg import POOLED
from tfstyle.vgg19 import block_of
from tfstyle.windows import Window, core

GRID = "hypercolumns"
"""The key of the size of the hypercolumns among those of the layers."""


class Visit(NamedTuple):
    """How the tiles of a group are visited.

    Attributes:
        key: of the function's graph.
        function: (features of the group's input, window, ...) → what is computed, and the input of the next group.
        given: piece → the function's other arguments.
    """

    key: tuple[Any, ...]
    function: Callable[..., Any]
    given: Callable[[Piece], tuple[Any, ...]]


class TiledTargets:
    """Describes large images in tiles, and searches for their nearest neighbors.

    It holds the graphs of the tiles, compiled once for all sizes when they are first needed.

    Args:
        model: computes features and statistics.
        loss: what is compared, and how.
        devices: those among which tiles are divided.
    """

    def __init__(self, model: StyleContentModel, loss: Loss, *, devices: Devices | None = None) -> None:
        self._model, self._loss, self._devices = model, loss, devices or Devices()
        self._groups = layout.make_groups(model.vgg, loss)
        self._graphs: dict[Any, Any] = {}

    def describe(
        self,
        image: tf.Tensor,
        *,
        tile: int,
        layers: Iterable[str] = (),
        weigh: Weigh | None = None,
        places: int | None = None,
        bands: int = 1,
    ) -> Described:
        """Describes an image in tiles, like `targets.describe`.

        Args:
            image, layers, weigh, places: as for `targets.describe`.
            tile, bands: as for `Tiling.make_objective`.
        """
        grids, wanted, columns = self._grids(image), tuple(layers), places != 0
        step = int(nearest.key_step(*grids[GRID], places)) if self._loss.neighbor_layers and places else 1
        weights = {layer: weigh(layer, grids[layer]) for layer in self._model.style_layers if weigh is not None}
        masks = {layer: weight for layer, weight in weights.items() if weight is not None}
        maps: dict[tuple[str, str], np.ndarray] = {}
        sums: dict[str, Any] = {}

        def visit(group: Group) -> Visit:
            compared = [layer for layer in wanted if layer in group.layers]
            summed = [layer for layer in weights if layer in group.layers]
            masked = [layer for layer in summed if layer in masks]
            return Visit(
                ("describe", group.blocks, *compared, "sums", *summed, len(masked), columns),
                self._describer(group, compared=compared, summed=summed, columns=columns),
                lambda piece: ({layer: masks[layer][piece.core(layer)] for layer in masked},),
            )

        def take(piece: Piece, described: Any) -> None:
            features, of_columns, found = described
            for layer in features:
                _put(maps, ("features", layer), features[layer], piece.core(layer), grids[layer])
            for layer in of_columns:
                _put(maps, ("columns", layer), of_columns[layer], piece.grid(), grids[GRID], step=step)
            for layer in found:
                sums[layer] = add(sums[layer], found[layer]) if layer in sums else found[layer]

        for parts in self._parts(image, (0, sides(image)[0]), bands):
            self._pass(np.asarray(image), tile, visit, take, parts=parts)
        tensors = {key: tf.constant(maps.pop(key)) for key in list(maps)}  # One by one, to save memory.
        return Described(
            {layer: tensors["features", layer] for layer in wanted},
            {layer: tensors["columns", layer] for layer in self._loss.neighbor_layers if columns},
            sums,
            {layer: grids[layer] for layer in self._model.style_layers},
        )

    def search(self, content: tf.Tensor, image: tf.Tensor | None, keys: Keys, *, tile: int, bands: int = 1) -> Found:
        """Searches for nearest neighbors in tiles, like `nearest.search` for queries from `nearest.mix_queries`.

        Hypercolumns are computed twice, and exist a tile at a time: for candidates, and to choose among them.

        Args:
            content, image: the content image and the image so far, float32 [1, height, width, 3] in [0, 1]; without the
                latter the content image alone is searched for.
            keys: the keys.
            tile, bands: as for `Tiling.make_objective`.
        """
        shares = ((content, nearest.PHOTO_SHARE if image is not None else 1.0), (image, 1.0 - nearest.PHOTO_SHARE))
        images = [(np.asarray(part), share) for part, share in shares if part is not None]
        visit_all = functools.partial(self._visit_columns, images, tile=tile, bands=bands)
        size = self._grids(content)[GRID]
        short = np.zeros((1, *size, *keys.short.shape[1:]), np.float32)
        means: dict[str, tf.Tensor] = {}

        def add_projections(piece: Piece, found: Any, *, share: float) -> None:
            projections, of_tile = found
            short[piece.grid()] += share * projections.numpy()
            for layer, mean in of_tile.items():
                weight = share * math.prod(sides(projections)) / math.prod(size)
                means[layer] = weight * mean + means.get(layer, 0.0)

        visit_all(function=_project, given=lambda piece: (keys.axes,), take=add_projections)
        candidates = nearest.choose(tf.constant(short), keys)
        numbers, products = candidates.numpy(), np.zeros(candidates.shape, np.float32)

        def add_products(piece: Piece, found: Any, *, share: float) -> None:
            products[piece.grid()] += share * found.numpy()

        visit_all(
            function=nearest.compare,
            given=lambda piece: (keys.held, tf.constant(numbers[piece.grid()])),
            take=add_products,
        )
        return nearest.decide(tf.constant(products), candidates, keys, means=means)

    def _visit_columns(
        self,
        images: Iterable[tuple[np.ndarray, float]],
        *,
        tile: int,
        bands: int,
        function: Callable[..., Any],
        given: Callable[[Piece], tuple[Any, ...]],
        take: Callable[..., None],
    ) -> None:
        """Visits the hypercolumns of images, group by group and tile by tile.

        Args:
            images: each with its share.
            tile, bands: as for `Tiling.make_objective`.
            function: (columns, ...) → what is computed of the parts of a tile's hypercolumns at a group's layers.
            given: piece → the function's other arguments.
            take: receives the piece, what was computed, and the share of the image as `share`.
        """
        deepest = max(map(block_of, self._loss.neighbor_layers))

        def of_group(group: Group) -> Callable[..., Any]:
            def of_piece(x: tf.Tensor, window: Window, *others: Any) -> Any:
                features, _ = self._model.vgg.features_and_pullback(x, blocks=group.blocks)
                used = {layer: features[layer] for layer in group.layers}
                columns = make_columns(self._model, self._loss, used, window=window)
                return function(columns, *others) if columns else None, self._pooled(features, window)

            return of_piece

        def visit(group: Group) -> Visit:
            return Visit((function, group.blocks), of_group(group), given)

        for image, share in images:
            for parts in self._parts(image, (0, sides(image)[0]), bands):
                self._pass(image, tile, visit, functools.partial(take, share=share), deepest=deepest, parts=parts)

    def _describer(
        self, group: Group, *, compared: Iterable[str], summed: Iterable[str], columns: bool
    ) -> Callable[..., Any]:
        """Returns a function that describes a tile: features, hypercolumns, sums, and the input of the next group."""

        def describe(x: tf.Tensor, window: Window, masks: Mapping[str, tf.Tensor]) -> tuple[Any, ...]:
            features, _ = self._model.vgg.features_and_pullback(x, blocks=group.blocks)
            weights = {layer: masks.get(layer) for layer in summed}
            found, sums = describe_window(self._model, features, window, layers=compared, weights=weights)
            used = {layer: features[layer] for layer in group.layers if columns}
            of_columns = make_columns(self._model, self._loss, used, window=window)
            return (found, of_columns, sums), self._pooled(features, window)

        return describe

    def _pooled(self, features: Mapping[str, tf.Tensor], window: Window) -> tf.Tensor | None:
        return core(features[POOLED], POOLED, window) if POOLED in window.core else None

    def _grids(self, image: tf.Tensor | np.ndarray) -> dict[str, tuple[int, int]]:
        """Returns layer → (height, width), also of the hypercolumns under `GRID`."""
        sizes = layout.grid_sizes(self._model.vgg, *sides(image))
        layers = [layer for group in self._groups for layer in group.layers]
        grids = {layer: sizes[layout.block_of(layer)] for layer in layers}
        if self._loss.neighbor_layers:
            grids[GRID] = grids[reference_layer(self._loss.neighbor_layers)]
        return grids

    def _pass(
        self,
        image: np.ndarray,
        tile: int,
        visit: Callable[[Group], Visit],
        take: Callable[[Piece, Any], None],
        *,
        keep: bool = False,
        deepest: int | None = None,
        parts: Sequence[Part],
    ) -> list[np.ndarray]:
        """Visits all tiles, group by group.

        Args:
            image: [1, height, width, 3].
            tile: length of a tile.
            visit: group → how its tiles are visited.
            take: receives each piece and what was computed of it, unless that is None.
            keep: keep the inputs of all groups.
            deepest: the last block; None is that of the last group.
            parts: what is computed of each group, from `_parts`.

        Returns:
            The inputs of all groups if they are kept.
        """
        inputs = [image]
        sizes = layout.grid_sizes(self._model.vgg, *sides(image))
        for number, group in enumerate(self._groups):
            if deepest is not None and group.blocks[0] > deepest:
                break
            maps: dict[str, np.ndarray] = {}
            for piece, (found, pooled) in self._each_piece(
                group, sizes, inputs[-1], visit(group), tile=tile, rows=parts[number]
            ):
                if found is not None:
                    take(piece, found)
                if pooled is not None:
                    _put(maps, POOLED, pooled, piece.core(POOLED), sizes[group.blocks[-1] + 1])
            if not keep:
                inputs.pop()
            inputs.extend(maps.values())
        return inputs

    def _parts(self, image: tf.Tensor | np.ndarray, rows: tuple[int, int], bands: int) -> list[list[Part]]:
        """Divides rows (start, stop) of an image into bands; returns what is computed of each group for each band."""
        sizes = layout.grid_sizes(self._model.vgg, *sides(image))
        heights = {block: height for block, (height, _) in sizes.items()}
        return [make_parts(self._groups, heights, band) for band in split(rows, bands)]

    def _each_piece(
        self,
        group: Group,
        sizes: dict[int, tuple[int, int]],
        outer: np.ndarray,
        visit: Visit,
        *,
        tile: int,
        rows: Part | None,
    ) -> Iterator[tuple[Piece, Any]]:
        """Yields the tiles of a group with their results, of as many at a time as there are devices.

        Args:
            group: the blocks that are computed.
            sizes: from `layout.grid_sizes`.
            outer: the group's input.
            visit: how its tiles are visited.
            tile: length of a tile.
            rows: as for `layout.make_pieces`.
        """
        pieces = make_pieces(group, sizes, tile=tile, neighbor_layers=self._loss.neighbor_layers, rows=rows)
        count = self._devices.count
        for first in range(0, len(pieces), count):
            some = pieces[first : first + count]
            calls = [(tf.constant(outer[piece.outer()]), piece.window(), *visit.given(piece)) for piece in some]
            yield from zip(some, self._call(visit.key, visit.function, *calls), strict=True)

    def _call(self, key: tuple[Any, ...], function: Callable[..., Any], *calls: tuple[Any, ...]) -> Sequence[Any]:
        """Calls a function in a graph with each of several arguments, compiled once for all sizes of images.

        Other shapes differ as well: the factor of a covariance of few positions has fewer columns, and images have
        different numbers of keys. Where a shape does, the graph is compiled again, for any length of that side.
        """
        wanted = functools.reduce(common_specs, map(any_size_specs, calls))
        key = (key, *(spec.dtype for spec in tf.nest.flatten(wanted)))
        specs, graph = self._graphs.get(key, (wanted, None))
        common = common_specs(specs, wanted)
        if graph is None or common != specs:
            graph = self._devices.compile(function, *common)
            self._graphs[key] = common, graph
        return cast(Sequence[Any], graph(calls))


def _project(columns: Columns, axes: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Projects hypercolumns like `nearest.project`; returns their means as well."""
    means = {layer: tf.reduce_mean(tf.cast(part, tf.float32), axis=(0, 1, 2)) for layer, part in columns.items()}
    return nearest.project(columns, axes), means


def _put(
    maps: dict[Any, np.ndarray], key: Any, part: tf.Tensor, where: Any, size: tuple[int, int], *, step: int = 1
) -> None:
    """Copies a part of a map to its place, or of its positions those that `nearest.thin` keeps."""
    first, (_, *starts) = step // 2, (side.start for side in where)
    skip = [(first - (start or 0)) % step for start in starts]
    values = part.numpy()[:, skip[0] :: step, skip[1] :: step]
    top, left = ((start + skipped - first) // step for start, skipped in zip(starts, skip, strict=True))
    if key not in maps:
        kept = (max(0, -((first - side) // step)) for side in size)
        maps[key] = np.empty((1, *kept, values.shape[-1]), values.dtype)
    maps[key][:, top : top + values.shape[1], left : left + values.shape[2]] = values
