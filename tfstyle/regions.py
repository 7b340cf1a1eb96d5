"""Regions that two pictures share, such as sky, ground and buildings, so that each takes its style from its partner.

Statistics of a whole painting require that everything it shows appears somewhere in the result: a crowd or a face then
fills an empty sky. With regions, the sky is compared with the painting's sky alone, and what the painting shows only
once, which is an object rather than a texture, counts for less.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tfstyle import images
from tfstyle.environment import tf
from tfstyle.recipes.loss import REGION_LAYERS as LAYERS
from tfstyle.tensors import sides
from tfstyle.vgg import VGG
from tfstyle.vgg19 import reach, stride

OBJECT_LAYERS = ("block3", "block4", "block5")
"""Blocks whose features can show an object, and whose painting statistics are therefore weighted by `recurrence`."""

SMALLEST_SHARE = 0.03
"""A region of a smaller part of the content image joins the most similar one; one of a smaller part of the style image
is compared with the whole style image."""

LEAST_LEFT = 0.3
"""Share of a mask that has to be left when it is eroded."""

_LONG_SIDE, _SHORT_SIDE = 256, 16
_LUMA_WEIGHT, _HEIGHT_WEIGHT = 0.3, 0.4
_DIMENSIONS = 24
_SOFTNESS = 0.1
_TRIALS, _ITERATIONS = 6, 30
_NEIGHBORS = 8
_FILTER_RADIUS, _FILTER_EPSILON = 16, 1e-3
_ONCE, _OFTEN = 0.22, 0.35


class Regions(NamedTuple):
    """Soft masks of the regions of two images reduced to some 256 pixels, to be resized to the grid of a layer.

    The masks of a single region have one position.

    Attributes:
        content: float32 [1, height, width, regions] in [0, 1]; the sum over regions is 1.
        style: float32 [1, height', width', regions] in [0, 1]: the partner of each region.
        recurrence: float32 [1, height', width', 1] in [0, 1]: how often the style image shows again elsewhere what it
            shows here.
    """

    content: tf.Tensor
    style: tf.Tensor
    recurrence: tf.Tensor


def find_regions(network: VGG, content: tf.Tensor, style: tf.Tensor, *, count: int, seed: int = 0) -> Regions:
    """Finds regions that two images share.

    Deep features, luma and height in the picture are standardized for each image by itself, so that a painted sky and
    a photographed one become alike; k-means then groups the positions of both images together.

    Args:
        network: a network that returns `LAYERS`.
        content, style: float32 [1, height, width, 3] in [0, 1].
        count: number of regions, at least 1.
        seed: seed of k-means.

    Returns:
        The `Regions`, of which `count` are defined; regions without positions in the content image are 0 everywhere.

    Raises:
        InputError: if an image is too small for the network.

    Differs from the sources: Gatys et al. take masks drawn by hand, with one style target for each.

    References:
        Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors in Neural Style Transfer (CVPR 2017),
        section 4. Halko, Martinsson, Tropp: Finding Structure with Randomness (2011), for the principal components.
    """
    if count == 1:
        seen = network(images.reduce(style, _LONG_SIDE, short_side=_SHORT_SIDE))
        everywhere = tf.ones([1, 1, 1, 1])
        return Regions(everywhere, everywhere, tf.constant(recurrence(seen[LAYERS[1]].numpy())))
    pictures = [images.reduce(image, _LONG_SIDE, short_side=_SHORT_SIDE) for image in (content, style)]
    found = [network(picture) for picture in pictures]
    features = [{layer: of_picture[layer].numpy() for layer in LAYERS} for of_picture in found]
    described = [_describe(*pair) for pair in zip(features, pictures, strict=True)]
    grids = [sides(of_picture[LAYERS[0]]) for of_picture in features]
    rng = np.random.default_rng(seed)
    points = _principal_components(np.concatenate(described), rng)
    of_content, of_style = np.split(points, [len(described[0])])
    centers = _cluster(points, count, rng)
    shares = np.bincount(_squared_distances(of_content, centers).argmin(1), minlength=count) / len(of_content)
    used = shares >= min(SMALLEST_SHARE, shares.max())
    masks = [np.where(used, _memberships(part, centers, used), 0.0) for part in (of_content, of_style)]
    masks[1] = np.where(masks[1].mean(0) < SMALLEST_SHARE, 1.0, masks[1])
    sharpened = [
        sharpen(tf.constant(mask.reshape(1, *grid, count), tf.float32), picture)
        for mask, grid, picture in zip(masks, grids, pictures, strict=True)
    ]
    return Regions._make((*sharpened, tf.constant(recurrence(features[1][LAYERS[1]]))))


def sharpen(masks: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Makes coarse masks follow the edges of their image, by a guided filter.

    Args:
        masks: float32 [1, height, width, regions] in [0, 1], on a coarse grid.
        image: float32 [1, height', width', 3] in [0, 1].

    Returns:
        float32 [1, height', width', regions] in [0, 1]; masks that sum to 1 still do.

    References:
        He, Sun, Tang: Guided Image Filtering (TPAMI 2013), section 3.4, with a color image as the guide.
    """
    height, width = sides(image)
    enlarged = tf.image.resize(masks, (height, width))

    def average(values: tf.Tensor) -> tf.Tensor:  # Of what is inside the image, of values of any rank.
        flat = tf.reshape(values, [1, height, width, -1])
        side = 2 * _FILTER_RADIUS + 1
        of_columns = tf.nn.avg_pool2d(flat, (side, 1), 1, "SAME")  # In one pass it would take ten times as long.
        return tf.reshape(tf.nn.avg_pool2d(of_columns, (1, side), 1, "SAME"), values.shape)

    def covariance(one: tf.Tensor, other: tf.Tensor) -> Any:
        products = average(tf.einsum("bhwi,bhwj->bhwij", one, other))
        return products - tf.einsum("bhwi,bhwj->bhwij", average(one), average(other))

    of_image = covariance(image, image) + _FILTER_EPSILON * tf.eye(3)
    slope = tf.linalg.solve(of_image, covariance(image, enlarged))
    offset = average(average(enlarged) - tf.einsum("bhwi,bhwir->bhwr", average(image), slope))
    slope = average(slope)
    filtered = tf.clip_by_value(tf.einsum("bhwi,bhwir->bhwr", image, slope) + offset, 0.0, 1.0)
    total = tf.reduce_sum(filtered, axis=-1, keepdims=True) / tf.reduce_sum(enlarged, axis=-1, keepdims=True)
    sharpened: tf.Tensor = filtered / tf.maximum(total, 1e-3)
    return tf.minimum(sharpened, 1.0)


