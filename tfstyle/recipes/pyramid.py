"""The image pyramid: sizes and steps of a run, coarse to fine. No TensorFlow here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfstyle.errors import UsageError
from tfstyle.fields import check_fields, field, option


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """Levels of a run, coarse to fine, and the steps at each.

    Attributes:
        size: long side of the result in pixels; 0 is the content image's own.
        steps: total number of steps; 0 takes the recipe's own.
        scale_start: long side of the coarsest level in pixels; 0 works at one level only.
        scale_factor: ratio of one level to the one before.
        scale_steps: steps at each level, coarse to fine. With more levels the last number is repeated, with fewer the
            first ones, of the coarsest levels, are left out.
        first_steps: the coarsest level takes at least as many steps, also where it is the only one.
        add_detail: begin each finer level with the image and, added to it, the content image's detail which the level
            before could not hold; not where content counts for nothing.
        warm_start: begin each level with the optimizer's state of the one before, resized.
    """

    size: int = option(512, "long side of the result in pixels; 0 keeps that of the photograph", low=0)
    steps: int = option(0, "total number of steps, divided among the levels in the recipe's proportions", low=0)
    scale_start: int = field(0, low=0)
    scale_factor: float = field(2.0, low=1.01)
    scale_steps: tuple[int, ...] = field((100,), low=1)
    first_steps: int = field(0, low=0)
    add_detail: bool = False
    warm_start: bool = False

    def __post_init__(self) -> None:
        """Checks every field."""
        check_fields(self)
        if not self.scale_steps:
            raise UsageError("`scale_steps` is empty; give at least one number of steps.")

    def levels(self, long_side: int, short_side: int) -> tuple[tuple[int, int], ...]:
        """Long side and number of steps of each level, coarse to fine; a level without steps is left out.

        Args:
            long_side: of the result, in pixels.
            short_side: the shortest side of all pictures at the finest level, in pixels.
        """
        sizes = self.level_sizes(long_side, short_side)
        return tuple((size, count) for size, count in zip(sizes, self.level_steps(len(sizes)), strict=True) if count)

    def level_sizes(self, long_side: int, short_side: int) -> tuple[int, ...]:
        """Long sides of the levels, coarse to fine.

        From `long_side` down by `scale_factor`, as long as the long side stays at least `scale_start` and the shortest
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
        """Steps at each of some levels, coarse to fine.

        Without `steps` they are `scale_steps`, its last number repeated for further levels or its first ones left out,
        and at least `first_steps` at the coarsest; with it, that total divided in the same proportions (largest
        remainders first), the finest level never without.
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
