"""Paths and pictures → a picture: `stylize`, the one function most programs need, and `fast`, its sketch."""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import gc
import logging
import math
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from tfstyle import environment, images
from tfstyle.callbacks import Callback, observed
from tfstyle.color import keep_colors
from tfstyle.decoding import Picture
from tfstyle.environment import tf
from tfstyle.errors import (
    DivergedError,
    InputError,
    Interrupted,
    MemoryLimitError,
    OutputError,
    UsageError,
    WeightsError,
)
from tfstyle.feedforward import inference, saved
from tfstyle.feedforward.inference import choose_code, paint, transform
from tfstyle.feedforward.networks import AdaIN, AdaINDecoder, adain
from tfstyle.feedforward.players import Generator
from tfstyle.feedforward.transformer import Transformer
from tfstyle.limits import MAX_PIXELS
from tfstyle.recipe import STARTS, Recipe
from tfstyle.recipes import get_recipe
from tfstyle.transfer import Step, Transfer, memory_needed

_log = logging.getLogger("tfstyle")


def stylize(
    content: Any,
    style: Any,
    *,
    recipe: str | Recipe = "default",
    output: str | os.PathLike | None = None,
    callbacks: Iterable[Callback] = (),
    background: str = "white",
    keep_alpha: bool = False,
    quality: int = 95,
    overwrite: bool = False,
    **overrides: Any,
) -> tf.Tensor:
    """Paints a photograph in the manner of a painting.

        image = tfstyle.stylize("photo.jpg", "painting.jpg", size=512)

    Args:
        content: the photograph: path, PIL image, array or tensor, as for `images.read`.
        style: the painting, likewise.
        recipe: a name in `recipes.RECIPES`, or a `Recipe`.
        output: where to write the result; None does not write. A `files.FreeName` takes the next free name when it
            is written.
        callbacks: called with a `Step` after every step; one that returns True ends the run, and the image so far is
            the result. One that has a `close` method is closed at the end.
        background: what shows through transparent parts, a CSS colour.
        keep_alpha: give the written file the photograph's alpha.
        quality: of a written JPEG, WebP or AVIF, 1 to 100.
        overwrite: replace a file that is there.
        **overrides: fields of the recipe to replace: `size`, `steps`, `style_weight`, … The photograph is enlarged
            only if `size` is given.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1] if the recipe clips.

    Raises:
        UsageError: if a recipe, a field or a value is not valid.
        InputError: if a picture cannot be read or is too small.
        OutputError: if the result could not be written; most causes are found before the work begins. If one comes
            up later, the result is saved elsewhere (`images.write_result`), which the message names.
        WeightsError: if the network's weights cannot be used.
        MemoryLimitError: if the run would not fit, or did not fit, in memory.
        DivergedError: if the loss or the image is no longer finite.
        Interrupted: on Ctrl-C; a KeyboardInterrupt, no TfstyleError.
        Exception: what a callback raised. After this, Ctrl-C and a MemoryLimitError the image so far is in `output`.
    """
    chosen = get_recipe(recipe, **overrides)
    environment.grow_gpu_memory()  # Before anything runs on it.
    if output is not None:
        images.check_output(output, overwrite=overwrite, alpha=keep_alpha)
    photograph = _read(content, background, chosen.size)
    height, width = photograph.full_size
    own = max(height, width)
    long_side = own if not chosen.size else chosen.size if "size" in overrides else min(chosen.size, own)
    photo_size = images.fitted_size(height, width, long_side)
    wanted = math.ceil(max(photo_size) * chosen.style_scale) if chosen.style_fit == "long_side" else 0
    painting = _read(style, background, wanted)
    start = None if chosen.init in STARTS else _read(chosen.init, background, max(photo_size)).image
    painting_size = _painting_size(painting, photo_size, chosen)
    for picture, size in ((photograph, photo_size), (painting, painting_size)):
        _check_size(picture, size, chosen.smallest_side())
    _check_memory(chosen, photo_size, painting_size)
    transfer = _transfer(chosen.compiled_part())
    _confess(chosen.network_note(transfer.model.vgg.input_scale))
    small, target = images.resize(photograph.image, *photo_size), images.resize(painting.image, *painting_size)
    carries_alpha = keep_alpha and photograph.alpha is not None
    alpha = images.resize(photograph.alpha, *photo_size) if carries_alpha else None
    del photograph, painting, picture  # Large ones would lie in memory through the whole run.

    steps = observed(transfer.steps(small, target, chosen, init=start), callbacks)
    return _finish(steps, _Result(output, photo_size, alpha=alpha, quality=quality, overwrite=overwrite))