def recurrence(features: np.ndarray) -> np.ndarray:
    """Computes how often an image shows again elsewhere what it shows at a position.

    Brush strokes and waves recur all over a painting, a face does not: a position's value depends on the mean cosine of
    its centered feature to the eight most similar ones farther away than an eighth of the long side: 0 up to 0.22, as
    at the faces of portraits, 1 from 0.35 on, as in skies and fields; then reduced to the minimum around each position,
    because a feature sees its neighborhood.

    Args:
        features: float [1, height, width, channels] of a deep layer.

    Returns:
        float32 [1, height, width, 1] in [0, 1]; 1 everywhere if no position is so far from another.
    """
    height, width = sides(features)
    flat = features.reshape(height * width, -1).astype(np.float32)
    flat = flat - flat.mean(0)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    if norms.max() < 1e-6:
        return np.ones((1, height, width, 1), np.float32)
    flat /= norms + 1e-6
    rows, columns = (axis.reshape(-1) for axis in np.mgrid[:height, :width])
    apart = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns)) > max(height, width) // 8
    nearest = min(_NEIGHBORS, int(apart.sum(1).min()))
    if not nearest:
        return np.ones((1, height, width, 1), np.float32)
    similar = np.sort(np.where(apart, flat @ flat.T, -1.0), axis=1)[:, -nearest:].mean(1)
    smooth = tf.nn.avg_pool2d(similar.reshape(1, height, width, 1).astype(np.float32), 3, 1, "SAME")
    recurring = tf.clip_by_value((smooth - _ONCE) / (_OFTEN - _ONCE), 0.0, 1.0)
    eroded: np.ndarray = -tf.nn.max_pool2d(-recurring, 3, 1, "SAME").numpy()
    return eroded


