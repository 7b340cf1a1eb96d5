"""Notices when a run diverges: its loss or image is no longer finite, or about to be."""

from __future__ import annotations

import math
from typing import NamedTuple

from tfstyle.environment import tf

RETRIES = 3
"""How often a run that diverges goes back."""

EXPLODED = 1e30
"""A loss above this is about to leave the range of float32."""

FINITE = "step_is_finite"
"""The entry among the losses of a step: whether the next image and the norm of the gradient are finite, 0 or 1."""

EXTREME_SHARE = 0.9
"""A result of which more values are 0 or 1, or beyond, is doubtful."""


def norm_is_finite(gradient: tf.Tensor) -> tf.Tensor:
    """Returns whether the squared norm of a gradient is finite, a scalar.

    Where the square of a gradient leaves the range of float32, optimizers take steps of length 0.
    """
    finite: tf.Tensor = tf.math.is_finite(tf.reduce_sum(gradient**2))
    return finite


class Watched(NamedTuple):
    """What a `Guard` remembers.

    Attributes:
        retries: how often the run has gone back.
        best: the image of the level with the lowest loss so far, in the recipe's space; None before the first step.
        lowest: its loss.
        first, last: the losses before the first and before the last step of the level.
    """

    retries: int = 0
    best: tf.Tensor | None = None
    lowest: float = math.inf
    first: float = math.nan
    last: float = math.nan


class Guard:
    """Notices when a run diverges, and keeps the best image of a level.

    Attributes:
        watched: what it remembers.
    """

    def __init__(self, watched: Watched | None = None) -> None:
        self.watched = watched or Watched()

    def begin_level(self) -> None:
        """Forgets the level before, whose losses are not comparable."""
        self.watched = Watched(retries=self.watched.retries)

    def go_back(self) -> tf.Tensor | None:
        """Returns the best image, for another try; None if there is none, or the run has gone back too often."""
        retries, best, *_ = self.watched
        if best is None or retries == RETRIES:
            return None
        self.watched = self.watched._replace(retries=retries + 1)
        return best

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
        seen = self.watched
        if loss < seen.lowest:
            seen = seen._replace(best=image, lowest=loss)
        self.watched = seen._replace(first=loss if math.isnan(seen.first) else seen.first, last=loss)
        return None if finite else "next image, or the square of the gradient, was no longer finite"

    def doubt(self, result: tf.Tensor, *pictures: tf.Tensor) -> str | None:
        """Says why the result of a run is hardly what was wanted; None if nothing speaks against it.

        Args:
            result: the last image, sRGB.
            *pictures: the images it was made from: where they are black and white, the result may be.
        """
        if _share_of_extremes(result) > EXTREME_SHARE > max(map(_share_of_extremes, pictures)):
            return f"more than {EXTREME_SHARE:.0%} of the result's values are 0 or 1, or beyond"
        if self.watched.last > self.watched.first:
            return f"the loss rose at the last level, from {self.watched.first:.3g} to {self.watched.last:.3g}"
        return None


def _share_of_extremes(image: tf.Tensor) -> float:
    """Returns the share of values that are 0 or less, or 1 or more."""
    return float(tf.reduce_mean(tf.cast((image <= 0.0) | (image >= 1.0), tf.float32)))
