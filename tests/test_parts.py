"""The parts of a recipe: valid values, and the messages about others."""

import dataclasses

import numpy as np
import pytest

from tfstyle import losses, statistics, total_variation, vgg
from tfstyle.errors import UsageError
from tfstyle.recipes import (
    LBFGS,
    SGD,
    Adam,
    ColorTransfer,
    Decay,
    Loss,
    Network,
    Parametrization,
    Start,
    StyleSize,
    Term,
    TermWeights,
    get_recipe,
)
from tfstyle.recipes.loss import DISTANCES, LayerWeights

CONTENT = {"block4_conv2": 1.0}


def test_layers_are_a_mapping_that_can_be_hashed():
    weights = LayerWeights({"block1_conv1": 0.7, "block2_conv1": np.float32(0.25)})
    assert dict(weights) == {"block1_conv1": 0.7, "block2_conv1": 0.25}
    other = LayerWeights({"block2_conv1": 0.25, "block1_conv1": 0.7})
    assert weights == other
    assert hash(weights) == hash(other)
    assert repr(weights) == "{'block1_conv1': 0.7, 'block2_conv1': 0.25}"


def test_a_list_of_layers_weighs_them_equally():
    assert dict(Loss(content_layers=["block4_conv2"]).content_layers) == CONTENT
    layers = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1")
    assert dict(Loss(content_layers=CONTENT, style_layers=layers).style_layers) == dict.fromkeys(layers, 0.25)
    assert sum(Loss(content_layers=CONTENT).style_layers.values()) == pytest.approx(1.0)


def test_every_layer_that_is_looked_at_is_named_once():
    term = Term(name="mine", layers=("block5_conv2", "block1_conv1"), target=max, sums=max, loss=max)
    loss = Loss(content_layers=CONTENT, style_layers=["block1_conv1"], terms=[term])
    assert loss.layers() == ("block1_conv1", "block4_conv2", "block5_conv2")
    assert loss.smallest_side() == 16


@pytest.mark.parametrize(("layer", "side"), [("block1_conv2", 1), ("block3_conv1", 4), ("block5_conv4", 16)])
def test_each_block_halves_the_image(layer, side):
    assert Loss(content_layers=[layer], style_layers=["block1_conv1"]).smallest_side() == side


def test_only_terms_that_count_have_a_factor():
    assert TermWeights(content_weight=0.5, tv_weight=2).by_term() == {
        "content": 0.5,
        "style": 1.0,
        "total_variation": 2.0,
    }
    assert TermWeights(content_weight=0).by_term() == {"style": 1.0}


def named(owner, field):
    (found,) = (item for item in dataclasses.fields(owner) if item.name == field)
    return set(found.metadata["choices"])


def test_the_words_a_recipe_knows_are_those_of_the_modules_that_follow_them():
    assert named(Loss, "statistic") == set(statistics.STATISTICS)
    assert named(Loss, "distance") == set(losses.DISTANCES) == set(DISTANCES)
    assert named(Loss, "total_variation") == set(total_variation.FORMS)
    assert named(Network, "activation") == set(vgg.ACTIVATIONS)
    assert named(Network, "padding_mode") == set(vgg.PADDING_MODES)
    assert named(Network, "pooling") == set(vgg.POOLINGS)
    assert named(Network, "input_scale") == {"auto", *vgg.INPUT_SCALES}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LBFGS, {"history": 0}, "`history` should be at least 1, not 0"),
        (LBFGS, {"history": 1001}, "`history` should be at most 1000, not 1001"),
        (Adam, {"learning_rate": -1.0}, "`learning_rate` should be at least 1e-12"),
        (SGD, {"learning_rate": "fast"}, "`learning_rate` should be a finite float, not 'fast'"),
        (Decay, {"staircase": "yes"}, "`staircase` should be True or False, not 'yes'"),
        (Parametrization, {"ema_decay": 1.0}, "`ema_decay` should be at most 0.9999"),
        (Parametrization, {"space": "cafe", "clip": False}, "did you mean 'caffe'"),
        (Parametrization, {"space": "torch"}, "`clip` keeps the image in"),
        (Start, {"seed": 2**31}, "`seed` should be at most 2147483647"),
        (Start, {"init": "contnt"}, "unknown start image 'contnt'; did you mean 'content'"),
        (StyleSize, {"style_scale": 20}, "`style_scale` should be at most 10"),
        (StyleSize, {"style_resize": "long"}, "did you mean 'long_side'"),
        (TermWeights, {"style_weight": float("nan")}, "`style_weight` should be a finite float"),
        (TermWeights, {"style_weight": "3"}, "`style_weight` should be a finite float, not '3'"),
        (TermWeights, {"content_weight": -1.0}, "`content_weight` should be at least 0"),
        (TermWeights, {"content_weight": 10**400}, "`content_weight` should be a finite float"),
        (ColorTransfer, {"palette": 1.5}, "`palette` should be at most 1, not 1.5"),
        (ColorTransfer, {"color": "contents"}, "unknown color 'contents'; did you mean 'content'"),
        (ColorTransfer, {"color": "match", "color_strength": 2.0}, "`color_strength` should be at most 1"),
        (ColorTransfer, {"color_strength": 0.5}, '`color_strength` needs a `color` of "content"'),
        (ColorTransfer, {"palette": -0.1}, "`palette` should be at least 0, not -0.1"),
        (Network, {"pooling": "avg"}, "unknown pooling 'avg'; did you mean 'average'"),
        (Network, {"input_scale": "tourch"}, "did you mean 'torch'"),
        (Network, {"weights": None}, "`weights` should be text, not None"),
        (Network, {"padding_mode": "zerro"}, "unknown padding_mode 'zerro'; did you mean 'zero'"),
        (Network, {"activation": "relu"}, "unknown activation 'relu'; did you mean 'pre'"),
        (Network, {"ceil_mode": "ceil"}, "`ceil_mode` should be True or False, not 'ceil'"),
        (Network, {"published_scale": "toch"}, "did you mean 'torch'"),
        (Loss, {"statistic": "grm"}, "unknown statistic 'grm'; did you mean 'gram'"),
        (Loss, {"distance": "wasserstien"}, "did you mean 'wasserstein'"),
        (Loss, {"distance": "wasserstein"}, "needs the `statistic` 'mean_gram', not 'gram'"),
        (Loss, {"total_variation": "sqared"}, "unknown total_variation 'sqared'; did you mean 'squared'"),
        (Loss, {"style_layers": {"blok1_conv1": 1.0}}, "did you mean 'block1_conv1'"),
        (Loss, {"style_layers": "block1_conv1"}, "should map layers to weights, or be a list of layers, not 'block1"),
        (Loss, {"style_layers": 3}, "should map layers to weights, or be a list of layers, not 3"),
        (Loss, {"style_layers": ["block1_conv1"] * 2}, "`style_layers` names a layer twice"),
        (Loss, {"style_layers": {"block1_conv1": -1.0}}, r"`style_layers\['block1_conv1'\]` should be at least 0"),
        (Loss, {"style_layers": {"block1_conv1": np.inf}}, "should be a finite float, not inf"),
        (Loss, {"terms": [max]}, "`terms` should be a list of recipes.Term"),
    ],
)
def test_a_wrong_value_is_one_line(kind, options, message):
    required = {"content_layers": CONTENT} if kind is Loss else {}
    with pytest.raises(UsageError, match=message) as caught:
        kind(**(required | options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ()}, "the term 'mine' has no `layers`; name at least one"),
        ({"layers": ("blok1_conv1",)}, "did you mean 'block1_conv1'"),
        ({"name": "style"}, "a term cannot be called 'style'"),
        ({"name": "my term"}, "a term cannot be called 'my term'"),
        ({"loss": 3}, "`loss` of the term 'mine' should be a function"),
        ({"weight": -1}, "`weight` should be at least 0"),
    ],
)
def test_a_wrong_term_is_one_line(options, message):
    given = {"name": "mine", "layers": ("block1_conv1",), "target": max, "sums": max, "loss": max} | options
    with pytest.raises(UsageError, match=message):
        Term(**given)


