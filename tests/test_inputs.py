"""The pictures of a run: read once, at the sizes at which the finest level uses them."""

import dataclasses

import numpy as np
import pytest
from conftest import image, mini_recipe

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.inputs import read_inputs
from tfstyle.recipes import parts
from tfstyle.recipes.recipe import replace
from tfstyle.styles import Style, as_styles


def read(content, styles, *, recipe=None, enlarge=False, protect=None):
    return read_inputs(
        content,
        as_styles(styles),
        recipe=recipe or mini_recipe(size=0),
        enlarge=enlarge,
        background="white",
        protect=protect,
        feather=0.0,
    )


@pytest.mark.parametrize(
    ("size", "enlarge", "expected"),
    [(0, False, (60, 90)), (45, False, (30, 45)), (180, False, (60, 90)), (180, True, (120, 180))],
)
def test_a_content_image_is_enlarged_only_if_asked(pair, size, enlarge, expected):
    inputs = read(*pair, recipe=mini_recipe(size=size), enlarge=enlarge)
    content, _ = inputs.scale()
    assert inputs.size == expected == tuple(content.shape[1:3])


@pytest.mark.parametrize(("style_enlarge", "expected"), [(True, (64, 90)), (False, (50, 70))])
def test_a_style_image_has_the_size_that_belongs_to_the_result(style_enlarge, expected, pair, monkeypatch):
    """Of 50x70 pixels, beside a result of 60x90: as long as that, times its own scale."""
    monkeypatch.setattr(parts, "ENOUGH_PAINT", 32)
    styles = [Style(pair[1], scale=scale) for scale in (1.0, 0.6)]
    inputs = read(pair[0], styles, recipe=mini_recipe(size=0, style_enlarge=style_enlarge))
    assert inputs.style_sides == [90, 54]
    assert [each.size for each in inputs.styles] == [expected, (39, 54)]
    _, scaled = inputs.scale()
    assert [tuple(style.picture.shape[1:3]) for style in scaled] == [expected, (39, 54)]
    np.testing.assert_allclose(scaled[1].picture, images.resize(images.read(pair[1]).image, 39, 54), atol=1e-6)


def test_alpha_and_masks_are_as_large_as_their_pictures(tmp_path, rng, pair):
    alpha = tmp_path / "alpha.png"
    images.write(image(rng, 60, 90), alpha, alpha=np.float32(rng.uniform(size=(1, 60, 90, 1))))
    left = np.zeros((25, 35), "float32")
    left[:, :17] = 1.0
    inputs = read(str(alpha), [dataclasses.replace(as_styles(pair[1])[0], style_mask=left)])
    _, (style,) = inputs.scale()
    assert style.style_mask.shape[1:3] == style.picture.shape[1:3] == (64, 90)
    assert inputs.scale_alpha().shape == (1, 60, 90, 1)
    assert read(*pair).scale_alpha() is None


def test_a_run_starts_from_a_picture_or_a_network(pair):
    assert read(*pair).init is None
    start = read(*pair, recipe=mini_recipe(size=0, init=pair[1])).init
    np.testing.assert_array_equal(start, images.read(pair[1]).image)
    assert callable(read(*pair, recipe=mini_recipe(size=0, init="adain")).init)


def test_a_picture_too_small_for_the_network_is_named_with_a_sufficient_size(pair):
    deep = replace(mini_recipe(size=0), {"content_layers": ("block5_conv1",)})
    with pytest.raises(InputError, match=r"photo: 90x60 is too small at 15x10: .* choose a `size` of 24 or more"):
        read(*pair, recipe=replace(deep, {"size": 15}))
