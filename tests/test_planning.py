"""The plan of a run: its levels, tiles and what it says, and recipes that need less memory."""

import logging
import re

import pytest
from conftest import mini_recipe

from tfstyle.errors import MemoryLimitError
from tfstyle.memory import memory_needed
from tfstyle.planning import Level, completed, level_side, lighter, plan_levels, plan_run
from tfstyle.recipes import LBFGS, SGD, get_recipe


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


def test_the_work_is_that_of_the_pixels_of_each_step():
    levels = [Level(10, 3, None, 1, 0), Level(20, 10**9, None, 1, 0)]
    whole = 3 * 100 + 10**9 * 400
    assert [completed(levels, index) for index in (0, 2, 3, 4)] == [0.0, 200 / whole, 300 / whole, 700 / whole]
    assert completed(levels, 3 + 10**9) == 1.0


def test_a_small_style_image_changes_the_memory_but_not_the_levels():
    recipe = get_recipe("balanced")
    whole = plan_levels(recipe, (2000, 3000), (2400, 3000))
    small = plan_levels(recipe, (2000, 3000), (600, 750), style_sides=[3000])
    assert [(level.size, level.steps) for level in small] == [(level.size, level.steps) for level in whole]
    assert small[-1].needed == memory_needed(recipe, (2000, 3000), (600, 750)) < whole[-1].needed
    assert small[0].needed == whole[0].needed
    assert (level_side((600, 750), 3000, 0.2), level_side((600, 750), 3000, 0.5)) == (600, 750)
