"""Loss and gradient of an image of any size, computed in tiles: equal to those of the whole image, in bounded memory.

The loss is a function of sums over positions (`objective.Sums`). One pass over the tiles computes the sums, and from
them the loss and its gradient with respect to them; a second pass takes that gradient back through the tiles and adds
up the gradients of overlapping tiles. Each group of blocks passes over all its tiles before the next (`layout`); kept
are the pooled features between two groups, 30 numbers per pixel for VGG-19, and the second pass computes all others
again: three convolutions for every two of the whole image.

References:
    Galerne, Raad, Lezama, Morel: Scaling Painting Style Transfer (EGSR 2024), for the two passes. It runs the whole
    network in each tile, and therefore computes four times as much at 512-pixel tiles.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from tfstyle import layout, nearest
from tfstyle.environment import tf
from tfstyle.graphs import any_size_specs, compile_once
from tfstyle.layout import Group, Piece, make_pieces
from tfstyle.model import StyleContentModel
from tfstyle.nearest import Keys
from tfstyle.neighbors import PLACES, Columns, Matches, reference_layer
from tfstyle.objective import Evaluation, Objective, Sums, evaluate_sums, measure
from tfstyle.pixel_range import from_space
from tfstyle.recipes.loss import Loss, Term
from tfstyle.statistics import add
from tfstyle.targets import Described, Targets, Weigh, describe_window, make_columns
from tfstyle.tensors import sides
from tfstyle.vgg import POOLED, with_pullback
from tfstyle.windows import Window, core


class Tiling:
    """Computes descriptions, losses and gradients of large images in tiles.

    It holds the graphs of the tiles, compiled once for all sizes when they are first needed.

    Args:
        model: computes features and statistics.
        loss: what is compared, and how.
        space: the space of the image, as for `to_space`.
    """

    def __init__(self, model: StyleContentModel, loss: Loss, *, space: str = "unit") -> None:
        self._model, self._loss, self._space = model, loss, space
        self._groups = layout.make_groups(model.vgg, loss)
        self._graphs: dict[Any, Any] = {}

    def describe(
        self,
        image: tf.Tensor,
        *,
        tile: int,
        layers: Iterable[str] = (),
        weigh: Weigh | None = None,
        places: str = "all",
    ) -> Described:
        """Describes an image in tiles, like `targets.describe`.

        Args:
            image, layers, weigh, places: as for `targets.describe`.
            tile: length of a tile, as for `make_objective`.
        """
        grids, wanted, columns = self._grids(image), tuple(layers), places != "none"
        step = int(nearest.key_step(*grids[_GRID])) if self._loss.neighbor_layers and places == "keys" else 1
        weights = {layer: weigh(layer, grids[layer]) for layer in self._model.style_layers if weigh is not None}
        masks = {layer: weight for layer, weight in weights.items() if weight is not None}
        maps: dict[tuple[str, str], np.ndarray] = {}
        sums: dict[str, Any] = {}

        def visit(group: Group, piece: Piece, x: tf.Tensor) -> tf.Tensor | None:
            compared = [layer for layer in wanted if layer in group.layers]
            summed = [layer for layer in weights if layer in group.layers]
            of_masks = {layer: masks[layer][piece.core(layer)] for layer in summed if layer in masks}
            features, of_columns, found, pooled = self._call(
                ("describe", group.blocks, *compared, "sums", *summed, len(of_masks), columns),
                functools.partial(self._describe_piece, group, compared, summed, columns),
                *(x, piece.window(), of_masks),
            )
            for layer in features:
                _put(maps, ("features", layer), features[layer], piece.core(layer), grids[layer])
            for layer in of_columns:
                _put(maps, ("columns", layer), of_columns[layer], piece.grid(), grids[_GRID], step=step)
            for layer in found:
                sums[layer] = add(sums[layer], found[layer]) if layer in sums else found[layer]
            return cast(tf.Tensor, pooled)

        self._pass(np.asarray(image), tile, visit)
        tensors = {key: tf.constant(maps.pop(key)) for key in list(maps)}  # One by one, to save memory.
        return Described(
            {layer: tensors["features", layer] for layer in wanted},
            {layer: tensors["columns", layer] for layer in self._loss.neighbor_layers if columns},
            sums,
            {layer: grids[layer] for layer in self._model.style_layers},
        )

    def search(self, content: tf.Tensor, image: tf.Tensor | None, keys: Keys, *, tile: int) -> tf.Tensor:
        """Searches for nearest neighbors in tiles, like `nearest.search` for queries from `nearest.mix_queries`.

        Hypercolumns are computed twice, and exist a tile at a time: for candidates, and to choose among them.

        Args:
            content, image: the content image and the image so far, float32 [1, height, width, 3] in [0, 1]; without the
                latter the content image alone is searched for.
            keys: the keys.
            tile: length of a tile, as for `make_objective`.
        """
        shares = ((content, nearest.PHOTO_SHARE if image is not None else 1.0), (image, 1.0 - nearest.PHOTO_SHARE))
        parts = [(np.asarray(part), share) for part, share in shares if part is not None]
        size = self._grids(content)[_GRID]
        short = np.zeros((1, *size, *keys.short.shape[1:]), np.float32)
        means: dict[str, tf.Tensor] = {}

        def add_projections(found: Any, piece: Piece, share: float) -> None:
            projections, of_tile = found
            short[piece.grid()] += share * projections.numpy()
            for layer, mean in of_tile.items():
                weight = share * math.prod(sides(projections)) / math.prod(size)
                means[layer] = weight * mean + means.get(layer, 0.0)

        self._visit_columns(parts, tile, _project, lambda piece: (keys.axes,), add_projections)
        candidates = nearest.choose(tf.constant(short), keys)
        numbers, products = candidates.numpy(), np.zeros(candidates.shape, np.float32)

        def add_products(found: Any, piece: Piece, share: float) -> None:
            products[piece.grid()] += share * found.numpy()

        self._visit_columns(
            parts, tile, nearest.compare, lambda piece: (keys, tf.constant(numbers[piece.grid()])), add_products
        )
        return nearest.decide(tf.constant(products), candidates, keys, means=means)

    def _visit_columns(
        self,
        images: Iterable[tuple[np.ndarray, float]],
        tile: int,
        function: Callable[..., Any],
        given: Callable[[Piece], tuple[Any, ...]],
        take: Callable[[Any, Piece, float], None],
    ) -> None:
        """Visits the hypercolumns of images, group by group and tile by tile.

        Args:
            images: each with its share.
            tile: length of a tile.
            function: (columns, ...) → what is computed of the parts of a tile's hypercolumns at a group's layers.
            given: piece → the function's other arguments.
            take: receives what was computed, the piece and the share of the image.
        """

        def of_piece(group: Group, x: tf.Tensor, window: Window, others: tuple[Any, ...]) -> Any:
            features, _ = self._model.vgg.features_and_pullback(x, blocks=group.blocks)
            used = {layer: features[layer] for layer in group.layers}
            columns = make_columns(self._model, self._loss, used, window=window)
            return function(columns, *others) if columns else None, self._pooled(features, window)

        for image, share in images:

            def visit(group: Group, piece: Piece, x: tf.Tensor, share: float = share) -> tf.Tensor | None:
                key = (function, group.blocks)
                others = given(piece)
                found, pooled = self._call(key, functools.partial(of_piece, group), x, piece.window(), others)
                if found is not None:
                    take(found, piece, share)
                return cast(tf.Tensor, pooled)

            self._pass(image, tile, visit)

    def make_objective(
        self,
        targets: Targets,
        *,
        weights: Mapping[str, Any],
        tile: int,
        flipped: Mapping[str, tf.Tensor] = MappingProxyType({}),
    ) -> Objective:
        """Makes the function of the image that a run minimizes, like `objective.make_objective`.

        Args:
            targets, weights, flipped: as for `objective.make_objective`.
            tile: length in pixels of a tile of the network's first block, a multiple of 16 from 32 on; those of deeper
                blocks have fewer positions, so that their features take as much memory.

        Returns:
            A function of one image [1, height, width, 3] in the tiling's space that returns its `Evaluation`. It cannot
            be part of a graph.
        """
        factors = {name: tf.convert_to_tensor(weight) for name, weight in weights.items()}

        def evaluate(variable: tf.Tensor) -> Evaluation:
            inputs, sums = self._sum(variable, targets, factors, tile)
            value, terms, of_sums, of_image = self._call(
                ("evaluate", *factors),
                lambda sums, image, targets, weights: evaluate_sums(
                    self._model, self._loss, sums, image=image, targets=targets, weights=weights
                ),
                *(sums, variable, targets, factors),
            )
            gradient = self._take_back(inputs, targets, of_sums, names=tuple(factors), flipped=flipped, tile=tile)
            if "total_variation" in factors:
                gradient += of_image.numpy()
            return Evaluation(value, tf.constant(gradient), terms | {"total": value})

        return evaluate

    def _sum(
        self, variable: tf.Tensor, targets: Targets, weights: Mapping[str, tf.Tensor], tile: int
    ) -> tuple[list[np.ndarray], Sums]:
        """Runs all groups; returns the input of each, and the sums."""
        grids = self._grids(variable)
        found: dict[str, dict[str, Any]] = {"content": {}, "style": {}, "terms": {}}
        matches: list[np.ndarray] = []

        def visit(group: Group, piece: Piece, x: tf.Tensor) -> tf.Tensor | None:
            sums, pooled = self._call(
                ("sum", group.blocks, *weights),
                functools.partial(self._sum_piece, group, tuple(weights)),
                *(x, piece.window(), self._targets_of(targets, group, piece, grids)),
            )
            for kind, of_kind in found.items():
                for name, part in getattr(sums, kind).items():
                    of_kind[name] = tf.nest.map_structure(tf.add, of_kind[name], part) if name in of_kind else part
            if sums.matches and not matches:
                matches.extend(np.zeros((1, *grids[_GRID], 1), part.dtype.as_numpy_dtype) for part in sums.matches)
            for whole, part in zip(matches, sums.matches, strict=bool(sums.matches)):
                whole[piece.grid()] += part.numpy()
            return cast(tf.Tensor, pooled)

        inputs = self._pass(np.asarray(variable), tile, visit, keep=True)
        return inputs, Sums(**found, matches=Matches(*map(tf.constant, matches)) if matches else ())

    def _take_back(
        self,
        inputs: list[np.ndarray],
        targets: Targets,
        of_sums: Sums,
        *,
        names: tuple[str, ...],
        flipped: Mapping[str, tf.Tensor],
        tile: int,
    ) -> np.ndarray:
        """Takes the gradient with respect to the sums back to the image; empties `inputs`."""
        grids, sizes = self._grids(inputs[0]), layout.grid_sizes(self._model.vgg, *sides(inputs[0]))
        after: np.ndarray | None = None
        for group in reversed(self._groups):
            x = inputs.pop()
            kernels = {layer: kernel for layer, kernel in flipped.items() if layout.block_of(layer) in group.blocks}
            gradient = np.zeros(x.shape, np.float64 if x.dtype == np.float64 else np.float32)
            for piece in make_pieces(group, sizes, tile=tile, neighbor_layers=self._loss.neighbor_layers):
                upstream = Sums(
                    content={layer: part for layer, part in of_sums.content.items() if layer in group.layers},
                    style={layer: part for layer, part in of_sums.style.items() if layer in group.layers},
                    terms={term.name: of_sums.terms[term.name] for term in self._terms(group)},
                    matches=Matches(*(part[piece.grid()] for part in of_sums.matches)) if of_sums.matches else (),
                )
                pooled = {} if after is None else {POOLED: tf.constant(after[piece.core(POOLED)])}
                part = self._call(
                    ("back", group.blocks, *names, len(kernels)),
                    functools.partial(self._take_piece_back, group, names),
                    (tf.constant(x[piece.outer()]), piece.window(), self._targets_of(targets, group, piece, grids)),
                    *(upstream, pooled, kernels),
                )
                gradient[piece.outer()] += part.numpy()
            after = gradient
        return gradient

    def _describe_piece(
        self,
        group: Group,
        compared: Iterable[str],
        summed: Iterable[str],
        columns: bool,
        x: tf.Tensor,
        window: Window,
        masks: Mapping[str, tf.Tensor],
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, Any], tf.Tensor | None]:
        """Describes a tile: features, hypercolumns, sums, and the input of the next group."""
        features, _ = self._model.vgg.features_and_pullback(x, blocks=group.blocks)
        weights = {layer: masks.get(layer) for layer in summed}
        found, sums = describe_window(self._model, features, window, layers=compared, weights=weights)
        used = {layer: features[layer] for layer in group.layers if columns}
        of_columns = make_columns(self._model, self._loss, used, window=window)
        return found, of_columns, sums, self._pooled(features, window)

    def _sum_piece(
        self, group: Group, names: tuple[str, ...], x: tf.Tensor, window: Window, targets: Targets
    ) -> tuple[Sums, tf.Tensor | None]:
        """Computes the sums of a tile, and the input of the next group."""
        features, _ = self._features(group, x)
        sums, _ = self._measure(group, names, features, window, targets)
        return sums, self._pooled(features, window)

    def _take_piece_back(
        self,
        group: Group,
        names: tuple[str, ...],
        tile: tuple[tf.Tensor, Window, Targets],
        upstream: Sums,
        after: Mapping[str, tf.Tensor],
        flipped: Mapping[str, tf.Tensor],
    ) -> tf.Tensor:
        """Computes the gradient at the input of a tile from those with respect to its sums and at its pooled core."""
        x, window, targets = tile
        features, to_input = self._features(group, x, flipped)
        _, to_features = self._measure(group, names, features, window, targets)
        towards = to_features(upstream)
        for layer, gradient in after.items():
            _, to_tile = with_pullback(functools.partial(core, layer=layer, window=window), features[layer])
            towards[layer] = functools.partial(to_tile, tf.cast(gradient, features[layer].dtype))
        gradient = to_input(towards)
        wide: tf.Tensor = gradient if gradient.dtype == tf.float64 else tf.cast(gradient, tf.float32)
        return wide

    def _features(
        self, group: Group, x: tf.Tensor, flipped: Mapping[str, tf.Tensor] | None = None
    ) -> tuple[dict[str, tf.Tensor], Callable[[Any], tf.Tensor]]:
        """Computes features of a group's input; the image is in the recipe's space."""
        if group.blocks[0] > 1:
            return self._model.vgg.features_and_pullback(x, flipped, blocks=group.blocks)
        image, to_variable = with_pullback(lambda variable: from_space(variable, self._space), x)
        features, to_image = self._model.vgg.features_and_pullback(image, flipped, blocks=group.blocks)
        return features, lambda towards: to_variable(to_image(towards))

    def _measure(
        self, group: Group, names: Iterable[str], features: Mapping[str, tf.Tensor], window: Window, targets: Targets
    ) -> tuple[Sums, Callable[[Sums], dict[str, Callable[[], tf.Tensor]]]]:
        used = {layer: features[layer] for layer in group.layers}
        return measure(self._model, self._loss, used, targets=targets, weights=dict.fromkeys(names, 1.0), window=window)

    def _pooled(self, features: Mapping[str, tf.Tensor], window: Window) -> tf.Tensor | None:
        return core(features[POOLED], POOLED, window) if POOLED in window.core else None

    def _targets_of(
        self, targets: Targets, group: Group, piece: Piece, grids: Mapping[str, tuple[int, int]]
    ) -> dict[str, dict[str, Any]]:
        """Returns the part of the targets that a tile is compared with."""
        return {
            **{
                kind: {
                    layer: found[piece.core(layer)]
                    for layer, found in targets.get(kind, {}).items()
                    if layer in group.layers
                }
                for kind in ("content", "masks")
            },
            "neighbor": {
                layer: found[piece.grid()] if layer == PLACES else found
                for layer, found in targets["neighbor"].items()
                if layer == PLACES or layer in group.layers
            },
            "terms": {
                term.name: tf.nest.map_structure(
                    functools.partial(_part_of_map, piece, {layer: grids[layer] for layer in term.layers}),
                    targets["terms"][term.name],
                )
                for term in self._terms(group)
            },
        }

    def _terms(self, group: Group) -> list[Term]:
        """Returns the custom terms of a group."""
        return [term for term in self._loss.terms if term.weight and set(term.layers) <= set(group.layers)]

    def _grids(self, image: tf.Tensor | np.ndarray) -> dict[str, tuple[int, int]]:
        """Returns layer → (height, width), also of the hypercolumns under `_GRID`."""
        sizes = layout.grid_sizes(self._model.vgg, *sides(image))
        layers = [layer for group in self._groups for layer in group.layers]
        grids = {layer: sizes[layout.block_of(layer)] for layer in layers}
        if self._loss.neighbor_layers:
            grids[_GRID] = grids[reference_layer(self._loss.neighbor_layers)]
        return grids

    def _pass(
        self,
        image: np.ndarray,
        tile: int,
        visit: Callable[[Group, Piece, tf.Tensor], tf.Tensor | None],
        *,
        keep: bool = False,
    ) -> list[np.ndarray]:
        """Visits all tiles, group by group; returns the inputs of all groups if they are to be kept."""
        inputs = [image]
        sizes = layout.grid_sizes(self._model.vgg, *sides(image))
        for group in self._groups:
            maps: dict[str, np.ndarray] = {}
            for piece in make_pieces(group, sizes, tile=tile, neighbor_layers=self._loss.neighbor_layers):
                pooled = visit(group, piece, tf.constant(inputs[-1][piece.outer()]))
                if pooled is not None:
                    _put(maps, POOLED, pooled, piece.core(POOLED), sizes[group.blocks[-1] + 1])
            if not keep:
                inputs.pop()
            inputs.extend(maps.values())
        return inputs

    def _call(self, key: tuple[Any, ...], function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function in a graph, compiled once for all sizes of images.

        Targets of a small style image have other shapes: the factor of a covariance has as many columns as positions.
        """
        specs = any_size_specs(args)
        key = (key, *tf.nest.flatten(specs))
        if key not in self._graphs:
            self._graphs[key] = compile_once(function, *specs)
        return self._graphs[key](*args)


_GRID = "hypercolumns"


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


def _part_of_map(piece: Piece, grids: Mapping[str, tuple[int, int]], target: tf.Tensor) -> tf.Tensor:
    """Returns the part of a custom term's target that a tile is compared with; only maps are divided."""
    layer = next((layer for layer, size in grids.items() if target.shape.rank == 4 and sides(target) == size), None)
    return target if layer is None else target[piece.core(layer)]
