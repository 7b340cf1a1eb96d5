"""Gradient → next image: L-BFGS (ours); Adam and SGD are Keras' own behind the same three methods.

An optimiser moves one `tf.Variable` and knows nothing of pictures: `apply(gradient)` inside a `tf.function`,
`reset()` before another run on the same variable, `adopt(previous)` to begin with what was learnt at another size, and
`variables`, all of its state. State is held in variables so that nothing is traced again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tfstyle.environment import keras, tf
from tfstyle.recipe import Recipe

Projection = Callable[[tf.Tensor], tf.Tensor]


class Optimizer(Protocol):
    """What `transfer` asks of an optimiser."""

    @property
    def variables(self) -> list:
        """All state, as variables."""

    def apply(self, gradient: tf.Tensor) -> None:
        """Moves the variable, given the objective's gradient where it stands."""

    def reset(self) -> None:
        """Forgets everything, as if newly made."""

    def adopt(self, previous: Any) -> None:
        """Takes over the state of an optimiser of the same kind on an image of another size."""


def resized(state: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """An image-shaped state [batch, height', width', channels] at another size, bilinear and so never overshooting."""
    return tf.image.resize(state, (height, width), "bilinear")


class KerasOptimizer:
    """One of Keras' optimisers on one variable.

    Args:
        optimizer: a fresh Keras optimiser.
        variable: the `tf.Variable` it will move.
        project: applied to the variable after each step; None leaves it as it is.
    """

    def __init__(
        self, optimizer: keras.optimizers.Optimizer, variable: tf.Variable, *, project: Projection | None
    ) -> None:
        self._optimizer, self._variable, self._project = optimizer, variable, project
        optimizer.build([variable])
        self._initial = [tf.identity(state) for state in optimizer.variables]

    @property
    def variables(self) -> list:
        """Step count, learning rate and moments."""
        return self._optimizer.variables

    def apply(self, gradient: tf.Tensor) -> None:
        """Takes one step."""
        self._optimizer.apply([gradient], [self._variable])
        if self._project is not None:
            self._variable.assign(self._project(self._variable))

    def reset(self) -> None:
        """Sets every state variable back to its first value."""
        for state, value in zip(self._optimizer.variables, self._initial, strict=True):
            state.assign(value)

    def adopt(self, previous: KerasOptimizer) -> None:
        """Takes over step count and moments, the latter resized to this variable's size."""
        height, width = self._variable.shape[1:3]
        for state, other in zip(self._optimizer.variables, previous.variables, strict=True):
            state.assign(resized(other, height, width) if len(state.shape) == 4 else other)


class LBFGS:
    """Limited-memory BFGS without line search: one evaluation of the objective a step.

    The inverse Hessian is approximated from the last `history` pairs of a step s and the change of gradient y over it.
    All pairs lie in one ring buffer, and the scalar products between them are kept, so that a direction costs two
    passes over the buffer: one for the products with the new vectors, one for the linear combination.

    Args:
        variable: the float32 `tf.Variable` it will move.
        learning_rate: length of a step as a share of the quasi-Newton step.
        history: how many pairs are remembered.
        project: applied to the variable after each step; None leaves it.
        true_steps: with `project`, remember as s the step really made; False remembers the step before projection, as
            users of `torch.optim.LBFGS` do who clamp the image before each evaluation.
        longest_step: a step whose root mean square is greater is shortened to it, in units of the variable; 0 takes
            steps of any length.

    The first step goes along the gradient and is scaled to min(1, 1/‖g‖₁) as torch's is. A pair whose curvature y·s
    is not above 1e-10 is not remembered. Without pairs the inverse Hessian is the last one's y·s / y·y, at first 1.

    References:
        Nocedal: Updating Quasi-Newton Matrices with Limited Storage (1980). Byrd, Nocedal, Schnabel: Representations
        of Quasi-Newton Matrices and Their Use in Limited Memory Methods (1994), theorem 2.2, for the same in matrices.
        `torch.optim.LBFGS` for the first step.
    """

    def __init__(
        self,
        variable: tf.Variable,
        *,
        learning_rate: float = 1.0,
        history: int = 10,
        project: Projection | None = None,
        true_steps: bool = True,
        longest_step: float = 0.0,
    ) -> None:
        self._variable, self._learning_rate, self._history = variable, learning_rate, history
        self._project, self._true_steps, self._longest_step = project, true_steps, longest_step
        size = variable.shape.num_elements()
        state = [
            tf.zeros([2 * history, size]),  # Rows: the steps s, then the changes of gradient y.
            tf.zeros([2 * history, 2 * history]),  # Scalar products between them.
            tf.zeros([size]),  # The gradient before this one.
            tf.zeros([size]),  # The step from there to here.
            tf.constant(1.0),  # Inverse Hessian before any pair is applied: y·s / y·y of the newest.
            tf.constant(0),  # Pairs remembered since the start; modulo `history`, the next slot.
            tf.constant(0),  # Steps taken.
        ]
        self.variables = [tf.Variable(value, trainable=False) for value in state]
        self._pairs, self._products, self._gradient, self._step = self.variables[:4]
        self._scale, self._count, self._steps = self.variables[4:]

    def reset(self) -> None:
        """Forgets all pairs; the next step is a first one."""
        for state in self.variables:
            state.assign(tf.zeros_like(state))
        self._scale.assign(1.0)

    def adopt(self, previous: LBFGS) -> None:
        """Takes over the pairs, resized to this variable's size.

        A loss that is a mean over the image has gradients as much smaller as the image has more pixels, and so have
        their changes y.
        """
        self.reset()
        height, width = self._variable.shape[1:3]
        before = previous._variable.shape
        images = resized(tf.reshape(previous._pairs, [-1, *before[1:]]), height, width)
        finer = before[1] * before[2] / (height * width)
        factors = tf.repeat([1.0, finer], self._history)[:, None]
        self._pairs.assign(tf.reshape(images, self._pairs.shape) * factors)
        self._products.assign(tf.linalg.matmul(self._pairs, self._pairs, transpose_b=True))
        self._scale.assign(previous._scale / finer)
        self._count.assign(previous._count)

    def apply(self, gradient: tf.Tensor) -> None:
        """Takes one step."""
        gradient = tf.reshape(gradient, [-1])
        direction = self._direction(self._remember(self._step, gradient - self._gradient), gradient)
        first = tf.minimum(1.0, 1.0 / tf.maximum(tf.reduce_sum(tf.abs(gradient)), 1e-30))
        length = self._learning_rate * tf.where(self._count + self._steps > 0, 1.0, first)
        if self._longest_step:
            size = tf.sqrt(tf.reduce_mean(direction**2))
            length = tf.minimum(length, self._longest_step / tf.maximum(size, 1e-30))
        before = self._variable.read_value()
        moved = before + tf.reshape(length * direction, before.shape)
        after = moved if self._project is None else self._project(moved)
        self._step.assign(tf.reshape((after if self._true_steps else moved) - before, [-1]))
        self._gradient.assign(gradient)
        self._variable.assign(after)
        self._steps.assign_add(1)

    def _remember(self, step: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        """Puts a pair into the next slot of the ring; the one there stays if the curvature says nothing.

        Returns the ring: a variable written in part is copied whenever it is read, so it is read once.
        """
        slot = self._count % self._history
        rows = tf.stack([slot, slot + self._history])
        says = tf.tensordot(step, change, 1) > 1e-10  # Never at a first step: it has none behind it.
        pair = tf.where(says, tf.stack([step, change]), tf.gather(self._pairs, rows))
        self._pairs.scatter_nd_update(rows[:, None], pair)
        pairs = self._pairs.read_value()
        products = tf.linalg.matmul(pairs, pair, transpose_b=True)  # [2m, 2]
        self._products.scatter_nd_update(rows[:, None], tf.transpose(products))
        columns = tf.tensor_scatter_nd_update(tf.transpose(self._products), rows[:, None], tf.transpose(products))
        self._products.assign(tf.transpose(columns))
        self._scale.assign(tf.where(says, products[slot, 1] / products[slot + self._history, 1], self._scale))
        self._count.assign_add(tf.cast(says, tf.int32))
        return pairs

    def _direction(self, pairs: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Minus the inverse Hessian times the gradient.

        With S and Y the pairs as columns, oldest first, R the upper triangle of SᵀY, D its diagonal and γ the scale,
        a = R⁻¹Sᵀg and b = R⁻ᵀ(Da + γYᵀ(Ya − g)), it is γYa − Sb − γg. Empty slots are zeros, and so are theirs of a, b.
        """
        m = self._history
        products = tf.roll(tf.reshape(self._products, [2, m, 2, m]), [-self._count] * 2, [1, 3])
        along_steps, along_changes = tf.unstack(
            tf.roll(tf.reshape(tf.linalg.matvec(pairs, gradient), [2, m, 1]), -self._count, 1)
        )
        curvature = tf.linalg.diag_part(products[0, :, 1])
        triangle = tf.linalg.set_diag(products[0, :, 1], tf.where(curvature == 0.0, 1.0, curvature))
        a = tf.linalg.triangular_solve(triangle, along_steps, lower=False)
        inner = curvature[:, None] * a + self._scale * (products[1, :, 1] @ a - along_changes)
        b = tf.linalg.triangular_solve(triangle, inner, lower=False, adjoint=True)
        coefficients = tf.reshape(tf.roll(tf.stack([-b, self._scale * a]), self._count, 1), [2 * m])
        return tf.linalg.matvec(pairs, coefficients, transpose_a=True) - self._scale * gradient


def make_optimizer(recipe: Recipe, variable: tf.Variable, *, project: Projection | None) -> Optimizer:
    """The optimiser a recipe names, on a variable.

    Args:
        recipe: names the optimiser and its options.
        variable: what it will move.
        project: applied after each step, or None.

    Returns:
        An `Optimizer`.
    """
    if recipe.optimizer == "lbfgs":
        return LBFGS(
            variable,
            learning_rate=recipe.learning_rate,
            history=recipe.history,
            project=project,
            true_steps=recipe.true_steps,
            longest_step=recipe.longest_step,
        )
    rate = _learning_rate(recipe)
    if recipe.optimizer == "adam":
        inner = keras.optimizers.Adam(rate, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon)
    else:
        inner = keras.optimizers.SGD(rate)
    return KerasOptimizer(inner, variable, project=project)


def _learning_rate(recipe: Recipe) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A constant, or Keras' schedule."""
    if recipe.decay_rate == 1.0:
        return recipe.learning_rate
    return keras.optimizers.schedules.ExponentialDecay(
        recipe.learning_rate, recipe.decay_steps, recipe.decay_rate, staircase=recipe.staircase
    )
