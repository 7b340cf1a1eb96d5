"""Notices when a run diverges: its loss or image is no longer finite, or about to be."""

from __future__ import annotations

import math

from tfstyle.environment import tf

RETRIES = 3
"""How often a run that diverges goes back."""

EXPLODED = 1e30
"""A loss above this is about to leave the range of float32."""

FINITE = "image_is_finite"
"""The entry among the losses of a step that says whether the image after it is finite, 0 or 1."""


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
        self._lowest = math.inf

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
        return None if finite else "next image was no longer finite"
