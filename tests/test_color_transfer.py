"""Colors before and after a run: what each image receives."""

import numpy as np
import pytest
from conftest import image

from tfstyle import color
from tfstyle.color_transfer import finish, recolor
from tfstyle.recipes.parts import ColorTransfer


@pytest.fixture
def pictures(rng):
    """A photograph and two paintings, far from 0 and 1."""
    return [0.3 + 0.3 * image(rng, *size) for size in ((33, 47), (40, 29), (21, 50))]


def test_without_palette_and_color_every_image_stays(pictures):
    content, *styles = pictures
    found = recolor(content, styles, colors=ColorTransfer(), shares=[0.5, 0.5], margin=0.1)
    for one, other in zip((found.content, *found.styles), pictures, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(finish(content, content, found.palette, colors=ColorTransfer()), content)


def test_the_palette_is_that_of_the_cropped_paintings_with_a_share(pictures):
    content, one, other = pictures
    found = recolor(content, [one, other], colors=ColorTransfer(palette=1.0), shares=[1.0, 0.0], margin=0.25)
    palette = color.find_palette(one[:, 7:-7, 7:-7])
    np.testing.assert_allclose(found.palette.mean, palette.mean, atol=1e-12)
    np.testing.assert_allclose(found.content, color.match_colors(content, palette, strength=1.0), atol=1e-6)
    np.testing.assert_array_equal(found.styles[0], one)
    np.testing.assert_allclose(found.styles[1], color.match_colors(other, palette, strength=1.0), atol=1e-6)


def test_each_painting_is_recolored_to_the_photograph(pictures):
    content, *styles = pictures
    colors = ColorTransfer(color="content", color_strength=0.5, palette=0.4)
    found = recolor(content, styles, colors=colors, shares=[0.5, 0.5], margin=0.0)
    for style, recolored in zip(styles, found.styles, strict=True):
        np.testing.assert_allclose(recolored, color.match_chroma(style, content, strength=0.5), atol=1e-6)
    last = finish(content[:, ::-1], content, found.palette, colors=colors)
    broad = color.finish_colors(content[:, ::-1], found.palette, strength=0.4)
    np.testing.assert_allclose(last, color.keep_colors(broad, content, strength=0.5), atol=1e-6)
