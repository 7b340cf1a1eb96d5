"""Factors for features, so that loss weights published for one network can be used on another.

A loss grows with the second or fourth power of the features, so its published weight has another effect on a network
whose features are larger or smaller. If a recipe runs on the embedded network, the features are multiplied by these
factors, which give them the magnitude of the network that the recipe was published for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from tfstyle import weights
from tfstyle.recipes.parts import Network
from tfstyle.vgg19 import layer_names

_RAW_SCALES = (
    (24.56, 123.86),
    (127.76, 113.27),
    (130.61, 166.25, 349.37, 516.48),
    (534.09, 345.94, 186.25, 45.91),
    (48.19, 20.63, 8.40, 1.23),
)
# Root mean square, over the filters of a layer, of (raw VGG-19 activation / embedded activation). Measured from the two
# weight files, which differ by one factor per filter.

RAW_SCALES: Mapping[str, float] = MappingProxyType(dict(zip(layer_names(), itertools.chain(*_RAW_SCALES), strict=True)))
"""Layer → factor that gives the embedded network's features the magnitude of the raw network's."""

_TORCHVISION = (
    ((1.09, 0.66), (2.36, 1.28)),
    ((4.48, 1.77), (5.07, 2.24)),
    ((7.56, 3.24), (9.11, 3.54), *((11.45, 3.26),) * 2),
    ((13.59, 3.69), (12.40, 2.87), *((10.96, 1.66),) * 2),
    ((8.24, 2.22),) * 4,
)
# Measured on torchvision's VGG-16, the nearest network, with 12 photographs of 384 pixels. It has a convolution less
# than VGG-19 in blocks 3 and 4, and in block 5 only the first was measured: a block's last value is repeated.

TORCHVISION_MAGNITUDES: Mapping[str, tuple[float, float]] = MappingProxyType(
    dict(zip(layer_names(), itertools.chain(*_TORCHVISION), strict=True))
)
"""Root mean square of the features of torchvision's network, layer by layer: before the ReLU, after it."""

PIXEL_FACTORS: Mapping[str, float] = MappingProxyType({"torch": 1.0, "none": 0.27})
"""Input scale → size of features relative to those magnitudes. Pixels in 0-1 have less contrast than normalized ones:
features shrink to 0.26 to 0.29 of their size in almost every layer, measured on the embedded network."""


def feature_scales(network: Network, layers: Iterable[str]) -> dict[str, float | np.ndarray]:
    """Returns the factors by which the features of some layers are multiplied; an absent layer keeps its features.

    Recipes for the raw network use one factor per layer. Those for torchvision's network, which was trained separately,
    divide each filter before the ReLU by its own root mean square, because rarely active filters of the embedded
    network, scaled to mean activation 1 after the ReLU, would otherwise outweigh all others; for features after the
    ReLU one factor per layer is enough.

    Returns:
        Layer → factor, or factors [filters] or [1]. Empty unless the recipe was published for a network other than the
        embedded one and runs on the embedded one.

    Raises:
        WeightsError: if the embedded file of measured magnitudes is missing or damaged.
    """
    if not network.is_rescaled():
        return {}
    if network.trained_on == "caffe":
        return {layer: RAW_SCALES[layer] for layer in layers}
    measured = weights.read_embedded("vgg19-magnitudes")
    column, pixels = ("pre", "post").index(network.activation), PIXEL_FACTORS[network.published_scale]
    measure = ("conv", "relu")[column]
    return {layer: pixels * TORCHVISION_MAGNITUDES[layer][column] / measured[f"{layer}.{measure}"] for layer in layers}
