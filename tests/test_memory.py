"""The estimate of a run's memory, against its parts worked by hand."""

import numpy as np
from conftest import mini_recipe

from tfstyle.memory import memory_needed
from tfstyle.recipes import LBFGS, get_recipe


def test_memory_grows_with_the_picture_and_the_history():
    small, large = mini_recipe(), mini_recipe(optimizer=LBFGS(history=100))
    assert memory_needed(small, (200, 300), (100, 100)) > 200 * 300 * 1000
    assert memory_needed(small, (200, 300), (400, 600)) > 1.5 * memory_needed(small, (200, 300))
    # The pairs, held twice by an update.
    assert memory_needed(large, (200, 300)) > 2 * 12 * 200 * 200 * 300
    half = get_recipe(small, precision="bfloat16")
    assert memory_needed(half, (2000, 3000)) < 0.8 * memory_needed(small, (2000, 3000))


def test_regions_need_more_memory():
    recipes = [get_recipe("balanced", regions=count) for count in (1, 2, 3)]
    needed = [memory_needed(recipe, (600, 800), (300, 400)) for recipe in recipes]
    assert np.diff(needed).tolist() == [2 * 300 * 480_000, 300 * 480_000]


def test_hypercolumns_need_memory_by_their_channels_and_their_grid():
    needed = [
        memory_needed(get_recipe("balanced", neighbor_layers=layers), (600, 800))
        for layers in (("block4_conv1",), ("block4_conv1", "block4_conv2"), ("block3_conv1", "block4_conv1"))
    ]
    assert np.diff(needed).tolist() == [18 * 512 / 64 * 480_000, (18 * 768 / 16 - 18 * 1024 / 64) * 480_000]
