"""Targets and train step of a run: compiled once for all sizes, or computed in tiles."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfstyle.distribution import Devices, find_devices
from tfstyle.divergence import FINITE, norm_is_finite
from tfstyle.environment import tf
from tfstyle.graphs import any_size_specs, compile_once
from tfstyle.iterate import RunState, make_iterate
from tfstyle.masks import divide
from tfstyle.model import build_model
from tfstyle.objective import make_objective
from tfstyle.planning import TILES, Level
from tfstyle.preparation import check_sizes, share_regions
from tfstyle.recipes.recipe import GraphKey
from tfstyle.regions import Regions
from tfstyle.styles import as_styles
from tfstyle.targets import Targets, make_targets
from tfstyle.tiling import Tiling

_log = logging.getLogger("tfstyle")

StepFunction = Callable[[RunState], tuple[RunState, dict[str, tf.Tensor]]]
"""State → next state, and the terms before the step, with `divergence.FINITE`."""


class TrainStep:
    """Network, targets and train step of the recipes with a graph key.

    Args:
        key: what the graphs depend on.

    Attributes:
        model: the network.
        settings: as for `transfer.Transfer`.
        iterate: makes, updates and reads states.
        matches: whether targets depend on the image that a level begins with.
        state_specs: specifications of the tensors of a run's state.

    Raises:
        WeightsError: if the network's weights cannot be used.
    """

    def __init__(self, key: GraphKey) -> None:
        self._key = key
        network, loss, terms, optimizer, parametrization = key
        self.model = build_model(network, loss)
        kernels = self.model.vgg.flipped_kernels(network.flip_kernels)
        self.settings = {"precision": self.model.compute_dtype, "flip_kernels": "on" if kernels else "off"}
        self.iterate = make_iterate(optimizer, parametrization)
        self.matches = "neighbor" in terms
        self._loss = loss if self.matches else dataclasses.replace(loss, neighbor_layers={})
        self._targets: dict[int, Any] = {}
        self._tilings: dict[Devices, Tiling] = {}
        targets = any_size_specs(self._targets_graph(1).structured_outputs)
        weights = {name: tf.TensorSpec([]) for name in terms}
        shapes = {layer: tf.TensorSpec(kernel.shape, kernel.dtype) for layer, kernel in kernels.items()}
        self.state_specs: RunState = any_size_specs(self.iterate.begin(tf.zeros([1, 1, 1, 3])))
        self._step = compile_once(self._take_step, targets, weights, shapes, self.state_specs)

    def targets(
        self,
        content: tf.Tensor,
        styles: Sequence[tf.Tensor],
        *,
        image: tf.Tensor | None = None,
        regions: Sequence[Regions] | None = None,
        shares: Mapping[str, tf.Tensor] | None = None,
        tile: int | None = None,
        bands: int = 1,
        devices: Devices | None = None,
    ) -> Targets:
        """Computes the targets that the image is compared with, like `targets.make_targets`.

        Args:
            content: float32 [1, height, width, 3] in [0, 1].
            styles: the style images, likewise.
            image: the image so far; None is the content image.
            regions: those of the images; None finds them if the loss needs them.
            shares: as for `targets.make_targets`; None shares equally.
            tile: length of a tile in pixels; None computes the images as a whole.
            bands: as for `tiling.Tiling.make_objective`.
            devices: those among which tiles are divided; None is one device.

        Raises:
            InputError: if an image is too small for the network.
        """
        check_sizes(self.model.vgg, content, *styles)
        found = share_regions(self.model.vgg, content, styles, loss=self._loss) if regions is None else list(regions)
        shares = shares or divide(as_styles(styles), self._loss, None)[1]
        image = content if image is None else image
        if tile is not None:
            tiling = self._tiling(devices or find_devices())
            see = functools.partial(tiling.describe, tile=tile, bands=bands)
            search = functools.partial(tiling.search, tile=tile, bands=bands)
            return make_targets(
                self.model,
                self._loss,
                content,
                list(styles),
                image=image,
                regions=found,
                shares=shares,
                see=see,
                search=search,
            )
        graph = self._targets_graph(len(styles))
        targets: Targets = graph(content, list(styles), image, found, shares)
        return targets

    def make(
        self,
        targets: Targets,
        *,
        weights: Mapping[str, tf.Tensor],
        kernels: Mapping[str, tf.Tensor],
        plan: Level,
        devices: Devices,
    ) -> StepFunction:
        """Makes the train step of a level, computed as a whole or in tiles.

        If memory runs out all the same, tiles are halved, unless several workers share the step.

        Args:
            targets: from `targets`.
            weights: factor of each term of the loss.
            kernels: from `VGG.flipped_kernels`.
            plan: the level.
            devices: those among which tiles are divided.
        """
        tile = plan.tile
        if tile is None:
            return functools.partial(self._step, targets, weights, kernels)
        make = functools.partial(
            self._tiling(devices).make_objective,
            targets,
            weights=weights,
            flipped=kernels,
            bands=plan.bands,
        )

        def step(state: RunState) -> tuple[RunState, dict[str, tf.Tensor]]:
            nonlocal tile
            while True:
                try:
                    evaluation = make(tile=tile)(state.image)
                    break
                except tf.errors.ResourceExhaustedError:
                    if tile <= TILES[-1] or devices.workers > 1:  # Others would wait for sums that they have.
                        raise
                    tile //= 2
                    _log.warning("memory ran out; the run goes on with tiles of %d pixels.", tile)
            after, finite = self._update(state, evaluation.gradient)
            return after, evaluation.terms | {FINITE: finite}

        return step

    def _take_step(
        self,
        targets: Targets,
        weights: Mapping[str, tf.Tensor],
        kernels: Mapping[str, tf.Tensor],
        state: RunState,
    ) -> tuple[RunState, dict[str, tf.Tensor]]:
        """Takes one step: returns the next state, the terms before it, and whether it is finite, 0 or 1."""
        _, loss, _, _, parametrization = self._key
        evaluate = make_objective(
            self.model, loss, targets, weights=weights, space=parametrization.space, flipped=kernels
        )
        evaluation = evaluate(state.image)
        after, finite = self._move(state, evaluation.gradient)
        return after, evaluation.terms | {FINITE: finite}

    def _targets_graph(self, count: int) -> Any:
        """Returns the graph of `make_targets` for a number of style images, compiled once for all levels and sizes."""
        if count not in self._targets:
            loss, image = self._loss, tf.TensorSpec([1, None, None, 3])
            masks = tf.TensorSpec([1, None, None, loss.region_count])
            regions = Regions._make((masks, masks, tf.TensorSpec([1, None, None, 1])))
            spec = tf.TensorSpec([count, loss.drawn_regions or 1])
            shares = dict.fromkeys(("neighbor", *loss.style_layers), spec)
            self._targets[count] = compile_once(
                lambda content, styles, image, regions, shares: make_targets(
                    self.model, loss, content, styles, image=image, regions=regions, shares=shares
                ),
                *(image, [image] * count, image, [regions] * count if loss.weighs_positions() else [], shares),
            )
        return self._targets[count]

    def _tiling(self, devices: Devices) -> Tiling:
        if devices not in self._tilings:
            space = self._key.parametrization.space
            self._tilings[devices] = Tiling(self.model, self._loss, space=space, devices=devices)
        return self._tilings[devices]

    @functools.cached_property
    def _update(self) -> Any:
        """The graph (state, gradient) → next state, and whether the step is finite, 0 or 1."""
        return compile_once(self._move, self.state_specs, self.state_specs.image)

    def _move(self, state: RunState, gradient: tf.Tensor) -> tuple[RunState, tf.Tensor]:
        finite = norm_is_finite(gradient)
        with tf.control_dependencies([finite]):  # One after the other, to save memory.
            after = self.iterate.update(state, gradient)
        return after, tf.cast(finite & tf.reduce_all(tf.math.is_finite(after.image)), tf.float32)
