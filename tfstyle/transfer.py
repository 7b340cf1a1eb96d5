"""Content, style, recipe → steps: the compiled train step, coarse to fine.

A `Transfer` holds what runs share: the network and one train step, compiled for all sizes. `Transfer.steps` is a
generator that owns the state of its run; progress bars and writers consume it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, MemoryLimitError, UsageError
from tfstyle.feedforward.adain import load_adain
from tfstyle.model import gradient_kernels, model_for, policy
from tfstyle.objective import Targets, from_space, make_objective, make_targets, to_space
from tfstyle.optimizers import make_optimizer
from tfstyle.recipes.published import get_recipe
from tfstyle.recipes.recipe import STARTS, Recipe, scale_sizes, steps_per_scale

BYTES_PER_PIXEL = {"float32": 1850, "mixed_bfloat16": 1150}
"""Keras policy → peak memory of one evaluation, value and gradient, for each pixel."""

BYTES_AT_LEAST = 220_000_000
"""Memory of network and graphs at any size."""

_FINITE = "image_is_finite"


@dataclass(frozen=True)
class Step:
    """One step of a run, as its observers see it.

    Attributes:
        index: number of the step, from 1.
        total: number of steps in all.
        scale, scales: number of this scale, from 1, and how many there are.
        image: float32 [1, height, width, 3] after the step.
        losses: weighted loss terms before the step, as floats: "total", "content", "style", "total_variation", and
            "content/LAYER" and "style/LAYER" for each layer.
        seconds: since the run began.
        progress: share of the run's work that is done, a step's work being the pixels of its scale; 1 at the end.
        settings: what was chosen for this machine, as `Transfer.settings`.
    """

    index: int
    total: int
    scale: int
    scales: int
    image: tf.Tensor
    losses: Mapping[str, float]
    seconds: float
    progress: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)


class RunState(NamedTuple):
    """Everything that a run's next step depends on.

    Attributes:
        image: float32 [1, height, width, 3] in the recipe's space.
        optimizer: of the optimizer's own kind.
        average: sum of the iterates, weighted, of the image's shape; a scalar 0 where the recipe takes no average.
        weight: sum of these weights, 0 to 1.
    """

    image: tf.Tensor
    optimizer: Any
    average: tf.Tensor
    weight: tf.Tensor


class Transfer:
    """Runs recipes that share one compiled part: same network, layers and optimizer.

    A transfer holds the network and the graphs, compiled once for all sizes. Each run owns its state, so several may
    go on at a time, in one thread or in many.

    Args:
        recipe: what to share; its sizes, steps, seed and weights of terms may differ from run to run.

    Attributes:
        recipe: the compiled part.
        model: the network.
        settings: what was chosen for this machine: "precision" and "flip_kernels".

    Raises:
        WeightsError: if the recipe's network weights cannot be used.
    """

    def __init__(self, recipe: str | Recipe) -> None:
        recipe = get_recipe(recipe)
        self.recipe = recipe.compiled_part()
        self.model = model_for(recipe)
        kernels = gradient_kernels(self.model, self.recipe)
        self.settings = {"precision": self.model.compute_dtype, "flip_kernels": "on" if kernels else "off"}
        self._optimizer = make_optimizer(self.recipe, project=_clip if self.recipe.clip else None)
        any_size = tf.TensorSpec([1, None, None, 3])  # Traced once for all scales and pictures.
        self._targets = _compile(
            lambda content, style: make_targets(self.model, self.recipe, content, style), any_size, any_size
        )
        targets = _any_size(self._targets.structured_outputs)
        weights = {name: tf.TensorSpec([]) for name in _term_weights(recipe)}
        shapes = {layer: tf.TensorSpec(kernel.shape, kernel.dtype) for layer, kernel in kernels.items()}
        state = _any_size(self._begin(tf.zeros([1, 1, 1, 3])))
        self._step = _compile(self._take_step, targets, weights, shapes, state)

    def steps(
        self, content: tf.Tensor, style: tf.Tensor, recipe: str | Recipe, *, init: tf.Tensor | None = None
    ) -> Iterator[Step]:
        """Runs a recipe: yields after every step, coarse scale to fine.

        Args:
            content: float32 [1, height, width, 3] in [0, 1], of the size of the result.
            style: the same, of any size: its size beside the content's decides how large the brush strokes become.
            recipe: of the same compiled part as this transfer's.
            init: the image to start from, of any size; None follows `recipe.init` (a word of `recipe.STARTS`).

        Yields:
            A `Step` after every step.

        Raises:
            UsageError: if the recipe has another compiled part, or an image is not as described.
            InputError: if a picture is too small for the network.
            DivergedError: if the loss or the last image is not finite.
            MemoryLimitError: if TensorFlow runs out of memory.
        """
        recipe = get_recipe(recipe)
        if recipe.compiled_part() != self.recipe:
            raise UsageError(f"the recipe {recipe.name!r} needs a Transfer of its own: it compiles to another graph.")
        content, style = (images.as_image(image, name) for image, name in ((content, "content"), (style, "style")))
        image = None if init is None else images.as_image(init, "init")
        if image is None and recipe.init not in STARTS:
            raise UsageError(f"the recipe starts from the file {recipe.init}; read it and pass it as `init`.")
        began = time.perf_counter()
        height, width = content.shape[1:3]
        trimmed = _trimmed(style, recipe.style_margin)
        sizes = scale_sizes(recipe, max(height, width), min(height, width, *trimmed.shape[1:3]))
        counts = steps_per_scale(recipe, len(sizes))
        work, done = sum(count * size**2 for size, count in zip(sizes, counts, strict=True)), 0
        weights, kernels = _term_weights(recipe), gradient_kernels(self.model, self.recipe)
        state, index = None, 0
        for scale, (size, count) in enumerate(zip(sizes, counts, strict=True), 1):
            if not count:
                continue
            try:
                small, painting = (_resized(picture, size / sizes[-1]) for picture in (content, style))
                targets = self.targets(small, _trimmed(painting, recipe.style_margin))
                if state is not None and recipe.add_detail and recipe.content_weight:
                    image = _with_detail(image, small)
                state = self._begin(_start_image(recipe, small, painting, image), state if recipe.warm_start else None)
                for _ in range(count):
                    state, terms = self._step(targets, weights, kernels, state)
                    index, done = index + 1, done + size**2
                    values = _checked(_to_floats(terms), index)
                    image = self._image(state)
                    seconds = time.perf_counter() - began
                    place = (index, sum(counts), scale, len(sizes))
                    yield Step(*place, image, values, seconds, done / work, self.settings)
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryLimitError(
                    f"memory ran out at scale {scale} of {len(sizes)}, for {width}x{height}; choose a smaller `size`."
                ) from error

    def targets(self, content: tf.Tensor, style: tf.Tensor) -> Targets:
        """Computes what the image is compared with, as `objective.make_targets`.

        Raises:
            InputError: if either is too small for the network.
        """
        self.model.vgg.check_size(content, "the content")
        self.model.vgg.check_size(style, "the style")
        return self._targets(content, style)

    def _begin(self, image: tf.Tensor, previous: RunState | None = None) -> RunState:
        """The state at the start of a scale, with the optimizer's state of the scale before if there is one."""
        if self.recipe.clip:
            image = _clip(image)
        if previous is None:
            optimizer = self._optimizer.init(image)
        else:
            optimizer = self._optimizer.resize(previous.optimizer, *image.shape[1:3])
        nothing = tf.zeros_like(image) if self.recipe.average else tf.constant(0.0)
        return self._averaged(RunState(image, optimizer, nothing, tf.constant(0.0)))

    def _take_step(
        self,
        targets: Targets,
        weights: Mapping[str, tf.Tensor],
        kernels: Mapping[str, tf.Tensor],
        state: RunState,
    ) -> tuple[RunState, dict[str, tf.Tensor]]:
        """The train step: the next state, the loss terms before it, and whether the next image is finite, 0 or 1."""
        evaluate = make_objective(self.model, self.recipe, targets, weights, flipped=kernels)
        evaluation = evaluate(state.image)
        optimizer, image = self._optimizer.update(state.optimizer, state.image, evaluation.gradient)
        finite = tf.cast(tf.reduce_all(tf.math.is_finite(image)), tf.float32)
        state = self._averaged(state._replace(image=image, optimizer=optimizer))
        return state, evaluation.terms | {_FINITE: finite}

    def _averaged(self, state: RunState) -> RunState:
        """Updates the exponential moving average and its bias correction with the image."""
        decay = self.recipe.average
        if not decay:
            return state
        average = decay * state.average + (1.0 - decay) * state.image
        return state._replace(average=average, weight=decay * state.weight + (1.0 - decay))

    def _image(self, state: RunState) -> tf.Tensor:
        """The image as it stands, sRGB: the average of the iterates where the recipe takes one."""
        return from_space(state.average / state.weight if self.recipe.average else state.image, self.recipe.space)


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 1.0)


