"""Estimates the memory of a run before it begins, and plans which of its levels are computed in tiles."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tfstyle.environment import dtype_policy
from tfstyle.errors import MemoryLimitError
from tfstyle.images import fit_size
from tfstyle.levels import edge_of
from tfstyle.nearest import MAX_KEYS
from tfstyle.neighbors import bytes_per_pixel, reference_layer
from tfstyle.recipes.parts import LBFGS
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import VGG19_BLOCKS, block_of, filters, stride

_log = logging.getLogger("tfstyle")

BYTES_PER_PIXEL = {"float32": 1500, "mixed_bfloat16": 900}
"""Keras dtype policy → peak memory of one evaluation of loss and gradient, in bytes per pixel."""

BYTES_PER_TILE_PIXEL = {"float32": 1000, "mixed_bfloat16": 1400}
"""Keras dtype policy → peak memory of the gradient of one tile, in bytes per pixel of a tile of the first block."""

BYTES_OF_TILES = 150_000_000
"""Memory of tiles of any length, in bytes."""

BYTES_PER_REGION = 300
"""Memory of the sums of one region, if there are several, and of their gradient, in bytes per pixel."""

BYTES_AT_LEAST = 220_000_000
"""Memory of network and graphs at any size, in bytes."""

SHORT_HISTORY = 5
"""Number of pairs that L-BFGS stores where memory is short."""

TILES = (512, 256, 128)
"""Lengths of tiles in pixels; larger ones take more memory and no less time."""


class Level(NamedTuple):
    """One level of a run, and how it is computed.

    Attributes:
        size: long side of the image, in pixels.
        steps: number of steps.
        tile: length of a tile in pixels; None computes the image as a whole.
        needed: estimated peak memory, in bytes.
    """

    size: int
    steps: int
    tile: int | None
    needed: int


def plan_levels(
    recipe: Recipe, content: tuple[int, int], *styles: tuple[int, int], limit: float | None = None
) -> list[Level]:
    """Plans the levels of a run, coarse to fine.

    Args:
        recipe: the recipe to run.
        content: (height, width) of the result.
        *styles: those of the style images at the finest level.
        limit: bytes that may be taken; None computes all levels as a whole. A level that does not fit in any way
            is planned in the way that needs least.
    """
    long_side, margin = max(content), recipe.style_size.style_crop
    shortest = min(*content, *(min(style) - 2 * edge_of(*style, margin) for style in styles))
    levels = []
    for size, steps in recipe.pyramid.levels(long_side, shortest):
        sizes = [fit_size(*image, round(max(image) * size / long_side)) for image in (content, *styles)]
        ways = [Level(size, steps, tile, memory_needed(recipe, *sizes, tile=tile)) for tile in (None, *TILES)]
        fitting = [way for way in ways if limit is None or way.needed <= limit]
        levels.append(fitting[0] if fitting else min(ways, key=lambda way: way.needed))
    return levels


def plan_run(recipe: Recipe, content: tuple[int, int], *styles: tuple[int, int], limit: float | None) -> list[Level]:
    """Plans the levels of a run so that they fit in memory, and logs the plan, as a warning if tiles are needed.

    Args:
        recipe, content, styles, limit: as for `plan_levels`.

    Raises:
        MemoryLimitError: if the run does not fit even in the smallest tiles.
    """
    levels = plan_levels(recipe, content, *styles, limit=limit)
    needed, (height, width) = max(level.needed for level in levels), content
    if limit is not None and needed > limit:
        fitting = _fitting_size(recipe, content, *styles, limit=limit)
        smaller = f"choose a `size` of {fitting} or less" if fitting else "no `size` fits"
        largest = max(styles, key=math.prod)
        if math.prod(largest) > 2 * math.prod(content):
            (height, width), smaller = largest, "choose a smaller `style_scale`"
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory, even in tiles, and {limit / 1e9:.2g} GB "
            f"may be taken; {smaller}."
        )
    tiled = [f"{level.size} in tiles of {level.tile}" for level in levels if level.tile]
    sizes = ", ".join([*(str(level.size) for level in levels if not level.tile), *tiled])
    message = "%dx%d: levels of %s pixels; about %.1f GB of memory."
    _log.log(logging.WARNING if tiled else logging.INFO, message, width, height, sizes, needed / 1e9)
    return levels


def lighter(recipe: Recipe) -> Iterator[Recipe]:
    """Yields the recipe, then variants of it that need less memory: of L-BFGS a history in bfloat16, then a shorter."""
    yield recipe
    if isinstance(recipe.optimizer, LBFGS):
        for history in dict.fromkeys((recipe.optimizer.history, min(recipe.optimizer.history, SHORT_HISTORY))):
            optimizer = replace(recipe.optimizer, history_precision="bfloat16", history=history)
            if optimizer != recipe.optimizer:
                yield replace(recipe, optimizer=optimizer)


def _fitting_size(recipe: Recipe, content: tuple[int, int], *styles: tuple[int, int], limit: float) -> int:
    """Returns a long side at which a run fits, at most 3 % less than the largest; 0 if there is none."""
    factor = 1.0
    while factor * max(content) > 1.0:
        factor *= 0.97
        sizes = [fit_size(*image, round(max(image) * factor)) for image in (content, *styles)]
        if max(level.needed for level in plan_levels(recipe, *sizes, limit=limit)) <= limit:
            return int(factor * max(content))
    return 0


def memory_needed(recipe: Recipe, *sizes: tuple[int, ...], tile: int | None = None) -> int:
    """Estimates the peak memory of a run on a CPU, not counting the imported libraries.

    The estimate adds the memory of VGG-19's layers for the gradient, per pixel of the largest image, that of
    hypercolumns while neighbors are searched, and the optimizer's state and update per pixel of the result. In tiles,
    it adds what is kept of the whole images and the memory of one tile. Its numbers are fitted to peaks measured from
    512 to 2048 pixels.

    Args:
        recipe: the recipe to run.
        *sizes: (height, width) of the result first, then of the other images.
        tile: length of a tile in pixels; None computes the images as a whole.

    Returns:
        Bytes.
    """
    pixels = [height * width for height, width in sizes]
    optimizer, regions = recipe.optimizer, recipe.loss.region_count
    # Tensors of the image's size: those that are kept, and those of an update.
    tensors: float = 8
    if isinstance(optimizer, LBFGS):
        tensors = 12 + optimizer.history * (2 if optimizer.history_precision == "float32" else 1)
    images = round((72 + 12 * tensors) * pixels[0])
    matched = recipe.loss.neighbor_layers if recipe.term_weights.neighbor_weight else ()
    policy = dtype_policy(recipe.network.precision)
    if tile is None:
        per_pixel = BYTES_PER_PIXEL[policy] + bytes_per_pixel(matched)
        per_pixel += BYTES_PER_REGION * regions if regions > 1 else 0
        return BYTES_AT_LEAST + per_pixel * max(pixels) + images
    kept = _kept_bytes(recipe, 2 if policy == "mixed_bfloat16" else 4) * pixels[0]
    tiles = BYTES_OF_TILES + BYTES_PER_TILE_PIXEL[policy] * min(tile**2, max(pixels))
    # Added up: TensorFlow keeps what the search has taken, and can hardly use it again for tiles.
    return BYTES_AT_LEAST + kept + images + (_search_bytes(matched, pixels) if matched else 0) + tiles


def _search_bytes(layers: Iterable[str], pixels: list[int]) -> int:
    """Returns the memory of a search in tiles: keys in float16 three times, products, and what a query takes."""
    grid, names = stride(reference_layer(layers)) ** 2, tuple(layers)
    keys = min(MAX_KEYS, sum(pixels[1:]) // grid)
    return 6 * sum(map(filters, names)) * keys + 4096 * keys + 5200 * pixels[0] // grid


def _kept_bytes(recipe: Recipe, width: int) -> int:
    """Returns what a level in tiles keeps per pixel: features between blocks, content features, masks of regions."""
    loss = recipe.loss
    deepest = max(map(block_of, (*loss.style_layers, *loss.content_layers, *loss.neighbor_layers)))
    between = sum(width * VGG19_BLOCKS[block - 1][-1] // 4**block for block in range(1, deepest))
    content = sum(4 * filters(layer) // stride(layer) ** 2 for layer in loss.content_layers)
    masks = 4 * loss.region_count * len(loss.style_layers) if loss.region_count > 1 else 0
    total: int = between + content + masks
    return total
