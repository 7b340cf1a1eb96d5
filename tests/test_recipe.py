"""Recipes: parts that go together, fields replaced by name, graph keys and records."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tfstyle.errors import UsageError
from tfstyle.recipes import LBFGS, SGD, Adam, Loss, Network, Recipe, TermWeights, get_recipe
from tfstyle.recipes.recipe import OPTIONS, PARTS, Overrides, plain

DEFAULT = get_recipe("balanced")


def test_overrides_replace_fields_and_leave_the_recipe_alone():
    changed = get_recipe("default", size=300, style_weight=2.0)
    assert (changed.pyramid.size, changed.term_weights.style_weight) == (300, 2.0)
    assert get_recipe("default") == DEFAULT
    assert get_recipe(changed, seed=3).pyramid.size == 300
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.loss = DEFAULT.loss


def test_a_whole_part_and_a_field_of_it_may_be_given_at_once():
    found = get_recipe("crowson", optimizer=LBFGS(history=5), learning_rate=0.5, network=Network(pooling="average"))
    assert found.optimizer == LBFGS(history=5, learning_rate=0.5)
    assert found.network == Network(pooling="average")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stile_weight": 1.0}, "unknown recipe field 'stile_weight'; did you mean 'style_weight'"),
        (
            {"beta_1": 0.5},
            "`beta_1` is not an option of LBFGS, the optimizer of 'balanced', which has learning",
        ),
        ({"optimizer": SGD(), "history": 5}, "`history` is not an option of SGD"),
        ({"optimizer": "adam"}, "`optimizer` should be recipes.Adam, SGD or LBFGS, or have the methods"),
        ({"network": "embedded"}, "`network` should be a recipes.Network, not 'embedded'"),
        ({"style_weight": 0, "content_weight": 0, "neighbor_weight": 0}, "are all 0; give one"),
        ({"neighbor_layers": ()}, "`neighbor_weight` is 0.35, but the recipe 'balanced' has no `neighbor_layers`"),
        ({"neighbor_layers": ("block2_conv1",)}, "names no layer of block 3 or deeper"),
        ({"style_layers": {}}, "`style_layers` is empty; name at least one"),
        ({"statistic": "gram"}, "needs the `statistic` 'mean_gram'"),
        ({"summary": 3}, "`summary` should be text, not 3"),
    ],
)
def test_parts_that_do_not_go_together_are_one_line(overrides, message):
    with pytest.raises(UsageError, match=message) as caught:
        get_recipe("default", **overrides)
    assert "\n" not in str(caught.value)


def test_a_term_that_counts_nothing_needs_no_layer():
    recipe = get_recipe("default", content_weight=0.0, content_layers={})
    assert recipe.loss.smallest_side() == 16


def test_the_overrides_known_to_type_checkers_are_all_fields_there_are():
    fields = {item.name for part in (*PARTS.values(), LBFGS, Adam, SGD) for item in dataclasses.fields(part)}
    assert set(Overrides.__annotations__) == fields | {item.name for item in dataclasses.fields(Recipe)}


def test_no_two_parts_have_a_field_of_one_name():
    parts = [{item.name for item in dataclasses.fields(part)} for part in PARTS.values()]
    optimizers = {item.name for part in (LBFGS, Adam, SGD) for item in dataclasses.fields(part)}
    own = {item.name for item in dataclasses.fields(Recipe)}
    every = [name for names in (*parts, optimizers, own) for name in names]
    assert len(every) == len(set(every))


def test_options_of_the_command_line_are_fields_with_a_help():
    assert list(OPTIONS)[:6] == ["size", "steps", "content_weight", "style_weight", "neighbor_weight", "tv_weight"]
    assert set(OPTIONS) < set(Overrides.__annotations__)
    assert all(item.metadata["help"] for item in OPTIONS.values())


@pytest.mark.parametrize(
    ("overrides", "shares"),
    [
        ({"size": 99, "steps": 5, "seed": 4, "init": "noise", "noise": 0.5}, True),
        ({"style_weight": 3.0, "content_weight": 9.0, "tv_weight": 0.1}, True),
        ({"style_crop": 0.1, "style_scale": 2.0, "style_resize": "width"}, True),
        ({"palette": 0.5}, True),
        (
            {"scale_start": 0, "warm_start": False, "add_detail": False, "name": "mine", "departures": ["It is new."]},
            True,
        ),
        ({"pooling": "average"}, False),
        ({"weights": "imagenet"}, False),
        ({"style_weight": 0.0}, False),
        ({"tv_weight": 0.0}, False),
        ({"style_layers": ["block1_conv1"]}, False),
        ({"history": 11}, False),
        ({"ema_decay": 0.5}, False),
    ],
)
def test_the_graph_key_follows_from_the_parts(overrides, shares):
    assert (get_recipe("default", **overrides).graph_key == DEFAULT.graph_key) == shares


class Momentum:
    """An optimizer of a user's."""

    def init(self, image):
        return image

    def update(self, state, image, gradient):
        return state, image

    def resize(self, state, height, width):
        return state


