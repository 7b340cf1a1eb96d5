"""Runs `tfstyle stylize` and `tfstyle demo`: checks everything possible before TensorFlow is loaded."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import tfstyle
from tfstyle import files, images, records, weights
from tfstyle.cli import events
from tfstyle.cli.streams import join_workers, quiet_tensorflow
from tfstyle.errors import InputError, OutputError, SetupError, UsageError
from tfstyle.faces import check_protect, name_protected
from tfstyle.fields import parse_bytes
from tfstyle.pictures import decoding, encoding
from tfstyle.recipes.catalog import get_recipe
from tfstyle.recipes.parts import STARTS
from tfstyle.recipes.recipe import OPTIONS, Overrides, Recipe, replace
from tfstyle.styles import Style, as_styles, check_styles, name_pictures, parse_style
from tfstyle.tensors import sides

_log = logging.getLogger("tfstyle")


def run(options: argparse.Namespace) -> None:
    """Runs `tfstyle stylize` or `tfstyle demo`, and prints the path of the result."""
    recipe, overrides = typed_recipe(options)
    content, styles = check_pictures(options, recipe)
    output = result_path(options, content, join_names(styles), beside=_steps_folder)
    with contextlib.ExitStack() as folders:
        for folder in sorted({path.parent for path in (Path(output), *_records(options).values())}):
            folders.enter_context(files.make_folder(folder))
        _check_output(options, Path(output))
        _check_records(options, Path(output))
        checkpoints = checkpoint_options(options)
        check_memory(options)
        start(options, recipe, content=str(content), styles=[str(style.picture) for style in styles])
        with quiet_tensorflow(options.debug):
            from tfstyle import api, distribution

            callbacks = list(_make_callbacks(options, Path(output)))
        strategy = join_workers(options.debug)
        image = api.stylize(
            content,
            styles,
            recipe=recipe,
            output=output,
            callbacks=callbacks,
            record=options.record,
            memory=options.memory,
            strategy=strategy,
            **checkpoints,
            background=options.background,
            protect=options.protect,
            feather=options.feather,
            keep_alpha=options.keep_alpha,
            quality=options.quality,
            overwrite=options.overwrite,
            **overrides,
        )
    if distribution.is_chief():  # Another worker leaves the result to the chief.
        height, width = sides(image)
        events.result(options, Path(output), width=width, height=height)


def check_memory(options: argparse.Namespace) -> None:
    """Raises UsageError if `--memory` is not an amount of memory."""
    if options.memory is not None:
        parse_bytes("memory", options.memory)


def checkpoint_options(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments about checkpoints.

    Raises:
        UsageError: if the options name two folders, or none that `--checkpoint-every` could use.
    """
    if options.checkpoint and options.resume:
        raise UsageError("give --checkpoint to start a run or --resume to go on with one, not both.")
    folder, every = options.resume or options.checkpoint, options.checkpoint_every
    if folder is None and every is not None:
        raise UsageError("--checkpoint-every needs a folder: give --checkpoint DIR.")
    return {"checkpoint": folder, "checkpoint_every": every, "resume": bool(options.resume)}


def start(options: argparse.Namespace, recipe: Recipe, **facts: Any) -> None:
    """Prints the event for the start of a run of a recipe, if --json is given."""
    chosen = {"size": recipe.pyramid.size, "seed": recipe.start.seed, "precision": recipe.network.precision}
    events.start(options, **facts, recipe=recipe.name, **chosen)


def rerun(options: argparse.Namespace) -> None:
    """Runs `tfstyle rerun`, prints the path of the result, and warns if its pixels are not those of the first."""
    if (options.content is None) != (not options.styles):
        raise UsageError("give both CONTENT and STYLE, or neither to look for them.")
    source = Path(options.file)
    made = records.read(source)
    output = result_path(options, source, "rerun")
    images.check_output(output, overwrite=options.overwrite)
    events.start(options, file=str(source), recipe=made["recipe"].get("name"))
    with quiet_tensorflow(options.debug):
        from tfstyle import reruns

        callbacks = list(make_step_callbacks(options))
    again = reruns.rerun(
        source,
        content=options.content,
        style=options.styles or None,
        output=output,
        overwrite=options.overwrite,
        callbacks=callbacks,
    )
    if not again.same:
        _log.warning("the pixels differ from those of %s: %s", source, _difference(made))
    height, width = sides(again.image)
    events.result(options, Path(output), width=width, height=height, same=again.same)


def _difference(record: Mapping[str, Any]) -> str:
    """Says why a result that was made again could differ."""
    here = {"tfstyle": tfstyle.__version__, "tensorflow": metadata.version("tensorflow"), "machine": platform.machine()}
    other = [f"{name} {record.get(name)}, here {value}" for name, value in here.items() if record.get(name) != value]
    return f"it was made with {'; '.join(other)}." if other else "it was made on another processor."


def _make_callbacks(options: argparse.Namespace, output: Path) -> Iterator[Any]:
    """Yields the callbacks that the options ask for."""
    from tfstyle import callbacks

    yield from make_step_callbacks(options)
    every, overwrite = options.save_every, options.overwrite
    if every is not None:
        yield callbacks.SaveImages(
            _steps_folder(output), every, suffix=output.suffix, quality=options.quality, overwrite=overwrite
        )
    if options.history:
        yield callbacks.History(Path(options.history), overwrite=overwrite)
    if options.plot_losses:
        yield callbacks.LossCurves(Path(options.plot_losses), overwrite=overwrite)
    if options.strip:
        yield callbacks.Strip(Path(options.strip), every=every, overwrite=overwrite)
    if options.gif:
        yield callbacks.Animation(Path(options.gif), every=every, overwrite=overwrite)
    if options.tensorboard:
        yield callbacks.TensorBoard(Path(options.tensorboard))


