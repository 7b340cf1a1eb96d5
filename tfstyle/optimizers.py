"""Gradient → next image: L-BFGS (ours); Adam and SGD are Keras' own behind the same three methods.

An optimiser moves one `tf.Variable` and knows nothing of pictures: `apply(loss, gradient)` inside a `tf.function`,
`reset()` before another run on the same variable, and `variables`, all of its state. State is held in variables so that
nothing is traced again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tfstyle.environment import keras, tf
from tfstyle.errors import unknown_name
from tfstyle.recipes import Recipe

Projection = Callable[[tf.Tensor], tf.Tensor]


class Optimizer(Protocol):
    """What `transfer` asks of an optimiser."""

    @property
    def variables(self) -> list:
        """All state, as variables."""

    def apply(self, loss: tf.Tensor, gradient: tf.Tensor) -> None:
        """Moves the variable, given the objective's value and gradient where it stands."""

    def reset(self) -> None:
        """Forgets everything, as if newly made."""


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

    def apply(self, loss: tf.Tensor, gradient: tf.Tensor) -> None:
        """Takes one step; `loss` is not used."""
        self._optimizer.apply([gradient], [self._variable])
        if self._project is not None:
            self._variable.assign(self._project(self._variable))

    def reset(self) -> None:
        """Sets every state variable back to its first value."""
        for state, value in zip(self._optimizer.variables, self._initial, strict=True):
            state.assign(value)


