"""The recipes by their names, and published numbers written again."""

import pytest

from tfstyle.errors import UsageError
from tfstyle.recipes import RECIPES, Adam, get_recipe
from tfstyle.vgg19 import STYLE_LAYERS, layer_names


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_recipe_tells_what_it_is_and_where_it_is_from(recipe):
    assert recipe.summary
    assert recipe.source
    assert all(sentence.endswith(".") for sentence in recipe.departures)
    assert RECIPES[recipe.name] is recipe


def test_the_tutorial_has_its_published_numbers():
    recipe = RECIPES["tensorflow-tutorial"]
    assert recipe.term_weights.by_term() == {"style": 1e-2, "content": 1e4, "total_variation": 1e8}
    assert recipe.optimizer == Adam(learning_rate=0.02, beta_1=0.99, epsilon=0.1)
    assert (recipe.pyramid.size, recipe.pyramid.scale_steps) == (600, (100,))
    assert dict(recipe.loss.content_layers) == {"block5_conv2": 1.0}
    assert dict(recipe.loss.style_layers) == dict.fromkeys(STYLE_LAYERS, 0.2)


def test_gatys_weighs_a_layer_by_its_filters():
    weights = RECIPES["gatys"].loss.style_layers
    assert weights["block1_conv1"] == pytest.approx(1e3 / 64**2)
    assert weights["block5_conv1"] == pytest.approx(1e3 / 512**2)


def test_crowsons_weights_are_the_published_ones_over_their_sum():
    weights = RECIPES["crowson"].loss.style_layers
    assert weights["block1_conv1"] / weights["block5_conv1"] == pytest.approx(256.0)
    assert sum(weights.values()) == pytest.approx(1.0)


def test_layer_names_are_keras_own():
    names = layer_names()
    assert names[0] == "block1_conv1"
    assert names[2] == "block2_conv1"
    assert (names[4], names[-1], len(names)) == ("block3_conv1", "block5_conv4", 16)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'default'"):
        get_recipe("defualt")
    with pytest.raises(UsageError, match=r"should be the name of a recipe or a tfstyle\.Recipe, not 3"):
        get_recipe(3)
