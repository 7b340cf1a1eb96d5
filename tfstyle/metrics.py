"""Quality metrics of a result: its distance from the style image in style, and from the content image in content.

The metrics do not depend on how the result was made, and no recipe minimizes the sliced Wasserstein distance. Errors
and distances are relative: 0 for equal features, about 1 for an image without features. Further figures tell whether
there is too much grain, and whether the style image's parts are where the content image has their like.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfstyle import images, statistics
from tfstyle.color import blur
from tfstyle.environment import tf
from tfstyle.statistics import sufficient_statistics
from tfstyle.tensors import sides
from tfstyle.vgg import VGG
from tfstyle.vgg19 import STYLE_LAYERS

CONTENT_LAYER = "block4_conv2"
"""Layer whose features are compared for content."""

MATCHING_LAYER = "block4_conv1"
"""Style layer in which positions of the content image are matched with positions of the style image."""

_MATCHING_SIZE, _SHORT_SIDE = 256, 16

LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)
"""Layers that the network given to `compare` must return."""

_DIRECTIONS = 128
_QUANTILES = (np.arange(1024) + 0.5) / 1024
"""The ranks, in [0, 1], at which distributions are compared."""
_FLAT_SHARE = 0.2
"""Share of the pixels that counts as flat for `grain`."""
_MATCHES_AT_ONCE = 2**23
"""Largest number of pairs of positions that are compared at a time; 32 MB, held a few times over."""


class Scores(NamedTuple):
    """Figures of a result.

    Distances, of which lower is better, are `gram` to `content`; of `ssim` and `semantic`, higher is better. `grain`
    is best from about 0.5 to 1.1, and `matched_share` does not depend on the result.

    Attributes:
        gram: relative error of the Gram matrices, ‖G − G'‖ / ‖G'‖ with G' of the style image, averaged over the five
            style layers.
        moments: relative error of the means and standard deviations of the channels, averaged over the same layers.
        sliced_wasserstein: `sliced_wasserstein` of the features, averaged over the same layers.
        colors: `sliced_wasserstein` of the RGB values.
        content: relative error of the features of the content image at block4_conv2.
        ssim: structural similarity (SSIM) to the content image, at most 1, for equal images.
        grain: `grain` where the content image is flat; above about 1.5, such regions look engraved.
        matched_share: share of the style image that the content image has use for, as `match_positions` finds it; at
            most 1. It was 0.45 to 0.79 for 25 pairs of photographs and paintings at 256 pixels, and least for people
            who have no place beside a statue before an empty sky.
        semantic: how far each position looks like the parts of the style image that resemble the content image there,
            as `match_positions` finds it; at most 1. A content image without any style scores high, so compare it
            between results of similar style distances.
    """

    gram: float
    moments: float
    sliced_wasserstein: float
    colors: float
    content: float
    ssim: float
    grain: float
    matched_share: float
    semantic: float


def compare(network: VGG, content: Any, style: Any, result: Any) -> Scores:
    """Measures a result of style transfer, made by any program.

    Args:
        network: a network that returns `LAYERS`.
        content, style, result: images float32 [1, height, width, 3], sRGB, in [0, 1], of any sizes. The content image
            is resized to the size of the result; the style image to the same length of the longer side.

    Returns:
        The `Scores`.

    Raises:
        InputError: if the result or the resized style image is too small for the network.
    """
    height, width = sides(result)
    content = images.resize(content, height, width)
    style = images.fit(style, max(height, width))
    result = tf.convert_to_tensor(result, tf.float32)
    for what, image in (("the result", result), ("the style image", style)):
        network.check_size(image, what)
    features, content_features, style_features = (network(image) for image in (result, content, style))
    pairs = [(features[layer], style_features[layer]) for layer in STYLE_LAYERS]
    matched_share, semantic = match_positions(
        *(found[MATCHING_LAYER] for found in (content_features, style_features, features))
    )
    sums = [(sufficient_statistics(found), sufficient_statistics(wanted)) for found, wanted in pairs]
    return Scores(
        gram=_mean(relative_error(statistics.gram(a), statistics.gram(b)) for a, b in sums),
        moments=_mean(relative_error(statistics.mean_std(a), statistics.mean_std(b)) for a, b in sums),
        sliced_wasserstein=_mean(sliced_wasserstein(found, wanted) for found, wanted in pairs),
        colors=sliced_wasserstein(result, style),
        content=relative_error(features[CONTENT_LAYER], content_features[CONTENT_LAYER]),
        ssim=float(tf.image.ssim(result, content, 1.0)[0]),
        grain=grain(content, style, result),
        matched_share=matched_share,
        semantic=semantic,
    )


def _mean(values: Any) -> float:
    """Computes the mean of an iterable of numbers."""
    return float(np.mean(list(values)))


def relative_error(value: Any, target: Any) -> float:
    """Computes ‖value − target‖ / ‖target‖ with the Euclidean norm over all entries."""
    value, target = np.asarray(value, np.float64), np.asarray(target, np.float64)
    return float(np.linalg.norm(value - target)) / max(float(np.linalg.norm(target)), 1e-12)


def sliced_wasserstein(features: Any, target: Any, *, directions: int = _DIRECTIONS, seed: int = 0) -> float:
    """Computes the sliced Wasserstein distance between the distributions of two sets of feature vectors.

    Both sets are projected on random unit directions. Along each direction, the one-dimensional Wasserstein distance is
    the mean difference between sorted values, computed from 1024 quantiles. Order and number of vectors do not matter.

    Args:
        features, target: float [1, height, width, channels]; heights and widths may differ.
        directions: number of directions.
        seed: seed of the directions.

    Returns:
        The mean distance over all directions, divided by the mean standard deviation of the target's projections; 0 for
        equal distributions.

    References:
        Rabin, Peyré, Delon, Bernot: Wasserstein Barycenter and its Application to Texture Mixing (2011).
    """
    features, target = (np.asarray(f, np.float32).reshape(-1, f.shape[-1]) for f in (features, target))
    axes = np.random.default_rng(seed).normal(size=(features.shape[1], directions)).astype(np.float32)
    axes /= np.linalg.norm(axes, axis=0)
    found, wanted = features @ axes, target @ axes
    distance = np.abs(_quantiles(found) - _quantiles(wanted)).mean()
    return float(distance / max(wanted.std(axis=0).mean(), 1e-12))


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Computes 1024 quantiles of each column, as `numpy.quantile` with method "hazen", in a fifth of its time."""
    ranks = (np.arange(len(values)) + 0.5) / len(values)
    return np.stack([np.interp(_QUANTILES, ranks, column) for column in np.sort(values, axis=0).T])


