"""Image → image: keep the photograph's colours."""

from __future__ import annotations

from tfstyle.environment import tf

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


def luma(image: tf.Tensor) -> tf.Tensor:
    """How light each pixel is, [batch, height, width, 1] in [0, 1]."""
    return tf.reduce_sum(image * tf.constant(LUMA, image.dtype), axis=-1, keepdims=True)


def keep_colors(image: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """The image's light and dark with the photograph's colours.

    The luma is the image's and both colour differences (U and V) are the photograph's, which comes to adding the
    difference of luma to the photograph.

    Args:
        image, content: float32 [batch, height, width, 3] in [0, 1], of one size.

    Returns:
        A tensor of the same shape in [0, 1]; what falls outside is cut off.

    References:
        Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer (2016), section 3.2.
    """
    image, content = tf.convert_to_tensor(image), tf.convert_to_tensor(content)
    return tf.clip_by_value(content + luma(image) - luma(content), 0.0, 1.0)
