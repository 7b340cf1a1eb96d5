"""Pairs the pixels of a picture with those of a painting whose surroundings look alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from tfstyle.environment import tf

SIDE = 5
"""Side of a patch, in pixels."""

MAX_KEYS = 1 << 15
"""Largest number of the painting's patches that each patch is compared with."""

TILE = 768
"""Side of a tile, in pixels."""

_FAR = 100.0
_DIMENSIONS, _SAMPLE, _ROWS = 24, 1 << 14, 1024
_MEAN_WEIGHT = 0.4
_PENALTY = 0.5
_SWEEPS = 8
_AROUND = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def find_places(image: np.ndarray, painting: np.ndarray, *, allowed: np.ndarray | None = None) -> np.ndarray:
    """Finds for each pixel of an image a pixel of a painting, so that adjacent pixels mostly have adjacent ones.

    Minimizes the squared distance of the patches around both pixels, in which a patch's mean color counts less than
    what remains, plus a penalty for each of the eight neighbors that has another offset. It begins at the nearest of
    `MAX_KEYS` patches of the painting, and then tries the offsets of neighbors and small displacements. Tiles of `TILE`
    pixels are searched one after the other, to save memory.

    Args:
        image: float32 [height, width, 3], sRGB, in [0, 1].
        painting: the same, of any size.
        allowed: bool [height, width] of the painting: where places may be; None is everywhere.

    Returns:
        int32 [height, width, 2], rows and columns of the painting.

    References:
        Ashikhmin: Synthesizing Natural Textures (2001), for the offsets of neighbors as candidates.
    """
    queries, keys = _project(image, painting)
    if allowed is not None:  # Far from all queries, in a dimension of its own.
        queries = np.pad(queries, ((0, 0), (0, 0), (0, 1)))
        keys = np.concatenate([keys, _FAR * ~allowed[..., None]], axis=-1, dtype=np.float32)
    places = np.empty((*queries.shape[:2], 2), np.int32)
    for top, left in itertools.product(*(range(0, side, TILE) for side in queries.shape[:2])):
        tile = queries[top : top + TILE, left : left + TILE]
        places[top : top + TILE, left : left + TILE] = _settle(tile, keys, _search(tile, keys))
    return places


def _project(*images: np.ndarray) -> list[np.ndarray]:
    """Projects the patches of images on the principal axes of those of the last one: [height, width, dimensions]."""
    size = SIDE * SIDE * 3
    means = np.kron(np.full((SIDE * SIDE,) * 2, 1.0 / SIDE**2), np.eye(3))  # The mean of each color, at each pixel.
    scaled = np.eye(size) - (1.0 - _MEAN_WEIGHT) * means
    patches = np.lib.stride_tricks.sliding_window_view(_padded(images[-1]), (SIDE, SIDE), (0, 1))
    step = max(1, int(np.sqrt(patches.shape[0] * patches.shape[1] / _SAMPLE)))
    sample = np.moveaxis(patches[::step, ::step], 2, -1).reshape(-1, size) @ scaled
    _, axes = np.linalg.eigh(np.cov(sample.T) if len(sample) > 1 else np.eye(size))
    kernel = tf.constant((scaled @ axes[:, -_DIMENSIONS:]).reshape(SIDE, SIDE, 3, -1), tf.float32)
    return [tf.nn.conv2d(_padded(image)[None], kernel, 1, "VALID")[0].numpy() for image in images]


def _padded(image: np.ndarray) -> np.ndarray:
    edge = SIDE // 2
    return np.pad(image, ((edge, edge), (edge, edge), (0, 0)), "edge")


