"""Colors of images: kept, or moved to those of another image.

Colors are moved in OKLab, computed from linear light, where equal distances look about equally large: L is lightness,
from 0 (black) to 1 (white), a is green to red and b is blue to yellow.

References:
    Ottosson: A perceptual color space for image processing (2020), for OKLab and its matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfstyle.environment import tf

NOISE = 0.002
"""Standard deviation in OKLab up to which a variation counts as noise: twice that of rounding to 8 bits."""

MAX_GAIN = 4.0
"""Largest factor by which a map of colors stretches a variation, and with it a photograph's noise."""

MIN_CONTRAST = 0.25
"""Least share of an image's contrast that `match_chroma` keeps."""

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
"""Linear sRGB → responses of the three kinds of cones."""

_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
"""Cube roots of these responses → L, a, b."""


def to_linear(image: tf.Tensor) -> tf.Tensor:
    """Converts sRGB [..., 3] to linear light; the line near black is continued below 0."""
    curve = ((tf.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4
    return tf.where(image <= 0.04045, image / 12.92, curve)


def from_linear(light: tf.Tensor) -> tf.Tensor:
    """Converts linear light [..., 3] to sRGB, the inverse of `to_linear`."""
    curve = 1.055 * tf.maximum(light, 0.0031308) ** (1.0 / 2.4) - 0.055
    return tf.where(light <= 0.0031308, light * 12.92, curve)


def to_oklab(light: tf.Tensor) -> tf.Tensor:
    """Converts linear light [..., 3] to OKLab; colors outside the sRGB gamut may have negative values."""
    cones = _transform(light, _TO_CONES)
    return _transform(tf.sign(cones) * tf.abs(cones) ** (1.0 / 3.0), _TO_LAB)


def from_oklab(lab: tf.Tensor) -> tf.Tensor:
    """Converts OKLab [..., 3] to linear light, the inverse of `to_oklab`."""
    return _transform(_transform(lab, np.linalg.inv(_TO_LAB)) ** 3, np.linalg.inv(_TO_CONES))


def _transform(colors: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Multiplies each color [..., 3] by a matrix."""
    product: tf.Tensor = tf.tensordot(colors, tf.constant(matrix.T, colors.dtype), axes=1)
    return product


class Palette(NamedTuple):
    """The colors of an image in OKLab.

    Attributes:
        mean: float64 [batch, 1, 1, 3].
        covariance: float64 [batch, 3, 3].
    """

    mean: tf.Tensor
    covariance: tf.Tensor


def find_palette(image: tf.Tensor, *, mask: tf.Tensor | None = None) -> Palette:
    """Computes the palette of an image [batch, height, width, 3], sRGB, in [0, 1]; with a mask, that of its part."""
    return _moments(_to_lab(image), mask)


def mix_palettes(palettes: Sequence[Palette], shares: Sequence[float]) -> Palette:
    """Returns the palette of images put side by side, each with its share of the area; the shares sum to 1."""
    means, covariances = (tf.stack(parts) for parts in zip(*palettes, strict=True))
    factors = tf.constant(shares, means.dtype)
    mean = tf.tensordot(factors, means, axes=1)
    apart = (means - mean)[:, :, 0, 0]
    spread = covariances + apart[..., :, None] * apart[..., None, :]
    return Palette(mean, tf.tensordot(factors, spread, axes=1))


def keep_colors(image: tf.Tensor, content: tf.Tensor, *, strength: float | tf.Tensor) -> tf.Tensor:
    """Brings back the colors of the content image: a and b of OKLab become its own, and lightness stays the image's.

    Args:
        image, content: float32 [batch, height, width, 3], sRGB, in [0, 1], of equal size.
        strength: share of the way, 0 to 1, in OKLab.

    Returns:
        float32 tensor of the same shape in [0, 1]: colors outside the sRGB gamut lose chroma, not lightness or hue.
        With strength 0, the image itself.

    References:
        Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer (2016), section 3.2, in
        YIQ, whose luma changes with the hue.
    """
    strength = tf.cast(strength, tf.float64)
    lightness, chroma = tf.split(_to_lab(image), [1, 2], axis=-1)
    _, own = tf.split(_to_lab(content), [1, 2], axis=-1)
    lab = _into_gamut(tf.concat([lightness, chroma + strength * (own - chroma)], axis=-1))
    return _from_lab(lab, image, strength=strength)


def recolor_style(style: Any, content: Any, *, color: str, strength: float) -> Any:
    """Gives the style image the colors of the content image, as `recipes.ColorTransfer` asks for it.

    Args:
        style, content: float32 [1, height, width, 3], sRGB, in [0, 1], of any sizes.
        color: "style" returns the style image itself, "histogram" matches the histogram of each channel, "content" and
            "match" use `match_chroma`.
        strength: share of the way, 0 to 1.

    References:
        Gatys, Bethge, Hertzmann, Shechtman (2016), section 3.1.
    """
    if color == "style":
        return style
    if color == "histogram":
        return match_histograms(style, content, strength=strength)
    return match_chroma(style, content, strength=strength)


def match_colors(
    image: tf.Tensor, target: Palette, *, strength: float | tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Moves the colors of an image to a palette: mean and covariance of its pixels in OKLab become the palette's.

    Of all maps that do so for normal distributions, this linear one moves colors least, so that no hues are swapped. A
    variation is stretched `MAX_GAIN` times at most. If image or palette have fewer than three dimensions of color (a
    drawing, a single color), so that in some direction its colors deviate by no more than `NOISE`, only
    the mean and standard deviation of each of L, a and b are moved, and noise is never stretched. A target of a single
    color leaves nothing but that color.

    Args:
        image: float32 [batch, height, width, 3], sRGB, in [0, 1].
        target: the palette, of the same batch or one for all.
        strength: share of the way, 0 to 1, in OKLab.
        mask: float32 [1, height, width, 1] in [0, 1], the part of the image that is moved; None moves all of it.

    Returns:
        float32 tensor of the shape of `image` in [0, 1]: colors outside the sRGB gamut are clipped, so that mean and
        covariance are only approached where there are any. With strength 0, the image itself.

    References:
        Pitié, Kokaram: The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer (2007).
    """
    lab, strength = _to_lab(image), tf.cast(strength, tf.float64)
    share = strength if mask is None else strength * tf.cast(mask, tf.float64)
    moved = lab + share * (_monge_map(lab, target, mask=mask) - lab)
    return _from_lab(moved, image, strength=strength)


def match_chroma(image: tf.Tensor, target: tf.Tensor, *, strength: float | tf.Tensor) -> tf.Tensor:
    """Moves colors to those of another image like `match_colors`, but scales lightness between `MIN_CONTRAST` and 1.

    Strokes would vanish in the colors of an even content image, and crackle in those of one with more contrast than
    the painting.

    Args:
        image, strength: as for `match_colors`.
        target: an image like `image`, of any size.
    """
    lab, strength = _to_lab(image), tf.cast(strength, tf.float64)
    moved = _monge_map(lab, find_palette(target))
    (own, _), (lightness, chroma) = (tf.split(part, [1, 2], axis=-1) for part in (lab, moved))
    mean, variance = tf.nn.moments(own, (1, 2), keepdims=True)
    new_mean, new_variance = tf.nn.moments(lightness, (1, 2), keepdims=True)
    contrast = tf.clip_by_value(tf.sqrt(new_variance / tf.maximum(variance, NOISE**2)), MIN_CONTRAST, 1.0)
    moved = tf.concat([new_mean + contrast * (own - mean), chroma], axis=-1)
    return _from_lab(lab + strength * (moved - lab), image, strength=strength)


def match_histograms(image: Any, target: Any, *, strength: float) -> tf.Tensor:
    """Matches the histogram of each channel of an image to that of another, in sRGB.

    Args:
        image, target: float32 [1, height, width, 3], sRGB, in [0, 1], of any sizes.
        strength: share of the way, 0 to 1.

    Returns:
        float32 tensor of the shape of `image` in [0, 1].

    References:
        Gonzalez, Woods: Digital Image Processing (2002), section 3.3.2.
    """
    image, target = np.asarray(image), np.asarray(target)
    matched = np.empty_like(image)
    for channel in range(image.shape[-1]):
        _, where, counts = np.unique(image[..., channel], return_inverse=True, return_counts=True)
        wanted, wanted_counts = np.unique(target[..., channel], return_counts=True)
        shares, wanted_shares = (np.cumsum(count) / count.sum() for count in (counts, wanted_counts))
        matched[..., channel] = np.interp(shares, wanted_shares, wanted)[where.reshape(image.shape[:-1])]
    return tf.constant(image + np.float32(strength) * (matched - image))


def finish_colors(
    image: tf.Tensor, target: Palette, *, strength: float | tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Moves the broad colors of a result to the palette of the style, and keeps lightness and strokes.

    Only a and b of OKLab are changed, and only their low band: blurred with a standard deviation of 1/64 of the longer
    side, they are mapped as in `match_colors`, by the map from a and b of all pixels to those of the palette. The
    finer variation of a and b, the color of single strokes, and all of L remain.

    Args:
        image, target, strength, mask: as for `match_colors`.

    Returns:
        float32 tensor of the shape of `image` in [0, 1]. With strength 0, the image itself.
    """
    lab, strength = _to_lab(image), tf.cast(strength, tf.float64)
    lightness, chroma = tf.split(lab, [1, 2], axis=-1)
    wanted = Palette(target.mean[:, :, :, 1:], target.covariance[:, 1:, 1:])
    low = blur(chroma, tf.reduce_max(tf.shape(lab)[1:3]) / 64)
    share = strength if mask is None else strength * tf.cast(mask, tf.float64)
    chroma += share * (_monge_map(chroma, wanted, colors=low, mask=mask) - low)
    return _from_lab(tf.concat([lightness, chroma], axis=-1), image, strength=strength)


def _into_gamut(lab: tf.Tensor) -> tf.Tensor:
    """Shortens a and b of colors outside the sRGB gamut, by bisection, until they are inside; L stays."""
    lightness, chroma = tf.split(lab, [1, 2], axis=-1)
    lightness = tf.clip_by_value(lightness, 0.0, 1.0)

    def is_inside(share: tf.Tensor) -> tf.Tensor:
        light = from_oklab(tf.concat([lightness, share * chroma], axis=-1))
        found: tf.Tensor = tf.reduce_all((light >= -1e-6) & (light <= 1.0 + 1e-6), axis=-1, keepdims=True)
        return found

    high = tf.ones_like(lightness)
    low = tf.cast(is_inside(high), high.dtype)  # 1 stays 1.
    for _ in range(10):
        middle = 0.5 * (low + high)
        fits = is_inside(middle)
        low, high = tf.where(fits, middle, low), tf.where(fits, high, middle)
    inside: tf.Tensor = tf.concat([lightness, low * chroma], axis=-1)
    return inside


def _to_lab(image: tf.Tensor) -> tf.Tensor:
    """Converts sRGB to OKLab in float64: in float32, dark colors come back from OKLab with errors above 1e-5."""
    return to_oklab(to_linear(tf.cast(image, tf.float64)))


def _from_lab(lab: tf.Tensor, image: tf.Tensor, *, strength: tf.Tensor) -> tf.Tensor:
    """Converts OKLab to sRGB clipped to [0, 1]; returns the image unchanged if the strength is 0."""
    clipped = tf.clip_by_value(from_linear(from_oklab(lab)), 0.0, 1.0)
    found: tf.Tensor = tf.where(strength > 0.0, tf.cast(clipped, tf.float32), image)
    return found


def blur(image: tf.Tensor, sigma: float | tf.Tensor) -> tf.Tensor:
    """Blurs an image with a Gaussian, whose part inside the image is normalized: an even image stays even.

    Args:
        image: [batch, height, width, channels].
        sigma: standard deviation of the Gaussian, in pixels.
    """
    rows, columns = (_gaussian_matrix(tf.shape(image)[axis], tf.cast(sigma, image.dtype)) for axis in (1, 2))
    blurred: tf.Tensor = tf.einsum("lk,bikc->bilc", columns, tf.einsum("ij,bjkc->bikc", rows, image))
    return blurred


def _gaussian_matrix(count: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Makes the matrix [count, count] that blurs a column of that many pixels."""
    places = tf.range(tf.cast(count, sigma.dtype))
    weights = tf.exp(-0.5 * ((places[:, None] - places) / sigma) ** 2)
    normalized: tf.Tensor = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    return normalized


def _monge_map(
    source: tf.Tensor, target: Palette, *, colors: tf.Tensor | None = None, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Maps colors [batch, height, width, n] by `_monge_matrix` and the means; None maps those of the source."""
    mean, covariance = _moments(source, mask)
    matrix = _monge_matrix(covariance, target.covariance)[:, None]
    return ((source if colors is None else colors) - mean) @ matrix + target.mean


def _moments(image: tf.Tensor, mask: tf.Tensor | None = None) -> Palette:
    """Computes mean [batch, 1, 1, n] and covariance [batch, n, n] of an image's pixels, or of those of a mask."""
    if mask is not None:
        weights = tf.cast(mask, image.dtype) / tf.maximum(tf.reduce_sum(tf.cast(mask, image.dtype)), 1e-12)
        mean = tf.reduce_sum(weights * image, axis=(1, 2), keepdims=True)
        return Palette(mean, tf.einsum("bijm,bijn->bmn", weights * (image - mean), image - mean))
    mean = tf.reduce_mean(image, axis=(1, 2), keepdims=True)
    count = tf.cast(tf.reduce_prod(tf.shape(image)[1:3]), image.dtype)
    return Palette(mean, tf.einsum("bijm,bijn->bmn", image - mean, image - mean) / count)


def _monge_matrix(covariance: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Computes the symmetric matrix that maps colors of one covariance to another: Σ^-½ (Σ^½ Σ' Σ^½)^½ Σ^-½.

    1e-4 of its trace is added to the diagonal of each, so that thin directions are not fitted to the last digit.

    Args:
        covariance, target: [batch, n, n].
    """
    smallest = tf.minimum(*(tf.linalg.eigvalsh(matrix)[..., 0] for matrix in (covariance, target)))
    deviation, wanted = (tf.sqrt(tf.linalg.diag_part(matrix)) for matrix in (covariance, target))
    limit = tf.where(deviation > NOISE, MAX_GAIN * tf.ones_like(deviation), 1.0)
    gain = tf.minimum(wanted / tf.maximum(deviation, 1e-12), limit)
    covariance, target = _with_ridge(covariance), _with_ridge(target)
    root = _map_eigenvalues(covariance, tf.sqrt)
    inverse = tf.linalg.inv(root)
    matrix = inverse @ _map_eigenvalues(root @ target @ root, tf.sqrt) @ inverse
    matrix = _map_eigenvalues(matrix, lambda gains: tf.minimum(gains, MAX_GAIN))
    return tf.where((smallest > NOISE**2)[:, None, None], matrix, tf.linalg.diag(gain))


def _with_ridge(covariance: tf.Tensor) -> tf.Tensor:
    """Adds 1e-4 of the trace of a covariance [batch, n, n] to its diagonal, and enough to invert that of one color."""
    ridge = 1e-4 * tf.linalg.trace(covariance) + 1e-12
    return tf.linalg.set_diag(covariance, tf.linalg.diag_part(covariance) + ridge[:, None])


def _map_eigenvalues(matrix: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Applies a function to the eigenvalues of symmetric positive definite matrices [batch, n, n]."""
    values, axes = tf.linalg.eigh(matrix)
    mapped: tf.Tensor = tf.matmul(axes * function(values)[:, None], axes, transpose_b=True)
    return mapped
