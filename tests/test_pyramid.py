"""The pyramid: sizes of the levels, and how steps are shared among them."""

import pytest

from tfstyle.errors import UsageError
from tfstyle.recipes import RECIPES, Pyramid

STEPS = (100, 60, 25)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((512, 384), (128, 256, 512)),
        ((1024, 768), (128, 256, 512, 1024)),
        ((600, 400), (150, 300, 600)),
        ((100, 80), (100,)),
        ((512, 100), (256, 512)),  # At 128 the short side would have 25 pixels.
    ],
)
def test_levels_halve_while_the_image_means_something(sides, expected):
    assert Pyramid(scale_start=128).level_sizes(*sides) == expected


@pytest.mark.parametrize("size", [181, 250, 363, 500, 512, 720])
def test_ours_work_at_two_levels_at_least_the_coarsest_near_128_pixels(size):
    sizes = RECIPES["balanced"].pyramid.level_sizes(size, size * 3 // 4)
    assert len(sizes) > 1
    assert 128 / 2**0.5 - 1 < sizes[0] < 128 * 2**0.5 + 1


def test_without_a_start_there_is_one_level():
    assert Pyramid().level_sizes(600, 400) == (600,)


def test_the_square_root_pyramid_worked_by_hand():
    assert Pyramid(scale_start=128, scale_factor=2**0.5).level_sizes(512, 384) == (128, 181, 256, 362, 512)


@pytest.mark.parametrize(
    ("levels", "expected"), [(3, (100, 60, 25)), (1, (25,)), (2, (60, 25)), (5, (100, 60, 25, 25, 25))]
)
def test_more_levels_repeat_the_last_number_and_fewer_drop_the_first(levels, expected):
    assert Pyramid(scale_steps=STEPS).level_steps(levels) == expected


@pytest.mark.parametrize(("levels", "expected"), [(1, (80,)), (2, (80, 25)), (3, (100, 60, 25))])
def test_the_coarsest_level_takes_at_least_the_first_steps(levels, expected):
    assert Pyramid(scale_steps=STEPS, first_steps=80).level_steps(levels) == expected


@pytest.mark.parametrize(
    ("name", "content", "sizes", "steps"),
    [
        ("crowson", (512, 384), (128, 181, 256, 362, 512), (1000, 500, 500, 500, 500)),
        ("crowson", (256, 192), (128, 181, 256), (1000, 500, 500)),
        ("crowson", (180, 135), (180,), (1000,)),
        ("gatys", (800, 600), (512, 800), (500, 200)),
        ("gatys", (1067, 800), (683, 1067), (500, 200)),  # Short sides of 512 and 800, as the notebook's.
        ("gatys", (799, 599), (799,), (500,)),
        ("balanced", (1024, 768), (128, 256, 512, 1024), (40, 20, 12, 12)),
        ("balanced", (512, 384), (128, 256, 512), (40, 20, 12)),
        ("balanced", (256, 192), (128, 256), (40, 12)),
        ("balanced", (150, 112), (150,), (40,)),
        ("draft", (512, 384), (128, 256, 512), (20, 12, 4)),
        ("draft", (256, 192), (128, 256), (12, 4)),
        ("draft", (150, 112), (150,), (12,)),
        ("best", (512, 384), (128, 256, 512), (150, 80, 40)),
        ("best", (256, 192), (128, 256), (80, 40)),
        ("best", (150, 112), (150,), (80,)),
    ],
)
def test_levels_of_a_recipe(name, content, sizes, steps):
    assert RECIPES[name].pyramid.levels(*content) == tuple(zip(sizes, steps, strict=True))


@pytest.mark.parametrize("total", [1, 2, 3, 7, 50, 185, 1000])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_a_given_total_is_shared_in_proportion(total, levels):
    shared = Pyramid(scale_steps=STEPS, steps=total).level_steps(levels)
    planned = Pyramid(scale_steps=STEPS).level_steps(levels)
    assert sum(shared) == total
    assert shared[-1] >= 1
    for found, plan in zip(shared, planned, strict=True):
        assert abs(found - total * plan / sum(planned)) < 2  # One for rounding, one for the finest level.


def test_a_level_without_steps_is_left_out():
    assert Pyramid(scale_start=40, scale_steps=(3, 1), steps=1).levels(90, 68) == ((90, 1),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": -1}, "`size` should be at least 0"),
        ({"size": 100.5}, "`size` should be a finite int"),
        ({"size": True}, "`size` should be a finite int"),
        ({"steps": -1}, "`steps` should be at least 0"),
        ({"scale_steps": (0,)}, "`scale_steps` should be at least 1, not 0"),
        ({"scale_steps": (2, 0)}, "`scale_steps` should be at least 1, not 0"),
        ({"scale_steps": (-3,)}, "`scale_steps` should be at least 1, not -3"),
        ({"scale_steps": ()}, "`scale_steps` is empty"),
        ({"scale_steps": (2.5,)}, "`scale_steps` should be a finite int, not 2.5"),
        ({"scale_factor": 1.0}, "`scale_factor` should be at least 1.01"),
    ],
)
def test_a_wrong_value_is_one_line(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        Pyramid(**options)
    assert "\n" not in str(caught.value)
