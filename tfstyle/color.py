"""Keeps the colors of the content image: takes only the luma from the stylized image."""

from __future__ import annotations

from tfstyle.environment import tf


def keep_colors(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Combines the luma Y of an image with the color differences U and V of the content image.

    Because YUV is linear in RGB, this adds the difference of luma to each channel of the content image.

    Args:
        image, content: float32 [batch, height, width, 3], sRGB, in [0, 1], of equal size.

    Returns:
        float32 tensor of the same shape in [0, 1]; values outside are clipped.

    References:
        Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer (2016), section 3.2.
    """
    image, content = tf.convert_to_tensor(image), tf.convert_to_tensor(content)
    luma, content_luma = (tf.image.rgb_to_yuv(picture)[..., :1] for picture in (image, content))
    return tf.clip_by_value(content + luma - content_luma, 0.0, 1.0)
