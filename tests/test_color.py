"""Colors of the content image kept, against TensorFlow's YUV and by hand."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import image

from tfstyle import color


def test_luma_is_the_images_and_color_differences_are_the_contents(rng):
    stylized, content = 0.4 + 0.2 * image(rng), 0.4 + 0.2 * image(rng)  # Far from 0 and 1: nothing is clipped.
    found, own, other = (tf.image.rgb_to_yuv(p) for p in (color.keep_colors(stylized, content), stylized, content))
    np.testing.assert_allclose(found[..., :1], own[..., :1], atol=1e-4)
    np.testing.assert_allclose(found[..., 1:], other[..., 1:], atol=1e-4)


@pytest.mark.parametrize(("channel", "weight"), [(0, 0.299), (1, 0.587), (2, 0.114)])
def test_the_weights_of_luma_are_those_of_bt_601(channel, weight):
    stylized, content = np.zeros((1, 2, 3, 3), "float32"), np.full((1, 2, 3, 3), 0.25, "float32")
    stylized[..., channel] = 1.0  # Its luma is the weight of the channel.
    np.testing.assert_allclose(color.keep_colors(stylized, content), np.full((1, 2, 3, 3), weight), rtol=1e-5)


def test_a_gray_pixel_worked_by_hand():
    red, gray = np.array([[[[0.6, 0.2, 0.2]]]], "float32"), np.full((1, 1, 1, 3), 0.5, "float32")
    # Luma of the red pixel: 0.2 + 0.299 * 0.4 = 0.3196; 0.5 - 0.3196 is added to it.
    np.testing.assert_allclose(color.keep_colors(gray, red)[0, 0, 0], [0.7804, 0.3804, 0.3804], rtol=1e-5)


def test_values_outside_the_range_are_clipped():
    blue, white = np.array([[[[0.0, 0.0, 1.0]]]], "float32"), np.ones((1, 1, 1, 3), "float32")
    # Luma 0.114 is raised to 1: 0.886 is added to each channel, and blue would be 1.886.
    np.testing.assert_allclose(color.keep_colors(white, blue)[0, 0, 0], [0.886, 0.886, 1.0], rtol=1e-5)


def test_an_image_keeps_its_own_colors(rng):
    picture = image(rng)
    np.testing.assert_allclose(color.keep_colors(picture, picture), picture, atol=1e-6)
