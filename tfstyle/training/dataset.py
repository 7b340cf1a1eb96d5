"""Random crops of the pictures in a folder, in batches that are pure functions of seed and step.

No state is kept from one step to the next, so a training that is resumed at a step gets the batches that it would have
got without the interruption.
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

MAX_CACHED_BYTES = 2**30
"""Decoded pictures are cached up to this total size; the others are decoded again each time."""

_ORDER, _CROP = 0, 1  # Independent streams of random numbers from one seed.


def list_pictures(folder: Path, *, crop: int) -> list[Path]:
    """Lists the pictures in a folder that a crop can be cut from; other files are logged as skipped.

    Args:
        folder: the folder; its subfolders are not searched.
        crop: side of the crops, in pixels.

    Returns:
        The paths of the pictures in the order of their names, at least one.

    Raises:
        InputError: if the folder cannot be read or holds no such picture.
    """
    usable = []
    for path, sides in images.find_pictures(Path(folder)):
        if min(sides) < crop:
            _log.warning("skipped %s: %s", path, _describe_size(sides, crop))
        else:
            usable.append(path)
    if usable:
        return usable
    if crop > 1:
        raise InputError(f"{folder}: holds no picture of at least {crop} pixels on each side; choose a smaller `size`.")
    raise InputError(f"{folder}: holds no picture that can be read; add one.")


def _describe_size(sides: tuple[int, int], crop: int) -> str:
    return f"is {sides[0]}x{sides[1]}, smaller than a crop of {crop} pixels."


class RandomCrops:
    """Cuts the square crop for an index, downscaled by at most 2 and flipped at random, the same in every run.

    Every picture is used once per round, and each round has another order. A file that turns out to be damaged, missing
    or too small is logged as skipped, and the next one in that order is used instead.

    Args:
        paths: picture files, each side at least `size`.
        size: side of the crops, in pixels.
        seed: decides the order of the pictures and the positions of the crops.

    Raises:
        InputError: if no file can be used.
    """

    def __init__(self, paths: Sequence[str | Path], *, size: int, seed: int = 0) -> None:
        self._paths, self._size, self._seed = [Path(path) for path in paths], size, seed
        if not self._paths:
            raise InputError("there are no pictures to cut crops from; give one at least.")
        self._cache: dict[int, Image.Image | None] = {}
        self._bytes = 0
        self._lock = threading.Lock()  # TensorFlow calls this object from several threads.
        self(0)

    def __call__(self, index: int) -> np.ndarray:
        """Cuts the crop for an index, float32 [size, size, 3] in [0, 1]; the same index gives the same crop."""
        picture = self._find_picture(int(index))
        numbers = np.random.default_rng((self._seed, _CROP, int(index)))
        side = numbers.uniform(self._size, min(picture.size))
        left, top = (numbers.uniform(0.0, length - side) for length in picture.size)
        box = (left, top, left + side, top + side)
        crop = picture.resize((self._size, self._size), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(crop, np.float32) / 255.0
        return np.ascontiguousarray(pixels[:, ::-1]) if numbers.uniform() < 0.5 else pixels

    def permutation(self, round: int) -> np.ndarray:
        """Returns the positions of the pictures in `paths`, in the order of one round."""
        return np.random.default_rng((self._seed, _ORDER, round)).permutation(len(self._paths))

    def _find_picture(self, index: int) -> Image.Image:
        """Returns the picture that a crop is cut from."""
        round, place = divmod(index, len(self._paths))
        for position in np.roll(self.permutation(round), -place):
            with self._lock:
                picture = self._decode(int(position))
            if picture is not None:
                return picture
        raise InputError(f"{self._paths[0].parent}: holds no picture that can be used any more.")

    def _decode(self, position: int) -> Image.Image | None:
        """Decodes a picture, reduced to a short side of at most twice the crop's; None if it cannot be used."""
        if position in self._cache:
            return self._cache[position]
        path = self._paths[position]
        try:
            sides = decoding.probe(path, long_side=1)
            if min(sides) < self._size:
                raise InputError(f"{path}: {_describe_size(sides, self._size)}")
            enough = math.ceil(2 * self._size * max(sides) / min(sides))
            picture = self._shrink(images.read(path, long_side=enough).image[0])
        except InputError as error:
            _log.warning("skipped %s", error)
            picture = None
        memory = 0 if picture is None else 3 * picture.width * picture.height
        if self._bytes + memory <= MAX_CACHED_BYTES:
            self._cache[position] = picture
            self._bytes += memory
        return picture

    def _shrink(self, image: np.ndarray) -> Image.Image:
        picture = Image.fromarray(np.rint(image * 255.0).astype(np.uint8))
        factor = min(1.0, 2.0 * self._size / min(picture.size))
        width, height = (max(self._size, round(length * factor)) for length in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS)


def make_batches(crops: RandomCrops, *, size: int, batch: int, start: int = 0) -> tf.data.Dataset:
    """Makes an endless dataset of batches of crops.

    Args:
        crops: cuts the crop for each index.
        size: side of the crops, in pixels.
        batch: batch size.
        start: step of the first batch; the batch of step s has the indices s · batch to (s + 1) · batch − 1.

    Returns:
        A dataset of float32 [batch, size, size, 3] in [0, 1].
    """
    from tfstyle.environment import tf

    def cut(index: tf.Tensor) -> tf.Tensor:
        crop: tf.Tensor = tf.ensure_shape(tf.numpy_function(crops, [index], tf.float32), (size, size, 3))
        return crop

    indices = tf.data.Dataset.range(start * batch, np.iinfo(np.int64).max)
    cropped = indices.map(cut, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return cropped.batch(batch, drop_remainder=True).prefetch(2)


def make_pairs(first: RandomCrops, second: RandomCrops, *, size: int, batch: int, start: int = 0) -> tf.data.Dataset:
    """Makes an endless dataset of pairs of batches, each as from `make_batches`."""
    from tfstyle.environment import tf

    parts = (make_batches(crops, size=size, batch=batch, start=start) for crops in (first, second))
    return tf.data.Dataset.zip(tuple(parts))


def find_cause(error: Exception) -> InputError | None:
    """Finds the InputError of a crop in the text of the TensorFlow error that wraps it; None if there is none."""
    found = re.search(r"\bInputError: (.+)", str(error))
    return InputError(found[1]) if found else None
