"""Fine detail for an image of a larger size, from the places of a painting that look alike."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.patches import find_places
from tfstyle.tensors import sides

_BAND = 1 << 18


def find_detail(image: Any, painting: Any, *, size: tuple[int, int], used: int, mask: Any = None) -> tf.Tensor:
    """Finds the detail that an image lacks when it is enlarged.

    The painting is reduced until it is as coarse as the image. Each place of the image is paired with one of the
    reduced painting that looks alike, and gets what the reduction has removed there.

    Args:
        image: float32 [1, h, w, 3], sRGB, in [0, 1].
        painting: the same, of any size; it is resized to the scale of the result.
        size: (height, width) of the result, larger than the image.
        used: long side, in pixels, at which the painting is as coarse as the image.
        mask: float32 [1, H, W, 1] in [0, 1], what counts of the painting, of the shape of its picture: places of at
            least half the largest value. None is all.

    Returns:
        float32 tensor [1, height, width, 3], to be added to the enlarged image.

    References:
        Texler, Fišer, Lukáč, Lu, Shechtman, Sýkora: Enhancing Neural Style Transfer using Patch-Based Synthesis
        (Expressive 2019), for detail from the scan. Freeman, Jones, Pasztor: Example-Based Super-Resolution (2002), for
        the detail that is added.
    """
    length = max(1, round(used * max(size) / max(sides(image))))  # One pixel less or more would only blur it.
    scan = painting if abs(max(sides(painting)) - length) <= 1 else images.fit(painting, length)
    coarse = images.fit(scan, used)
    lost = (scan - images.resize(coarse, *sides(scan)))[0].numpy()
    allowed = None
    if mask is not None:
        counted = np.asarray(images.resize(mask, *sides(coarse)))[0, ..., 0]
        allowed = counted >= 0.5 * counted.max()
    places = find_places(np.asarray(image)[0], np.asarray(coarse)[0], allowed=allowed)
    small, large, last = np.array(places.shape[:2]), np.array(size), np.array(lost.shape[:2]) - 1
    scaled = lost.shape[:2] / np.array(sides(coarse))
    detail = np.zeros((*size, 3), np.float32)
    height = max(1, _BAND // size[1])
    for first in range(0, size[0], height):
        band = detail[first : first + height]
        where = np.moveaxis(np.indices(band.shape[:2]), 0, -1) + np.array((first, 0))
        exact = (where + 0.5) * small / large - 0.5
        corner = np.floor(exact).astype(int)
        for step in itertools.product((0, 1), repeat=2):  # Between four pixels, the details of all four are mixed.
            weight = np.prod(1.0 - np.abs(exact - corner - step), axis=-1, keepdims=True)
            near = np.clip(corner + step, 0, small - 1)
            place = (places[near[..., 0], near[..., 1]] + 0.5) * scaled
            source = np.clip(np.rint(place + (exact - near) * large / small - 0.5).astype(int), 0, last)
            band += weight.astype(np.float32) * lost[source[..., 0], source[..., 1]]
    return tf.constant(detail[None])
