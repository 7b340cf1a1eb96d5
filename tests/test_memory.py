"""The estimate of a run's memory, against its parts worked by hand."""

import numpy as np
from conftest import mini_recipe

from tfstyle import vgg19
from tfstyle.memory import memory_needed
from tfstyle.recipes import LBFGS, SGD, get_recipe


def test_memory_grows_with_the_picture_and_the_history():
    small, large = mini_recipe(), mini_recipe(optimizer=LBFGS(history=100))
    assert memory_needed(small, (200, 300), (100, 100)) > 200 * 300 * 1000
    assert memory_needed(small, (200, 300), (400, 600)) > 1.5 * memory_needed(small, (200, 300))
    # 200 vectors of the pairs instead of 20.
    few = mini_recipe(optimizer=LBFGS(history=10))
    assert memory_needed(large, (200, 300)) - memory_needed(few, (200, 300)) == 180 * 12 * 200 * 300
    half = get_recipe(small, precision="bfloat16")
    assert memory_needed(half, (2000, 3000)) < 0.8 * memory_needed(small, (2000, 3000))


def test_a_history_in_bfloat16_takes_half():
    whole, half = (mini_recipe(optimizer=LBFGS(history_precision=name)) for name in ("float32", "bfloat16"))
    assert memory_needed(whole, (200, 300)) - memory_needed(half, (200, 300)) == 10 * 12 * 200 * 300


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


def test_in_tiles_a_large_picture_needs_far_less():
    recipe = get_recipe("wasserstein")
    whole, tiled = (memory_needed(recipe, (4000, 6000), (4000, 6000), tile=tile) for tile in (None, 512))
    assert tiled < 0.4 * whole
    small = get_recipe(recipe, optimizer=SGD())
    assert memory_needed(small, (4000, 6000), tile=256) < memory_needed(small, (4000, 6000), tile=512)
    # Between blocks 64/4 + 128/16 + 256/64 + 512/256 = 30 numbers, of the content features 512/64 = 8.
    more = memory_needed(small, (4000, 6000), tile=512) - memory_needed(small, (4000, 3000), tile=512)
    assert more == 12_000_000 * (4 * 30 + 4 * 8 + 7 * 12)


def test_bands_keep_a_part_of_what_is_between_blocks():
    recipe = get_recipe("wasserstein", precision="float32")
    one, four = (memory_needed(recipe, (4000, 3000), tile=512, bands=bands) for bands in (1, 4))
    assert one - four == 12_000_000 * 4 * 30 * (1.0 - 0.25 - 160 / 4000)


def test_a_search_in_tiles_needs_hardly_more_for_a_larger_picture():
    recipe, without = get_recipe("balanced"), get_recipe("balanced", neighbor_weight=0.0)

    def of_search(*sizes):
        return memory_needed(recipe, *sizes, tile=256) - memory_needed(without, *sizes, tile=256)

    channels, size = sum(vgg19.filters(layer) for layer in recipe.loss.neighbor_layers), (600, 800)
    # Thrice the columns in float16 and twice 512 products of a key; 5200 bytes of a query.
    assert of_search(size, size) == 30_000 * (6 * channels + 4096) + 5200 * 30_000
    assert of_search((4000, 6000), (4000, 6000)) == 65_536 * (6 * channels + 4096) + 5200 * 1_500_000
