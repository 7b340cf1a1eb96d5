"""Colors before and after a run: what each image receives."""

import numpy as np
import pytest
from conftest import image

from tfstyle import color
from tfstyle.color_transfer import Painted, finish, recolor
from tfstyle.recipes.parts import ColorTransfer


@pytest.fixture
def pictures(rng):
    """A photograph and two paintings, far from 0 and 1."""
    return [0.3 + 0.3 * image(rng, *size) for size in ((33, 47), (40, 29), (21, 50))]


def whole(*shares):
    """The content image as a single part."""
    return [Painted(None, shares, [True] * len(shares))]


def test_without_palette_and_color_every_image_stays(pictures):
    content, *styles = pictures
    found = recolor(content, styles, colors=ColorTransfer(), parts=whole(0.5, 0.5), margin=0.1)
    for one, other in zip((found.content, *found.styles), pictures, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        finish(content, content, found.palettes, colors=ColorTransfer(), parts=whole(0.5, 0.5)), content
    )


def test_the_palette_is_that_of_the_cropped_paintings_with_a_share(pictures):
    content, one, other = pictures
    found = recolor(content, [one, other], colors=ColorTransfer(palette=1.0), parts=whole(1.0, 0.0), margin=0.25)
    palette = color.find_palette(one[:, 7:-7, 7:-7])
    np.testing.assert_allclose(found.palettes[0].mean, palette.mean, atol=1e-12)
    np.testing.assert_allclose(found.content, color.match_colors(content, palette, strength=1.0), atol=1e-6)
    np.testing.assert_array_equal(found.styles[0], one)
    np.testing.assert_allclose(found.styles[1], color.match_colors(other, palette, strength=1.0), atol=1e-6)


def test_each_painting_is_recolored_to_the_photograph(pictures):
    content, *styles = pictures
    colors = ColorTransfer(color="content", color_strength=0.5, palette=0.4)
    found = recolor(content, styles, colors=colors, parts=whole(0.5, 0.5), margin=0.0)
    for style, recolored in zip(styles, found.styles, strict=True):
        np.testing.assert_allclose(recolored, color.match_chroma(style, content, strength=0.5), atol=1e-6)
    last = finish(content[:, ::-1], content, found.palettes, colors=colors, parts=whole(0.5, 0.5))
    broad = color.finish_colors(content[:, ::-1], found.palettes[0], strength=0.4)
    np.testing.assert_allclose(last, color.keep_colors(broad, content, strength=0.5), atol=1e-6)


def test_each_part_takes_the_palette_of_its_own_painting(pictures):
    content, *styles = pictures
    left = np.zeros((1, 33, 47, 1), "float32")
    left[:, :, :20] = 1.0
    parts = [Painted(left, (1.0, 0.0), (True, False)), Painted(1.0 - left, (0.0, 1.0), (False, True))]
    colors = ColorTransfer(palette=1.0)
    found = recolor(content, styles, colors=colors, parts=parts, margin=0.0)
    for mask, style in ((left, styles[0]), (1.0 - left, styles[1])):
        expected = color.match_colors(content[:, :, mask[0, 0, :, 0] > 0], color.find_palette(style), strength=1.0)
        np.testing.assert_allclose(found.content.numpy()[:, :, mask[0, 0, :, 0] > 0], expected, atol=1e-5)
    for one, other in zip(found.styles, styles, strict=True):
        np.testing.assert_array_equal(one, other)
    last = finish(found.content, content, found.palettes[:1], colors=colors, parts=parts[:1])
    np.testing.assert_array_equal(last[:, :, 20:], found.content[:, :, 20:])