def make_step_callbacks(options: argparse.Namespace) -> Iterator[Any]:
    """Yields the callback that prints the steps of a run, if any: JSON lines, or a progress bar or log."""
    from tfstyle import callbacks

    if options.json:
        yield callbacks.JsonLines(sys.stdout)
    elif not options.quiet:
        yield callbacks.Progress(sys.stderr)


RECORDS = {
    "record": (".json",),
    "history": (".csv", ".json"),
    "plot_losses": (".png", ".jpg", ".webp", ".svg", ".pdf"),
    "strip": tuple(encoding.WRITERS),
    "gif": (".gif",),
}
"""Option that writes a file about the run → the suffixes the file may have."""


def _records(options: argparse.Namespace) -> dict[str, Path]:
    """Returns the files about the run that the options ask for, by the names of these options."""
    return {name: Path(getattr(options, name)) for name in RECORDS if getattr(options, name)}


def _check_records(options: argparse.Namespace, output: Path) -> None:
    """Checks the files about the run.

    Raises:
        OutputError: if one could not be written, or two have the same name.
        SetupError: if a package is missing.
    """
    taken = {os.path.realpath(output)}
    for name, path in _records(options).items():
        files.check_file(path, RECORDS[name], overwrite=options.overwrite)
        if os.path.realpath(path) in taken:
            raise OutputError(f"{path}: two files of this run would have this name; choose another.")
        taken.add(os.path.realpath(path))
    if options.tensorboard and Path(options.tensorboard).is_file():
        raise OutputError(f"{options.tensorboard}: is a file; name a folder with --tensorboard.")
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise SetupError("--tensorboard needs the package tensorboard; pip install 'tfstyle[tensorboard]'.")


def typed_recipe(options: argparse.Namespace) -> tuple[Recipe, Overrides]:
    """Returns the recipe with the typed options, and a typed size separately, since it may enlarge the photograph."""
    overrides = {name: getattr(options, name) for name in OPTIONS if name in vars(options)}
    if overrides.get("steps") == 0:
        raise UsageError("--steps should be at least 1, not 0.")
    recipe = replace(get_recipe(options.recipe), overrides)
    return recipe, {"size": recipe.pyramid.size} if "size" in overrides else {}


def check_pictures(options: argparse.Namespace, recipe: Recipe) -> tuple[Path, list[Style]]:
    """Makes every check of the input files that needs no TensorFlow.

    Returns:
        The path of the content image, and the style images; those of a folder are not looked for yet.

    Raises:
        UsageError: if only one of the two is given, or the background is not a color.
        InputError: if a picture cannot be used.
        WeightsError: if the weights cannot be used.
    """
    images.parse_color(options.background)
    if (options.content is None) != (not options.styles):
        raise UsageError("give both CONTENT and STYLE, or neither for the built-in pictures.")
    content = images.SAMPLES / "neuschwanstein.jpg" if options.content is None else Path(options.content)
    styles = list(map(parse_style, options.styles)) or [Style(images.SAMPLES / "starry_night.jpg")]
    every, protect = as_styles(styles), vars(options).get("protect")
    check_protect(protect)
    check_styles(every, recipe, protect=protect, feather=vars(options).get("feather", 0.0))
    if content.is_dir():
        raise InputError(f"{content}: is a folder; give a picture, tfstyle batch takes folders.")
    started_from = [] if recipe.start.init in STARTS else [recipe.start.init]
    for path in (content, *name_pictures(every).values(), *started_from, *name_protected(protect).values()):
        decoding.probe(Path(path), long_side=1)
    weights.check(recipe.network.weights)
    return content, styles


def join_names(styles: Iterable[Style]) -> str:
    """Returns the part of a result's name that names its style images: "night+waves"."""
    return "+".join(Path(style.picture).stem for style in styles)


def _check_output(options: argparse.Namespace, output: Path) -> None:
    """Checks the paths of the result and of the folder of `--save-every`.

    Raises:
        UsageError: if `--save-every` is less than 1.
        OutputError: if one of the two could not be written.
    """
    images.check_output(output, overwrite=options.overwrite, alpha=options.keep_alpha, quality=options.quality)
    if options.save_every is None:
        return
    if options.save_every < 1:
        raise UsageError(f"--save-every should be at least 1 step, not {options.save_every}.")
    folder = _steps_folder(output)
    files.check_name(folder)
    if os.path.lexists(folder) and not options.overwrite:
        raise OutputError(f"{folder}: exists; choose another name with -o, or use --overwrite.")


def result_path(
    options: argparse.Namespace, content: Path, style: str, *, beside: Callable[[Path], Path] = lambda path: path
) -> Path | files.FreeName:
    """Returns the path of the result: the file that -o names, or a free name such as CONTENT.STYLE.png in a folder."""
    if options.output and not os.path.isdir(options.output):
        return Path(options.output)
    folder = Path(options.output) if options.output else default_folder(content)
    return files.FreeName(folder / f"{content.stem}.{style}.png", beside=beside)


def default_folder(content: Path) -> Path:
    """Returns the folder of results without -o: that of the content image, or the working folder for a built-in one."""
    embedded = Path(os.path.realpath(content)).is_relative_to(os.path.realpath(images.SAMPLES.parent))
    return Path() if embedded else content.parent


def _steps_folder(output: Path) -> Path:
    """Returns the folder of the images of `--save-every`."""
    return output.with_name(f"{output.stem}-steps")
