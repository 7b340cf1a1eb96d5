"""Makes a result from paths or pictures: `stylize`, the only function that most programs need."""

from __future__ import annotations

import functools
import gc
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfstyle import checkpoint as checkpoints
from tfstyle import environment, files, images, metrics, one_pass, records
from tfstyle.callbacks import Callback, observe
from tfstyle.distribution import Devices, find_devices
from tfstyle.environment import tf
from tfstyle.errors import UsageError
from tfstyle.faces import check_protect, is_word, name_protected
from tfstyle.fields import parse_bytes
from tfstyle.inputs import Inputs, read_inputs
from tfstyle.memory import memory_needed
from tfstyle.pictures.decoding import Picture
from tfstyle.planning import Level, lighter, plan_lightest, plan_run
from tfstyle.recipes.catalog import get_recipe
from tfstyle.recipes.parts import STARTS
from tfstyle.recipes.presets import ENOUGH_MATCHED, with_regions
from tfstyle.recipes.recipe import GraphKey, Overrides, Recipe, replace
from tfstyle.results import Result, finish
from tfstyle.styles import Style, as_styles, check_styles, name_pictures
from tfstyle.transfer import Transfer
from tfstyle.vgg import VGG, load_vgg

if TYPE_CHECKING:
    from typing_extensions import Unpack

_log = logging.getLogger("tfstyle")


