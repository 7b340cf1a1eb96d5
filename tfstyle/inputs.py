"""Reads the pictures of a run, and finds the sizes at which they are used."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.errors import InputError
from tfstyle.faces import find_protected
from tfstyle.feedforward.adain import load_adain
from tfstyle.masks import read_mask, read_masks
from tfstyle.pictures.decoding import Picture
from tfstyle.recipes.parts import STARTS, StyleSize
from tfstyle.recipes.recipe import Recipe
from tfstyle.styles import Style


class StylePicture(NamedTuple):
    """A style image as it was read.

    Attributes:
        picture: the picture.
        size: (height, width) at the finest level.
        side: the long side in pixels that belongs to the size of the result.
    """

    picture: Picture
    size: tuple[int, int]
    side: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The pictures of a run as they were read.

    Attributes:
        content: the content image.
        size: (height, width) of the result.
        styles: the style images.
        masked: the same with their masks, from `masks.read_masks`.
        init: what the run starts from, as `Transfer.steps` takes it.
    """

    content: Picture
    size: tuple[int, int]
    styles: Sequence[StylePicture]
    masked: Sequence[Style]
    init: Any

    @property
    def style_sides(self) -> list[int]:
        """The `side` of each style image."""
        return [style.side for style in self.styles]

    def scale(self) -> tuple[tf.Tensor, list[Style]]:
        """Returns the content image and the style images at the sizes of the finest level.

        The images are float32 [1, height, width, 3] in [0, 1].
        """
        styles = []
        for each, (picture, size, _) in zip(self.masked, self.styles, strict=True):
            own = None if each.style_mask is None else read_mask(each.style_mask, size, color=each.mask_color)
            styles.append(dataclasses.replace(each, picture=images.resize(picture.image, *size), style_mask=own))
        return images.resize(self.content.image, *self.size), styles

    def scale_alpha(self) -> tf.Tensor | None:
        """Returns the alpha channel of the content image, if any, at the size of the result: [1, height, width, 1]."""
        return None if self.content.alpha is None else images.resize(self.content.alpha, *self.size)


def read_inputs(
    content: Any,
    styles: Sequence[Style],
    *,
    recipe: Recipe,
    enlarge: bool,
    background: str,
    protect: Any,
    feather: float,
) -> Inputs:
    """Reads the pictures of a run.

    Args:
        content: the content image, as for `images.read`.
        styles: the style images.
        recipe: the recipe; its `size` is the long side of the result, 0 that of the content image.
        enlarge: make a small content image as large as the recipe says.
        background, protect, feather: as for `api.stylize`.

    Raises:
        InputError: if a picture or a mask cannot be read, or is too small for the network.
        SetupError: if faces are to be protected and scikit-image is missing.
    """
    read, size = _read_content(content, recipe.pyramid.size, background, enlarge=enlarge)
    style_pictures = [_read_style(each, size, style_size=recipe.style_size, background=background) for each in styles]
    init = _read_init(recipe, styles, size, background=background)
    for picture, used in ((read, size), *((each.picture, each.size) for each in style_pictures)):
        _check_size(picture, used, recipe.loss.smallest_side())
    protected = find_protected(protect, read.image)
    masked = read_masks(styles, size, protect=protected, feather=feather)
    return Inputs(content=read, size=size, styles=style_pictures, masked=masked, init=init)


def _read_content(source: Any, size: int, background: str, *, enlarge: bool) -> tuple[Picture, tuple[int, int]]:
    """Reads the content image; returns it, and the size of the result: with that long side, or its own if 0."""
    picture = images.read_and_log(source, background=background, long_side=size)
    own = max(picture.full_size)
    long_side = own if not size else size if enlarge else min(size, own)
    return picture, images.fit_size(*picture.full_size, long_side)


def _read_style(style: Style, result: tuple[int, int], *, style_size: StyleSize, background: str) -> StylePicture:
    sized = dataclasses.replace(style_size, style_scale=style_size.style_scale * style.scale)
    picture = images.read_and_log(style.picture, background=background, long_side=sized.needed_side(result))
    proportions, longest = sized.sides(picture.full_size, result)
    full = images.fit_size(*proportions, longest)
    return StylePicture(picture, sized.used_sides(picture.full_size, full), max(full))


def _read_init(recipe: Recipe, styles: Sequence[Style], result: tuple[int, int], *, background: str) -> Any:
    """Returns what a run starts from, as `Transfer.steps` takes it."""
    start = recipe.start.init
    if start == "adain":
        weights = [style.weight for style in styles]
        return functools.partial(_stylize_once, precision=recipe.network.precision, blend=weights)
    if start in STARTS:
        return None
    return images.read_and_log(start, background=background, long_side=max(result)).image


def _stylize_once(content: tf.Tensor, *styles: tf.Tensor, precision: str, blend: list[float]) -> tf.Tensor:
    """Stylizes the content image in one pass with AdaIN."""
    return load_adain().stylize(content, styles, precision=precision, blend=blend)


def _check_size(picture: Picture, size: tuple[int, int], smallest: int) -> None:
    """Refuses a picture too small or too narrow for the network; the message names a sufficient size."""
    if min(size) < smallest:
        height, width = picture.full_size
        enough = math.ceil(smallest * max(height, width) / min(height, width))
        raise InputError(
            f"{picture.name}: {width}x{height} is too small at {size[1]}x{size[0]}: the network needs {smallest} "
            f"pixels on each side; choose a `size` of {enough} or more, or a picture of another shape."
        )