class LBFGS:
    """Limited-memory BFGS without line search: one evaluation of the objective a step.

    The inverse Hessian is approximated from the last `history` pairs of a step s and the change of gradient y over it.
    All pairs lie in one ring buffer, and the scalar products between them are kept, so that a direction costs two
    passes over the buffer: one for the products with the new vectors, one for the linear combination.

    Args:
        variable: the float32 `tf.Variable` it will move.
        learning_rate: length of a step as a share of the quasi-Newton step.
        history: how many pairs are remembered.
        project: applied to the variable after each step, whose s is then the step really made; None leaves it.

    The first step goes along the gradient and is scaled to min(1, 1/‖g‖₁) as torch's is. A pair whose curvature y·s
    is not above 1e-10 is not remembered.

    References:
        Nocedal: Updating Quasi-Newton Matrices with Limited Storage (1980). Chen, Wang, Zhou: Large-scale L-BFGS using
        MapReduce (NIPS 2014), section 3, for the recursion on scalar products. `torch.optim.LBFGS` for the first step.
    """

    def __init__(
        self,
        variable: tf.Variable,
        *,
        learning_rate: float = 1.0,
        history: int = 10,
        project: Projection | None = None,
    ) -> None:
        self._variable, self._learning_rate, self._history, self._project = variable, learning_rate, history, project
        size = variable.shape.num_elements()
        state = [
            tf.zeros([2 * history, size]),  # Rows: the steps s, then the changes of gradient y.
            tf.zeros([2 * history, 2 * history]),  # Scalar products between them.
            tf.zeros([size]),  # The gradient before this one.
            tf.zeros([size]),  # The step from there to here.
            tf.constant(0),  # Pairs remembered since the start; modulo `history`, the next slot.
            tf.constant(0),  # Steps taken.
        ]
        self._pairs, self._products, self._gradient, self._step, self._count, self._steps = self.variables = [
            tf.Variable(value, trainable=False) for value in state
        ]

    def reset(self) -> None:
        """Forgets all pairs; the next step is a first one."""
        for state in self.variables:
            state.assign(tf.zeros_like(state))

    def apply(self, loss: tf.Tensor, gradient: tf.Tensor) -> None:
        """Takes one step; `loss` is not used."""
        flat = tf.reshape(gradient, [-1])
        if self._steps > 0:
            self._remember(self._step, flat - self._gradient)
        direction = self._direction(flat)
        length = self._learning_rate * tf.where(
            self._steps > 0, 1.0, tf.minimum(1.0, 1.0 / tf.maximum(tf.reduce_sum(tf.abs(flat)), 1e-30))
        )
        self._gradient.assign(flat)
        before = self._variable.read_value()
        after = before + tf.reshape(length * direction, before.shape)
        if self._project is not None:
            after = self._project(after)
        self._step.assign(tf.reshape(after - before, [-1]))
        self._variable.assign(after)
        self._steps.assign_add(1)

    def _remember(self, step: tf.Tensor, change: tf.Tensor) -> None:
        """Puts a pair into the next slot of the ring, unless its curvature says nothing."""
        if tf.tensordot(step, change, 1) > 1e-10:
            slot = self._count % self._history
            for row, vector in ((slot, step), (slot + self._history, change)):
                self._pairs.scatter_nd_update([[row]], vector[None])
            fresh = tf.stack([slot, slot + self._history])
            products = tf.linalg.matmul(self._pairs, tf.stack([step, change]), transpose_b=True)  # [2m, 2]
            self._products.scatter_nd_update(fresh[:, None], tf.transpose(products))
            columns = tf.tensor_scatter_nd_update(tf.transpose(self._products), fresh[:, None], tf.transpose(products))
            self._products.assign(tf.transpose(columns))
            self._count.assign_add(1)

    def _direction(self, gradient: tf.Tensor) -> tf.Tensor:
        """Minus the inverse Hessian times the gradient: the two-loop recursion, on coefficients of the pairs."""
        m = self._history
        kept = tf.minimum(self._count, m)
        with_gradient = tf.linalg.matvec(self._pairs, gradient)  # [2m]
        # The direction is Σ coefficients·pairs − scale·gradient.
        coefficients = tf.zeros([2 * m])
        alphas = tf.zeros([m])
        for age in tf.range(kept):  # Newest pair first.
            slot = (self._count - 1 - age) % m
            curvature = self._products[slot, slot + m]
            along = tf.tensordot(self._products[slot], coefficients, 1) - with_gradient[slot]
            alpha = along / curvature
            alphas = tf.tensor_scatter_nd_update(alphas, [[slot]], [alpha])
            coefficients = tf.tensor_scatter_nd_sub(coefficients, [[slot + m]], [alpha])
        scale = 1.0
        if kept > 0:
            newest = (self._count - 1) % m
            scale = self._products[newest, newest + m] / self._products[newest + m, newest + m]
        coefficients *= scale
        for age in tf.range(kept):  # Oldest pair first.
            slot = (self._count - kept + age) % m
            curvature = self._products[slot, slot + m]
            along = tf.tensordot(self._products[slot + m], coefficients, 1) - scale * with_gradient[slot + m]
            beta = along / curvature
            coefficients = tf.tensor_scatter_nd_add(coefficients, [[slot]], [alphas[slot] - beta])
        return tf.linalg.matvec(self._pairs, coefficients, transpose_a=True) - scale * gradient


def make_optimizer(recipe: Recipe, variable: tf.Variable, *, project: Projection | None) -> Optimizer:
    """The optimiser a recipe names, on a variable.

    Args:
        recipe: names the optimiser and its options.
        variable: what it will move.
        project: applied after each step, or None.

    Returns:
        An `Optimizer`.

    Raises:
        ValueError: if the recipe names another than "adam", "sgd" or "lbfgs".
    """
    if recipe.optimizer == "lbfgs":
        return LBFGS(variable, learning_rate=recipe.learning_rate, history=recipe.history, project=project)
    if recipe.optimizer == "adam":
        inner = keras.optimizers.Adam(
            recipe.learning_rate, beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=recipe.epsilon
        )
    elif recipe.optimizer == "sgd":
        inner = keras.optimizers.SGD(recipe.learning_rate)
    else:
        raise ValueError(unknown_name("optimizer", recipe.optimizer, ("adam", "sgd", "lbfgs")))
    return KerasOptimizer(inner, variable, project=project)
