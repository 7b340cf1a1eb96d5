"""Content, style, recipe → steps: targets, the compiled train step, coarse to fine.

A `Transfer` holds what is worth keeping between pictures: the network, and for each size one variable, one optimiser
and one compiled train step. `Transfer.steps` yields; who wants a progress bar or a file consumes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfstyle import images, losses
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, InputError, MemoryLimitError
from tfstyle.model import StyleContentModel, model_for
from tfstyle.optimizers import make_optimizer
from tfstyle.recipes import Recipe, scale_sizes, steps_per_scale

BYTES_PER_PIXEL = 2250
BYTES_AT_LEAST = 220_000_000
"""Peak memory of one evaluation, value and gradient, for each pixel, and of network and graphs at any size."""

Targets = Mapping[str, Mapping[str, tf.Tensor]]


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
    """

    index: int
    total: int
    scale: int
    scales: int
    image: tf.Tensor
    losses: Mapping[str, float]
    seconds: float


class Evaluation(NamedTuple):
    """Value and gradient of an objective at an image, and the terms the value is the sum of."""

    loss: tf.Tensor
    gradient: tf.Tensor
    terms: dict[str, tf.Tensor]


Objective = Callable[[tf.Tensor], Evaluation]


def make_objective(model: StyleContentModel, recipe: Recipe, targets: Targets, weights: Mapping[str, Any]) -> Objective:
    """The function of the image that a recipe makes small.

    Args:
        model: describes the image.
        recipe: gives the layers, their weights and the form of total variation.
        targets: {"style": {layer: statistic}, "content": {layer: features}}, as the model returns them.
        weights: factors of the terms "content", "style" and "total_variation"; a term whose weight in the recipe is 0
            is left out.

    Returns:
        image → `Evaluation`.
    """
    layers = {
        "content": dict(zip(recipe.content_layers, recipe.content_layer_weights, strict=True)),
        "style": dict(zip(recipe.style_layers, recipe.style_layer_weights, strict=True)),
    }
    used = [kind for kind in layers if getattr(recipe, f"{kind}_weight")]

    def terms_of(image: tf.Tensor) -> dict[str, tf.Tensor]:
        described = model(image)
        terms: dict[str, tf.Tensor] = {}
        for kind in used:
            by_layer = losses.layer_losses(described[kind], targets[kind], layers[kind], relative=recipe.relative)
            terms |= {f"{kind}/{layer}": weights[kind] * loss for layer, loss in by_layer.items()}
            terms[kind] = tf.add_n([terms[f"{kind}/{layer}"] for layer in by_layer])
        if recipe.tv_weight:
            terms["total_variation"] = weights["total_variation"] * losses.total_variation(recipe.tv_form)(image)
        return terms

    def value_and_gradient(image: tf.Tensor) -> Evaluation:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            terms = terms_of(image)
            loss = tf.add_n([term for name, term in terms.items() if "/" not in name])
        return Evaluation(loss, tape.gradient(loss, image), terms | {"total": loss})

    return value_and_gradient


class Canvas:
    """The image at one size: the variable, its optimiser and the compiled train step.

    Args:
        model: describes the image.
        recipe: its compiled part is what the train step does.
        height, width: size in pixels.
    """

    def __init__(self, model: StyleContentModel, recipe: Recipe, height: int, width: int) -> None:
        self.image = tf.Variable(tf.zeros([1, height, width, 3]), trainable=False, name="image")
        project = _clip if recipe.clip else None
        self.optimizer = make_optimizer(recipe, self.image, project=project)

        @tf.function(reduce_retracing=False)
        def train_step(targets: tf.Tensor, weights: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            objective = make_objective(model, recipe, targets, weights)
            loss, gradient, terms = objective(self.image.read_value())
            self.optimizer.apply(loss, gradient)
            return terms

        self.train_step = train_step

    def start(self, image: tf.Tensor) -> None:
        """Begins a run at an image, with an optimiser that remembers nothing."""
        self.image.assign(image)
        self.optimizer.reset()


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 1.0)


