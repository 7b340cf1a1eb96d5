"""Optimizers of an image: Adam, gradient descent and `lbfgs` as pure functions of their state.

An optimizer is a frozen value. `init(image)` makes its state, a tuple of tensors; `update(state, image, gradient)`
returns the next state and the next image without side effects; `resize(state, height, width)` converts a state to
another image size. Runs can therefore share an optimizer and its graph, while each owns its state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tfstyle.environment import tf
from tfstyle.lbfgs import LBFGSOptimizer
from tfstyle.recipes.parts import LBFGS, SGD, Adam, Decay

Projection = Callable[[tf.Tensor], tf.Tensor]


class Optimizer(Protocol):
    """The interface of an optimizer; images are float32 [1, height, width, channels]."""

    def init(self, image: tf.Tensor) -> Any:
        """Makes the state of a run that begins at an image."""

    def update(self, state: Any, image: tf.Tensor, gradient: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Takes one step: returns the next state and the next image."""

    def resize(self, state: Any, height: int, width: int) -> Any:
        """Returns the state for an image of another size."""


class AdamState(NamedTuple):
    """State of `AdamOptimizer`.

    Attributes:
        steps: number of steps made, int32.
        mean, square: running means of the gradient and of its square, of the image's shape.
    """

    steps: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor


@dataclass(frozen=True)
class AdamOptimizer:
    """Adam, as Keras computes it.

    Attributes:
        options: its hyperparameters.

    References:
        Kingma, Ba: Adam: A Method for Stochastic Optimization (ICLR 2015), algorithm 1; with the step size of section
        2, last paragraph.
    """

    options: Adam = Adam()

    def init(self, image: tf.Tensor) -> AdamState:
        """Makes the state of a run that begins at an image."""
        return AdamState(tf.constant(0), tf.zeros_like(image), tf.zeros_like(image))

    def update(self, state: AdamState, image: tf.Tensor, gradient: tf.Tensor) -> tuple[AdamState, tf.Tensor]:
        """Takes one step: returns the next state and the next image."""
        beta_1, beta_2 = self.options.beta_1, self.options.beta_2
        t = tf.cast(state.steps + 1, image.dtype)
        rate = decayed(self.options.learning_rate, self.options.decay, state.steps)
        alpha = rate * tf.sqrt(1.0 - tf.pow(beta_2, t)) / (1.0 - tf.pow(beta_1, t))
        m = state.mean + (gradient - state.mean) * (1.0 - beta_1)
        with tf.control_dependencies([m]):  # One after the other, to save memory.
            v = state.square + (gradient**2 - state.square) * (1.0 - beta_2)
        moved = image - alpha * (m / (tf.sqrt(v) + self.options.epsilon))
        return AdamState(state.steps + 1, m, v), moved

    def resize(self, state: AdamState, height: int, width: int) -> AdamState:
        """Returns the state for an image of another size.

        The mean is resized bicubically, the square bilinearly, to stay at least 0, as in style-transfer-pytorch.
        """
        mean, square = (
            tf.image.resize(image, (height, width), method)
            for image, method in ((state.mean, "bicubic"), (state.square, "bilinear"))
        )
        return AdamState(state.steps, mean, square)


class SGDState(NamedTuple):
    """State of `SGDOptimizer`: the number of steps made, int32."""

    steps: tf.Tensor


@dataclass(frozen=True)
class SGDOptimizer:
    """Gradient descent.

    Attributes:
        options: its hyperparameters.
    """

    options: SGD = SGD()

    def init(self, image: tf.Tensor) -> SGDState:
        """Makes the state of a run that begins at an image."""
        return SGDState(tf.constant(0))

    def update(self, state: SGDState, image: tf.Tensor, gradient: tf.Tensor) -> tuple[SGDState, tf.Tensor]:
        """Takes one step: returns the next state and the next image."""
        moved = image - decayed(self.options.learning_rate, self.options.decay, state.steps) * gradient
        return SGDState(state.steps + 1), moved

    def resize(self, state: SGDState, height: int, width: int) -> SGDState:
        """Returns the state as it is; it does not depend on the image size."""
        return state


@dataclass(frozen=True)
class _Projected:
    """An optimizer, with the projection applied after each step."""

    optimizer: Optimizer
    project: Projection

    def init(self, image: tf.Tensor) -> Any:
        return self.optimizer.init(image)

    def update(self, state: Any, image: tf.Tensor, gradient: tf.Tensor) -> tuple[Any, tf.Tensor]:
        state, moved = self.optimizer.update(state, image, gradient)
        return state, self.project(moved)

    def resize(self, state: Any, height: int, width: int) -> Any:
        return self.optimizer.resize(state, height, width)


def make_optimizer(options: Any, *, project: Projection | None = None) -> Optimizer:
    """Makes the optimizer of a recipe.

    Args:
        options: `recipes.Adam`, `SGD` or `LBFGS`, or a custom `Optimizer`.
        project: applied to the image after each step, or None.
    """
    kind = type(options)
    if kind is LBFGS:
        return LBFGSOptimizer(options, project)
    optimizer = AdamOptimizer(options) if kind is Adam else SGDOptimizer(options) if kind is SGD else options
    return optimizer if project is None else _Projected(optimizer, project)


def decayed(first: float, decay: Decay | None, done: tf.Tensor) -> float | tf.Tensor:
    """Returns the learning rate after `done` steps."""
    if decay is None:
        return first
    periods = tf.cast(done, tf.float32) / decay.steps
    exponent: tf.Tensor = tf.floor(periods) if decay.staircase else periods
    return first * tf.pow(decay.rate, exponent)
