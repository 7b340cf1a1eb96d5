"""L-BFGS without line search, as pure functions of its state; see `optimizers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tfstyle.environment import tf
from tfstyle.recipes.parts import LBFGS
from tfstyle.tensors import static_shape

MIN_CURVATURE = 1e-10
"""L-BFGS stores a pair if the scalar product of step and gradient difference is greater."""


class LBFGSState(NamedTuple):
    """State of `LBFGSOptimizer` for an image [1, height, width, channels].

    Attributes:
        pairs: the vectors of the last `history` pairs, each of the image's shape, float32 or bfloat16: the steps s,
            oldest first, then the gradient differences y. Separate tensors pass from state to state without a copy.
        products: [2 history, 2 history], scalar products between them.
        gradient: the last gradient.
        step: the last step.
        gamma: initial inverse Hessian, before any pair is applied: y·s / y·y of the newest pair.
        pairs_stored: pairs stored since the start, int32.
        steps: number of steps made since the start or the last change of size, int32.
    """

    pairs: tuple[tf.Tensor, ...]
    products: tf.Tensor
    gradient: tf.Tensor
    step: tf.Tensor
    gamma: tf.Tensor
    pairs_stored: tf.Tensor
    steps: tf.Tensor


@dataclass(frozen=True)
class LBFGSOptimizer:
    """Limited-memory BFGS without line search: one evaluation of the objective per step.

    The inverse Hessian is approximated from the last pairs of a step s and its gradient difference y. The scalar
    products between all of them are kept, so that a direction costs two passes over the pairs: one for the products
    with the new vectors, one for the linear combination.

    The first step goes along the gradient and is scaled by min(1, 1/‖g‖₁), as in torch, unless `first_step_rms` gives
    its length. A pair whose curvature y·s is not above `MIN_CURVATURE` is not stored. Without pairs the inverse
    Hessian is y·s / y·y of the last pair, initially 1.

    Attributes:
        options: its hyperparameters.
        project: applied to the image after each step; None changes nothing.

    References:
        Nocedal: Updating Quasi-Newton Matrices with Limited Storage (1980). Byrd, Nocedal, Schnabel: Representations
        of Quasi-Newton Matrices and Their Use in Limited Memory Methods (1994), theorem 2.2, for the matrix form.
        `torch.optim.LBFGS` for the first step.
    """

    options: LBFGS = LBFGS()
    project: Callable[[tf.Tensor], tf.Tensor] | None = None

    def init(self, image: tf.Tensor) -> LBFGSState:
        """Makes the state of a run that begins at an image."""
        rows = 2 * self.options.history
        return LBFGSState(
            pairs=(tf.zeros_like(image, tf.dtypes.as_dtype(self.options.history_precision)),) * rows,
            products=tf.zeros([rows, rows]),
            gradient=tf.zeros_like(image),
            step=tf.zeros_like(image),
            gamma=tf.constant(1.0),
            pairs_stored=tf.constant(0),
            steps=tf.constant(0),
        )

    def update(self, state: LBFGSState, image: tf.Tensor, gradient: tf.Tensor) -> tuple[LBFGSState, tf.Tensor]:
        """Takes one step: returns the next state and the next image."""
        state, along = self._remember(state, gradient)
        direction = self._limit_peaks(self._direction(state, gradient, along))
        first = self._first_length(gradient, direction)
        length = self.options.learning_rate * tf.where(state.pairs_stored + state.steps > 0, 1.0, first)
        if self.options.max_step_rms:
            length = tf.minimum(length, self.options.max_step_rms / tf.maximum(_rms(direction), 1e-30))
        moved = image + length * direction
        after = moved if self.project is None else self.project(moved)
        step = (after if self.options.store_projected_step else moved) - image
        return state._replace(gradient=gradient, step=step, steps=state.steps + 1), after

    def _first_length(self, gradient: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
        """Returns the length of the first step, as a fraction of its direction."""
        if not self.options.first_step_rms:
            return tf.minimum(1.0, 1.0 / tf.maximum(tf.reduce_sum(tf.abs(gradient)), 1e-30))
        flat = 1.0 / tf.cast(tf.size(direction), tf.float32)
        return tf.divide(self.options.first_step_rms, tf.maximum(_rms(direction), flat))

    def _limit_peaks(self, direction: tf.Tensor) -> tf.Tensor:
        """Clips the values of a direction to `max_step_peak` times their root mean square."""
        if not self.options.max_step_peak:
            return direction
        limit = self.options.max_step_peak * _rms(direction)
        return tf.clip_by_value(direction, -limit, limit)

    def resize(self, state: LBFGSState, height: int, width: int) -> LBFGSState:
        """Returns the state for an image of another size.

        If the loss is a mean over the image, its gradients and their differences y are inversely proportional to the
        number of pixels. A pair whose curvature does not stay positive is dropped.
        """
        _, old_height, old_width, channels = static_shape(state.step)
        ratio = old_height * old_width / (height * width)
        m = self.options.history
        pairs = [tf.image.resize(tf.cast(vector, tf.float32), (height, width)) for vector in state.pairs]
        for index in range(m):
            curvature = tf.reduce_sum(pairs[index] * pairs[m + index]) * ratio
            keep = tf.cast(curvature > MIN_CURVATURE, curvature.dtype)
            pairs[index], pairs[m + index] = keep * pairs[index], keep * ratio * pairs[m + index]
        pairs = [self._round(vector) for vector in pairs]
        nothing = tf.zeros([1, height, width, channels])
        return LBFGSState(
            pairs=tuple(pairs),
            products=_products(pairs, pairs),
            gradient=nothing,
            step=nothing,
            gamma=state.gamma / ratio,
            pairs_stored=state.pairs_stored,
            steps=tf.constant(0),
        )

    def _remember(self, state: LBFGSState, gradient: tf.Tensor) -> tuple[LBFGSState, tf.Tensor]:
        """Stores the last step and its gradient difference in place of the oldest pair, if their curvature is positive.

        They are stored by a branch, whose results are the tensors themselves: a choice element by element would copy
        all pairs.

        Returns:
            The next state, and the scalar products of its pairs with the gradient, [2 history].
        """
        m = self.options.history
        new = self._round(state.step), self._round(gradient - state.gradient)
        three = (*new, gradient)
        known, own = _products(state.pairs, three), _products(three, three)

        def store() -> tuple[LBFGSState, tf.Tensor]:
            pairs = (*state.pairs[1:m], new[0], *state.pairs[m + 1 :], new[1])
            found = tf.concat([known[1:m], own[:1], known[m + 1 :], own[1:2]], axis=0)
            older = [*range(1, m), 0, *range(m + 1, 2 * m), m]  # Where the vectors were; the newest replace the oldest.
            products = tf.gather(tf.gather(state.products, older), older, axis=1)
            for _ in range(2):
                products = tf.tensor_scatter_nd_update(products, [[m - 1], [2 * m - 1]], tf.transpose(found[:, :2]))
                products = tf.transpose(products)
            stored = state._replace(pairs=pairs, products=products, gamma=own[0, 1] / own[1, 1])
            return stored._replace(pairs_stored=state.pairs_stored + 1), found[:, 2]

        # The first step has no previous pair.
        after: tuple[LBFGSState, tf.Tensor] = tf.cond(own[0, 1] > MIN_CURVATURE, store, lambda: (state, known[:, 2]))
        return after

    def _direction(self, state: LBFGSState, gradient: tf.Tensor, along: tf.Tensor) -> tf.Tensor:
        """Computes minus the inverse Hessian times the gradient, from its scalar products with the pairs.

        With S and Y the pairs as columns, oldest first, R the upper triangle of SᵀY, D its diagonal and γ the initial
        inverse Hessian, a = R⁻¹Sᵀg and b = R⁻ᵀ(Da + γYᵀ(Ya − g)), this is γYa − Sb − γg. Zeros in S and Y give zeros
        in a and b.
        """
        m = self.options.history
        products = tf.reshape(state.products, [2, m, 2, m])
        along_steps, along_changes = tf.split(along[:, None], 2)
        curvature = tf.linalg.diag_part(products[0, :, 1])
        triangle = tf.linalg.set_diag(products[0, :, 1], tf.where(curvature == 0.0, 1.0, curvature))
        a = tf.linalg.triangular_solve(triangle, along_steps, lower=False)
        inner = curvature[:, None] * a + state.gamma * (products[1, :, 1] @ a - along_changes)
        b = tf.linalg.triangular_solve(triangle, inner, lower=False, adjoint=True)
        direction = -state.gamma * gradient
        for vector, factor in zip(state.pairs, tf.unstack(tf.concat([-b, state.gamma * a], axis=0)[:, 0]), strict=True):
            with tf.control_dependencies([direction]):  # One product at a time, to save memory.
                direction += factor * tf.cast(vector, direction.dtype)
        return direction

    def _round(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns a vector as it is stored; scalar products are those of the stored vectors."""
        stored: tf.Tensor = tf.cast(vector, tf.dtypes.as_dtype(self.options.history_precision))
        return stored


def _products(vectors: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the scalar products of several vectors of any shape with others, [vectors, others], float32."""
    found: list[tf.Tensor] = []
    for vector in vectors:
        with tf.control_dependencies(found[-1:]):  # One conversion at a time, to save memory.
            row = _row(vector)
            found.append(tf.concat([tf.linalg.matmul(row, _row(other), transpose_b=True) for other in others], axis=1))
    return tf.concat(found, axis=0)


def _row(vector: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reshape(vector, [1, -1]), tf.float32)


def _rms(vector: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(vector**2))