def _compile(function: Callable[..., Any], *specs: Any) -> Any:
    """Traces a function once, for tensors as specified.

    Without autograph: no branch depends on a tensor, and looking for one takes longer than tracing.
    """
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def _any_size(tensors: Any) -> Any:
    """Specifications of a structure of tensors, images in it of any height and width."""

    def spec(tensor: tf.Tensor) -> tf.TensorSpec:
        shape = tensor.shape.as_list()
        return tf.TensorSpec([shape[0], None, None, shape[3]] if len(shape) == 4 else shape, tensor.dtype)

    return tf.nest.map_structure(spec, tensors)


def _start_image(recipe: Recipe, content: tf.Tensor, style: tf.Tensor, image: tf.Tensor | None) -> tf.Tensor:
    """Where a scale begins, in the recipe's space: at the image so far, or as the recipe says."""
    height, width = content.shape[1:3]
    if image is not None:
        return to_space(images.resize(image, height, width), recipe.space)
    if recipe.init == "adain":
        return to_space(load_adain().stylize(content, [style]), recipe.space)
    if recipe.init != "noise":
        return to_space(content, recipe.space)
    if recipe.noise:
        return recipe.noise * tf.random.stateless_normal(content.shape, seed=(recipe.seed, 0))
    return to_space(tf.random.stateless_uniform(content.shape, seed=(recipe.seed, 0)), recipe.space)


