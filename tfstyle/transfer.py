"""Runs a recipe: takes a compiled train step repeatedly, from the coarsest to the finest level.

A `Transfer` holds what runs share: the network and one train step, compiled for all sizes. `Transfer.steps` is a
generator that owns the state of its run; progress bars and writers consume its steps.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, cast

from tfstyle import images
from tfstyle.distribution import Devices, find_devices
from tfstyle.divergence import FINITE, Guard, norm_is_finite
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, MemoryLimitError, UsageError
from tfstyle.graphs import any_size_specs, compile_once
from tfstyle.iterate import RunState, make_iterate
from tfstyle.levels import add_detail, lost_detail
from tfstyle.masks import divide
from tfstyle.model import build_model
from tfstyle.objective import make_objective
from tfstyle.pixel_range import from_space
from tfstyle.planning import TILES, Level, completed, plan_levels
from tfstyle.preparation import Run, check_sizes, prepare, share_regions
from tfstyle.recipes.recipe import GraphKey, Recipe
from tfstyle.regions import Regions
from tfstyle.steps import Snapshot, Step
from tfstyle.styles import as_styles
from tfstyle.targets import Targets, make_targets
from tfstyle.tensors import sides
from tfstyle.tiling import Tiling

_log = logging.getLogger("tfstyle")

_OTHER_RUN = "`resume` is the snapshot of a run of another recipe or another size."


class Transfer:
    """Runs recipes that share a graph: same network, loss, optimizer and parametrization.

    A transfer holds the network and the graphs, compiled once for all sizes. Each run owns its state, so several
    runs may be active at a time, in one thread or in several.

    Args:
        recipe: the recipe to run, or its graph key alone if the recipe is passed to `steps`.

    Attributes:
        recipe: the recipe that `steps` runs by default; None if only a graph key was given.
        graph_key: what the graphs depend on; `steps` runs any recipe with an equal key.
        model: the network.
        settings: what was chosen for this machine: "precision" and "flip_kernels".
        state_specs: specifications of the tensors of a run's state.

    Raises:
        WeightsError: if the recipe's network weights cannot be used.
    """

    def __init__(self, recipe: Recipe | GraphKey) -> None:
        self.recipe = None if isinstance(recipe, GraphKey) else recipe
        self.graph_key = recipe if isinstance(recipe, GraphKey) else recipe.graph_key
        network, loss, terms, optimizer, parametrization = self.graph_key
        self.model = build_model(network, loss)
        kernels = self.model.vgg.flipped_kernels(network.flip_kernels)
        self.settings = {"precision": self.model.compute_dtype, "flip_kernels": "on" if kernels else "off"}
        self._iterate = make_iterate(optimizer, parametrization)
        self._matches = "neighbor" in terms
        self._loss = loss if self._matches else dataclasses.replace(loss, neighbor_layers={})
        self._targets: dict[int, Any] = {}
        self._tilings: dict[Devices, Tiling] = {}
        targets = any_size_specs(self._targets_graph(1).structured_outputs)
        weights = {name: tf.TensorSpec([]) for name in terms}
        shapes = {layer: tf.TensorSpec(kernel.shape, kernel.dtype) for layer, kernel in kernels.items()}
        self.state_specs: RunState = any_size_specs(self._iterate.begin(tf.zeros([1, 1, 1, 3])))
        self._step = compile_once(self._take_step, targets, weights, shapes, self.state_specs)

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

    def steps(
        self,
        content: tf.Tensor,
        style: Any,
        *,
        style_sides: Sequence[int] | None = None,
        recipe: Recipe | None = None,
        init: tf.Tensor | Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        resume: Snapshot | None = None,
        memory: float | None = None,
        devices: Devices | None = None,
    ) -> Iterator[Step]:
        """Runs a recipe and yields after every step, from the coarsest to the finest level.

        Args:
            content: float32 [1, height, width, 3] in [0, 1], of the size of the result.
            style: the same, of any size; its size relative to the content image determines that of the brush strokes.
                Or several, each an image or a `styles.Style`, whose `scale` is not used here; with the masks of
                `masks.read_masks`, the recipe needs as many `drawn_regions` as there are different masks.
            style_sides: for each style image, the long side in pixels that it should have beside the content image; a
                smaller image is used as it is for the levels that it is too small for. None is its own.
            recipe: another recipe with the same graph key; None runs the transfer's own.
            init: the image to start from, of any size, or a function (content, style) → image that is called with the
                two images of the coarsest level; None starts as the recipe does, from "content" or "noise".
            resume: the snapshot of a step of an earlier run of the same recipe and images; that step is yielded again,
                then those that follow. None starts a run.
            memory: bytes that the run should take at most; levels that need more are computed in tiles, with the same
                result up to rounding. None computes all levels as a whole. The same on all workers.
            devices: those among which tiles are divided; None is one device.

        Yields:
            A `Step` after every step.

        Raises:
            UsageError: if the recipe needs another graph, an image is not as described, or `resume` is of another run.
            InputError: if a picture is too small for the network.
            DivergedError: if the loss or the last image is not finite.
            MemoryLimitError: if memory runs out.
            WorkerError: if another worker no longer answers.
        """
        devices = devices or find_devices()
        recipe = recipe or self.recipe
        if recipe is None:
            raise UsageError("the Transfer was made from a graph key alone; pass the `recipe` to run.")
        if recipe.graph_key != self.graph_key:
            raise UsageError(f"the recipe {recipe.name!r} needs a Transfer of its own: it compiles to another graph.")
        content = images.as_image(content, "content")
        styles = [
            dataclasses.replace(each, picture=images.as_image(each.picture, "style")) for each in as_styles(style)
        ]
        if init is not None and not callable(init):
            init = images.as_image(init, "init")
        if init is None and recipe.start.init not in ("content", "noise"):
            raise UsageError(f"the recipe starts from {recipe.start.init!r}; make that image and pass it as `init`.")
        began = time.perf_counter() - (resume.seconds if resume else 0.0)
        prepared = prepare(self.model.vgg, content, styles, recipe=recipe)
        of_styles = [sides(image) for image in prepared.styles]
        style_sides = style_sides or list(map(max, of_styles))
        run = Run(
            recipe=recipe,
            prepared=prepared,
            style_sides=style_sides,
            levels=plan_levels(recipe, sides(content), *of_styles, style_sides=style_sides, limit=memory),
            init=init,
            resume=resume,
            devices=devices,
            weights={name: tf.constant(factor) for name, factor in recipe.term_weights.by_term().items()},
            kernels=self.model.vgg.flipped_kernels(recipe.network.flip_kernels),
            guard=Guard(resume.watched if resume else None),
            began=began,
        )
        if resume is not None and not 1 <= resume.level <= len(run.levels):
            raise UsageError(_OTHER_RUN)
        state = None
        for level in range(resume.level if resume else 1, len(run.levels) + 1):
            try:
                state = yield from self._run_level(run, level, state)
            except (tf.errors.ResourceExhaustedError, MemoryError) as error:
                if isinstance(error, MemoryLimitError):
                    raise
                height, width = sides(content)
                raise MemoryLimitError(
                    f"memory ran out at level {level} of {len(run.levels)}, for {width}x{height}; "
                    "choose a smaller `size`."
                ) from error

    def _run_level(self, run: Run, level: int, state: RunState | None) -> Generator[Step, None, RunState]:
        """Yields the steps of a level, from 1 on; takes the state at the end of the one before, and returns its own."""
        plan, total = run.levels[level - 1], sum(plan.steps for plan in run.levels)
        first = 1 + sum(before.steps for before in run.levels[: level - 1])
        last, resume = first + plan.steps - 1, run.resume if run.resume and run.resume.level == level else None
        content, styles = run.scale_images(plan)
        if resume:
            begun, state = resume.begun, resume.state
            other = sides(state.image) != sides(content) or (begun is None) == self._matches
            if other or not first <= resume.index <= last:
                raise UsageError(_OTHER_RUN)
        else:
            run.guard.begin_level()
            state = self._begin_level(run, content, styles, state=state)
            if plan.tile is not None:  # Levels before, computed by each worker, may differ in rounding.
                state = _agree(state, run.devices, warm=run.recipe.pyramid.warm_start)
            begun = self._iterate.image(state) if self._matches else None
        targets = self.targets(
            content,
            run.crop(styles),
            image=begun,
            regions=run.prepared.regions,
            shares=run.prepared.shares,
            tile=plan.tile,
            bands=plan.bands,
            devices=run.devices,
        )
        step = self._make_step(run, plan, targets)
        for index in range(resume.index if resume else first, last + 1):
            if resume and index == resume.index:
                values = dict(resume.losses)
            else:
                state, values = self._advance(step, state, index=index, guard=run.guard)
            image = run.prepared.present(self._iterate.image(state), last=index == total)
            if index == total and (doubt := run.guard.doubt(image, run.prepared.content, *run.prepared.styles)):
                _log.warning("%s; use smaller weights, another optimizer or another recipe.", doubt)
            seconds = time.perf_counter() - run.began
            place, progress = (index, total, level, len(run.levels)), completed(run.levels, index)
            snapshot = Snapshot(index, level, values, seconds, begun, state, run.guard.watched)
            yield Step(*place, image, values, seconds, progress, self.settings, snapshot)
        return state

    def _make_step(
        self, run: Run, plan: Level, targets: Targets
    ) -> Callable[[RunState], tuple[RunState, dict[str, tf.Tensor]]]:
        """Makes the function state → next state and terms before it, of a level computed as a whole or in tiles.

        If memory runs out all the same, tiles are halved, unless several workers share the step.
        """
        tile = plan.tile
        if tile is None:
            return functools.partial(self._step, targets, run.weights, run.kernels)
        make = functools.partial(
            self._tiling(run.devices).make_objective,
            targets,
            weights=run.weights,
            flipped=run.kernels,
            bands=plan.bands,
        )

        def step(state: RunState) -> tuple[RunState, dict[str, tf.Tensor]]:
            nonlocal tile
            while True:
                try:
                    evaluation = make(tile=tile)(state.image)
                    break
                except tf.errors.ResourceExhaustedError:
                    if tile <= TILES[-1] or run.devices.workers > 1:  # Others would wait for sums that they have.
                        raise
                    tile //= 2
                    _log.warning("memory ran out; the run goes on with tiles of %d pixels.", tile)
            after, finite = self._update(state, evaluation.gradient)
            return after, evaluation.terms | {FINITE: finite}

        return step

    def _tiling(self, devices: Devices) -> Tiling:
        if devices not in self._tilings:
            space = self.graph_key.parametrization.space
            self._tilings[devices] = Tiling(self.model, self._loss, space=space, devices=devices)
        return self._tilings[devices]

    @functools.cached_property
    def _update(self) -> Any:
        """The graph (state, gradient) → next state, and whether the step is finite, 0 or 1."""
        return compile_once(self._move, self.state_specs, self.state_specs.image)

    def _move(self, state: RunState, gradient: tf.Tensor) -> tuple[RunState, tf.Tensor]:
        finite = norm_is_finite(gradient)
        with tf.control_dependencies([finite]):  # One after the other, to save memory.
            after = self._iterate.update(state, gradient)
        return after, tf.cast(finite & tf.reduce_all(tf.math.is_finite(after.image)), tf.float32)

    def _advance(
        self,
        step: Callable[[RunState], tuple[RunState, dict[str, tf.Tensor]]],
        state: RunState,
        *,
        index: int,
        guard: Guard,
    ) -> tuple[RunState, dict[str, float]]:
        """Takes a step; returns the next state and the losses before it.

        If the run diverges, it goes back to the best image of the level and makes steps of half the length, at most
        `RETRIES` times.
        """
        while True:
            after, terms = step(state)
            values = _to_floats(terms)
            what = guard.examine(values, state.image)
            if what is None:
                return after, values
            best = guard.go_back()
            if best is None:
                break
            _log.warning("the %s at step %d; the run goes on from its best image, with shorter steps.", what, index)
            state = self._iterate.restart(best, state)
        error = DivergedError(f"the {what} at step {index}; use smaller weights or another recipe.")
        if guard.watched.best is not None:
            error.image = from_space(guard.watched.best, self.graph_key.parametrization.space)
        raise error

    def _begin_level(
        self, run: Run, content: tf.Tensor, styles: Sequence[tf.Tensor], *, state: RunState | None
    ) -> RunState:
        """Returns the state at the start of a level; `state` is that at the end of the previous one, if any."""
        pyramid, terms = run.recipe.pyramid, run.recipe.term_weights
        if state is None:
            image = run.init(content, *styles) if callable(run.init) else run.init
        else:
            image = self._iterate.image(state)
            details = []
            if pyramid.add_detail and terms.keeps_content():
                details.append(lost_detail(content, sides(image)))
            if pyramid.add_style_detail and terms.has_style():
                found = run.prepared.find_style_detail(image, run.crop(styles), size=sides(content))
                details.append(terms.strength * found)
            if details:
                image = add_detail(image, *details)
        variable = self._iterate.start(run.recipe.start, content, image)
        return self._iterate.begin(variable, state if pyramid.warm_start else None)

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
            devices: as for `steps`.

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

    def _take_step(
        self,
        targets: Targets,
        weights: Mapping[str, tf.Tensor],
        kernels: Mapping[str, tf.Tensor],
        state: RunState,
    ) -> tuple[RunState, dict[str, tf.Tensor]]:
        """Takes one step: returns the next state, the terms before it, and whether it is finite, 0 or 1."""
        _, loss, _, _, parametrization = self.graph_key
        evaluate = make_objective(
            self.model, loss, targets, weights=weights, space=parametrization.space, flipped=kernels
        )
        evaluation = evaluate(state.image)
        after, finite = self._move(state, evaluation.gradient)
        return after, evaluation.terms | {FINITE: finite}


def _agree(state: RunState, devices: Devices, *, warm: bool) -> RunState:
    """Returns the chief's state at the start of a level, on all workers; only if it is `warm`, optimizers differ."""
    if warm:
        return cast(RunState, tf.nest.map_structure(devices.agree, state))
    return state._replace(image=devices.agree(state.image), average=devices.agree(state.average))


def _to_floats(terms: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Returns the terms as floats, fetched together, so that each step waits for a GPU only once."""
    return dict(zip(terms, tf.stack(list(terms.values())).numpy().tolist(), strict=True))
