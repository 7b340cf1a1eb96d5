"""The estimate of a run's memory, against its parts worked by hand."""

import logging
import re

import numpy as np
import pytest
from conftest import mini_recipe

from tfstyle import vgg19
from tfstyle.errors import MemoryLimitError
from tfstyle.memory import lighter, memory_needed, plan_levels, plan_run
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


def test_lighter_recipes_need_less_and_less():
    recipe = mini_recipe(optimizer=LBFGS(history=12))
    variants = list(lighter(recipe))
    assert variants[0] == recipe
    found = [(variant.optimizer.history, variant.optimizer.history_precision) for variant in variants]
    assert found == [(12, "float32"), (12, "bfloat16"), (5, "bfloat16")]
    needed = [memory_needed(variant, (600, 800)) for variant in variants]
    assert needed == sorted(needed, reverse=True)
    last = mini_recipe(optimizer=LBFGS(history=3, history_precision="bfloat16"))
    assert list(lighter(last)) == [last]
    assert list(lighter(mini_recipe(optimizer=SGD()))) == [mini_recipe(optimizer=SGD())]


@pytest.mark.parametrize("limit", [1e6, 1e3])
def test_where_nothing_fits_no_size_is_proposed(limit):
    with pytest.raises(MemoryLimitError, match=r"and 0\.001 GB may be taken; no `size` fits\.$|1e-06 GB"):
        plan_run(mini_recipe(), (60, 80), (60, 80), limit=limit)


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
    assert more == 12_000_000 * (4 * 30 + 4 * 8 + 72 + 8 * 12)


def test_a_search_in_tiles_needs_hardly_more_for_a_larger_picture():
    recipe, without = get_recipe("balanced"), get_recipe("balanced", neighbor_weight=0.0)

    def of_search(*sizes):
        return memory_needed(recipe, *sizes, tile=256) - memory_needed(without, *sizes, tile=256)

    channels, size = sum(vgg19.filters(layer) for layer in recipe.loss.neighbor_layers), (600, 800)
    # Thrice the columns in float16 and twice 512 products of a key; 5200 bytes of a query.
    assert of_search(size, size) == 30_000 * (6 * channels + 4096) + 5200 * 30_000
    assert of_search((4000, 6000), (4000, 6000)) == 65_536 * (6 * channels + 4096) + 5200 * 1_500_000


def test_a_plan_takes_tiles_from_the_first_level_that_does_not_fit():
    recipe = get_recipe("wasserstein")
    free = plan_levels(recipe, (2000, 3000), (2400, 3000))
    assert [(level.size, level.steps, level.tile) for level in free[-2:]] == [(1500, 28, None), (3000, 28, None)]
    assert free[-1].needed == memory_needed(recipe, (2000, 3000), (2400, 3000))
    tight = plan_levels(recipe, (2000, 3000), (2400, 3000), limit=free[-2].needed)
    assert [level.tile is None for level in tight] == [True] * (len(tight) - 1) + [False]
    assert plan_levels(recipe, (20, 30), (24, 30), limit=1)[-1].tile is None  # What needs least if nothing fits.


def test_a_plan_is_one_line_and_a_warning_only_with_tiles(caplog):
    recipe = get_recipe("wasserstein", scale_start=1000)
    with caplog.at_level(logging.INFO, "tfstyle"):
        plan_run(recipe, (1000, 2000), (900, 1200), limit=None)
        plan_run(recipe, (1000, 2000), (900, 1200), limit=3e9)
    assert [(record.levelname, record.getMessage().split(";")[0]) for record in caplog.records] == [
        ("INFO", "2000x1000: levels of 1000, 2000 pixels"),
        ("WARNING", "2000x1000: levels of 1000, 2000 in tiles of 512 pixels"),
    ]


def test_what_fits_in_no_tiles_is_refused_with_a_size_that_would():
    recipe = get_recipe("wasserstein")
    with pytest.raises(
        MemoryLimitError, match=r"^8000x6000 needs about .* GB .* may be taken; choose a `size` of (\d+)"
    ) as e:
        plan_run(recipe, (6000, 8000), (6000, 8000), limit=4e9)
    size = int(re.search(r"`size` of (\d+)", str(e.value))[1])
    plan_run(recipe, (size * 3 // 4, size), (size * 3 // 4, size), limit=4e9)
    with pytest.raises(MemoryLimitError, match="choose a smaller `style_scale`"):
        plan_run(recipe, (300, 400), (6000, 8000), limit=2.5e8)
