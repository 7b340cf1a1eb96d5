"""Runs a recipe: takes a compiled train step repeatedly, from the coarsest to the finest level.

A `Transfer` holds what runs share: the network and one train step, compiled for all sizes. `Transfer.steps` is a
generator that owns the state of its run; progress bars and writers consume its steps.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, cast

from tfstyle import images
from tfstyle.distribution import Devices, find_devices
from tfstyle.divergence import Guard
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, MemoryLimitError, UsageError
from tfstyle.iterate import RunState
from tfstyle.levels import add_detail, lost_detail
from tfstyle.pixel_range import from_space
from tfstyle.planning import completed, plan_levels
from tfstyle.preparation import Run, prepare
from tfstyle.recipes.recipe import GraphKey, Recipe
from tfstyle.steps import Snapshot, Step
from tfstyle.styles import as_styles
from tfstyle.tensors import sides
from tfstyle.train_step import StepFunction, TrainStep

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
        train_step: the network and its graphs.
        model: the network.
        settings: what was chosen for this machine: "precision" and "flip_kernels".
        state_specs: specifications of the tensors of a run's state.

    Raises:
        WeightsError: if the recipe's network weights cannot be used.
    """

    def __init__(self, recipe: Recipe | GraphKey) -> None:
        self.recipe = None if isinstance(recipe, GraphKey) else recipe
        self.graph_key = recipe if isinstance(recipe, GraphKey) else recipe.graph_key
        self.train_step = TrainStep(self.graph_key)
        self.model, self.settings = self.train_step.model, self.train_step.settings
        self.state_specs = self.train_step.state_specs
        self._iterate = self.train_step.iterate

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
            other = sides(state.image) != sides(content) or (begun is None) == self.train_step.matches
            if other or not first <= resume.index <= last:
                raise UsageError(_OTHER_RUN)
        else:
            run.guard.begin_level()
            state = self._begin_level(run, content, styles, state=state)
            if plan.tile is not None:  # Levels before, computed by each worker, may differ in rounding.
                state = _agree(state, run.devices, warm=run.recipe.pyramid.warm_start)
            begun = self._iterate.image(state) if self.train_step.matches else None
        targets = self.train_step.targets(
            content,
            run.crop(styles),
            image=begun,
            regions=run.prepared.regions,
            shares=run.prepared.shares,
            tile=plan.tile,
            bands=plan.bands,
            devices=run.devices,
        )
        step = self.train_step.make(targets, weights=run.weights, kernels=run.kernels, plan=plan, devices=run.devices)
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

    def _advance(
        self,
        step: StepFunction,
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


def _agree(state: RunState, devices: Devices, *, warm: bool) -> RunState:
    """Returns the chief's state at the start of a level, on all workers; only if it is `warm`, optimizers differ."""
    if warm:
        return cast(RunState, tf.nest.map_structure(devices.agree, state))
    return state._replace(image=devices.agree(state.image), average=devices.agree(state.average))


def _to_floats(terms: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Returns the terms as floats, fetched together, so that each step waits for a GPU only once."""
    return dict(zip(terms, tf.stack(list(terms.values())).numpy().tolist(), strict=True))
