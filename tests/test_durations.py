"""The estimate of a run's time, against operations counted by hand."""

import pytest
from conftest import mini_recipe

from tfstyle import durations
from tfstyle.recipes import get_recipe


def test_operations_of_two_blocks_counted_by_hand():
    recipe = mini_recipe(style_layers=("block1_conv1", "block2_conv1"), content_layers=("block2_conv1",))
    # Two for each weight of 3 x 3 kernels; blocks have a quarter of the positions of the one before.
    convolutions = 18 * (3 * 64 + 64 * 64 + 64 * 128 / 4)
    assert durations.operations_per_pixel(recipe) == convolutions + 2 * (64 * 64 + 128 * 128 / 4)


def test_seconds_are_operations_by_speed(monkeypatch):
    monkeypatch.setattr(durations, "measure_speed", lambda policy: {"float32": 1e9}[policy])
    recipe = get_recipe("gatys", precision="float32")
    one, twice, tiled = (
        durations.estimate_seconds(recipe, [level], (300, 400))
        for level in ((400, 5, 2.0), (800, 10, 2.0), (400, 5, 3.0))
    )
    images, least = 300 * 400 * durations.operations_per_pixel(recipe) / 1e9, durations.STEP_OPERATIONS / 1e9
    assert one == pytest.approx(5 * (least + 2.0 * images))
    assert twice == pytest.approx(10 * (least + 4 * 2.0 * images))
    assert tiled == pytest.approx(5 * (least + 3.0 * images))


def test_this_machine_has_a_speed():
    assert 1e8 < durations.measure_speed("float32") < 1e15


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "0 s"), (119.4, "119 s"), (130, "2 min"), (7100, "118 min"), (9000, "2 h")]
)
def test_a_duration_in_words(seconds, text):
    assert durations.format_duration(seconds) == text
