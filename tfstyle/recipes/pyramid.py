"""The image pyramid: sizes and steps of a run, coarse to fine. Imports no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfstyle.errors import UsageError
from tfstyle.fields import check_fields, field, option


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Levels of a run, coarse to fine, and the number of steps at each.

    Attributes:
        size: long side of the result in pixels; 0 keeps the content image's own.
        steps: total number of steps; 0 takes the recipe's own.
        scale_start: smallest long side of a level, in pixels; 0 uses one level only.
        scale_factor: size ratio of one level to the previous one.
        scale_steps: steps at each level, coarse to fine. If there are more levels, the last number is repeated; if
            there are fewer, the first numbers are left out.
        first_steps: minimum number of steps at the coarsest level, even if it is the only one.
        add_detail: start each finer level from the image plus the content image's detail that the previous level
            could not represent; ignored if `content_weight` and `neighbor_weight` are 0.
        add_style_detail: start each finer level with the detail that the style images have at similar places; ignored
            if `strength`, or `style_weight` and `neighbor_weight`, are 0. Of this and the content image's detail, the
            stronger one is added at each pixel.
        warm_start: start each level with the resized optimizer state of the previous one.
    """

    size: int = option(512, "long side of the result in pixels; 0 keeps that of the photograph", low=0)
    steps: int = option(0, "total number of steps, divided among the levels in the recipe's proportions", low=0)
    scale_start: int = field(0, low=0)
    scale_factor: float = field(2.0, low=1.01)
    scale_steps: tuple[int, ...] = field((100,), low=1)
    first_steps: int = field(0, low=0)
    add_detail: bool = False
    add_style_detail: bool = False
    warm_start: bool = False

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)
        if not self.scale_steps:
            raise UsageError("`scale_steps` is empty; give at least one number of steps.")

    def levels(self, long_side: int, short_side: int) -> tuple[tuple[int, int], ...]:
        """Returns long side and number of steps of each level, coarse to fine; a level without steps is left out.

        Args:
            long_side: long side of the result, in pixels.
            short_side: shortest side of all images at the finest level, in pixels.
        """
        sizes = self.level_sizes(long_side, short_side)
        return tuple((size, count) for size, count in zip(sizes, self.level_steps(len(sizes)), strict=True) if count)

    def level_sizes(self, long_side: int, short_side: int) -> tuple[int, ...]:
        """Returns the long sides of the levels, coarse to fine.

        `long_side` is divided by `scale_factor` repeatedly, while it stays at least `scale_start` and the shortest
        side at least 32 pixels, so that even the coarsest image has more than one position at VGG-19's deepest layers.

        Args:
            long_side, short_side: as for `levels`.
        """
        sizes = [long_side]
        while self.scale_start:
            smaller = round(long_side / self.scale_factor ** len(sizes))
            if smaller < self.scale_start or smaller * short_side < 32 * long_side:
                break
            sizes.append(smaller)
        return tuple(reversed(sizes))

    def level_steps(self, levels: int) -> tuple[int, ...]:
        """Returns the number of steps at each level, coarse to fine.

        If `steps` is 0, these are `scale_steps`, with the last number repeated for further levels or the first ones
        left out, and at least `first_steps` at the coarsest. Otherwise `steps` is divided in the same proportions
        (largest remainders first), with at least one step at the finest level.
        """
        planned = self.scale_steps + self.scale_steps[-1:] * (levels - len(self.scale_steps))
        first, *finer = planned[len(planned) - levels :]
        planned = (max(first, self.first_steps), *finer)
        if not self.steps:
            return planned
        shares = [self.steps * steps / sum(planned) for steps in planned]
        counts = [math.floor(share) for share in shares]
        order = sorted(range(levels), key=lambda i: (counts[i] - shares[i], -i))
        for index in order[: self.steps - sum(counts)]:
            counts[index] += 1
        if not counts[-1]:
            counts[counts.index(max(counts))] -= 1
            counts[-1] = 1
        return tuple(counts)
