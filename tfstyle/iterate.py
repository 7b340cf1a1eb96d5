"""The image while it is optimized: its start, one update, and the average of its iterates.

A `RunState` holds everything that a run's next step depends on; the functions here are pure, so that runs share
graphs but not state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.lbfgs import LBFGSState
from tfstyle.optimizers import Optimizer, make_optimizer
from tfstyle.pixel_range import from_space, to_space
from tfstyle.recipes.parts import Parametrization, Start
from tfstyle.tensors import sides, static_shape


class RunState(NamedTuple):
    """Everything that a run's next step depends on.

    Attributes:
        image: float32 [1, height, width, 3] in the recipe's space.
        optimizer: state of the optimizer, of its own type.
        average: weighted sum of the iterates, of the image's shape; a scalar 0 if the recipe takes no average.
        weight: sum of these weights, 0 to 1.
        step_factor: the part of each step of the optimizer that is made, 1 unless the run has diverged.
    """

    image: tf.Tensor
    optimizer: Any
    average: tf.Tensor
    weight: tf.Tensor
    step_factor: tf.Tensor


@dataclass(frozen=True)
class Iterate:
    """Makes, updates and reads the state of a run.

    Attributes:
        optimizer: updates the image.
        parametrization: how the image is represented.
    """

    optimizer: Optimizer
    parametrization: Parametrization

    def start(self, start: Start, content: tf.Tensor, image: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the image that a level starts from, in the recipe's space.

        Args:
            start: used if `image` is None: noise if its `init` is "noise", else the content image.
            content: float32 [1, height, width, 3] in [0, 1].
            image: the image so far, sRGB, of any size.
        """
        height, width = sides(content)
        if image is None and start.init == "noise" and start.noise:
            return start.noise * tf.random.stateless_normal(static_shape(content), seed=(start.seed, 0))
        if image is None and start.init == "noise":
            image = tf.random.stateless_uniform(static_shape(content), seed=(start.seed, 0))
        found = content if image is None else images.resize(image, height, width)
        return to_space(found, self.parametrization.space)

    def begin(self, image: tf.Tensor, previous: RunState | None = None) -> RunState:
        """Makes the state at the start of a level.

        Args:
            image: [1, height, width, 3] in the recipe's space.
            previous: state of the previous level, whose optimizer state is continued; None starts afresh.
        """
        if self.parametrization.clip:
            image = clip(image)
        if previous is None:
            optimizer = self.optimizer.init(image)
        else:
            optimizer = self.optimizer.resize(previous.optimizer, *sides(image))
        nothing = tf.zeros_like(image) if self.parametrization.ema_decay else tf.constant(0.0)
        factor = tf.constant(1.0) if previous is None else previous.step_factor
        return self._average(RunState(image, optimizer, nothing, tf.constant(0.0), factor))

    def update(self, state: RunState, gradient: tf.Tensor) -> RunState:
        """Returns the state after one step of the optimizer."""
        optimizer, image = self.optimizer.update(state.optimizer, state.image, gradient)
        factor = state.step_factor
        # By a branch, which copies nothing.
        image = tf.cond(factor < 1.0, lambda: state.image + factor * (image - state.image), lambda: image)
        if isinstance(optimizer, LBFGSState):
            optimizer = optimizer._replace(step=factor * optimizer.step)  # It remembers the steps that are made.
        return self._average(state._replace(image=image, optimizer=optimizer))

    def restart(self, image: tf.Tensor, diverged: RunState) -> RunState:
        """Makes the state of a run that goes back to an image in the recipe's space, for steps of half the length."""
        return self.begin(image)._replace(step_factor=0.5 * diverged.step_factor)

    def image(self, state: RunState) -> tf.Tensor:
        """Returns the current image, sRGB: the average of the iterates if the recipe takes one."""
        held = self.parametrization
        return from_space(state.average / state.weight if held.ema_decay else state.image, held.space)

    def _average(self, state: RunState) -> RunState:
        """Updates the exponential moving average and its bias correction with the image."""
        decay = self.parametrization.ema_decay
        if not decay:
            return state
        average = decay * state.average + (1.0 - decay) * state.image
        return state._replace(average=average, weight=decay * state.weight + (1.0 - decay))


def make_iterate(optimizer: Any, parametrization: Parametrization) -> Iterate:
    """Makes the `Iterate` of a recipe's optimizer and parametrization."""
    return Iterate(make_optimizer(optimizer, project=clip if parametrization.clip else None), parametrization)


def clip(image: tf.Tensor) -> tf.Tensor:
    """Clips an image to [0, 1]."""
    return tf.clip_by_value(image, 0.0, 1.0)
