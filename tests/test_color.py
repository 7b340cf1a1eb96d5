"""Colors kept, against TensorFlow's own YUV."""

import numpy as np
import tensorflow as tf
from conftest import image

from tfstyle import color


def test_luma_is_tensorflows(rng):
    picture = image(rng)
    np.testing.assert_allclose(color.luma(tf.constant(picture)), tf.image.rgb_to_yuv(picture)[..., :1], atol=1e-5)


def test_light_is_the_images_and_color_the_photographs(rng):
    painted, photograph = 0.4 + 0.2 * image(rng), 0.4 + 0.2 * image(rng)  # Far from 0 and 1: nothing is cut off.
    found, own, other = (tf.image.rgb_to_yuv(p) for p in (color.keep_colors(painted, photograph), painted, photograph))
    np.testing.assert_allclose(found[..., :1], own[..., :1], atol=1e-4)
    np.testing.assert_allclose(found[..., 1:], other[..., 1:], atol=1e-4)


def test_a_gray_pixel_worked_by_hand():
    red, gray = np.array([[[[0.6, 0.2, 0.2]]]], "float32"), np.full((1, 1, 1, 3), 0.5, "float32")
    # Luma of the red pixel: 0.2 + 0.299 * 0.4 = 0.3196; 0.5 - 0.3196 is added to it.
    np.testing.assert_allclose(color.keep_colors(gray, red)[0, 0, 0], [0.7804, 0.3804, 0.3804], rtol=1e-5)


def test_an_image_keeps_its_own_colors(rng):
    picture = image(rng)
    np.testing.assert_allclose(color.keep_colors(picture, picture), picture, atol=1e-6)
