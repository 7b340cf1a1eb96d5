"""Recipes: valid values, published numbers, and how steps are shared among scales."""

import dataclasses

import pytest

from tfstyle import recipes
from tfstyle.losses import TOTAL_VARIATIONS
from tfstyle.moments import STATISTICS
from tfstyle.recipe import layer_names, scale_sizes, steps_per_scale

DEFAULT = recipes.BALANCED


def ladder(**changes):
    return dataclasses.replace(DEFAULT, **({"scale_start": 128, "scale_factor": 2.0} | changes))


@pytest.mark.parametrize("recipe", recipes.RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_names_only_what_exists(recipe):
    assert recipe.statistic in STATISTICS
    assert recipe.tv_form in TOTAL_VARIATIONS
    assert recipe.summary
    assert recipe.source
    assert recipes.RECIPES[recipe.name] is recipe


def test_the_tutorial_has_its_published_numbers():
    recipe = recipes.RECIPES["tensorflow-tutorial"]
    assert (recipe.style_weight, recipe.content_weight, recipe.tv_weight) == (1e-2, 1e4, 1e8)
    assert (recipe.optimizer, recipe.learning_rate, recipe.beta_1, recipe.epsilon) == ("adam", 0.02, 0.99, 0.1)
    assert (recipe.content_layers, recipe.size, recipe.scale_steps) == (("block5_conv2",), 600, (100,))
    assert recipe.style_layers == tuple(f"block{i}_conv1" for i in range(1, 6))


def test_layer_names_are_keras_own():
    names = layer_names()
    assert (names[0], names[2], names[4], names[-1], len(names)) == (
        "block1_conv1",
        "block2_conv1",
        "block3_conv1",
        "block5_conv4",
        16,
    )


def test_overrides_replace_fields_and_leave_the_recipe_alone():
    changed = recipes.get_recipe("default", size=300, style_weight=2.0)
    assert (changed.size, changed.style_weight) == (300, 2.0)
    assert recipes.get_recipe("default") is not changed
    assert recipes.get_recipe(changed, seed=3).size == 300
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.size = 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"size": -1}, "size should be at least 0"),
        ({"history": 0}, "history should be from 1 to 1000, not 0"),
        ({"learning_rate": -1.0}, "learning_rate should be from"),
        ({"average": 1.0}, "average should be from 0 to 0.9999"),
        ({"optimizer": "lbfg"}, "unknown optimizer 'lbfg'; did you mean 'lbfgs'"),
        ({"space": "cafe", "clip": False}, "did you mean 'caffe'"),
        ({"statistic": "gram"}, "needs the statistic 'mean_gram'"),
        ({"space": "torch"}, "clip keeps the image in"),
        ({"size": 100.5}, "size should be a finite int"),
        ({"size": True}, "size should be a finite int"),
        ({"steps": -1}, "steps should be at least 0"),
        ({"seed": 2**31}, "seed should be at most 2147483647"),
        ({"style_weight": float("nan")}, "style_weight should be a finite float"),
        ({"content_weight": -1.0}, "content_weight should be at least 0"),
        ({"style_weight": 0, "content_weight": 0}, "both 0"),
        ({"pooling": "avg"}, "unknown pooling 'avg'; did you mean 'average'"),
        ({"input_scale": "tourch"}, "did you mean 'torch'"),
        ({"style_layers": ("blok1_conv1",), "style_layer_weights": (1.0,)}, "did you mean 'block1_conv1'"),
        ({"style_layer_weights": (1.0,)}, "names 5 layers but 1 weights"),
        ({"stile_weight": 1.0}, "did you mean 'style_weight'"),
    ],
)
def test_a_wrong_value_is_one_line(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipes.get_recipe("default", **overrides)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'default'"):
        recipes.get_recipe("defualt")


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
def test_scales_halve_while_the_picture_means_something(sides, expected):
    assert scale_sizes(ladder(), *sides) == expected


@pytest.mark.parametrize("size", [181, 250, 363, 500, 512, 720])
def test_ours_work_at_two_scales_at_least_the_coarsest_near_128_pixels(size):
    sizes = scale_sizes(DEFAULT, size, size * 3 // 4)
    assert len(sizes) > 1
    assert 128 / 2**0.5 - 1 < sizes[0] < 128 * 2**0.5 + 1


def test_a_recipe_without_ladder_has_one_scale():
    assert scale_sizes(recipes.TENSORFLOW_TUTORIAL, 600, 400) == (600,)


def test_the_square_root_ladder_worked_by_hand():
    assert scale_sizes(ladder(scale_factor=2**0.5), 512, 384) == (128, 181, 256, 362, 512)


@pytest.mark.parametrize(
    ("scales", "expected"), [(3, (100, 60, 25)), (1, (25,)), (2, (60, 25)), (5, (100, 60, 25, 25, 25))]
)
def test_a_longer_ladder_repeats_the_last_and_a_shorter_one_drops_the_first(scales, expected):
    assert steps_per_scale(ladder(scale_steps=(100, 60, 25)), scales) == expected


@pytest.mark.parametrize("total", [1, 2, 3, 7, 50, 185, 1000])
@pytest.mark.parametrize("scales", [1, 2, 3, 4])
def test_a_typed_total_is_shared_in_proportion(total, scales):
    recipe = ladder(scale_steps=(100, 60, 25), steps=total)
    shared = steps_per_scale(recipe, scales)
    planned = steps_per_scale(ladder(scale_steps=(100, 60, 25)), scales)
    assert sum(shared) == total
    assert shared[-1] >= 1
    for found, plan in zip(shared, planned, strict=True):
        assert abs(found - total * plan / sum(planned)) < 2  # One for rounding, one for the finest scale.


def test_what_may_change_without_a_new_graph_is_set_aside():
    base = DEFAULT.compiled_part()
    changes = {"size": 99, "steps": 5, "seed": 4, "init": "noise", "style_weight": 3.0, "content_weight": 9.0}
    changes["style_margin"] = 0.1
    assert recipes.get_recipe("default", **changes).compiled_part() == base
    for change in ({"pooling": "average"}, {"style_weight": 0.0}, {"tv_weight": 1.0}, {"weights": "imagenet"}):
        if change != {"tv_weight": float(DEFAULT.tv_weight > 0)}:
            assert recipes.get_recipe("default", **change).compiled_part() != base


@pytest.mark.parametrize(("layer", "side"), [("block1_conv2", 1), ("block3_conv1", 4), ("block5_conv4", 16)])
def test_each_block_halves_the_picture(layer, side):
    recipe = dataclasses.replace(
        DEFAULT, style_layers=("block1_conv1",), style_layer_weights=(1.0,), content_layers=(layer,)
    )
    assert recipe.smallest_side() == side


def test_feature_scales_are_for_raw_numbers_on_the_embedded_network_only():
    tutorial = recipes.TENSORFLOW_TUTORIAL
    assert tutorial.feature_scales() == (24.56, 127.76, 130.61, 534.09, 48.19, 20.63)
    assert set(dataclasses.replace(tutorial, weights="imagenet").feature_scales()) == {1.0}
    assert set(DEFAULT.feature_scales()) == {1.0}
