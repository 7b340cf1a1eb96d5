"""Loss and gradient of an image of any size, computed in tiles: equal to those of the whole image, in bounded memory.

The loss is a function of sums over positions (`objective.Sums`). One pass over the tiles computes the sums, and from
them the loss and its gradient with respect to them; a second pass takes that gradient back through the tiles and adds
up the gradients of overlapping tiles. It computes all features but the pooled ones between two groups of blocks again:
three convolutions for every two of the whole image.

References:
    Galerne, Raad, Lezama, Morel: Scaling Painting Style Transfer (EGSR 2024), for the two passes. It runs the whole
    network in each tile, and therefore computes four times as much at 512-pixel tiles.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from tfstyle import layout, total_variation
from tfstyle.distribution import Devices
from tfstyle.environment import tf
from tfstyle.layout import Group, Part, Piece
from tfstyle.model import StyleContentModel
from tfstyle.neighbors import PLACES, Matches
from tfstyle.objective import Evaluation, Objective, Sums, evaluate_sums, measure, variation_of
from tfstyle.pixel_range import from_space
from tfstyle.recipes.loss import Loss, Term
from tfstyle.targets import Targets
from tfstyle.tensors import sides
from tfstyle.tiled_targets import GRID, TiledTargets, Visit
from tfstyle.vgg import POOLED, with_pullback
from tfstyle.windows import Window, core

BAND = 2**18
"""Pixels of which the total variation is computed at a time."""


class Tiling(TiledTargets):
    """Computes losses and gradients of large images in tiles, beside what `TiledTargets` does.

    Args:
        model, loss, devices: as for `TiledTargets`.
        space: the space of the image, as for `to_space`.
    """

    def __init__(
        self, model: StyleContentModel, loss: Loss, *, space: str = "unit", devices: Devices | None = None
    ) -> None:
        super().__init__(model, loss, devices=devices)
        self._space = space

    def make_objective(
        self,
        targets: Targets,
        *,
        weights: Mapping[str, Any],
        tile: int,
        bands: int = 1,
        flipped: Mapping[str, tf.Tensor] = MappingProxyType({}),
    ) -> Objective:
        """Makes the function of the image that a run minimizes, like `objective.make_objective`.

        Args:
            targets, weights, flipped: as for `objective.make_objective`.
            tile: length in pixels of a tile of the network's first block, a multiple of 16 from 32 on; those of deeper
                blocks have fewer positions, so that their features take as much memory.
            bands: number of bands of rows that are computed one after the other. With several, what is kept between
                blocks is that of one band, and all features are computed once more.

        Returns:
            A function of one image [1, height, width, 3] in the tiling's space that returns its `Evaluation`. It cannot
            be part of a graph.
        """
        factors = {name: tf.convert_to_tensor(weight) for name, weight in weights.items()}
        of_features = {name: factor for name, factor in factors.items() if name != "total_variation"}

        def evaluate(variable: tf.Tensor) -> Evaluation:
            every = self._parts(variable, self._devices.rows(sides(variable)[0]), bands)
            pixels = tf.constant(math.prod(sides(variable)), variable.dtype)
            inputs, sums = self._sum(variable, targets, of_features, tile, every[0], keep=len(every) == 1)
            for parts in every[1:]:
                sums = tf.nest.map_structure(tf.add, sums, self._sum(variable, targets, of_features, tile, parts)[1])
            ((value, terms, of_sums),) = self._call(
                ("evaluate", *of_features),
                lambda sums, targets, weights, pixels: evaluate_sums(
                    self._model, self._loss, sums, pixels=pixels, targets=targets, weights=weights
                ),
                (self._devices.sum(sums), targets, of_features, pixels),
            )
            gradient = np.zeros(variable.shape, np.float64 if variable.dtype == tf.float64 else np.float32)
            options: dict[str, Any] = {"names": tuple(of_features), "flipped": flipped, "tile": tile}
            for parts in every:
                if not inputs:
                    inputs, _ = self._sum(variable, targets, of_features, tile, parts, keep=True)
                self._take_back(inputs, targets, of_sums, gradient, parts=parts, **options)
            if "total_variation" in factors:
                own = gradient if self._devices.index == 0 else np.zeros_like(gradient)  # It is added up only once.
                variation = self._vary(variable, factors["total_variation"], own)
                value, terms = value + variation, terms | {"total_variation": variation}
            summed = tf.convert_to_tensor(self._devices.sum(gradient))
            return Evaluation(value, summed, terms | {"total": value})

        return evaluate

    def _sum(
        self,
        variable: tf.Tensor,
        targets: Targets,
        weights: Mapping[str, tf.Tensor],
        tile: int,
        parts: Sequence[Part],
        *,
        keep: bool = False,
    ) -> tuple[list[np.ndarray], Sums]:
        """Runs all groups on a band; returns the input of each, if they are kept, and the sums."""
        grids = self._grids(variable)
        found: dict[str, dict[str, Any]] = {"content": {}, "style": {}, "terms": {}}
        matches: list[np.ndarray] = []

        def visit(group: Group) -> Visit:
            return Visit(
                ("sum", group.blocks, *weights),
                self._summer(group, tuple(weights)),
                lambda piece: (self._targets_of(targets, group, piece, grids),),
            )

        def take(piece: Piece, sums: Sums) -> None:
            for kind, of_kind in found.items():
                for name, part in getattr(sums, kind).items():
                    of_kind[name] = tf.nest.map_structure(tf.add, of_kind[name], part) if name in of_kind else part
            if sums.matches and not matches:
                matches.extend(np.zeros((1, *grids[GRID], 1), part.dtype.as_numpy_dtype) for part in sums.matches)
            for whole, part in zip(matches, sums.matches, strict=bool(sums.matches)):
                whole[piece.grid()] += part.numpy()

        inputs = self._pass(np.asarray(variable), tile, visit, take, keep=keep, parts=parts)
        return inputs, Sums(**found, matches=Matches(*map(tf.constant, matches)) if matches else ())

    def _vary(self, variable: tf.Tensor, factor: tf.Tensor, of_image: np.ndarray) -> tf.Tensor:
        """Computes the total variation times a factor, and adds its gradient; in bands, to save memory."""
        height, width = sides(variable)
        form = total_variation.find_form(self._loss.total_variation)
        length = max(1, BAND // width) if isinstance(form, total_variation.Form) else height

        def vary(rows: tf.Tensor, height: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            def value_of(rows: tf.Tensor) -> tf.Tensor:
                if isinstance(form, total_variation.Form):
                    return factor * form.share(rows, height)
                return variation_of(self._loss, rows, weight=factor)

            value, to_rows = with_pullback(value_of, rows)
            return value, to_rows(tf.ones_like(value))

        total = tf.zeros_like(factor)
        for start, stop, sign in total_variation.find_bands(height, length):
            rows = slice(start, stop)
            ((value, part),) = self._call(("vary",), vary, (variable[:, rows], tf.constant(height), sign * factor))
            of_image[:, rows] += part.numpy()
            total += value
        return total

    def _take_back(
        self,
        inputs: list[np.ndarray],
        targets: Targets,
        of_sums: Sums,
        of_image: np.ndarray,
        *,
        names: tuple[str, ...],
        flipped: Mapping[str, tf.Tensor],
        tile: int,
        parts: Sequence[Part],
    ) -> None:
        """Takes the gradient with respect to the sums back to the image, and adds it; empties `inputs`."""
        grids, sizes = self._grids(inputs[0]), layout.grid_sizes(self._model.vgg, *sides(inputs[0]))

        def visit(group: Group, after: np.ndarray | None) -> Visit:
            kernels = {layer: kernel for layer, kernel in flipped.items() if layout.block_of(layer) in group.blocks}

            def given(piece: Piece) -> tuple[Any, ...]:
                upstream = Sums(
                    content={layer: part for layer, part in of_sums.content.items() if layer in group.layers},
                    style={layer: part for layer, part in of_sums.style.items() if layer in group.layers},
                    terms={term.name: of_sums.terms[term.name] for term in self._terms(group)},
                    matches=Matches(*(part[piece.grid()] for part in of_sums.matches)) if of_sums.matches else (),
                )
                pooled = {} if after is None else {POOLED: tf.constant(after[piece.core(POOLED)])}
                return self._targets_of(targets, group, piece, grids), upstream, pooled, kernels

            return Visit(("back", group.blocks, *names, len(kernels)), self._back_taker(group, names), given)

        after: np.ndarray | None = None
        for group, rows in zip(reversed(self._groups), reversed(parts), strict=True):
            x = inputs.pop()
            gradient = np.zeros(x.shape, of_image.dtype) if inputs else of_image
            for piece, part in self._each_piece(group, sizes, x, visit(group, after), tile=tile, rows=rows):
                gradient[piece.outer()] += part.numpy()
            after = gradient

    def _summer(self, group: Group, names: Iterable[str]) -> Callable[..., Any]:
        """Returns a function that computes the sums of a tile, and the input of the next group."""

        def sum_up(x: tf.Tensor, window: Window, targets: Targets) -> tuple[Sums, tf.Tensor | None]:
            features, _ = self._features(group, x)
            sums, _ = self._measure(group, names, features, window, targets)
            return sums, self._pooled(features, window)

        return sum_up

    def _back_taker(self, group: Group, names: Iterable[str]) -> Callable[..., tf.Tensor]:
        """Returns a function that computes the gradient at the input of a tile from those at its sums and its end."""

        def take_back(
            x: tf.Tensor,
            window: Window,
            targets: Targets,
            upstream: Sums,
            after: Mapping[str, tf.Tensor],
            flipped: Mapping[str, tf.Tensor],
        ) -> tf.Tensor:
            features, to_input = self._features(group, x, flipped)
            _, to_features = self._measure(group, names, features, window, targets)
            towards = to_features(upstream)
            for layer, gradient in after.items():
                _, to_tile = with_pullback(functools.partial(core, layer=layer, window=window), features[layer])
                towards[layer] = functools.partial(to_tile, tf.cast(gradient, features[layer].dtype))
            gradient = to_input(towards)
            wide: tf.Tensor = gradient if gradient.dtype == tf.float64 else tf.cast(gradient, tf.float32)
            return wide

        return take_back

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


def _part_of_map(piece: Piece, grids: Mapping[str, tuple[int, int]], target: tf.Tensor) -> tf.Tensor:
    """Returns the part of a custom term's target that a tile is compared with; only maps are divided."""
    layer = next((layer for layer, size in grids.items() if target.shape.rank == 4 and sides(target) == size), None)
    return target if layer is None else target[piece.core(layer)]
