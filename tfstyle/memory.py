"""Estimates the memory of a run before it begins."""

from __future__ import annotations

from collections.abc import Iterable

from tfstyle.environment import dtype_policy
from tfstyle.nearest import MAX_KEYS
from tfstyle.neighbors import bytes_per_pixel, reference_layer
from tfstyle.recipes.parts import LBFGS
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import VGG19_BLOCKS, block_of, filters, stride

BYTES_PER_PIXEL = {"float32": 1500, "mixed_bfloat16": 900}
"""Keras dtype policy → peak memory of one evaluation of loss and gradient, in bytes per pixel."""

BYTES_PER_TILE_PIXEL = {"float32": 1000, "mixed_bfloat16": 1400}
"""Keras dtype policy → peak memory of the gradient of one tile, in bytes per pixel of a tile of the first block."""

BYTES_OF_TILES = 150_000_000
"""Memory of tiles of any length, in bytes."""

CONTEXT = 80
"""Rows on either side of a band that are computed with it, at most."""

IMAGE = 12
"""Bytes per pixel of a tensor of the image's size."""

BYTES_PER_REGION = 300
"""Memory of the sums of one region, if there are several, and of their gradient, in bytes per pixel."""

BYTES_OF_DETAIL, BYTES_PER_DETAIL = 200_000_000, 140
"""Memory while the detail of a level's style images is found, at any size and per pixel."""

BYTES_AT_LEAST = 220_000_000
"""Memory of network and graphs at any size, in bytes."""


def memory_needed(recipe: Recipe, *sizes: tuple[int, ...], tile: int | None = None, bands: int = 1) -> int:
    """Estimates the peak memory of a run on a CPU, not counting the imported libraries.

    The estimate adds the memory of VGG-19's layers for the gradient, per pixel of the largest image, that of
    hypercolumns while neighbors are searched, and the optimizer's state and update per pixel of the result. In tiles,
    it adds what is kept of the whole images and the memory of one tile. Its numbers are fitted to peaks measured from
    512 to 2048 pixels.

    Args:
        recipe: the recipe to run.
        *sizes: (height, width) of the result first, then of the other images.
        tile: length of a tile in pixels; None computes the images as a whole.
        bands: number of bands of rows that are computed one after the other, as for `tiling.Tiling.make_objective`.

    Returns:
        Bytes.
    """
    pixels = [height * width for height, width in sizes]
    regions = recipe.loss.region_count
    matched = recipe.loss.neighbor_layers if recipe.term_weights.neighbor_weight else ()
    images, updated = (round(IMAGE * tensors * pixels[0]) for tensors in _count_tensors(recipe))
    policy = dtype_policy(recipe.network.precision)
    if tile is None:
        per_pixel = BYTES_PER_PIXEL[policy] + bytes_per_pixel(matched)
        per_pixel += BYTES_PER_REGION * regions if regions > 1 else 0
        return BYTES_AT_LEAST + per_pixel * max(pixels) + images
    between, of_targets = _kept_bytes(recipe, 2 if policy == "mixed_bfloat16" else 4)
    share = 1.0 if bands == 1 else min(1.0, 1.0 / bands + 2 * CONTEXT / sizes[0][0])
    kept = round((between * share + of_targets) * pixels[0])
    tiles = BYTES_OF_TILES + BYTES_PER_TILE_PIXEL[policy] * min(tile**2, max(pixels))
    # Added up: TensorFlow keeps what the search has taken, and can hardly use it again for tiles.
    evaluated = kept + images + (_search_bytes(matched, pixels) if matched else 0) + tiles
    begun = BYTES_OF_DETAIL + BYTES_PER_DETAIL * max(pixels) if recipe.pyramid.add_style_detail else 0
    return BYTES_AT_LEAST + max(evaluated, updated + of_targets * pixels[0], begun)


def _count_tensors(recipe: Recipe) -> tuple[float, float]:
    """Returns how many tensors of the image's size there are while the loss is evaluated, and during an update."""
    optimizer = recipe.optimizer
    if not isinstance(optimizer, LBFGS):
        return 7, 8.5
    pairs = optimizer.history * (2 if optimizer.history_precision == "float32" else 1)
    return 9 + pairs, 10 + pairs


def _search_bytes(layers: Iterable[str], pixels: list[int]) -> int:
    """Returns the memory of a search in tiles: keys in float16 three times, products, and what a query takes."""
    grid, names = stride(reference_layer(layers)) ** 2, tuple(layers)
    keys = min(MAX_KEYS, sum(pixels[1:]) // grid)
    return 6 * sum(map(filters, names)) * keys + 4096 * keys + 5200 * pixels[0] // grid


def _kept_bytes(recipe: Recipe, width: int) -> tuple[int, int]:
    """Returns what a level in tiles keeps per pixel: features between blocks; content features and masks of regions."""
    loss = recipe.loss
    deepest = max(map(block_of, (*loss.style_layers, *loss.content_layers, *loss.neighbor_layers)))
    between = sum(width * VGG19_BLOCKS[block - 1][-1] // 4**block for block in range(1, deepest))
    content = sum(4 * filters(layer) // stride(layer) ** 2 for layer in loss.content_layers)
    masks = 4 * loss.region_count * len(loss.style_layers) if loss.region_count > 1 else 0
    return between, content + masks