def _with_detail(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """An image enlarged to the photograph's size, and on it what the photograph loses at the image's own.

    One level of Burt & Adelson: The Laplacian Pyramid as a Compact Image Code (1983).
    """
    height, width = content.shape[1:3]
    held = images.resize(images.resize(content, *image.shape[1:3]), height, width)
    return images.resize(image, height, width) + content - held


def memory_needed(recipe: Recipe, *sizes: tuple[int, int]) -> int:
    """Estimates the peak memory of a run on a CPU beyond the imported library.

    What the gradient needs of VGG-19's layers for each pixel of the largest picture, measured as a process's peak at
    512 and 1024 pixels, and the optimizer's state for each pixel of the result, which an update holds twice.

    Args:
        recipe: gives precision and optimizer.
        *sizes: (height, width) of the result first, then of the other pictures.

    Returns:
        Bytes.
    """
    pixels = [height * width for height, width in sizes]
    state = 12 * (2 * recipe.history if recipe.optimizer == "lbfgs" else 4) * pixels[0]
    evaluation = BYTES_PER_PIXEL[policy(recipe.precision)] * max(pixels) + 72 * pixels[0]
    return BYTES_AT_LEAST + max(evaluation + state, round(2.3 * state))


def _resized(image: tf.Tensor, factor: float) -> tf.Tensor:
    """An image `factor` times as large."""
    return images.fit(image, round(max(image.shape[1:3]) * factor))


def _trimmed(image: tf.Tensor, margin: float) -> tf.Tensor:
    """An image without a share of its short side at each edge."""
    height, width = image.shape[1:3]
    edge = round(margin * min(height, width))
    return image[:, edge : height - edge, edge : width - edge]


def _term_weights(recipe: Recipe) -> dict[str, tf.Tensor]:
    """The factors of the three terms, as tensors: another value needs no other graph."""
    values = {"content": recipe.content_weight, "style": recipe.style_weight, "total_variation": recipe.tv_weight}
    return {name: tf.constant(value, tf.float32) for name, value in values.items()}


def _to_floats(terms: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """The terms as floats, fetched at once: a GPU is waited for once a step."""
    return dict(zip(terms, tf.stack(list(terms.values())).numpy().tolist(), strict=True))


def _checked(values: dict[str, float], index: int) -> dict[str, float]:
    """The losses before a step, if they and the image after it are finite."""
    finite = values.pop(_FINITE)
    if not math.isfinite(values["total"]):
        raise DivergedError(
            f"the loss was no longer a finite number at step {index}; use smaller weights or another recipe."
        )
    if not finite:
        raise DivergedError(
            f"the image was no longer finite after step {index}; use smaller weights or another recipe."
        )
    return values