def grain(content: Any, style: Any, result: Any) -> float:
    """Compares the finest detail of a result, where the content image is flat, with that of the style image.

    The finest detail is the luma minus the luma reduced to half its size and enlarged again, one level of a Laplacian
    pyramid. Flat are the 20 % of the pixels with the smallest gradients of the content image's luma, blurred with a
    standard deviation of 1/128 of the longer side.

    Args:
        content, result: images float32 [1, height, width, 3], sRGB, in [0, 1], of equal size.
        style: the same, of the size at which its style was taken.

    Returns:
        Standard deviation of the result's finest detail on these pixels, over that of the whole style image's.

    References:
        Burt, Adelson: The Laplacian Pyramid as a Compact Image Code (1983).
    """
    smooth = blur(_luma(content), max(sides(content)) / 128.0).numpy()[0, ..., 0]
    steepness = np.hypot(*np.gradient(smooth))
    flat = steepness <= np.quantile(steepness, _FLAT_SHARE)
    return float(np.std(_finest_detail(result)[flat]) / max(np.std(_finest_detail(style)), 1e-12))


def _luma(image: Any) -> tf.Tensor:
    """Computes the luma Y [1, height, width, 1] of an image."""
    luma: tf.Tensor = tf.image.rgb_to_yuv(image)[..., :1]
    return luma


def _finest_detail(image: Any) -> np.ndarray:
    """Computes the finest level of the Laplacian pyramid of an image's luma, [height, width]."""
    luma, (height, width) = _luma(image), sides(image)
    reduced = images.resize(luma, (height + 1) // 2, (width + 1) // 2)
    detail: np.ndarray = (luma - images.resize(reduced, height, width)).numpy()[0, ..., 0]
    return detail


def matched_share(network: VGG, content: Any, style: Any) -> float:
    """Computes the share of the style image that the content image matches, as `match_positions`, at 256 pixels.

    Args:
        network: a network that returns `MATCHING_LAYER`.
        content, style: float32 [1, height, width, 3] in [0, 1].

    Raises:
        InputError: if an image is too small for the network.
    """
    pictures = (images.reduce(image, _MATCHING_SIZE, short_side=_SHORT_SIDE) for image in (content, style))
    of_content, of_style = (network(picture)[MATCHING_LAYER] for picture in pictures)
    return match_positions(of_content, of_style, of_content)[0]


def match_positions(content: Any, style: Any, result: Any, *, temperature: float = 0.05) -> tuple[float, float]:
    """Matches each position of the content image with similar ones of the style image, and examines the matches.

    Features of the content image and of the style image are centered, each by their own mean. Position i of the
    content image gives each position j of the style image a weight w_ij, the softmax over j of the cosines of their
    features divided by `temperature`; a band of positions is compared at a time, so that memory stays bounded.

    Args:
        content, result: features float32 [1, height, width, channels], of equal size.
        style: the same, of any height and width.
        temperature: the lower, the fewer positions of the style image each one of the content image is matched with.

    Returns:
        The matched share: the mean over j of min(1, u_j), where u_j is the sum of w_ij over i, relative to the mean
        over j; 1 if all positions of the style image are used equally, little if few are used.
        The semantic similarity: the mean over i of the cosine between the result's feature and the mean of the style
        image's features with the weights w_ij, both centered by the mean of the style image's; -1 to 1.
    """
    content, style, result = (tf.reshape(f, [-1, f.shape[-1]]) for f in (content, style, result))
    mean = tf.reduce_mean(style, axis=0)
    style, found = style - mean, tf.math.l2_normalize(result - mean, axis=1)
    queries = tf.math.l2_normalize(content - tf.reduce_mean(content, axis=0), axis=1)
    keys = tf.math.l2_normalize(style, axis=1)
    band = max(1, _MATCHES_AT_ONCE // len(style))
    usage, similarity = tf.zeros(len(style)), 0.0
    for start in range(0, len(content), band):
        here = slice(start, start + band)
        weights = tf.nn.softmax(tf.matmul(queries[here], keys, transpose_b=True) / temperature)
        usage += tf.reduce_sum(weights, axis=0)
        similarity += float(tf.reduce_sum(tf.math.l2_normalize(weights @ style, axis=1) * found[here]))
    share = tf.reduce_mean(tf.minimum(usage / tf.reduce_mean(usage), 1.0))
    return float(share), similarity / len(content)
