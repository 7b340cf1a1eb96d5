"""Finds a recipe by its name and replaces some of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from tfstyle.errors import UsageError, lookup
from tfstyle.recipes.presets import BALANCED, BEST, DRAFT, NNST, WASSERSTEIN
from tfstyle.recipes.published import (
    ANISH,
    AVGPOOL_NOISE,
    CROWSON,
    D2L,
    GATYS,
    JOHNSON,
    KERAS_IO,
    PYTORCH_LBFGS,
    TENSORFLOW_TUTORIAL,
)
from tfstyle.recipes.recipe import Overrides, Recipe, replace

if TYPE_CHECKING:
    from typing_extensions import Unpack

_OURS = (BALANCED, DRAFT, BEST, NNST, WASSERSTEIN)
_PUBLISHED = (TENSORFLOW_TUTORIAL, PYTORCH_LBFGS, AVGPOOL_NOISE, D2L, JOHNSON, GATYS, ANISH, KERAS_IO, CROWSON)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (*_OURS, *_PUBLISHED)})
"""All recipes by their names."""


def get_recipe(recipe: str | Recipe | None, **overrides: Unpack[Overrides]) -> Recipe:
    """Returns the recipe of that name, with some of its fields replaced.

        get_recipe("balanced", style_weight=2.0, size=800)

    Args:
        recipe: a name in `RECIPES`, "default" for `balanced`, or a recipe of your own.
        **overrides: new values for fields of the recipe or of its parts.

    Raises:
        UsageError: if the name or a field is unknown, or a value is not valid.
    """
    if not isinstance(recipe, (str, Recipe)):
        raise UsageError(f"`recipe` should be the name of a recipe or a tfstyle.Recipe, not {recipe!r}.")
    found = recipe if isinstance(recipe, Recipe) else lookup("recipe", recipe, {"default": BALANCED, **RECIPES})
    return replace(found, overrides)
