"""Plans the levels of a run before it begins: which are computed in tiles, how much memory and time they take."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tfstyle import durations
from tfstyle.errors import MemoryLimitError
from tfstyle.images import fit_size
from tfstyle.levels import edge_of
from tfstyle.memory import memory_needed
from tfstyle.recipes.parts import LBFGS
from tfstyle.recipes.recipe import Recipe

_log = logging.getLogger("tfstyle")

SHORT_HISTORY = 5
"""Number of pairs that L-BFGS stores where memory is short."""

TILES = (512, 256, 128)
"""Lengths of tiles in pixels; larger ones take more memory and no less time."""

BANDS = (4, 16)
"""Numbers of bands in which a level is computed that does not fit otherwise; they take more time."""


class Level(NamedTuple):
    """One level of a run, and how it is computed.

    Attributes:
        size: long side of the image, in pixels.
        steps: number of steps.
        tile: length of a tile in pixels; None computes the image as a whole.
        bands: number of bands of rows that are computed one after the other.
        needed: estimated peak memory, in bytes.
    """

    size: int
    steps: int
    tile: int | None
    bands: int
    needed: int


def level_side(style: tuple[int, int], side: int, factor: float) -> int:
    """Returns the long side of a style image at a level: it is reduced, and never enlarged.

    Args:
        style: its (height, width).
        side: the long side in pixels that belongs to the result's size.
        factor: size of the level, as a fraction of the result's.
    """
    return min(max(style), round(side * factor))


def plan_levels(
    recipe: Recipe,
    content: tuple[int, int],
    *styles: tuple[int, int],
    style_sides: Sequence[int] | None = None,
    limit: float | None = None,
) -> list[Level]:
    """Plans the levels of a run, coarse to fine.

    Args:
        recipe: the recipe to run.
        content: (height, width) of the result.
        *styles: those of the style images.
        style_sides: as for `transfer.Transfer.steps`.
        limit: bytes that may be taken; None computes all levels as a whole. A level that does not fit in any way
            is planned in the way that needs least.
    """
    long_side, margin, sides = max(content), recipe.style_size.style_crop, style_sides or list(map(max, styles))
    full = [fit_size(*style, side) for style, side in zip(styles, sides, strict=True)]
    shortest = min(*content, *(min(style) - 2 * edge_of(*style, margin) for style in full))
    levels = []
    for size, steps in recipe.pyramid.levels(long_side, shortest):
        factor = size / long_side
        sizes = [fit_size(*content, size)]
        sizes += [fit_size(*style, level_side(style, side, factor)) for style, side in zip(styles, sides, strict=True)]
        kinds = [(None, 1), *((tile, 1) for tile in TILES), *((TILES[0], count) for count in BANDS)]
        ways = [
            Level(size, steps, tile, bands, memory_needed(recipe, *sizes, tile=tile, bands=bands))
            for tile, bands in kinds
        ]
        fitting = [way for way in ways if limit is None or way.needed <= limit]
        levels.append(fitting[0] if fitting else min(ways, key=lambda way: way.needed))
    return levels


def completed(levels: Sequence[Level], index: int) -> float:
    """Returns the completed fraction of a run's work after a step, which counts by the pixels of its level."""
    done, left = 0, index
    for level in levels:
        done += min(left, level.steps) * level.size**2
        left = max(left - level.steps, 0)
    return done / sum(level.steps * level.size**2 for level in levels)


