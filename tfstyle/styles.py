"""Style images and the part that each has in a style made of several. Imports no TensorFlow."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tfstyle import images
from tfstyle.errors import InputError, UsageError
from tfstyle.fields import CheckedFields, field
from tfstyle.recipes.loss import MAX_TERM_WEIGHT, Loss
from tfstyle.recipes.recipe import Recipe
from tfstyle.recipes.recipe import replace as replace_fields
from tfstyle.vgg19 import VGG19_BLOCKS, layer_names

RAMPS = ("left", "right", "top", "bottom")
"""Masks without a file: from white at that edge to black at the opposite one."""

_BLOCKS = tuple(f"block{number}" for number in range(1, len(VGG19_BLOCKS) + 1))


@dataclass(frozen=True, eq=False)
class Style(CheckedFields):
    """A style image, and its part in a style made of several.

    Attributes:
        picture: the style image, as for `images.read`.
        weight: its weight beside the other style images.
        scale: size of its brush strokes, beside that of the recipe.
        mask: which part of the result has its style: a picture of the result's proportions, by its alpha channel or its
            lightness, or one of `RAMPS`. None selects what no mask of another style image does.
        style_mask: which part of the style image counts, likewise of its proportions; None is all.
        mask_color: a color, as in CSS, if the masks are maps of areas of even colors: that of the area to select.
        layers: layers at which it counts, or blocks such as "block1"; () is all. The image that counts at the first of
            the style layers gives the colors, that at the last one the nearest neighbors.
    """

    picture: Any
    _: KW_ONLY
    weight: float = field(1.0, low=0.0, high=MAX_TERM_WEIGHT)
    scale: float = field(1.0, low=0.1, high=10.0)
    mask: Any = None
    style_mask: Any = None
    mask_color: str = field("")
    layers: tuple[str, ...] = field((), choices=(*_BLOCKS, *layer_names()))

    def __post_init__(self) -> None:
        """Checks every field."""
        super().__post_init__()
        if self.mask_color:
            images.parse_color(self.mask_color, name="mask_color")
            if all(mask is None or self._is_ramp(mask) for mask in (self.mask, self.style_mask)):
                raise UsageError("`mask_color` selects an area of a `mask` or `style_mask`; give that file as well.")

    @staticmethod
    def _is_ramp(mask: Any) -> bool:
        return isinstance(mask, str) and mask in RAMPS

    @property
    def mask_key(self) -> Any:
        """The same for style images with the same mask; None without one."""
        if self.mask is None:
            return None
        source = os.fspath(self.mask) if isinstance(self.mask, (str, os.PathLike)) else id(self.mask)
        return source, images.parse_color(self.mask_color) if self.mask_color else ()

    def is_masked(self) -> bool:
        """Returns whether only a part of the result or of the style image counts."""
        return self.mask is not None or self.style_mask is not None

    def counts_at(self, layer: str) -> bool:
        """Returns whether the image counts at a layer."""
        return not self.layers or any(layer == name or layer.startswith(f"{name}_") for name in self.layers)

    def record(self) -> dict[str, Any]:
        """Returns the fields other than pictures, as JSON values."""
        masks = {"mask": self.mask, "style_mask": self.style_mask}
        chosen = {name: mask for name, mask in masks.items() if self._is_ramp(mask)}
        chosen |= {"mask_color": self.mask_color} if self.mask_color else {}
        return {"weight": self.weight, "scale": self.scale, "layers": list(self.layers), **chosen}


class Shares(NamedTuple):
    """The shares of several style images in the style of a region; each list sums to 1.

    Attributes:
        layers: style layer → share of each image in the statistic.
        colors: share of each image in the palette.
        neighbors: share of the places that look like those of each image.
    """

    layers: Mapping[str, list[float]]
    colors: list[float]
    neighbors: list[float]


def find_shares(styles: Sequence[Style], loss: Loss) -> Shares:
    """Computes the shares of style images.

    Raises:
        UsageError: if there is none, none counts at a style layer, or several are given to a loss for a single one.
    """
    if len(styles) > 1 and loss.finds_regions():
        raise UsageError('`regions` should be "none" or "auto" if there are several style images.')
    if len(styles) > 1 and any(term.weight for term in loss.terms):
        raise UsageError("a loss term of your own compares a single style image; give only one.")
    layers = {layer: divide_weight(styles, layer) for layer in loss.style_layers}
    ordered = sorted(layers) or [layer_names()[0]]
    return Shares(layers, *(divide_weight(styles, layer) for layer in (ordered[0], ordered[-1])))


def check_styles(styles: Sequence[Style], recipe: Recipe, *, protect: Any = None, feather: float) -> Recipe:
    """Checks style images and masks; returns the recipe with as many regions as the masks define.

    Args:
        styles: the style images.
        recipe: the recipe.
        protect, feather: as for `api.stylize`.

    Raises:
        UsageError: if they cannot be used together.
    """
    check_feather(feather)
    groups: dict[Any, list[Style]] = {}
    for style in styles:
        groups.setdefault(style.mask_key, []).append(style)
    if protect is not None or any(style.is_masked() for style in styles):
        if recipe.loss.regions not in ("none", "auto"):
            raise UsageError("`regions` are found where no masks are given; leave out one or the other.")
        if len(groups) > 8:
            raise UsageError(f"there are {len(groups)} masks; 8 regions are possible.")
        recipe = replace_fields(recipe, {"regions": "none", "drawn_regions": len(groups)})
    for group in groups.values() or [[]]:
        find_shares(group, recipe.loss)
    return recipe


def check_one_pass(styles: Sequence[Style]) -> None:
    """Raises UsageError if a style image has fields that a network in one pass cannot use."""
    if any(style.layers or style.style_mask is not None for style in styles):
        raise UsageError("one pass has no loss: leave out `layers` and `style_mask` of a style image.")


def check_feather(feather: Any) -> None:
    """Raises UsageError if masks cannot be blurred by a fraction of the long side."""
    if not isinstance(feather, (int, float)) or not 0.0 <= feather <= 0.5:
        raise UsageError(f"`feather` should be 0 to 0.5, not {reprlib.repr(feather)}.")


def divide_weight(styles: Sequence[Style], layer: str | None = None) -> list[float]:
    """Returns the share of each style image; at a layer, of those that count there.

    Raises:
        UsageError: if all are 0.
    """
    if not styles:
        raise UsageError("there is no style image; give at least one.")
    weights = [style.weight if layer is None or style.counts_at(layer) else 0.0 for style in styles]
    if not any(weights):
        where = "" if layer is None else f" and counts at {layer!r}"
        raise UsageError(f"no style image has a positive `weight`{where}; give one.")
    return [weight / sum(weights) for weight in weights]


def as_styles(given: Any) -> list[Style]:
    """Returns style images as a list of `Style`; the pictures of a folder share its weight.

    Args:
        given: a `Style`, anything that `images.read` accepts, or a folder; or an iterable of these.

    Raises:
        InputError: if a folder holds no picture.
    """
    single = isinstance(given, (str, bytes, os.PathLike, Style)) or not isinstance(given, Iterable)
    several = [given] if single or hasattr(given, "shape") else list(given)
    found = (style if isinstance(style, Style) else Style(style) for style in several)
    return [part for style in found for part in _expand(style)]


def _expand(style: Style) -> list[Style]:
    """Returns a style for each picture of a folder."""
    if not isinstance(style.picture, (str, os.PathLike)) or not os.path.isdir(style.picture):
        return [style]
    paths = [path for path, _ in images.find_pictures(Path(style.picture))]
    if not paths:
        raise InputError(f"{os.fspath(style.picture)}: holds no picture that can be read.")
    return [replace(style, picture=path, weight=style.weight / len(paths)) for path in paths]


def name_pictures(styles: Sequence[Style]) -> dict[str, Any]:
    """Names the pictures of style images for records: "style", "style 2", and so on, and likewise "style mask"."""
    named = {}
    for name, style in zip(name_styles(styles), styles, strict=True):
        named[name] = style.picture
        recorded = style.record()
        for part in ("mask", "style_mask"):
            if getattr(style, part) is not None and part not in recorded:  # Ramps are no pictures.
                named[f"{name} {part}"] = getattr(style, part)
    return named


def name_styles(styles: Sequence[Any]) -> list[str]:
    """Names style images: "style", "style 2", and so on."""
    return ["style", *(f"style {number}" for number in range(2, len(styles) + 1))][: len(styles)]


def parse_style(text: str) -> Style:
    """Reads a style image as the command line takes it: "night.jpg:weight=2,mask=sky.png,layers=block1+block3".

    Raises:
        UsageError: if a value is not valid.
    """
    found = re.fullmatch(r"(.+?):(\w+=[^,]*(?:,\w+=[^,]*)*)", text, re.DOTALL)
    if found is None or os.path.lexists(text):
        return Style(text)
    read: dict[str, Callable[[str], Any]] = {
        "weight": float,
        "scale": float,
        "layers": lambda value: value.split("+"),
        "mask": str,
        "style_mask": str,
        "mask_color": str,
    }
    changes: dict[str, Any] = {}
    for name, _, value in (part.partition("=") for part in found[2].split(",")):
        if name not in read:
            raise UsageError(f"{text}: a style image has {', '.join(read)}, but no {name!r}.")
        try:
            changes[name] = read[name](value)
        except ValueError:
            raise UsageError(f"{text}: {name} should be a number, not {value!r}.") from None
    return Style(found[1], **changes)
