"""Estimates the memory of a run before it begins."""

from __future__ import annotations

from tfstyle.environment import dtype_policy
from tfstyle.neighbors import bytes_per_pixel
from tfstyle.recipes.parts import LBFGS
from tfstyle.recipes.recipe import Recipe

BYTES_PER_PIXEL = {"float32": 1850, "mixed_bfloat16": 1150}
"""Keras dtype policy → peak memory of one evaluation of loss and gradient, in bytes per pixel."""

BYTES_PER_REGION = 300
"""Memory of the sums of one region, if there are several, and of their gradient, in bytes per pixel."""

BYTES_AT_LEAST = 220_000_000
"""Memory of network and graphs at any size, in bytes."""


def memory_needed(recipe: Recipe, *sizes: tuple[int, int]) -> int:
    """Estimates the peak memory of a run on a CPU, not counting the imported libraries.

    The estimate adds the memory of VGG-19's layers for the gradient, per pixel of the largest image, measured as a
    process's peak at 512 and 1024 pixels, that of hypercolumns while neighbors are searched, and the optimizer's state
    per pixel of the result, held twice in an update.

    Args:
        recipe: the recipe to run.
        *sizes: (height, width) of the result first, then of the other images.

    Returns:
        Bytes.
    """
    pixels = [height * width for height, width in sizes]
    optimizer, regions = recipe.optimizer, recipe.loss.region_count
    state = 12 * (2 * optimizer.history if isinstance(optimizer, LBFGS) else 4) * pixels[0]
    matched = recipe.loss.neighbor_layers if recipe.term_weights.neighbor_weight else ()
    per_pixel = BYTES_PER_PIXEL[dtype_policy(recipe.network.precision)] + bytes_per_pixel(matched)
    per_pixel += BYTES_PER_REGION * regions if regions > 1 else 0
    evaluation = per_pixel * max(pixels) + 72 * pixels[0]
    return BYTES_AT_LEAST + max(evaluation + state, round(2.3 * state))
