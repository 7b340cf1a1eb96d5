"""Picture and paintings → picture, by a network that paints in one pass: `fast`."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from PIL import Image

from tfstyle import environment, images
from tfstyle.color import keep_colors
from tfstyle.environment import tf
from tfstyle.errors import InputError, MemoryLimitError, UsageError, WeightsError
from tfstyle.feedforward import inference, serialization
from tfstyle.feedforward.adain import AdaIN, AdaINDecoder, adain
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.inference import choose_code, paint, transform
from tfstyle.feedforward.transformer_net import Transformer
from tfstyle.limits import MAX_PIXELS
from tfstyle.pictures.decoding import Picture


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
    """Paints a photograph in the style of any paintings in one pass: in seconds, a sketch of what `stylize` does.

        image = tfstyle.fast("photo.jpg", "painting.jpg")
        image = tfstyle.fast("photo.jpg", model="starry-night")
        image = tfstyle.fast("photo.jpg", model="gan/network.keras", seed=3)

    Args:
        content: the photograph, as for `images.read`.
        styles: a painting, likewise, or several, each at its own size; none for a model of one style, none or some
            for a generator.
        model: a network from `tfstyle train`: its name, as for `feedforward.serialization.load`, or itself;
            AdaIN with the embedded decoder if None.
        blend, alpha: as for `feedforward.inference.paint`; not for a model of one style, and no alpha for a generator.
        seed: which of its paintings a generator invents that is given none; 0 if None.
        tile: as for `feedforward.inference.paint` or `transform`.
        preserve_color: keep the photograph's colors and take only the painting's light and dark.
        size: long side of the result in pixels; 0 is the photograph's own.
        output, background, quality, overwrite: as for `stylize`.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1].

    Raises:
        UsageError: if a value is not valid, or at `size` the result would have more pixels than `limits.MAX_PIXELS`.
        InputError: if a picture cannot be read or is too small, or the photograph's own size is above that limit.
        OutputError: if the result could not be written, as for `stylize`.
        WeightsError: if the model cannot be used.
        MemoryLimitError: if the run would not fit in memory, or memory runs out.
    """
    environment.grow_gpu_memory()  # Before anything runs on it.
    network = _load(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    styles = _as_several(styles)
    _check_arguments(network, len(styles), blend=blend, alpha=alpha, seed=seed)
    if size < 0:
        raise UsageError(f"`size` should be at least 0, not {size!r}.")
    if output is not None:
        images.check_output(output, overwrite=overwrite, quality=quality)
    whole = images.read_and_log(content, background=background, long_side=size)
    own_height, own_width = whole.full_size
    height, width = images.fit_size(own_height, own_width, size or max(own_height, own_width))
    if height * width > MAX_PIXELS:
        limit = f"{width}x{height} is more than the limit of {MAX_PIXELS / 1e6:g} million pixels"
        if size:
            raise UsageError(f"{limit}; choose a smaller `size`.")
        raise InputError(f"the photograph's own {limit}; choose a smaller `size`.")
    photograph = images.resize(whole.image, height, width)
    paintings = [images.read_and_log(style, background=background).image for style in styles]
    painter = network if isinstance(network, Transformer) else _adain(network)
    sizes = [image.shape[1:3] for image in (photograph, *paintings)]
    needed = inference.memory_needed(painter, *sizes, tile=tile)
    if (free := environment.check_free_memory(needed)) is not None:
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "choose a smaller `tile` or `size`."
        )
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
    environment.record_memory(needed)
    if not bool(tf.reduce_all(tf.math.is_finite(image))):
        raise WeightsError("the picture is not finite: the network's weights are damaged; load or train it again.")
    if preserve_color:
        image = keep_colors(image, photograph)
    if output is not None:
        images.write_result(image, output, quality=quality, overwrite=overwrite)
    return image


def _check_arguments(
    network: Transformer | AdaINDecoder | None,
    styles: int,
    *,
    blend: Sequence[float] | None,
    alpha: float,
    seed: int | None,
) -> None:
    """Refuses arguments the network does not take."""
    generator = isinstance(network, Generator)
    one_style = isinstance(network, Transformer) and not generator
    if one_style and (styles or blend is not None or alpha != 1.0):
        raise UsageError("a network of one style takes no painting, `blend` or `alpha`; leave them out.")
    if not styles and not isinstance(network, Transformer):
        raise UsageError("name at least one painting, or a network of one style as `model`.")
    if seed is not None and (styles or not generator):
        raise UsageError("`seed` is for a generator that is given no painting; leave it out.")
    if generator and (alpha != 1.0 or (blend is not None and not styles)):
        raise UsageError("a generator takes no `alpha`, and a `blend` of paintings only.")


def _as_several(styles: Any) -> list[Any]:
    """One painting, of any kind that `images.read` takes, or several, as a list."""
    one = isinstance(styles, (str, os.PathLike, Image.Image, Picture)) or hasattr(styles, "shape")
    return [styles] if one else list(styles)


def _load(source: str) -> Transformer | AdaINDecoder:
    """Loads a network, or takes it as it was loaded before if its file has not changed."""
    facts = os.stat(serialization.find(source))
    return _loaded(source, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=2)
def _loaded(source: str, _modified: int, _size: int) -> Transformer | AdaINDecoder:
    return serialization.load(source)


@functools.lru_cache(maxsize=2)
def _adain(decoder: AdaINDecoder | None) -> AdaIN:
    """The embedded network, or the one with a decoder of your own, compiled once for the next picture."""
    return adain() if decoder is None else AdaIN(decoder)


def clear_cache() -> None:
    """Releases the networks that are kept for the next picture."""
    _loaded.cache_clear()
    _adain.cache_clear()
    adain.cache_clear()
