"""Images of the levels of a pyramid."""

import numpy as np
from conftest import image

from tfstyle import images, levels


def test_a_margin_is_a_fraction_of_the_short_side(rng):
    whole = image(rng, 50, 80)
    np.testing.assert_array_equal(levels.crop(whole, 0.1), whole[:, 5:45, 5:75])
    assert levels.crop(whole, 0.0).shape == whole.shape


def test_a_scale_is_a_factor_of_the_long_side(rng):
    assert levels.scale(image(rng, 50, 80), 0.5).shape == (1, 25, 40, 3)


def test_an_image_is_given_what_its_size_cannot_hold(rng):
    content = image(rng, 66, 94)
    reduced = images.resize(content, 33, 47)
    lost = levels.lost_detail(content, (33, 47))
    np.testing.assert_allclose(levels.add_detail(reduced, lost), content, atol=1e-6)
    plain = np.full([1, 33, 47, 3], 0.25, "float32")
    expected = 0.25 + content - images.resize(reduced, 66, 94)
    np.testing.assert_allclose(levels.add_detail(plain, lost), expected, atol=1e-6)


def test_the_stronger_detail_is_chosen_pixel_by_pixel():
    plain = np.full([1, 1, 1, 3], 0.5, "float32")
    first = np.float32([[[[0.1, 0.0, 0.0], [0.1, 0.1, 0.1]]]])
    second = np.float32([[[[-0.2, 0.0, 0.0], [0.1, -0.1, 0.0]]]])
    expected = [[[[0.3, 0.5, 0.5], [0.6, 0.6, 0.6]]]]
    np.testing.assert_allclose(levels.add_detail(plain, first, second), expected, atol=1e-6)
    np.testing.assert_allclose(levels.add_detail(plain, second, first), expected, atol=1e-6)