class Transfer:
    """Runs recipes that share one compiled part: same network, layers and optimiser.

    Args:
        recipe: what to share; its sizes, steps, seed and weights of terms may differ from run to run.

    Raises:
        WeightsError: if the recipe's network weights cannot be used.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe.compiled_part()
        self.model = model_for(recipe)
        self._canvases: dict[tuple[int, int], Canvas] = {}
        any_size = tf.TensorSpec([1, None, None, 3])  # Traced once for all scales and pictures.
        self._describe = tf.function(lambda image: self.model(image), input_signature=[any_size])

    def steps(
        self, content: tf.Tensor, style: tf.Tensor, recipe: Recipe, *, init: tf.Tensor | None = None
    ) -> Iterator[Step]:
        """Paints: yields once a step, coarse scale to fine.

        Args:
            content: float32 [1, height, width, 3] in [0, 1], of the size of the result.
            style: the same, of any size: its size beside the content's decides how large the brush strokes become.
            recipe: of the same compiled part as this transfer's.
            init: the image to start from, of any size; None follows `recipe.init` ("content" or "noise").

        Yields:
            A `Step` after every step.

        Raises:
            ValueError: if the recipe has another compiled part.
            InputError: if a picture is too small for the network.
            DivergedError: if the loss is no longer finite.
            MemoryLimitError: if TensorFlow runs out of memory.
        """
        if recipe.compiled_part() != self.recipe:
            raise ValueError(f"the recipe {recipe.name!r} needs a Transfer of its own: it compiles to another graph.")
        began = time.perf_counter()
        height, width = (int(side) for side in content.shape[1:3])
        sizes = scale_sizes(recipe, max(height, width), min(height, width))
        counts = steps_per_scale(recipe, len(sizes))
        weights = _term_weights(recipe)
        image, index = init, 0
        sizes_used = {images.fitted_size(height, width, size) for size in sizes}
        self._canvases = {size: canvas for size, canvas in self._canvases.items() if size in sizes_used}
        for scale, (size, count) in enumerate(zip(sizes, counts, strict=True), 1):
            if not count:
                continue
            try:
                canvas, targets = self._prepare(content, style, image, recipe, size / sizes[-1])
                for _ in range(count):
                    terms = canvas.train_step(targets, weights)
                    values = _finite({name: float(value) for name, value in terms.items()}, index)
                    image = canvas.image.read_value()
                    index += 1
                    yield Step(index, sum(counts), scale, len(sizes), image, values, time.perf_counter() - began)
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryLimitError(
                    f"memory ran out at scale {scale} of {len(sizes)} of {width}x{height}; choose a smaller --size."
                ) from error

    def _prepare(
        self, content: tf.Tensor, style: tf.Tensor, image: tf.Tensor, recipe: Recipe, factor: float
    ) -> tuple[Canvas, Targets]:
        """The canvas of one scale, started, and its targets."""
        height, width = _scaled(content, factor)
        content = images.resize(content, height, width)
        style = images.resize(style, *_scaled(style, factor))
        targets = self.targets(content, style)
        if image is not None:
            start = images.resize(image, height, width)
        elif recipe.init == "noise":
            start = tf.random.stateless_uniform(content.shape, seed=(recipe.seed, 0))
        else:
            start = content
        if (height, width) not in self._canvases:
            self._canvases[height, width] = Canvas(self.model, self.recipe, height, width)
        canvas = self._canvases[height, width]
        canvas.start(start)
        return canvas, targets

    def targets(self, content: tf.Tensor, style: tf.Tensor) -> Targets:
        """What the image is compared with: the content's features and the style's statistics.

        Raises:
            InputError: if either is too small for the network.
        """
        smallest = self.model.vgg.smallest_side
        for what, picture in (("content", content), ("style", style)):
            height, width = picture.shape[1:3]
            if min(height, width) < smallest:
                raise InputError(
                    f"the {what} is {width}x{height} at this scale; the network needs {smallest} pixels on each side, "
                    "so choose a larger --size or a picture of another shape."
                )
        return {"content": self._describe(content)["content"], "style": self._describe(style)["style"]}


def memory_needed(recipe: Recipe, *sizes: tuple[int, int]) -> int:
    """About how many bytes a run takes beyond the imported library, on a CPU in float32.

    What the gradient needs of VGG-19's layers for each pixel of the largest picture, measured as a process's peak at
    512 and 1024 pixels, and the optimiser's history for each pixel of the result.

    Args:
        recipe: gives the optimiser.
        *sizes: (height, width) of the result first, then of the other pictures.
    """
    pixels = [height * width for height, width in sizes]
    history = 2 * recipe.history if recipe.optimizer == "lbfgs" else 4
    return BYTES_AT_LEAST + BYTES_PER_PIXEL * max(pixels) + 12 * (history + 6) * pixels[0]


def _scaled(image: tf.Tensor, factor: float) -> tuple[int, int]:
    """Size of an image `factor` times as large."""
    height, width = image.shape[1:3]
    return images.fitted_size(height, width, round(max(height, width) * factor))


def _term_weights(recipe: Recipe) -> dict[str, tf.Tensor]:
    """The factors of the three terms, as tensors: another value needs no other graph."""
    values = {"content": recipe.content_weight, "style": recipe.style_weight, "total_variation": recipe.tv_weight}
    return {name: tf.constant(value, tf.float32) for name, value in values.items()}


def _finite(values: dict[str, float], index: int) -> dict[str, float]:
    if not math.isfinite(values["total"]):
        raise DivergedError(
            f"the loss was no longer a finite number at step {index + 1}; use smaller weights or another recipe."
        )
    return values
