"""Picture, photograph and painting → quality metrics: how near in style, how near in content.

None of the metrics depends on how the picture was made, and no recipe minimizes the sliced Wasserstein error.
All are relative: 0 is equal; 1 is about as far as a picture without any features.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfstyle import images, statistics
from tfstyle.environment import tf
from tfstyle.statistics import sufficient_statistics
from tfstyle.vgg import VGG
from tfstyle.vgg19 import STYLE_LAYERS

CONTENT_LAYER = "block4_conv2"
LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)
"""What the network given to `compare` has to look at."""

_DIRECTIONS = 128
_QUANTILES = (np.arange(1024) + 0.5) / 1024


class Figures(NamedTuple):
    """How near a picture is to its painting (style) and to its photograph (content); smaller is nearer but for SSIM.

    Attributes:
        gram: relative error of the Gram matrices, ‖G − G'‖ / ‖G'‖, mean over the five style layers.
        moments: the same of the channels' means and deviations.
        sliced_wasserstein: distance between the distributions of features along random directions, over the painting's
            deviation, mean over directions and layers.
        colors: the same of the pixels' colours.
        content: relative error of the features at block4_conv2.
        ssim: structural similarity to the photograph, 1 if equal.
    """

    gram: float
    moments: float
    sliced_wasserstein: float
    colors: float
    content: float
    ssim: float


def compare(network: VGG, content: Any, style: Any, result: Any) -> Figures:
    """Measures a picture made by any program.

    Args:
        network: looks at `LAYERS`.
        content, style, result: images [1, height, width, 3] in [0, 1] of any sizes. The photograph is brought to the
            result's size, the painting to its long side.

    Returns:
        The `Figures`.

    Raises:
        InputError: if a picture is too small for the network.
    """
    height, width = result.shape[1:3]
    content = images.resize(content, height, width)
    style = images.fit(style, max(height, width))
    result = tf.convert_to_tensor(result, tf.float32)
    for what, picture in (("the result", result), ("the painting", style)):
        network.check_size(picture, what)
    found, photograph, painting = (network(picture) for picture in (result, content, style))
    sums = [(sufficient_statistics(found[layer]), sufficient_statistics(painting[layer])) for layer in STYLE_LAYERS]
    return Figures(
        gram=_mean(relative_error(statistics.gram(a), statistics.gram(b)) for a, b in sums),
        moments=_mean(relative_error(statistics.mean_std(a), statistics.mean_std(b)) for a, b in sums),
        sliced_wasserstein=_mean(sliced_wasserstein(found[layer], painting[layer]) for layer in STYLE_LAYERS),
        colors=sliced_wasserstein(result, style),
        content=relative_error(found[CONTENT_LAYER], photograph[CONTENT_LAYER]),
        ssim=float(tf.image.ssim(result, content, 1.0)[0]),
    )


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def relative_error(value: Any, target: Any) -> float:
    """‖value − target‖ / ‖target‖, Euclidean over all entries."""
    value, target = np.asarray(value, np.float64), np.asarray(target, np.float64)
    return float(np.linalg.norm(value - target)) / max(float(np.linalg.norm(target)), 1e-12)


def sliced_wasserstein(features: Any, target: Any, *, directions: int = _DIRECTIONS, seed: int = 0) -> float:
    """How far two sets of feature vectors are apart, whatever their order and number.

    Both are projected on random unit directions; along each, the Wasserstein distance of one dimension is the mean
    difference between the sorted values, here between 1024 quantiles.

    Args:
        features, target: [1, height, width, channels] each; heights and widths may differ.
        directions: how many.
        seed: of the directions.

    Returns:
        The mean distance over the mean deviation of the target's projections; 0 only for equal distributions.

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
    """1024 quantiles of each column."""
    ranks = (np.arange(len(values)) + 0.5) / len(values)
    return np.stack([np.interp(_QUANTILES, ranks, column) for column in np.sort(values, axis=0).T])