def plan_run(
    recipe: Recipe,
    content: tuple[int, int],
    *styles: tuple[int, int],
    style_sides: Sequence[int] | None = None,
    limit: float | None,
) -> list[Level]:
    """Plans the levels of a run so that they fit in memory, and logs the plan, as a warning if tiles are needed.

    Args:
        recipe, content, styles, style_sides, limit: as for `plan_levels`.

    Raises:
        MemoryLimitError: if the run does not fit even in the smallest tiles.
    """
    levels = plan_levels(recipe, content, *styles, style_sides=style_sides, limit=limit)
    needed, (height, width) = max(level.needed for level in levels), content
    if limit is not None and needed > limit:
        fitting = _fitting_size(recipe, content, *styles, style_sides=style_sides, limit=limit)
        smaller = f"choose a `size` of {fitting} or less" if fitting else "no `size` fits"
        largest = max(styles, key=math.prod)
        if math.prod(largest) > 2 * math.prod(content):
            (height, width), smaller = largest, "choose a smaller `style_scale`"
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory, even in tiles, and {limit / 1e9:.2g} GB "
            f"may be taken; {smaller}."
        )
    tiled = [f"{level.size} in {_describe_tiles(level)}" for level in levels if level.tile]
    kind = logging.WARNING if tiled else logging.INFO
    if _log.isEnabledFor(kind):  # Otherwise the speed of the machine need not be measured.
        sizes = ", ".join([*(str(level.size) for level in levels if not level.tile), *tiled])
        seconds = durations.estimate_seconds(
            recipe, [(level.size, level.steps, _passes(level)) for level in levels], content
        )
        facts = (width, height, sizes, needed / 1e9, durations.format_duration(seconds))
        _log.log(kind, "%dx%d: levels of %s pixels; about %.1f GB of memory and %s.", *facts)
    return levels


def plan_lightest(
    recipe: Recipe,
    content: tuple[int, int],
    *styles: tuple[int, int],
    style_sides: Sequence[int] | None = None,
    limit: float | None,
) -> tuple[Recipe, list[Level]]:
    """Plans a run like `plan_run`, of the first of the `lighter` recipes that fits; logs which, if it is another.

    Args:
        recipe, content, styles, style_sides, limit: as for `plan_levels`.

    Returns:
        The recipe to run, and its levels.

    Raises:
        MemoryLimitError: if none of them fits.
    """
    *variants, chosen = lighter(recipe)
    for variant in variants:
        levels = plan_levels(variant, content, *styles, style_sides=style_sides, limit=limit)
        if limit is None or max(level.needed for level in levels) <= limit:
            chosen = variant
            break
    levels = plan_run(chosen, content, *styles, style_sides=style_sides, limit=limit)
    if chosen != recipe:
        _log.warning("L-BFGS stores %d pairs in bfloat16, to save memory.", chosen.optimizer.history)
    return chosen, levels


def _describe_tiles(level: Level) -> str:
    return f"tiles of {level.tile}" + (f" and {level.bands} bands" if level.bands > 1 else "")


def _passes(level: Level) -> float:
    if level.tile is None:
        return durations.PASSES
    return durations.PASSES_IN_TILES if level.bands == 1 else durations.PASSES_IN_BANDS


def lighter(recipe: Recipe) -> Iterator[Recipe]:
    """Yields the recipe, then variants of it that need less memory: of L-BFGS a history in bfloat16, then a shorter."""
    yield recipe
    if isinstance(recipe.optimizer, LBFGS):
        for history in dict.fromkeys((recipe.optimizer.history, min(recipe.optimizer.history, SHORT_HISTORY))):
            optimizer = replace(recipe.optimizer, history_precision="bfloat16", history=history)
            if optimizer != recipe.optimizer:
                yield replace(recipe, optimizer=optimizer)


def _fitting_size(
    recipe: Recipe,
    content: tuple[int, int],
    *styles: tuple[int, int],
    style_sides: Sequence[int] | None,
    limit: float,
) -> int:
    """Returns a long side at which a run fits, at most 3 % less than the largest; 0 if there is none."""
    factor, sides = 1.0, style_sides or list(map(max, styles))
    while factor * max(content) > 1.0:
        factor *= 0.97
        smaller = fit_size(*content, round(max(content) * factor))
        levels = plan_levels(
            recipe, smaller, *styles, style_sides=[max(1, round(side * factor)) for side in sides], limit=limit
        )
        if max(level.needed for level in levels) <= limit:
            return int(factor * max(content))
    return 0