def test_an_optimizer_of_ones_own_needs_its_three_methods():
    assert get_recipe("default", optimizer=Momentum()).optimizer.init(3) == 3
    with pytest.raises(UsageError, match="have the methods init, update and resize"):
        get_recipe("default", optimizer=object())


@dataclasses.dataclass
class Unfrozen(Momentum):
    rate: float = 0.5


def test_what_cannot_be_hashed_is_refused_where_it_is_given():
    with pytest.raises(UsageError, match="has to be hashable; freeze its class"):
        get_recipe("default", optimizer=Unfrozen())


@dataclasses.dataclass(frozen=True)
class Rate(Momentum):
    rate: float = 0.5


def mean_square(image):
    return (image**2).mean()


def test_a_record_names_functions_and_objects_by_their_qualified_names():
    recipe = get_recipe("balanced", optimizer=Rate(), total_variation=mean_square)
    record = json.loads(json.dumps(recipe.record()))
    assert record["optimizer"] == {"class": f"{__name__}.Rate", "rate": 0.5}
    assert record["loss"]["total_variation"] == f"{__name__}.mean_square"
    assert record["loss"]["content_layers"] == {"block4_conv2": 1.0}
    assert record["pyramid"]["scale_steps"] == [40, 20, 12]
    assert record["color_transfer"] == {"color": "style", "color_strength": 1.0, "palette": 0.5}
    assert get_recipe("balanced", optimizer=Momentum()).record()["optimizer"] == f"{__name__}.Momentum"
    assert plain({"a": (1, None)}) == {"a": [1, None]}


def test_numbers_of_numpy_lists_and_paths_are_taken_and_become_the_fields_own_type():
    recipe = get_recipe(
        "default",
        size=np.int64(256),
        style_weight=np.float32(3),
        tv_weight=1,
        clip=np.bool_(True),
        style_layers={"block1_conv1": np.float64(0.75), "block2_conv1": 1},
        scale_steps=[np.int32(3), 2],
        init=Path("start.png"),
        weights=Path("folder") / "network.h5",
    )
    same = get_recipe(
        "default",
        size=256,
        style_weight=3.0,
        tv_weight=1.0,
        style_layers={"block1_conv1": 0.75, "block2_conv1": 1.0},
        scale_steps=(3, 2),
        init="start.png",
        weights=os.path.join("folder", "network.h5"),
    )
    assert recipe == same
    assert hash(recipe) == hash(same)
    assert repr(recipe) == repr(same)


def test_a_recipe_of_ones_own_needs_a_loss_alone():
    recipe = Recipe(loss=Loss(content_layers=["block4_conv2"]), term_weights=TermWeights(style_weight=10.0))
    assert (recipe.name, recipe.optimizer) == ("custom", Adam())