def _describe(features: dict[str, np.ndarray], picture: tf.Tensor) -> np.ndarray:
    """Returns a standardized description of every position of the first layer's grid, [positions, dimensions]."""
    height, width = sides(features[LAYERS[0]])
    luma = tf.image.rgb_to_yuv(picture)[..., :1]
    parts = []
    for values, weight in (*((features[layer], 1.0) for layer in LAYERS), (luma, _LUMA_WEIGHT)):
        resized = tf.image.resize(values, (height, width), antialias=True).numpy().reshape(height * width, -1)
        standard = (resized - resized.mean(0)) / (resized.std(0) + 1e-3)
        parts.append(weight / np.sqrt(standard.shape[1]) * standard)
    rows = np.repeat(np.linspace(-1.0, 1.0, height), width)[:, None]
    return np.concatenate([*parts, _HEIGHT_WEIGHT * np.sqrt(3.0) * rows], axis=1).astype(np.float32)


def _principal_components(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Projects points on their first principal components, found by subspace iteration."""
    centered = points - points.mean(0)
    axes = rng.normal(size=(points.shape[1], _DIMENSIONS)).astype(np.float32)
    for _ in range(6):
        axes = np.linalg.qr(centered.T @ (centered @ axes))[0]
    projected: np.ndarray = centered @ axes
    return projected


def _cluster(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the centers that k-means finds: the best of several trials from random points."""
    best, least = points[:1], np.inf
    for _ in range(_TRIALS):
        centers = points[rng.choice(len(points), count, replace=len(points) < count)]
        for _ in range(_ITERATIONS):
            nearest = _squared_distances(points, centers).argmin(1)
            members = [points[nearest == number] for number in range(count)]
            centers = np.stack([m.mean(0) if len(m) else c for m, c in zip(members, centers, strict=True)])
        error = _squared_distances(points, centers).min(1).sum()
        if error < least:
            best, least = centers, error
    return best


def _squared_distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Computes the squared distance of every point to every center."""
    distances: np.ndarray = np.stack([((points - center) ** 2).sum(1) for center in centers], axis=1)
    return distances


def _memberships(points: np.ndarray, centers: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Assigns points softly to the centers in use; the weights of each point sum to 1."""
    distances = _squared_distances(points, centers)
    distances = np.where(used, distances / max(distances.mean(), 1e-12), np.inf)
    weights = np.exp((distances.min(1, keepdims=True) - distances) / _SOFTNESS)
    memberships: np.ndarray = weights / weights.sum(1, keepdims=True)
    return memberships


def erode(mask: tf.Tensor, layer: str) -> tf.Tensor:
    """Erodes masks on a layer's grid by what the layer sees, so that the positions left see nothing outside the mask.

    A mask of which that leaves less than `LEAST_LEFT` is eroded by half of it, or not at all.

    Args:
        mask: float32 [1, height, width, regions] in [0, 1].
        layer: the layer.
    """
    left = mask
    least = LEAST_LEFT * tf.reduce_sum(mask, axis=(1, 2), keepdims=True)
    for part in (0.5, 1.0):
        radius = math.ceil(part * reach(layer) / stride(layer))
        eroded = -tf.nn.max_pool2d(-mask, 2 * radius + 1, 1, "SAME")
        left = tf.where(tf.reduce_sum(eroded, axis=(1, 2), keepdims=True) >= least, eroded, left)
    return left


def on_grid(mask: tf.Tensor, size: Any) -> tf.Tensor:
    """Resizes a mask [1, height, width, regions] to (height, width) of a grid."""
    resized: tf.Tensor = tf.image.resize(mask, size, antialias=True)
    return resized
