"""Content, style, recipe → steps: the compiled train step, coarse to fine.

A `Transfer` holds what is worth keeping between pictures: the network, the objective traced once for all sizes, and for
each size one variable, one optimiser and one compiled train step. `Transfer.steps` yields; who wants a progress bar or
a file consumes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, MemoryLimitError, UsageError
from tfstyle.feedforward.inference import paint
from tfstyle.feedforward.networks import adain
from tfstyle.model import model_for
from tfstyle.objective import Evaluation, Targets, from_space, make_objective, make_targets, to_space
from tfstyle.optimizers import make_optimizer
from tfstyle.recipe import Recipe, scale_sizes, steps_per_scale

BYTES_PER_PIXEL = 1850
BYTES_AT_LEAST = 220_000_000
"""Peak memory of one evaluation, value and gradient, for each pixel, and of network and graphs at any size."""


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
    """

    index: int
    total: int
    scale: int
    scales: int
    image: tf.Tensor
    losses: Mapping[str, float]
    seconds: float
    progress: float


class Canvas:
    """The image at one size: the variable, its optimiser and the compiled train step.

    Args:
        evaluate: (targets, weights, image) → `Evaluation`.
        recipe: its compiled part is what the train step does.
        height, width: size in pixels.
    """

    def __init__(self, evaluate: Callable[..., Evaluation], recipe: Recipe, height: int, width: int) -> None:
        self._space, self._decay, self._clips = recipe.space, recipe.average, recipe.clip
        self._variable = tf.Variable(tf.zeros([1, height, width, 3]), trainable=False, name="image")
        self._average = tf.Variable(tf.zeros_like(self._variable) if self._decay else 0.0, trainable=False)
        self._share = tf.Variable(0.0, trainable=False)  # How much of the average has been filled, 0 to 1.
        self.optimizer = make_optimizer(recipe, self._variable, project=_clip if self._clips else None)

        @tf.function(autograph=False)  # No branch hangs on a tensor; to find that out takes longer than the tracing.
        def train_step(targets: Targets, weights: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            evaluation = evaluate(targets, weights, self._variable.read_value())
            self.optimizer.apply(evaluation.gradient)
            self._record()
            return evaluation.terms

        self.train_step = train_step

    def start(self, image: tf.Tensor, *, previous: Canvas | None = None) -> None:
        """Begins a run.

        Args:
            image: the start, in the recipe's space.
            previous: the canvas whose optimiser's state is taken over; None begins with none.
        """
        self._variable.assign(_clip(image) if self._clips else image)
        self._share.assign(0.0)
        if self._decay:
            self._average.assign(tf.zeros_like(self._average))
        self._record()
        if previous is None:
            self.optimizer.reset()
        else:
            self.optimizer.adopt(previous.optimizer)

    def image(self) -> tf.Tensor:
        """The image as it stands, sRGB: the average of the iterates where the recipe takes one."""
        value = self._average / self._share if self._decay else self._variable.read_value()
        return from_space(value, self._space)

    def _record(self) -> None:
        """Lets the variable into the running average; with it, the share of what is still missing shrinks."""
        if self._decay:
            self._average.assign(self._decay * self._average + (1.0 - self._decay) * self._variable)
            self._share.assign(self._decay * self._share + (1.0 - self._decay))


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
        self._targets = tf.function(
            lambda content, style: make_targets(self.model, self.recipe, content, style),
            input_signature=[any_size, any_size],
            autograph=False,
        )
        described = self._targets.get_concrete_function().structured_outputs
        target_specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), described)
        weight_specs = {name: tf.TensorSpec([]) for name in _term_weights(recipe)}
        self._evaluate = tf.function(
            lambda targets, weights, image: make_objective(self.model, self.recipe, targets, weights)(image),
            input_signature=[target_specs, weight_specs, any_size],
            autograph=False,
        )

    def steps(
        self, content: tf.Tensor, style: tf.Tensor, recipe: Recipe, *, init: tf.Tensor | None = None
    ) -> Iterator[Step]:
        """Paints: yields once a step, coarse scale to fine.

        Args:
            content: float32 [1, height, width, 3] in [0, 1], of the size of the result.
            style: the same, of any size: its size beside the content's decides how large the brush strokes become.
            recipe: of the same compiled part as this transfer's.
            init: the image to start from, of any size; None follows `recipe.init` (a word of `recipe.STARTS`).

        Yields:
            A `Step` after every step.

        Raises:
            UsageError: if the recipe has another compiled part.
            InputError: if a picture is too small for the network.
            DivergedError: if the loss is no longer finite.
            MemoryLimitError: if TensorFlow runs out of memory.
        """
        if recipe.compiled_part() != self.recipe:
            raise UsageError(f"the recipe {recipe.name!r} needs a Transfer of its own: it compiles to another graph.")
        began = time.perf_counter()
        height, width = content.shape[1:3]
        trimmed = _trimmed(style, recipe.style_margin)
        sizes = scale_sizes(recipe, max(height, width), min(height, width, *trimmed.shape[1:3]))
        counts = steps_per_scale(recipe, len(sizes))
        work, done = sum(count * size**2 for size, count in zip(sizes, counts, strict=True)), 0
        self._forget_all_but({images.fitted_size(height, width, size) for size in sizes})
        weights, image, index, canvas = _term_weights(recipe), init, 0, None
        for scale, (size, count) in enumerate(zip(sizes, counts, strict=True), 1):
            if not count:
                continue
            try:
                previous = canvas if recipe.warm_start else None
                small, painting = (_resized(picture, size / sizes[-1]) for picture in (content, style))
                targets = self.targets(small, _trimmed(painting, recipe.style_margin))
                if canvas is not None and recipe.add_detail and recipe.content_weight:
                    image = _with_detail(image, small)
                canvas = self._canvas(*small.shape[1:3])
                canvas.start(_start_image(recipe, small, painting, image), previous=previous)
                for _ in range(count):
                    terms = canvas.train_step(targets, weights)
                    values = _finite(_on_the_host(terms), index)
                    image = canvas.image()
                    index, done = index + 1, done + size**2
                    seconds = time.perf_counter() - began
                    yield Step(index, sum(counts), scale, len(sizes), image, values, seconds, done / work)
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryLimitError(
                    f"memory ran out at scale {scale} of {len(sizes)} of {width}x{height}; choose a smaller --size."
                ) from error

    def targets(self, content: tf.Tensor, style: tf.Tensor) -> Targets:
        """What the image is compared with, as `objective.make_targets` says.

        Raises:
            InputError: if either is too small for the network.
        """
        self.model.vgg.check_size(content, "the content")
        self.model.vgg.check_size(style, "the style")
        return self._targets(content, style)

    def _canvas(self, height: int, width: int) -> Canvas:
        """The canvas of a size, made when first needed."""
        if (height, width) not in self._canvases:
            self._canvases[height, width] = Canvas(self._evaluate, self.recipe, height, width)
        return self._canvases[height, width]

    def _forget_all_but(self, sizes: set[tuple[int, int]]) -> None:
        self._canvases = {size: canvas for size, canvas in self._canvases.items() if size in sizes}


def _start_image(recipe: Recipe, content: tf.Tensor, style: tf.Tensor, image: tf.Tensor | None) -> tf.Tensor:
    """Where a scale begins, in the recipe's space: at the image so far, or as the recipe says."""
    height, width = content.shape[1:3]
    if image is not None:
        return to_space(images.resize(image, height, width), recipe.space)
    if recipe.init == "adain":
        return to_space(paint(adain(), content, [style]), recipe.space)
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


def _on_the_host(terms: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """The terms as floats, fetched at once: a GPU is waited for once a step."""
    return dict(zip(terms, tf.stack(list(terms.values())).numpy().tolist(), strict=True))


def _finite(values: dict[str, float], index: int) -> dict[str, float]:
    if not math.isfinite(values["total"]):
        raise DivergedError(
            f"the loss was no longer a finite number at step {index + 1}; use smaller weights or another recipe."
        )
    return values