@dataclass(frozen=True)
class _Result:
    """Where and how a result is written; nowhere if `path` is None."""

    path: str | os.PathLike | None
    size: tuple[int, int]
    alpha: Any = None
    quality: int = 95
    overwrite: bool = False

    def write(self, image: tf.Tensor) -> tf.Tensor:
        """Writes an image at the result's size, and returns it."""
        image = images.resize(image, *self.size)
        if self.path is not None:
            images.write_result(image, self.path, alpha=self.alpha, quality=self.quality, overwrite=self.overwrite)
        return image


def _finish(steps: collections.abc.Generator[Step, None, None], result: _Result) -> tf.Tensor:
    """Runs all steps and writes the last image; if the run breaks off, the image so far."""
    image = None
    try:
        with contextlib.closing(steps):
            for step in steps:
                image = step.image
    except DivergedError:
        raise
    except BaseException as error:  # Ctrl-C, a callback failed, or memory ran out: no reason to lose the picture.
        if image is None or result.path is None:
            raise
        try:
            result.write(image)
            where = f"{os.fspath(result.path)}: the image so far."
        except OutputError as failure:  # It says where the image is.
            where = str(failure)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(where) from None
        _log.warning("%s", where)
        raise
    return result.write(image)


def fast(
    content: Any,
    styles: Any = (),
    *,
    model: str | os.PathLike | Transformer | AdaINDecoder | None = None,
    blend: Sequence[float] | None = None,
    alpha: float = 1.0,
    seed: int | None = None,
    preserve_color: bool = False,
    size: int = 0,
    tile: int = 1024,
    output: str | os.PathLike | None = None,
    background: str = "white",
    quality: int = 95,
    overwrite: bool = False,
) -> tf.Tensor:
    """Paints a photograph in the manner of any paintings in one pass: in seconds, a sketch of what `stylize` does.

        image = tfstyle.fast("photo.jpg", "painting.jpg")
        image = tfstyle.fast("photo.jpg", model="starry-night")
        image = tfstyle.fast("photo.jpg", model="gan/network.keras", seed=3)

    Args:
        content: the photograph, as for `images.read`.
        styles: a painting, likewise, or several, each at its own size; none for a model of one style, none or some
            for a generator.
        model: a network from `tfstyle train`: its name, as for `feedforward.saved.load`, or itself; AdaIN with the
            embedded decoder if None.
        blend, alpha: as for `feedforward.inference.paint`; not for a model of one style, and no alpha for a generator.
        seed: which of its paintings a generator invents that is given none; 0 if None.
        tile: as for `feedforward.inference.paint` or `transform`.
        preserve_color: keep the photograph's colours and take only the painting's light and dark.
        size: long side of the result in pixels; 0 is the photograph's own.
        output, background, quality, overwrite: as for `stylize`.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1].

    Raises:
        UsageError: if a value is not valid, or the result would have more pixels than `limits.MAX_PIXELS`.
        InputError: if a picture cannot be read or is too small.
        OutputError: if the result could not be written, as for `stylize`.
        WeightsError: if the model cannot be used.
        MemoryLimitError: if the run would not fit in memory, or memory runs out.
    """
    environment.grow_gpu_memory()  # Before anything runs on it.
    network = saved.load(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    styles = _as_several(styles)
    _check_manner(network, len(styles), blend=blend, alpha=alpha, seed=seed)
    if size < 0:
        raise UsageError(f"size should be at least 0, not {size!r}.")
    if output is not None:
        images.check_output(output, overwrite=overwrite)
    whole = _read(content, background, size)
    own_height, own_width = whole.full_size
    height, width = images.fitted_size(own_height, own_width, size or max(own_height, own_width))
    if height * width > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise UsageError(f"{width}x{height} is more than the limit of {most} million pixels; choose a smaller `size`.")
    photograph = images.resize(whole.image, height, width)
    paintings = [_read(style, background).image for style in styles]
    painter = network if isinstance(network, Transformer) else _adain(network)
    sizes = [image.shape[1:3] for image in (photograph, *paintings)]
    _check_fast_memory(inference.memory_needed(painter, *sizes, tile=tile), width, height)
    try:
        if isinstance(painter, Generator):
            code = choose_code(painter, paintings, blend=blend, seed=seed or 0)
            image = transform(painter, photograph, code=code, tile=tile)
        elif isinstance(painter, Transformer):
            image = transform(painter, photograph, tile=tile)
        else:
            image = paint(painter, photograph, paintings, blend=blend, alpha=alpha, tile=tile)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise MemoryLimitError(f"memory ran out at {width}x{height}; choose a smaller `tile` or `size`.") from error
    if not bool(tf.reduce_all(tf.math.is_finite(image))):
        raise WeightsError("the picture is not finite: the network's weights are damaged; load or train it again.")
    if preserve_color:
        image = keep_colors(image, photograph)
    if output is not None:
        images.write_result(image, output, quality=quality, overwrite=overwrite)
    return image


def _check_manner(
    network: Transformer | AdaINDecoder | None,
    styles: int,
    *,
    blend: Sequence[float] | None,
    alpha: float,
    seed: int | None,
) -> None:
    """Refuses what a network cannot follow."""
    generator = isinstance(network, Generator)
    one_style = isinstance(network, Transformer) and not generator
    if one_style and (styles or blend is not None or alpha != 1.0):
        raise UsageError("a network of one style takes no painting, blend or alpha; leave them out.")
    if not styles and not isinstance(network, Transformer):
        raise UsageError("name at least one painting, or a network of one style as `model`.")
    if seed is not None and (styles or not generator):
        raise UsageError("a seed is for a network from tfstyle train gan, without paintings; leave it out.")
    if generator and (alpha != 1.0 or (blend is not None and not styles)):
        raise UsageError("a network from tfstyle train gan takes no alpha, and a blend of paintings only.")


def _as_several(styles: Any) -> list[Any]:
    """One painting, of any kind that `images.read` takes, or several, as a list."""
    one = isinstance(styles, (str, os.PathLike, Image.Image, Picture)) or hasattr(styles, "shape")
    return [styles] if one else list(styles)


@functools.lru_cache(maxsize=2)
def _adain(decoder: AdaINDecoder | None) -> AdaIN:
    """The embedded network, or the one with a decoder of your own, compiled once for the next picture."""
    return adain() if decoder is None else AdaIN(decoder)


@functools.cache
def _confess(note: str | None) -> None:
    """Says once a process that a recipe runs on another network than it was published for."""
    if note:
        _log.warning("%s", note)


_building = threading.Lock()


@functools.lru_cache(maxsize=8)
def _cached_transfer(compiled: Recipe) -> Transfer:
    return Transfer(compiled)


def _transfer(compiled: Recipe) -> Transfer:
    """The network and the compiled step of one of the last recipes, kept for the next picture."""
    with _building:  # Two threads would otherwise both build it.
        transfer = _cached_transfer(compiled)
    _log.info("computes in %(precision)s; gradients by flipped kernels: %(flip_kernels)s.", transfer.settings)
    return transfer


def clear_cache() -> None:
    """Releases what is kept between calls: networks and graphs of the last eight recipes, some 90 MB each, and AdaIN.

    Runs that are going on keep theirs until they end.
    """
    _cached_transfer.cache_clear()
    _adain.cache_clear()
    adain.cache_clear()
    gc.collect()  # Networks and graphs refer to each other.


def read_fitted(source: Any, size: int, *, background: str = "white") -> tf.Tensor:
    """Reads a picture no longer than `size` pixels: float32 [1, height, width, 3] in [0, 1].

    Raises:
        InputError: if it cannot be read.
    """
    image = _read(source, background, size).image
    return images.fit(image, min(size, max(image.shape[1:3])))


def _read(source: Any, background: str, long_side: int = 0) -> Picture:
    """Reads a picture and says what happened to it."""
    picture = images.read(source, background=background, long_side=long_side)
    what = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the picture given"
    for note in picture.notes:
        _log.info("%s: %s.", what, note)
    for warning in picture.warnings:
        _log.warning("%s: %s", what, warning)
    return picture


def _painting_size(painting: Picture, photo_size: tuple[int, int], recipe: Recipe) -> tuple[int, int]:
    """The painting's size: the same long side as the result, so that its strokes keep their proportion to the picture.

    Beside a narrow strip a painting as long would have far more pixels than the result; it gets at most twice as many.
    Recipes that fit it to the result's width, or exactly to the result, are followed; `style_scale` then resizes it.
    """
    height, width = painting.image.shape[1:3]
    if recipe.style_fit == "content":
        height, width = photo_size
    longest: float = max(photo_size)
    aspect = max(height, width) / min(height, width)
    if recipe.style_fit == "width":
        longest = round(photo_size[1] * max(height, width) / width)
    elif recipe.style_fit == "long_side":
        longest = min(longest, math.sqrt(2 * math.prod(photo_size) * aspect))
    return images.fitted_size(height, width, round(longest * recipe.style_scale))


def _check_size(picture: Picture, size: tuple[int, int], smallest: int) -> None:
    """Refuses a picture too small or too narrow for the network, with the size that would do."""
    if min(size) < smallest:
        height, width = picture.full_size
        enough = math.ceil(smallest * max(height, width) / min(height, width))
        raise InputError(
            f"{picture.name}: is {width}x{height} and would be worked on at {size[1]}x{size[0]}; the network needs "
            f"{smallest} pixels on each side, so choose a `size` of {enough} or more, or a picture of another shape."
        )


def _check_memory(recipe: Recipe, result: tuple[int, int], painting: tuple[int, int]) -> None:
    """Refuses a run that main memory could not hold, before it begins; a GPU speaks for itself."""
    if tf.config.list_physical_devices("GPU"):
        return
    needed, free = memory_needed(recipe, result, painting), environment.available_memory()
    if free is not None and needed > free and _cached_transfer.cache_info().currsize:
        clear_cache()  # What other recipes left is no reason to refuse this one.
        free = environment.available_memory()
    if free is not None and needed > free:
        height, width = result
        smaller = f"a `size` of {int(max(height, width) * (free / needed) ** 0.5)} or less"
        if math.prod(painting) > 2 * height * width:
            (height, width), smaller = painting, "a smaller `style_scale`"
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            f"choose {smaller}."
        )


_fast_memory = 0
"""What the largest picture of `fast` yet was estimated to take, in bytes: TensorFlow keeps it and uses it again."""


def _check_fast_memory(needed: int, width: int, height: int) -> None:
    """Refuses a picture that main memory could not hold, before it is painted; a GPU speaks for itself."""
    global _fast_memory
    if tf.config.list_physical_devices("GPU"):
        return
    free = environment.available_memory()
    if free is not None and needed - _fast_memory > free:
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "choose a smaller `tile` or `size`."
        )
    _fast_memory = max(_fast_memory, needed)
