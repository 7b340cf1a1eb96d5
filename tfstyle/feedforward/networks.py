"""Image → image in one pass: AdaIN's encoder and decoder."""

from __future__ import annotations

from tfstyle import moments, vgg, weights
from tfstyle.environment import tf

ADAIN_LAYER = "block4_conv1"
"""The layer whose features AdaIN decodes."""

_UPSAMPLED_BEFORE = ("decoder_conv2", "decoder_conv6", "decoder_conv8")
"""Convolutions of the decoder in front of which the features are doubled, mirroring the encoder's pools."""


def adaptive_instance_normalisation(features: tf.Tensor, style: moments.Moments) -> tf.Tensor:
    """Gives each channel the style's mean and deviation.

    Args:
        features: [batch, height, width, channels], of the photograph.
        style: moments of the painting's features.

    Returns:
        A tensor of the features' shape.

    References:
        Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017), eq. 8.
    """
    own, target = (moments.mean_deviation(sums)[:, :, None, None] for sums in (moments.moments(features), style))
    return (features - own[:, 0]) / own[:, 1] * target[:, 1] + target[:, 0]


def decode(features: tf.Tensor, arrays: weights.Arrays) -> tf.Tensor:
    """Paints an image from features of `ADAIN_LAYER`.

    Nine 3x3 convolutions with reflection padding, ReLU after all but the last, and nearest-neighbour doubling in front
    of the second, sixth and eighth.

    Args:
        features: [batch, height, width, 512].
        arrays: kernels [3, 3, in, out] and biases, as `weights.read_embedded("adain-decoder")` returns them.

    Returns:
        [batch, 8 height, 8 width, 3], sRGB, nearly in [0, 1].
    """
    names = [name.removesuffix(".kernel") for name in arrays if name.endswith(".kernel")]
    for name in names:
        if name in _UPSAMPLED_BEFORE:
            features = tf.repeat(tf.repeat(features, 2, axis=1), 2, axis=2)
        padded = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        features = tf.nn.conv2d(padded, arrays[f"{name}.kernel"], 1, "VALID") + arrays[f"{name}.bias"]
        if name != names[-1]:
            features = tf.nn.relu(features)
    return features


class AdaIN:
    """Arbitrary style in one pass, with the embedded encoder and decoder.

    Call it on a photograph and a painting, float32 [1, height, width, 3] in [0, 1] each; it returns the photograph in
    the painting's manner, of the photograph's size, in [0, 1].

    References:
        Huang, Belongie (ICCV 2017), section 5; weights as in NOTICE.
    """

    def __init__(self) -> None:
        self._encoder = vgg.load_vgg([ADAIN_LAYER], edge="reflect")
        self._decoder = weights.read_embedded("adain-decoder")
        any_size = tf.TensorSpec([1, None, None, 3])
        self._paint = tf.function(self._paint_padded, input_signature=[any_size, any_size])

    def __call__(self, content: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
        """Paints; see the class.

        Raises:
            InputError: if a picture is too small for the encoder.
        """
        self._encoder.check_size(content, "the content")
        self._encoder.check_size(style, "the style")
        height, width = content.shape[1:3]
        rows, columns = -height % 8, -width % 8  # The encoder's pools leave a remainder out; it is mirrored instead.
        padded = tf.pad(content, [[0, 0], [0, rows], [0, columns], [0, 0]], "SYMMETRIC")
        return tf.clip_by_value(self._paint(padded, style)[:, :height, :width], 0.0, 1.0)

    def _paint_padded(self, content: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
        features = self._encoder(content)[ADAIN_LAYER]
        target = moments.moments(self._encoder(style)[ADAIN_LAYER])
        return decode(adaptive_instance_normalisation(features, target), self._decoder)
