"""What a run computes from its images before its first step: their colors, parts and regions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tfstyle import images
from tfstyle.color import Palette
from tfstyle.color_transfer import Painted, finish, recolor
from tfstyle.details import find_detail
from tfstyle.directions import find_directions
from tfstyle.distribution import Devices
from tfstyle.divergence import Guard
from tfstyle.environment import tf
from tfstyle.levels import crop, scale
from tfstyle.masks import Drawn, composite, divide, drawn_regions, unite
from tfstyle.planning import Level, level_side
from tfstyle.recipes.loss import Loss
from tfstyle.recipes.parts import ColorTransfer
from tfstyle.recipes.recipe import Recipe
from tfstyle.regions import Regions, find_regions
from tfstyle.steps import Snapshot
from tfstyle.styles import Style
from tfstyle.tensors import sides
from tfstyle.vgg import VGG


class Prepared(NamedTuple):
    """The images of a run and what is computed from them before its first step.

    Attributes:
        content, styles, palettes: recolored, from `color_transfer.recolor`.
        photograph: the content image with its own colors.
        colors: how far colors are moved.
        parts, shares: from `masks.divide`.
        regions: from `share_regions`.
        drawn: the regions that were drawn by hand; None if there are none.
        opacity: share of the result in the image, as `TermWeights.opacity` returns it.
        style_masks: what counts of each style image, like `styles`; None is all.
    """

    content: tf.Tensor
    styles: list[tf.Tensor]
    palettes: list[Palette]
    photograph: tf.Tensor
    colors: ColorTransfer
    parts: list[Painted]
    shares: dict[str, tf.Tensor]
    regions: list[Regions]
    drawn: Drawn | None
    opacity: float
    style_masks: list[tf.Tensor | None]

    def find_style_detail(self, image: tf.Tensor, styles: Sequence[tf.Tensor], *, size: tuple[int, int]) -> tf.Tensor:
        """Returns the detail for an image that is enlarged, of the style images at similar places.

        Args:
            image: float32 [1, height, width, 3] in [0, 1].
            styles: the cropped style images of the next level.
            size: (height, width) of the next level.
        """
        detail = tf.zeros([1, *size, 3])
        for number, (style, mask) in enumerate(zip(styles, self.style_masks, strict=True)):
            if not any(part.shares[number] for part in self.parts):
                continue
            used = round(max(sides(style)) * max(sides(image)) / max(size))
            opacity = sum(
                part.shares[number] * (1.0 if part.mask is None else images.resize(part.mask, *size))
                for part in self.parts
            )
            detail += opacity * find_detail(image, style, size=size, used=used, mask=mask)
        return detail

    def present(self, image: tf.Tensor, *, last: bool) -> tf.Tensor:
        """Returns the image of a step as callbacks receive it: the last one in its final colors, and inside masks."""
        if last:
            image = finish(image, self.photograph, self.palettes, colors=self.colors, parts=self.parts)
        whole = self.drawn is None and self.opacity == 1.0
        if whole or sides(image) != sides(self.photograph):
            return image
        masks = self.drawn.masks if self.drawn else ()
        return composite(image, self.photograph, masks, opacity=self.opacity)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What the levels of a run have in common.

    Attributes:
        recipe: the recipe.
        prepared: the images, and what is computed from them.
        style_sides: for each style image, the long side in pixels that it should have beside the content image.
        levels: the planned levels, from the coarsest to the finest.
        init: the image to start from, or a function that makes it, as for `Transfer.steps`.
        resume: the snapshot from which an earlier run is continued.
        devices: those among which tiles are divided.
        weights: factor of each term of the loss.
        kernels: the network's flipped kernels; empty if gradients are computed without.
        guard: notices when the run diverges.
        began: time at which the run began, on the clock `time.perf_counter`.
    """

    recipe: Recipe
    prepared: Prepared
    style_sides: Sequence[int]
    levels: Sequence[Level]
    init: tf.Tensor | Callable[..., tf.Tensor] | None
    resume: Snapshot | None
    devices: Devices
    weights: Mapping[str, tf.Tensor]
    kernels: Mapping[str, tf.Tensor]
    guard: Guard
    began: float

    def scale_images(self, plan: Level) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the content and the style images of a level."""
        factor = plan.size / max(sides(self.prepared.content))
        styles = [
            images.fit(image, level_side(sides(image), side, factor))
            for image, side in zip(self.prepared.styles, self.style_sides, strict=True)
        ]
        return scale(self.prepared.content, factor), styles

    def crop(self, styles: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Cuts the margin off the style images of a level."""
        return [crop(style, self.recipe.style_size.style_crop) for style in styles]


def prepare(network: VGG, content: tf.Tensor, styles: Sequence[Style], *, recipe: Recipe) -> Prepared:
    """Recolors the images of a run, divides the style among them, and finds their regions.

    Args:
        network: computes the features by which regions are found.
        content: float32 [1, height, width, 3] in [0, 1].
        styles: style images of that form, with the masks of `masks.read_masks`.
        recipe: the recipe.

    Raises:
        UsageError: if the recipe has another number of regions than the masks.
        InputError: if an image is too small for the network.
    """
    weights, margin = recipe.term_weights, recipe.style_size.style_crop
    drawn = unite(styles)
    parts, shares = divide(styles, recipe.loss, drawn)
    colors = dataclasses.replace(recipe.color_transfer, palette=weights.strength * recipe.color_transfer.palette)
    recolored = recolor(content, [each.picture for each in styles], colors=colors, parts=parts, margin=margin)
    cropped = [crop(image, margin) for image in recolored.styles]
    own = [None if each.style_mask is None else crop(each.style_mask, margin) for each in styles]
    regions = share_regions(network, recolored.content, cropped, loss=recipe.loss, drawn=drawn, style_masks=own)
    return Prepared(*recolored, content, colors, parts, shares, regions, drawn, weights.opacity(), own)


def share_regions(
    network: VGG,
    content: tf.Tensor,
    styles: Sequence[tf.Tensor],
    *,
    loss: Loss,
    drawn: Drawn | None = None,
    style_masks: Sequence[tf.Tensor | None] = (),
) -> list[Regions]:
    """Finds the regions of the content image and each style image; none if the loss weighs no positions.

    Args:
        network: computes the features by which regions are found.
        content: float32 [1, height, width, 3] in [0, 1].
        styles: the style images, likewise.
        loss: defines their number.
        drawn: regions of the content image drawn by hand; None finds those that it shares with each style image.
        style_masks: for each style image, what counts of it; None is all.

    Raises:
        InputError: if an image is too small for the network.
    """
    check_sizes(network, content, *styles)
    if loss.finds_regions():
        return [find_regions(network, content, style, count=loss.region_count) for style in styles]
    if not loss.weighs_positions():
        return []
    recurrences = [_recurrence(network, loss, style) for style in styles]
    if drawn is not None:
        return drawn_regions(drawn, style_masks, recurrences)
    directed = find_directions(content, styles, orientation=str(loss.orientation))
    return [found._replace(recurrence=each) for found, each in zip(directed, recurrences, strict=True)]


def _recurrence(network: VGG, loss: Loss, style: tf.Tensor) -> tf.Tensor:
    if not loss.recurrence:
        return tf.ones([1, 1, 1, 1])
    return find_regions(network, style, style, count=1).recurrence


def check_sizes(network: VGG, content: tf.Tensor, *styles: tf.Tensor) -> None:
    """Checks that images are large enough for the network.

    Raises:
        InputError: if one is not.
    """
    network.check_size(content, "the content")
    for style in styles:
        network.check_size(style, "the style")
