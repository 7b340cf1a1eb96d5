"""Converts images to the range and channel order of pixels that networks were trained on, and back.

This is the only module that handles BGR, 0-255 and mean pixels; everywhere else an image is float32 [batch, height,
width, 3], sRGB, in [0, 1].
"""

from __future__ import annotations

from tfstyle.environment import tf

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean ImageNet pixel of the Caffe networks, 0-255 (Simonyan & Zisserman's model card; Keras uses the same)."""

TORCH_MEAN = (0.485, 0.456, 0.406)
"""Mean ImageNet pixel of torchvision's networks, RGB, 0-1 (torchvision's documentation)."""

TORCH_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet pixels, RGB, 0-1 (torchvision's documentation)."""

_SPACES = {"unit": "none", "torch": "torch", "caffe": "keras"}


def scale_pixels(image: tf.Tensor, input_scale: str) -> tf.Tensor:
    """Converts pixels to the range and channel order a network was trained on.

    Args:
        image: float32 [batch, height, width, 3] in [0, 1].
        input_scale: "keras" (BGR, 0-255, minus the mean pixel), "torch" (RGB, minus the mean, divided by the standard
            deviation) or "none" (unchanged).

    Returns:
        A tensor of the same shape.
    """
    image = tf.convert_to_tensor(image)
    if input_scale == "keras":
        bgr = image[..., ::-1]  # type: ignore[index]  # The stubs lack `...`.
        return bgr * 255.0 - tf.constant(CAFFE_MEAN_BGR, image.dtype)
    if input_scale == "torch":
        return (image - tf.constant(TORCH_MEAN, image.dtype)) / tf.constant(TORCH_STD, image.dtype)
    return image


def unscale_pixels(pixels: tf.Tensor, input_scale: str) -> tf.Tensor:
    """Inverts `scale_pixels`."""
    if input_scale == "keras":
        shifted = (pixels + tf.constant(CAFFE_MEAN_BGR, pixels.dtype)) / 255.0
        return shifted[..., ::-1]  # type: ignore[index]  # The stubs lack `...`.
    if input_scale == "torch":
        return pixels * tf.constant(TORCH_STD, pixels.dtype) + tf.constant(TORCH_MEAN, pixels.dtype)
    return pixels


def to_space(image: tf.Tensor, space: str) -> tf.Tensor:
    """Converts an sRGB image in [0, 1] to a recipe's space: "unit", "torch" or "caffe"."""
    return scale_pixels(image, _SPACES[space])


def from_space(variable: tf.Tensor, space: str) -> tf.Tensor:
    """Converts an image in a recipe's space to sRGB, in [0, 1] if the recipe clips."""
    return unscale_pixels(variable, _SPACES[space])
