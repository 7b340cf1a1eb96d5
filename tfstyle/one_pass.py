"""Stylizes images in one pass of a network: `stylize_fast`."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from tfstyle import environment, images
from tfstyle.color import keep_colors, recolor_style
from tfstyle.environment import tf
from tfstyle.errors import InputError, MemoryLimitError, UsageError, WeightsError
from tfstyle.faces import check_protect, find_protected
from tfstyle.feedforward import serialization
from tfstyle.feedforward.adain import AdaINDecoder, load_adain
from tfstyle.feedforward.inference import OnePassNetwork
from tfstyle.feedforward.options import Options
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.levels import scale
from tfstyle.limits import MAX_PIXELS
from tfstyle.masks import composite, read_masks, unite, unprotected
from tfstyle.recipes.parts import ColorTransfer
from tfstyle.styles import Style, as_styles, check_feather, check_one_pass, divide_weight
from tfstyle.tensors import sides


def stylize_fast(
    content: Any,
    styles: Any = (),
    *,
    model: str | os.PathLike | OnePassNetwork | None = None,
    strength: float = 1.0,
    seed: int | None = None,
    transform: str = "adain",
    precision: str = "auto",
    color: str = "style",
    color_strength: float = 1.0,
    protect: Any = None,
    feather: float = 0.01,
    size: int = 0,
    tile: int = 1024,
    output: str | os.PathLike | None = None,
    background: str = "white",
    quality: int = 95,
    overwrite: bool = False,
) -> tf.Tensor:
    """Stylizes an image in one pass, in seconds; the result approximates that of `stylize`.

        image = tfstyle.stylize_fast("photo.jpg", "painting.jpg")
        image = tfstyle.stylize_fast("photo.jpg", model="starry-night")
        image = tfstyle.stylize_fast("photo.jpg", model="gan/network.keras", seed=3)

    Args:
        content: the content image, as for `images.read`.
        styles: a style image, likewise, or several, or a folder of them, each at its own size; a `Style` has a weight
            and a scale. None for a network of one style, none or some for a generator.
        model: a network from `tfstyle train`, or its name, as for `feedforward.serialization.load`; None selects AdaIN
            with the embedded decoder.
        strength, transform, precision, tile: as for `feedforward.inference.OnePassNetwork.stylize`; only AdaIN has
            `transform` and `precision`.
        seed: seed of the random style if a generator receives no style image; 0 if None.
        color, color_strength: as for `recipes.ColorTransfer`; if there is no style image, the result is recolored.
        protect, feather: as for `stylize`; with masks, each part is stylized by itself.
        size: long side of the result in pixels; 0 is the content image's own.
        output, background, quality, overwrite: as for `stylize`.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1].

    Raises:
        UsageError: if a value is not valid, or at `size` the result would have more pixels than `limits.MAX_PIXELS`.
        InputError: if a picture cannot be read or is too small, or the content image's own size is above that limit.
        OutputError: if the result could not be written, as for `stylize`.
        WeightsError: if the model cannot be used.
        MemoryLimitError: if the run would not fit in memory, or memory runs out.
    """
    environment.grow_gpu_memory()  # Before anything runs on the GPU.
    network = _network(model)
    styles = as_styles(styles)
    check_one_pass(styles)
    check_feather(feather)
    check_protect(protect)
    blend = divide_weight(styles) if styles else None
    options = Options(blend=blend, strength=strength, seed=seed, transform=transform, precision=precision, tile=tile)
    network.check_options(len(styles), options)
    colors = ColorTransfer(color=color, color_strength=color_strength)
    if size < 0:
        raise UsageError(f"`size` should be at least 0, not {size!r}.")
    if output is not None:
        images.check_output(output, overwrite=overwrite, quality=quality)
    image = _read_content(content, size, background)
    style_images = [_read_style(style, background) for style in styles]
    recolor = functools.partial(recolor_style, content=image, color=colors.color, strength=colors.color_strength)
    protect = find_protected(protect, image.numpy())
    masked = read_masks(styles, sides(image), protect=protect, feather=feather)
    recolored = [
        dataclasses.replace(style, picture=np.asarray(recolor(picture)))
        for style, picture in zip(masked, style_images, strict=True)
    ]
    result = _stylize_parts(network, image, recolored, options)
    if not bool(tf.reduce_all(tf.math.is_finite(result))):
        raise WeightsError("the picture is not finite: the network's weights are damaged; load or train it again.")
    if not styles:
        result = recolor(result)
    if colors.color == "content":
        result = keep_colors(result, image, strength=colors.color_strength)
    if protect is not None and not styles:
        result = composite(result, image, [unprotected(protect, sides(image), feather=feather)])
    if output is not None:
        images.write_result(result, output, quality=quality, overwrite=overwrite)
    return result


def _read_content(source: Any, size: int, background: str) -> tf.Tensor:
    """Reads the content image at the size of the result."""
    picture = images.read_and_log(source, background=background, long_side=size)
    full_height, full_width = picture.full_size
    height, width = images.fit_size(full_height, full_width, size or max(full_height, full_width))
    if height * width > MAX_PIXELS:
        limit = f"{width}x{height} is more than the limit of {MAX_PIXELS / 1e6:g} million pixels"
        if size:
            raise UsageError(f"{limit}; choose a smaller `size`.")
        raise InputError(f"the content image's own size {limit}; choose a smaller `size`.")
    return images.resize(picture.image, height, width)


def _stylize_parts(network: OnePassNetwork, content: tf.Tensor, styles: list[Style], options: Options) -> tf.Tensor:
    """Stylizes the content image, or each part of it that a mask selects, like `_stylize`."""
    drawn = unite(styles) if styles else None
    if drawn is None:
        return _stylize(network, content, [style.picture for style in styles], options)
    result = content
    for number, mask in enumerate(drawn.masks):
        group = [style for style, owner in zip(styles, drawn.owners, strict=True) if owner == number]
        of_group = dataclasses.replace(options, blend=divide_weight(group))
        part = _stylize(network, content, [style.picture for style in group], of_group)
        result = composite(part, content, [mask]) if len(drawn.masks) == 1 else result + mask * (part - content)
    return result


def _stylize(network: OnePassNetwork, content: tf.Tensor, styles: list[np.ndarray], options: Options) -> tf.Tensor:
    """Stylizes the content image if memory is sufficient.

    Raises:
        MemoryLimitError: if it is not.
    """
    height, width = sides(content)
    needed = network.memory_needed((height, width), *(sides(style) for style in styles), options=options)
    if (free := environment.check_free_memory(needed)) is not None:
        raise MemoryLimitError(
            f"{width}x{height} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "choose a smaller `tile` or `size`."
        )
    try:
        result = network.stylize(content, styles, **vars(options))
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise MemoryLimitError(f"memory ran out at {width}x{height}; choose a smaller `tile` or `size`.") from error
    environment.record_memory(needed)
    return result


def _read_style(style: Style, background: str) -> Any:
    """Reads a style image at its own size, times its scale."""
    image = images.read_and_log(style.picture, background=background).image
    return image if style.scale == 1.0 else scale(tf.constant(image), style.scale)


def _network(model: str | os.PathLike | OnePassNetwork | None) -> OnePassNetwork:
    """Returns the named or given network, or AdaIN if None; an unchanged file is loaded only once."""
    if model is None:
        return load_adain()
    if isinstance(model, (str, os.PathLike)):
        source = os.fspath(model)
        facts = os.stat(serialization.find(source))
        return _load(source, facts.st_mtime_ns, facts.st_size)
    if not hasattr(model, "stylize"):
        raise UsageError(f"`model` should be a network, its name or its .keras file, not {model!r}.")
    return model


@functools.lru_cache(maxsize=2)
def _load(source: str, _modified: int, _size: int) -> TransformerNet | AdaINDecoder:
    return serialization.load(source)


def clear_cache() -> None:
    """Releases the networks that are kept for the next picture."""
    _load.cache_clear()
    load_adain.cache_clear()
