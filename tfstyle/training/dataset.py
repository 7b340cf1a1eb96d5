"""Random crops of the pictures in a folder, in batches that are pure functions of seed and step.

Nothing is remembered from one step to the next, so a training that is resumed at a step sees what it would have seen.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tfstyle import images
from tfstyle.errors import InputError
from tfstyle.pictures import decoding

if TYPE_CHECKING:
    from tfstyle.environment import tf

_log = logging.getLogger("tfstyle")

MOST_CACHED = 2**30
"""Bytes of decoded pictures kept in memory; those beyond are decoded again each time."""

_ORDER, _PLACE = 0, 1  # Streams of random numbers of one seed.


def list_pictures(folder: Path, *, crop: int, what: str = "photograph") -> list[Path]:
    """Lists the pictures in a folder that a crop can be cut from; the others are named in the log and passed over.

    Args:
        folder: where they lie; folders inside it are not looked into.
        crop: side of the crops, in pixels.
        what: what a person calls them.

    Returns:
        Their paths in the order of their names, at least one.

    Raises:
        InputError: if the folder cannot be read, or there is none.
    """
    usable = []
    for path, sides in images.find_pictures(Path(folder)):
        if min(sides) < crop:
            _log.warning("passed over %s: %s", path, _too_small(sides, crop))
        else:
            usable.append(path)
    if usable:
        return usable
    if crop > 1:
        raise InputError(f"{folder}: holds no {what} of at least {crop} pixels on each side; choose a smaller `size`.")
    raise InputError(f"{folder}: holds no {what} that can be read; add one.")


def _too_small(sides: tuple[int, int], crop: int) -> str:
    return f"is {sides[0]}x{sides[1]}, smaller than a crop of {crop} pixels."


class Crops:
    """Random crops of some pictures, by number: squares, reduced to at most half their size, flipped or not.

    Every picture comes once before any comes again, in an order of each round's own. A file that turns out to be
    damaged, missing or too small is named in the log, and the next one in that order is used instead.

    Args:
        paths: picture files, each side at least `size`.
        size: side of the pieces, in pixels.
        seed: another seed is another order, other places.

    Raises:
        InputError: if no file can be used.
    """

    def __init__(self, paths: Sequence[str | Path], *, size: int, seed: int = 0) -> None:
        self._paths, self._size, self._seed = [Path(path) for path in paths], size, seed
        if not self._paths:
            raise InputError("there are no pictures to cut crops from; give one at least.")
        self._cache: dict[int, Image.Image | None] = {}
        self._bytes = 0
        self._lock = threading.Lock()  # TensorFlow calls from several threads.
        self(0)

    def __call__(self, item: int) -> np.ndarray:
        """The piece of that number, float32 [size, size, 3] in [0, 1]; the same number gives the same piece."""
        picture = self._picture(int(item))
        numbers = np.random.default_rng((self._seed, _PLACE, int(item)))
        side = numbers.uniform(self._size, min(picture.size))
        left, top = (numbers.uniform(0.0, length - side) for length in picture.size)
        box = (left, top, left + side, top + side)
        piece = picture.resize((self._size, self._size), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(piece, np.float32) / 255.0
        return np.ascontiguousarray(pixels[:, ::-1]) if numbers.uniform() < 0.5 else pixels

    def order(self, round: int) -> np.ndarray:
        """Indices of the pictures in the order of one round."""
        return np.random.default_rng((self._seed, _ORDER, round)).permutation(len(self._paths))

    def _picture(self, item: int) -> Image.Image:
        """The picture of an item."""
        round, place = divmod(item, len(self._paths))
        for index in np.roll(self.order(round), -place):
            with self._lock:
                picture = self._decoded(int(index))
            if picture is not None:
                return picture
        raise InputError(f"{self._paths[0].parent}: holds no picture that can be used any more.")

    def _decoded(self, index: int) -> Image.Image | None:
        """A picture whose short side is at most twice the crop's; None if it cannot be used."""
        if index in self._cache:
            return self._cache[index]
        path = self._paths[index]
        try:
            sides = decoding.probe(path, long_side=1)
            if min(sides) < self._size:
                raise InputError(f"{path}: {_too_small(sides, self._size)}")
            enough = math.ceil(2 * self._size * max(sides) / min(sides))
            picture = self._shrunk(images.read(path, long_side=enough).image[0])
        except InputError as error:
            _log.warning("passed over %s", error)
            picture = None
        memory = 0 if picture is None else 3 * picture.width * picture.height
        if self._bytes + memory <= MOST_CACHED:
            self._cache[index] = picture
            self._bytes += memory
        return picture

    def _shrunk(self, image: np.ndarray) -> Image.Image:
        picture = Image.fromarray(np.rint(image * 255.0).astype(np.uint8))
        factor = min(1.0, 2.0 * self._size / min(picture.size))
        width, height = (max(self._size, round(length * factor)) for length in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS)


def batches(crops: Crops, *, size: int, batch: int, start: int = 0) -> tf.data.Dataset:
    """An endless stream of batches.

    Args:
        crops: makes an item.
        size: side of its pieces, in pixels.
        batch: pieces in a batch.
        start: step of the first batch; step s holds the items s · batch to (s + 1) · batch − 1.

    Returns:
        A dataset of float32 [batch, size, size, 3] in [0, 1].
    """
    from tfstyle.environment import tf

    def item(number: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(crops, [number], tf.float32), (size, size, 3))

    numbers = tf.data.Dataset.range(start * batch, np.iinfo(np.int64).max)
    pieces = numbers.map(item, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return pieces.batch(batch, drop_remainder=True).prefetch(2)


def pairs(first: Crops, second: Crops, *, size: int, batch: int, start: int = 0) -> tf.data.Dataset:
    """An endless stream of pairs of batches, each as from `batches`."""
    from tfstyle.environment import tf

    parts = (batches(crops, size=size, batch=batch, start=start) for crops in (first, second))
    return tf.data.Dataset.zip(tuple(parts))


def cause(error: Exception) -> InputError | None:
    """The error of a crop that TensorFlow wrapped into one of its own, whose text it begins; None if it is another."""
    found = re.search(r"\bInputError: (.+)", str(error))
    return InputError(found[1]) if found else None