def _search(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns the offset of the nearest key for every second query in each direction, and the same for those between.

    The queries are compared with some of the keys, then with those around the nearest.
    """
    height, width, dimensions = keys.shape
    step = int(np.ceil(np.sqrt(height * width / MAX_KEYS)))
    numbers = np.arange(height * width).reshape(height, width)[step // 2 :: step, step // 2 :: step].ravel()
    some = tf.constant(keys.reshape(-1, dimensions)[numbers])
    norms = tf.reduce_sum(some**2, axis=1)
    where = np.moveaxis(np.indices(queries.shape[:2], np.int32)[:, ::2, ::2], 0, -1)
    rows = queries[::2, ::2].reshape(-1, dimensions)
    near = [
        tf.argmin(norms - 2.0 * tf.matmul(rows[first : first + _ROWS], some, transpose_b=True), axis=1).numpy()
        for first in range(0, len(rows), _ROWS)
    ]
    nearest = numbers[np.concatenate(near)]
    start = np.stack([nearest // width, nearest % width], axis=-1).astype(np.int32)
    around = np.arange(-(step // 2), step // 2 + 1)
    places = _choose(rows, keys, [start + np.array(each, np.int32) for each in itertools.product(around, around)])[0]
    offsets: np.ndarray = places.reshape(where.shape) - where
    return offsets.repeat(2, axis=0).repeat(2, axis=1)[: queries.shape[0], : queries.shape[1]]


def _choose(
    rows: np.ndarray,
    keys: np.ndarray,
    candidates: Iterable[np.ndarray],
    price: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of least cost among candidates [queries, 2], which are moved into the painting, and its cost.

    The cost is the squared distance of a query and the key at a place, plus the price of the place.
    """
    best, least = np.zeros((len(rows), 2), np.int32), np.full(len(rows), np.inf, np.float32)
    for candidate in candidates:
        places = np.clip(candidate, 0, np.array(keys.shape[:2], np.int32) - 1)
        difference = rows - keys[places[:, 0], places[:, 1]]
        cost = np.einsum("nd,nd->n", difference, difference) + (price(places) if price else 0.0)
        better = cost < least
        best[better], least[better] = places[better], cost[better]
    return best, least


def _settle(queries: np.ndarray, keys: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns places near to those of their neighbors, from the offsets of places that look alike."""
    height, width, dimensions = queries.shape
    where = np.moveaxis(np.indices((height, width), np.int32), 0, -1)
    places, costs = _choose(queries.reshape(-1, dimensions), keys, [(where + offsets).reshape(-1, 2)])
    places, penalty = places.reshape(where.shape), _PENALTY * np.median(costs)
    halves = [np.nonzero(where.sum(-1) % 2 == half) for half in (0, 1)]
    for sweep in range(_SWEEPS):
        reach = 4 if sweep < _SWEEPS // 2 else 1
        for half in halves:
            places[half] = _improve(queries, keys, places - where, half, reach=reach, penalty=penalty)
    return places


def _improve(
    queries: np.ndarray,
    keys: np.ndarray,
    offsets: np.ndarray,
    some: tuple[np.ndarray, ...],
    *,
    reach: int,
    penalty: float,
) -> np.ndarray:
    """Returns better places of some queries, given by rows and columns: near its own, or with a neighbor's offset."""
    here = np.stack(some, axis=-1).astype(np.int32)
    last = np.array(offsets.shape[:2]) - 1

    def offset_at(step: tuple[int, int], reach: int = 1) -> np.ndarray:
        rows, columns = np.clip(here + reach * np.array(step), 0, last).T
        found: np.ndarray = offsets[rows, columns]
        return found

    around = [offset_at(step) for step in _AROUND]

    def price(candidates: np.ndarray) -> np.ndarray:
        others = [np.any(candidates - here != offset, axis=-1) for offset in around]
        total: np.ndarray = penalty * np.sum(others, axis=0)
        return total

    now = here + offsets[some]
    tried = [here + offset_at(step, reach) for step in _AROUND]
    moved = [now + np.array(step, np.int32) for step in _AROUND[:4]]
    places, _ = _choose(queries[some], keys, [now, *tried, *moved], price)
    return places
