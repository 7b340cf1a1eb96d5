"""Recipes: valid values, published numbers, and how steps are shared among scales."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from tfstyle import losses, statistics, total_variation, vgg
from tfstyle.errors import UsageError
from tfstyle.recipes import published
from tfstyle.recipes.recipe import STYLE_LOSSES, Recipe, scale_sizes, steps_per_scale
from tfstyle.vgg19 import layer_names

DEFAULT = published.BALANCED


def ladder(**changes):
    return dataclasses.replace(DEFAULT, **({"scale_start": 128, "scale_factor": 2.0, "first_steps": 0} | changes))


@pytest.mark.parametrize("recipe", published.RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_names_only_what_exists(recipe):
    assert recipe.summary
    assert recipe.source
    assert all(sentence.endswith(".") for sentence in recipe.departures)
    assert published.RECIPES[recipe.name] is recipe


def test_the_tutorial_has_its_published_numbers():
    recipe = published.RECIPES["tensorflow-tutorial"]
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
    changed = published.get_recipe("default", size=300, style_weight=2.0)
    assert (changed.size, changed.style_weight) == (300, 2.0)
    assert published.get_recipe("default") is not changed
    assert published.get_recipe(changed, seed=3).size == 300
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.size = 5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"size": -1}, "`size` should be at least 0"),
        ({"history": 0}, "`history` should be at least 1, not 0"),
        ({"learning_rate": -1.0}, "`learning_rate` should be at least 1e-12"),
        ({"history": 1001}, "`history` should be at most 1000, not 1001"),
        ({"average": 1.0}, "`average` should be at most 0.9999"),
        ({"optimizer": "lbfg"}, "unknown optimizer 'lbfg'; did you mean 'lbfgs'"),
        ({"space": "cafe", "clip": False}, "did you mean 'caffe'"),
        ({"statistic": "gram"}, "needs the `statistic` 'mean_gram'"),
        ({"space": "torch"}, "`clip` keeps the image in"),
        ({"size": 100.5}, "`size` should be a finite int"),
        ({"size": True}, "`size` should be a finite int"),
        ({"steps": -1}, "`steps` should be at least 0"),
        ({"seed": 2**31}, "`seed` should be at most 2147483647"),
        ({"style_weight": float("nan")}, "`style_weight` should be a finite float"),
        ({"content_weight": -1.0}, "`content_weight` should be at least 0"),
        ({"style_weight": 0, "content_weight": 0}, "both 0"),
        ({"pooling": "avg"}, "unknown pooling 'avg'; did you mean 'average'"),
        ({"input_scale": "tourch"}, "did you mean 'torch'"),
        ({"style_layers": ("blok1_conv1",), "style_layer_weights": (1.0,)}, "did you mean 'block1_conv1'"),
        ({"style_layer_weights": (1.0,)}, "names 5 layers but 1 weights"),
        ({"style_layers": (), "style_layer_weights": ()}, "`style_layers` is empty; name at least one"),
        ({"content_layers": "block4_conv2"}, "`content_layers` should be a list of str, not 'block4_conv2'"),
        ({"style_layers": ("block1_conv1",) * 5}, "`style_layers` names a layer twice"),
        ({"style_layer_weights": (1.0, 1.0, 1.0, 1.0, -1.0)}, "`style_layer_weights` should be at least 0, not -1"),
        ({"content_layer_weights": (float("inf"),)}, "`content_layer_weights` should be a finite float, not inf"),
        ({"content_layer_weights": 1.0}, "`content_layer_weights` should be a list of float, not 1.0"),
        ({"scale_steps": (0,)}, "`scale_steps` should be at least 1, not 0"),
        ({"scale_steps": (2, 0)}, "`scale_steps` should be at least 1, not 0"),
        ({"scale_steps": (-3,)}, "`scale_steps` should be at least 1, not -3"),
        ({"scale_steps": ()}, "`scale_steps` is empty"),
        ({"scale_steps": (2.5,)}, "`scale_steps` should be a finite int, not 2.5"),
        ({"statistic": "grm"}, "unknown statistic 'grm'; did you mean 'gram'"),
        ({"style_loss": "wasserstien"}, "did you mean 'wasserstein'"),
        ({"tv_form": "sqared"}, "unknown tv_form 'sqared'; did you mean 'squared'"),
        ({"edge": "zerro"}, "unknown edge 'zerro'; did you mean 'zero'"),
        ({"taps": "rlu"}, "unknown taps 'rlu'; did you mean 'relu'"),
        ({"rounding": "flor"}, "unknown rounding 'flor'; did you mean 'floor'"),
        ({"published_scale": "toch"}, "did you mean 'torch'"),
        ({"staircase": "yes"}, "`staircase` should be True or False, not 'yes'"),
        ({"style_weight": "3"}, "`style_weight` should be a finite float, not '3'"),
        ({"content_weight": 10**400}, "`content_weight` should be a finite float"),
        ({"summary": 3}, "`summary` should be text, not 3"),
        ({"weights": None}, "`weights` should be text, not None"),
        ({"init": "contnt"}, "unknown start image 'contnt'; did you mean 'content'"),
        ({"stile_weight": 1.0}, "did you mean 'style_weight'"),
    ],
)
def test_a_wrong_value_is_one_line(overrides, message):
    with pytest.raises(UsageError, match=message) as caught:
        published.get_recipe("default", **overrides)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'default'"):
        published.get_recipe("defualt")


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
    assert scale_sizes(published.TENSORFLOW_TUTORIAL, 600, 400) == (600,)


def test_the_square_root_ladder_worked_by_hand():
    assert scale_sizes(ladder(scale_factor=2**0.5), 512, 384) == (128, 181, 256, 362, 512)


@pytest.mark.parametrize(
    ("scales", "expected"), [(3, (100, 60, 25)), (1, (25,)), (2, (60, 25)), (5, (100, 60, 25, 25, 25))]
)
def test_a_longer_ladder_repeats_the_last_and_a_shorter_one_drops_the_first(scales, expected):
    assert steps_per_scale(ladder(scale_steps=(100, 60, 25)), scales) == expected


@pytest.mark.parametrize(("scales", "expected"), [(1, (80,)), (2, (80, 25)), (3, (100, 60, 25))])
def test_the_coarsest_scale_takes_at_least_the_first_steps(scales, expected):
    assert steps_per_scale(ladder(scale_steps=(100, 60, 25), first_steps=80), scales) == expected


@pytest.mark.parametrize(
    ("name", "photograph", "sizes", "steps"),
    [
        ("crowson", (512, 384), (128, 181, 256, 362, 512), (1000, 500, 500, 500, 500)),
        ("crowson", (256, 192), (128, 181, 256), (1000, 500, 500)),
        ("crowson", (180, 135), (180,), (1000,)),
        ("gatys", (800, 600), (512, 800), (500, 200)),
        ("gatys", (1067, 800), (683, 1067), (500, 200)),  # Short sides of 512 and 800, as the notebook's.
        ("gatys", (799, 599), (799,), (500,)),
        ("balanced", (1024, 768), (128, 256, 512, 1024), (60, 40, 28, 28)),
        ("balanced", (512, 384), (128, 256, 512), (60, 40, 28)),
        ("balanced", (256, 192), (128, 256), (40, 28)),
        ("balanced", (150, 112), (150,), (40,)),
        ("draft", (512, 384), (128, 256, 512), (20, 12, 8)),
        ("draft", (256, 192), (128, 256), (12, 8)),
        ("draft", (150, 112), (150,), (12,)),
        ("best", (512, 384), (128, 256, 512), (150, 80, 110)),
        ("best", (256, 192), (128, 256), (80, 110)),
        ("best", (150, 112), (150,), (110,)),
    ],
)
def test_scales_and_steps_of_a_recipe(name, photograph, sizes, steps):
    recipe = published.RECIPES[name]
    assert scale_sizes(recipe, *photograph) == sizes
    assert steps_per_scale(recipe, len(sizes)) == steps


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
    assert published.get_recipe("default", **changes).compiled_part() == base
    for change in ({"pooling": "average"}, {"style_weight": 0.0}, {"tv_weight": 1.0}, {"weights": "imagenet"}):
        if change != {"tv_weight": float(DEFAULT.tv_weight > 0)}:
            assert published.get_recipe("default", **change).compiled_part() != base


@pytest.mark.parametrize(("layer", "side"), [("block1_conv2", 1), ("block3_conv1", 4), ("block5_conv4", 16)])
def test_each_block_halves_the_picture(layer, side):
    recipe = dataclasses.replace(
        DEFAULT, style_layers=("block1_conv1",), style_layer_weights=(1.0,), content_layers=(layer,)
    )
    assert recipe.smallest_side() == side


def test_the_words_a_recipe_knows_are_those_of_the_modules_that_follow_them():
    words = {item.name: set(item.metadata.get("choices", ())) for item in dataclasses.fields(Recipe)}
    assert words["statistic"] == set(statistics.STATISTICS)
    assert words["style_loss"] == set(losses.STYLE_LOSSES) == set(STYLE_LOSSES)
    assert words["tv_form"] == set(total_variation.TOTAL_VARIATIONS)
    assert words["taps"] == set(vgg.TAPS)
    assert words["edge"] == set(vgg.EDGES)
    assert words["rounding"] == set(vgg.ROUNDINGS)
    assert words["pooling"] == set(vgg.POOLINGS)
    assert words["input_scale"] == {"auto", *vgg.INPUT_SCALES}


def test_numbers_of_numpy_lists_and_paths_are_taken_and_become_the_fields_own_type():
    recipe = published.get_recipe(
        "default",
        size=np.int64(256),
        style_weight=np.float32(3),
        tv_weight=1,
        clip=np.bool_(True),
        style_layers=["block1_conv1", "block2_conv1"],
        style_layer_weights=np.array([0.7, 0.3]),
        scale_steps=[np.int32(3), 2],
        init=Path("start.png"),
        weights=Path("folder") / "network.h5",
    )
    plain = published.get_recipe(
        "default",
        size=256,
        style_weight=3.0,
        tv_weight=1.0,
        style_layers=("block1_conv1", "block2_conv1"),
        style_layer_weights=(0.7, 0.3),
        scale_steps=(3, 2),
        init="start.png",
        weights=os.path.join("folder", "network.h5"),
    )
    assert recipe == plain
    assert hash(recipe) == hash(plain)
    assert repr(recipe) == repr(plain)


@pytest.mark.parametrize("start", ["noise", "photo.png", "./photo", "folder/photo"])
def test_a_word_or_a_path_may_be_the_start_image(start):
    assert published.get_recipe("default", init=start).init == start


def test_a_term_that_counts_nothing_needs_no_layer():
    recipe = published.get_recipe("default", content_weight=0.0, content_layers=(), content_layer_weights=())
    assert recipe.smallest_side() == 16


@pytest.mark.parametrize(
    ("name", "weights", "pixels", "note"),
    [
        ("balanced", "network.pth", "torch", None),
        ("johnson", "imagenet", "keras", None),
        ("johnson", "caffe.pth", "keras", None),  # With `input_scale`; its names are torchvision's.
        ("johnson", "network.pth", "torch", "network.pth holds a network whose features have other magnitudes"),
        ("johnson", "embedded", "keras", 'similar, not identical (`weights` "imagenet" is the published network)'),
        ("d2l", "network.pth", "torch", None),
        ("avgpool-noise", "network.safetensors", "none", None),
        ("d2l", "imagenet", "keras", "imagenet holds a network whose features have other magnitudes"),
        ("d2l", "embedded", "keras", "not identical (a torchvision .pth file as `weights` is the published network)"),
    ],
)
def test_a_recipe_says_when_its_network_is_another_than_the_published_one(name, weights, pixels, note):
    found = published.get_recipe(name, weights=weights).network_note(pixels)
    assert found is None if note is None else note in found
