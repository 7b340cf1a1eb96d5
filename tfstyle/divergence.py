"""Notices when a run diverges: its loss or image is no longer finite, or about to be."""

from __future__ import annotations

import math

from tfstyle.environment import tf

RETRIES = 3
"""How often a run that diverges goes back."""

EXPLODED = 1e30
"""A loss above this is about to leave the range of float32."""

FINITE = "step_is_finite"
"""The entry among the losses of a step that says whether `is_finite` holds for it, 0 or 1."""

EXTREME_SHARE = 0.9
"""A result of which more values are 0 or 1, or beyond, is doubtful."""


def is_finite(image: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Returns whether an image and the squared norm of the gradient that led to it are finite, a scalar 0 or 1.

    Where the square of a gradient leaves the range of float32, optimizers take steps of length 0.
    """
    numbers = tf.reduce_all(tf.math.is_finite(image))
    finite: tf.Tensor = tf.cast(numbers & tf.math.is_finite(tf.reduce_sum(gradient**2)), tf.float32)
    return finite


class Guard:
    """Notices when a run diverges, and keeps the best image of a level.

    Attributes:
        best: the image of the level with the lowest loss so far, in the recipe's space; None before the first step.
        retries: how often the run has gone back.
    """

    def __init__(self) -> None:
        self.retries = 0
        self.begin_level()

    def begin_level(self) -> None:
        """Forgets the level before, whose losses are not comparable."""
        self.best: tf.Tensor | None = None
        self._lowest, self._first, self._last = math.inf, math.nan, math.nan

    def examine(self, values: dict[str, float], image: tf.Tensor) -> str | None:
        """Examines the losses before a step, and removes from them the entry about the image after it.

        Returns:
            How the run diverges, in words; None if it does not.
        """
        finite, loss = values.pop(FINITE), values["total"]
        if not math.isfinite(loss):
            return "loss was no longer a finite number"
        if loss > EXPLODED:
            return f"loss rose to {loss:.3g}"
        if loss < self._lowest:
            self._lowest, self.best = loss, image
        self._first, self._last = loss if math.isnan(self._first) else self._first, loss
        return None if finite else "next image, or the square of the gradient, was no longer finite"

    def doubt(self, result: tf.Tensor, *pictures: tf.Tensor) -> str | None:
        """Says why the result of a run is hardly what was wanted; None if nothing speaks against it.

        Args:
            result: the last image, sRGB.
            *pictures: the images it was made from: where they are black and white, the result may be.
        """
        if _share_of_extremes(result) > EXTREME_SHARE > max(map(_share_of_extremes, pictures)):
            return f"more than {EXTREME_SHARE:.0%} of the result's values are 0 or 1, or beyond"
        if self._last > self._first:
            return f"the loss rose at the last level, from {self._first:.3g} to {self._last:.3g}"
        return None


def _share_of_extremes(image: tf.Tensor) -> float:
    """Returns the share of values that are 0 or less, or 1 or more."""
    return float(tf.reduce_mean(tf.cast((image <= 0.0) | (image >= 1.0), tf.float32)))
