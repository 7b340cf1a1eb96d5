"""Estimates the time of a run before it begins, from its convolutions and the speed of this machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable

from tfstyle.environment import dtype_policy, tf
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import filters, layer_names, stride

_SIDE, _CHANNELS = 64, 256
"""Of the convolution by which the speed is measured, one of the middle of the network."""


PASSES, PASSES_IN_TILES, PASSES_IN_BANDS = 2.5, 4.2, 5.6
"""Times that what `operations_per_pixel` counts is computed in a step.

Forward and backward, in tiles twice forward, in several bands three times; rather more, for what it leaves out, as
measured in runs at 192 to 640 pixels.
"""

STEP_OPERATIONS = 1e10
"""Operations of a step that do not depend on the size, such as roots of matrices."""


def estimate_seconds(recipe: Recipe, levels: Iterable[tuple[int, int, float]], content: tuple[int, int]) -> float:
    """Estimates the seconds that the steps of a run take, not counting what is computed before the first.

    Args:
        recipe: the recipe to run.
        levels: long side, number of steps, and one of `PASSES`, `PASSES_IN_TILES` and `PASSES_IN_BANDS`.
        content: (height, width) of the result.
    """
    per_pixel, share = operations_per_pixel(recipe), min(content) / max(content)
    operations = sum(steps * (STEP_OPERATIONS + passes * per_pixel * share * size**2) for size, steps, passes in levels)
    return operations / measure_speed(dtype_policy(recipe.network.precision))


def format_duration(seconds: float) -> str:
    """Formats a rough duration: "40 s", "12 min", "3 h"."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def operations_per_pixel(recipe: Recipe) -> float:
    """Returns the multiplications and additions of a forward pass per pixel: of convolutions and Gram matrices."""
    loss, names = recipe.loss, layer_names()
    used = [*loss.style_layers, *loss.content_layers, *loss.neighbor_layers]
    used += [layer for term in loss.terms for layer in term.layers]
    deepest = max(map(names.index, used))
    channels = [3, *map(filters, names)]
    convolutions = sum(18 * channels[i] * channels[i + 1] / stride(names[i]) ** 2 for i in range(deepest + 1))
    return convolutions + sum(2 * filters(layer) ** 2 / stride(layer) ** 2 for layer in loss.style_layers)


@functools.cache
def measure_speed(policy: str) -> float:
    """Measures how many multiplications and additions this machine makes in a second, in a convolution.

    Args:
        policy: Keras dtype policy.
    """
    dtype = tf.bfloat16 if policy == "mixed_bfloat16" else tf.float32
    image = tf.ones([1, _SIDE, _SIDE, _CHANNELS], dtype)
    kernel = tf.ones([3, 3, _CHANNELS, _CHANNELS], dtype)
    convolve = tf.function(lambda x, k: tf.reduce_sum(tf.nn.conv2d(x, k, 1, "SAME")), autograph=False)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        convolve(image, kernel).numpy()  # Waits for a GPU.
        seconds.append(time.perf_counter() - began)
    return float(18 * _CHANNELS**2 * _SIDE**2 / min(seconds))