def stylize(
    content: Any,
    style: Any,
    *,
    recipe: str | Recipe = "default",
    output: str | os.PathLike | None = None,
    callbacks: Iterable[Callback] = (),
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    record: str | os.PathLike | None = None,
    memory: int | str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    background: str = "white",
    protect: Any = None,
    feather: float = 0.01,
    keep_alpha: bool = False,
    quality: int = 95,
    overwrite: bool = False,
    **overrides: Unpack[Overrides],
) -> tf.Tensor:
    """Transfers the style of the style image to the content image.

        image = tfstyle.stylize("photo.jpg", "painting.jpg", size=512)

    Args:
        content: the content image: path, PIL image, array or tensor, as for `images.read`.
        style: the style image, likewise; or several, each a picture or a `Style` with its weight, or a folder of them.
        recipe: a name in `RECIPES`, or a `Recipe`.
        output: path of the result; None writes nothing. A `files.FreeName` takes the next free name when the result
            is written.
        callbacks: called with a `Step` after every step; one that returns True ends the run, and the image so far is
            the result. A callback with a `close` method is closed at the end.
        checkpoint: a folder for checkpoints, from which the run can go on after a crash; None saves none.
        checkpoint_every: steps between two checkpoints; None saves one every 30 seconds. The last step is always saved.
        resume: go on with the run whose checkpoint is in that folder; recipe, overrides and pictures must be the same.
        record: path of a .json file for the `records` record of the result, which a PNG holds as well; None writes
            none.
        memory: what the run should take at most, in bytes or as "4GB"; None takes what is free. What needs more is
            computed in tiles, in up to twice the time, with the same result up to rounding.
        strategy: divides the tiles of large images among its devices; None takes the GPUs of this machine. With a
            `tf.distribute.MultiWorkerMirroredStrategy`, all workers make the same call; the chief alone calls the
            callbacks and writes files, and `checkpoint` is a folder that all of them can read.
        background: color behind transparent parts, as in CSS.
        protect: a mask of what stays as in the content image, as for `Style.mask`, or "faces"; None protects nothing.
        feather: standard deviation by which masks are blurred, as a fraction of the long side.
        keep_alpha: write the alpha channel of the content image to the file.
        quality: quality of a written JPEG, WebP or AVIF, 1 to 100.
        overwrite: replace an existing file.
        **overrides: fields of the recipe and its parts to replace: `size`, `steps`, `style_weight`, … The content
            image is enlarged only if `size` is given.

    Returns:
        float32 tensor [1, height, width, 3], sRGB, in [0, 1] if the recipe clips.

    Raises:
        UsageError: if a recipe, a field or a value is not valid, or the checkpoint is that of another run.
        InputError: if a picture cannot be read or is too small.
        OutputError: if the result could not be written; most causes are found before the run begins. Otherwise the
            result is saved elsewhere (`images.write_result`); the message says where.
        WeightsError: if the network's weights, or the checkpoint, cannot be used.
        MemoryLimitError: if the run would not fit, or did not fit, in memory, even in tiles.
        DivergedError: if the loss or the image is no longer finite, also with shorter steps; the best image so far is
            in `output`.
        WorkerError: if another worker no longer answers.
        Interrupted: on Ctrl-C; it is a KeyboardInterrupt, not a TfstyleError.
        Exception: raised by a callback. After this, Ctrl-C, a MemoryLimitError or a WorkerError, the image so far is
            in `output`.
    """
    chosen, enlarge = get_recipe(recipe, **overrides), "size" in overrides
    styles = as_styles(style)
    chosen = check_styles(styles, chosen, protect=protect, feather=feather)
    check_protect(protect)
    if callable(callbacks):
        raise UsageError("`callbacks` should be a list of functions, not one function.")
    environment.grow_gpu_memory()  # Before anything runs on the GPU.
    devices = find_devices(strategy)
    if devices.index:
        output, record, callbacks = None, None, ()
    record_path = None if record is None else Path(record)
    _check_files(output, record_path, overwrite=overwrite, alpha=keep_alpha, quality=quality)
    folder = _check_checkpoint(checkpoint, resume=resume, every=checkpoint_every)
    limit = None if memory is None else parse_bytes("memory", memory)
    inputs = read_inputs(
        content, styles, recipe=chosen, enlarge=enlarge, background=background, protect=protect, feather=feather
    )
    chosen = _decide_regions(chosen, inputs.content.image, *(each.picture.image for each in inputs.styles))
    chosen, levels, limit = _plan(chosen, inputs, resumed=folder if resume else None, limit=limit, devices=devices)
    transfer = _transfer(chosen)
    if difference := chosen.network.difference(transfer.model.vgg.input_scale):
        _warn_once(f"{chosen.name} {difference}")
    content_image, weighed = inputs.scale()
    alpha = inputs.scale_alpha() if keep_alpha else None
    init, style_sides, size = inputs.init, inputs.style_sides, inputs.size
    del inputs  # Large pictures would stay in memory during the whole run.
    made: dict[str, Any] = {}
    if output is not None or record is not None:
        sized = replace(chosen, {"size": max(size), **transfer.settings})
        options = {"background": background, "keep_alpha": keep_alpha, "quality": quality, "feather": feather}
        made = _describe(sized, content, styles, protect=protect, options=options)
        made["options"] |= {"memory": limit} if any(level.tile for level in levels) else {}

    observers, snapshot = list(callbacks), None
    if folder is not None or devices.workers > 1:
        pictures = {"content": content_image, "init": None if callable(init) else init}
        fixed = checkpoints.describe(chosen, pictures | name_pictures(weighed), styles)
        of_folder: dict[str, Any] = {"every": checkpoint_every, "resume": resume, "devices": devices}
        snapshot = checkpoints.follow(folder, transfer, observers, fixed=fixed, **of_folder)
    runs = transfer.steps(
        content_image,
        weighed,
        style_sides=style_sides,
        recipe=chosen,
        init=init,
        resume=snapshot,
        memory=limit,
        devices=devices,
    )
    steps = observe(runs, observers)
    written = Result(
        path=output, record_path=record_path, size=size, made=made, alpha=alpha, quality=quality, overwrite=overwrite
    )
    result = finish(steps, written)
    environment.record_memory(max(level.needed for level in levels))
    return result


def _check_files(output: Any, record: Path | None, *, overwrite: bool, alpha: bool, quality: int) -> None:
    """Checks that the result and its record could be written."""
    if output is not None:
        images.check_output(output, overwrite=overwrite, alpha=alpha, quality=quality)
    if record is not None:
        files.check_file(record, (".json",), overwrite=overwrite)


def _check_checkpoint(checkpoint: str | os.PathLike | None, *, resume: bool, every: int | None) -> Path | None:
    """Checks the folder for checkpoints, and returns it."""
    if checkpoint is None:
        if resume:
            raise UsageError("`resume` needs the folder of the checkpoint as `checkpoint`.")
        return None
    checkpoints.check(Path(checkpoint), resume=resume, every=every)
    return Path(checkpoint)