def test_two_terms_need_two_names():
    term = Term(name="mine", layers=("block1_conv1",), target=max, sums=max, loss=max)
    with pytest.raises(UsageError, match="each with a name of its own"):
        Loss(content_layers=CONTENT, terms=[term, term])


@pytest.mark.parametrize("start", ["noise", "photo.png", "./photo", "folder/photo"])
def test_a_word_or_a_path_may_be_the_start_image(start):
    assert Start(init=start).init == start


@pytest.mark.parametrize(
    ("options", "style", "expected"),
    [
        ({}, (90, 60), ((90, 60), 48)),
        ({"style_scale": 0.5}, (90, 60), ((90, 60), 24)),
        ({"style_resize": "width"}, (90, 60), ((90, 60), 72)),
        ({"style_resize": "content"}, (90, 60), ((32, 48), 48)),
    ],
)
def test_the_style_images_size_worked_by_hand(options, style, expected):
    assert StyleSize(**options).sides(style, (32, 48)) == expected


@pytest.mark.parametrize(
    ("options", "style", "full", "expected"),
    [
        ({}, (386, 523), (772, 1046), (772, 1046)),
        ({"style_enlarge": False}, (386, 523), (772, 1046), (386, 523)),
        ({"style_enlarge": False}, (386, 523), (193, 262), (193, 262)),
        ({"style_enlarge": False}, (64, 128), (512, 1024), (256, 512)),  # Four times, to 256 pixels.
        ({"style_enlarge": False}, (64, 128), (128, 256), (128, 256)),
    ],
)
def test_a_style_image_is_enlarged_no_further_than_the_recipe_says(options, style, full, expected):
    assert StyleSize(**options).used_sides(style, full) == expected


def test_beside_a_strip_the_style_image_has_at_most_twice_its_pixels():
    (height, width), longest = StyleSize().sides((40, 50), (20, 4000))
    assert longest * longest * height / width == pytest.approx(160000, rel=0.05)


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
def test_a_recipe_tells_when_its_network_is_another_than_the_published_one(name, weights, pixels, note):
    found = get_recipe(name, weights=weights).network.difference(pixels)
    assert found is None if note is None else note in found


@pytest.mark.parametrize(("options", "side"), [({}, 48), ({"style_scale": 0.51}, 25), ({"style_resize": "width"}, 0)])
def test_the_side_that_is_enough_to_read_of_the_style_image(options, side):
    assert StyleSize(**options).needed_side((32, 48)) == side


@pytest.mark.parametrize(
    ("given", "kept", "count"), [(1, "none", 1), ("none", "none", 1), ("auto", "auto", 1), (3, "3", 3), ("8", "8", 8)]
)
def test_the_number_of_regions_may_be_a_word_or_a_number(given, kept, count):
    loss = Loss(content_layers=["block1_conv1"], regions=given)
    assert (loss.regions, loss.region_count, loss.finds_regions()) == (kept, count, count > 1)
    assert "block5_conv1" in loss.layers()
    assert ("block4_conv4" in loss.layers()) == (count > 1)


@pytest.mark.parametrize("given", [0, 9, "three", 2.5])
def test_another_number_of_regions_is_refused(given):
    with pytest.raises(UsageError, match="unknown regions"):
        Loss(content_layers=["block1_conv1"], regions=given)