def _describe(
    recipe: Recipe, content: Any, styles: Sequence[Style], *, protect: Any, options: dict[str, Any]
) -> dict[str, Any]:
    """Describes a run like `records.describe_run`, with the files that its recipe names."""
    init, weights = recipe.start.init, recipe.network.weights
    pictures = {"content": content, **name_pictures(styles), **name_protected(protect)}
    given = {
        name: (source.source or source.image) if isinstance(source, Picture) else source
        for name, source in pictures.items()
    }
    named = ({"init": init} if init not in STARTS else {}) | ({"weights": weights} if Path(weights).is_file() else {})
    options = options | ({"protect": protect} if is_word(protect) else {})
    options["styles"] = [style.record() for style in styles]
    return records.describe_run(recipe, inputs=given | named, options=options)


@functools.cache
def _warn_once(note: str) -> None:
    """Logs a warning once per process."""
    _log.warning("%s", note)


_building = threading.Lock()


@functools.lru_cache(maxsize=8)
def _cached_transfer(key: GraphKey, _weights_modified: int) -> Transfer:
    return Transfer(key)


def _transfer(recipe: Recipe) -> Transfer:
    """Returns network and compiled step of a recipe; those of the last recipes are kept for the next picture."""
    with _building:  # Two threads would otherwise both build it.
        transfer = _cached_transfer(recipe.graph_key, _modified(recipe.network.weights))
    _log.info("computes in %(precision)s; gradients by flipped kernels: %(flip_kernels)s.", transfer.settings)
    return transfer


@functools.lru_cache(maxsize=1)
def _matching_network(weights: str, _weights_modified: int) -> VGG:
    return load_vgg((metrics.MATCHING_LAYER,), weights=weights)


def _decide_regions(recipe: Recipe, content: Any, style: Any, *more: Any) -> Recipe:
    """Returns the recipe with a decision for `regions` "auto", by the share of the style image that is matched."""
    if recipe.loss.regions != "auto":
        return recipe
    if more or recipe.loss.orientation != "none":
        return replace(recipe, {"regions": "none"})
    with _building:
        network = _matching_network(recipe.network.weights, _modified(recipe.network.weights))
    share = metrics.matched_share(network, content, style)
    few = share < ENOUGH_MATCHED
    _log.info("the photograph matches %.2f of the painting: %s.", share, "3 regions" if few else "no regions")
    return with_regions(recipe) if few else replace(recipe, {"regions": "none"})


def _modified(weights: str) -> int:
    """Returns when a weights file was modified, 0 for a network that is named."""
    file = Path(weights)
    return file.stat().st_mtime_ns if file.is_file() else 0


def clear_cache() -> None:
    """Releases the networks and graphs that are kept between calls.

    They are those of the last eight recipes, some 90 MB each, of AdaIN, and of the decision about regions. Active runs
    keep theirs until they end.
    """
    _cached_transfer.cache_clear()
    _matching_network.cache_clear()
    one_pass.clear_cache()
    gc.collect()  # Networks and graphs refer to each other.


def _plan(
    recipe: Recipe, inputs: Inputs, *, resumed: Path | None, limit: int | None, devices: Devices
) -> tuple[Recipe, list[Level], int | None]:
    """Plans a run like `plan_lightest`; returns the recipe, the levels and the limit.

    One that is resumed from a folder keeps the variant of the recipe that it began with.
    If no limit is given, it is what is free, and of several workers the least.
    """
    sizes, style_sides = (inputs.size, *(style.size for style in inputs.styles)), inputs.style_sides
    if limit is None:
        limit = environment.free_memory()
        lacks = limit is not None and memory_needed(recipe, *sizes) > limit
        if lacks and _cached_transfer.cache_info().currsize:
            clear_cache()  # Releasing the networks of other recipes can make room.
            limit = environment.free_memory()
    if devices.workers > 1:
        known = [each for each in devices.gather(limit or 0) if each]
        limit = int(min(known)) if known else None
    begun = None if resumed is None else checkpoints.find_variant(resumed, lighter(recipe))
    if begun is not None:
        return begun, plan_run(begun, *sizes, style_sides=style_sides, limit=limit), limit
    return *plan_lightest(recipe, *sizes, style_sides=style_sides, limit=limit), limit
