"""Options → a picture: checks everything that can be checked at once, then loads TensorFlow and paints."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfstyle import files, images, weights
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.errors import InputError, OutputError, SetupError, UsageError
from tfstyle.fields import option_fields
from tfstyle.pictures import decoding
from tfstyle.recipes import published
from tfstyle.recipes.recipe import STARTS, Recipe


def run(options: argparse.Namespace) -> None:
    """Runs `tfstyle stylize` or `tfstyle demo`; the path of the result goes to standard output."""
    recipe, overrides = typed_recipe(options)
    content, style = checked_pictures(options, recipe)
    output = result_path(options, content, style.stem, beside=_steps_folder)
    with contextlib.ExitStack() as folders:
        for folder in sorted({path.parent for path in (Path(output), *_records(options).values())}):
            folders.enter_context(files.make_folder(folder))
        _check_output(options, Path(output))
        _check_records(options, Path(output))
        start(options, recipe, content=str(content), style=str(style))
        with quiet_tensorflow(options.debug):
            from tfstyle import api

            observers = list(_observers(options, Path(output)))
        image = api.stylize(
            content,
            style,
            recipe=recipe,
            output=output,
            callbacks=observers,
            background=options.background,
            keep_alpha=options.keep_alpha,
            quality=options.quality,
            overwrite=options.overwrite,
            **overrides,
        )
    height, width = image.shape[1:3]
    events.result(options, Path(output), width=width, height=height)


def start(options: argparse.Namespace, recipe: Recipe, **facts: Any) -> None:
    """Emits the event that a run of a recipe begins."""
    chosen = {"recipe": recipe.name, "size": recipe.size, "seed": recipe.seed, "precision": recipe.precision}
    events.start(options, **facts, **chosen)


def _observers(options: argparse.Namespace, output: Path) -> Iterator[Any]:
    """The callbacks that were asked for."""
    from tfstyle import callbacks

    yield from shown_steps(options)
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


def shown_steps(options: argparse.Namespace) -> Iterator[Any]:
    """The callback that shows the steps of a run: as JSON, as a bar or log, or not at all."""
    from tfstyle import callbacks

    if options.json:
        yield callbacks.JsonLines(sys.stdout)
    elif not options.quiet:
        yield callbacks.Progress(sys.stderr)


RECORDS = {
    "history": (".csv", ".json"),
    "plot_losses": (".png", ".jpg", ".webp", ".svg", ".pdf"),
    "strip": tuple(images.WRITERS),
    "gif": (".gif",),
}
"""Options that write a file about the run → the endings it may have."""


def _records(options: argparse.Namespace) -> dict[str, Path]:
    """The files about the run that were asked for, by the names of their options."""
    return {name: Path(getattr(options, name)) for name in RECORDS if getattr(options, name)}


def _check_records(options: argparse.Namespace, output: Path) -> None:
    """Refuses files about the run that could not be written, or would be written over one another."""
    taken = {os.path.realpath(output)}
    for name, path in _records(options).items():
        files.check_file(path, RECORDS[name], overwrite=options.overwrite)
        if os.path.realpath(path) in taken:
            raise OutputError(f"{path}: is named for two files of this run; choose another name.")
        taken.add(os.path.realpath(path))
    if options.tensorboard and Path(options.tensorboard).is_file():
        raise OutputError(f"{options.tensorboard}: is a file; name a folder with --tensorboard.")
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise SetupError("--tensorboard needs the package tensorboard; pip install 'tfstyle[tensorboard]'.")


def typed_recipe(options: argparse.Namespace) -> tuple[Recipe, dict]:
    """The recipe with what was typed; the size is kept apart, since a typed one may enlarge the photograph."""
    typed = {item.name for item in option_fields(Recipe)} & set(vars(options))
    overrides = {name: getattr(options, name) for name in typed}
    if overrides.get("steps") == 0:
        raise UsageError("--steps should be at least 1, not 0.")
    recipe = published.get_recipe(options.recipe, **overrides)
    return recipe, {"size": recipe.size} if "size" in typed else {}


def checked_pictures(options: argparse.Namespace, recipe: Recipe) -> tuple[Path, Path]:
    """Paths of photograph and painting, after every check that needs no TensorFlow."""
    images.parse_color(options.background)
    if (options.content is None) != (options.style is None):
        raise UsageError("give both a photograph and a painting, or neither for the embedded ones.")
    content = images.SAMPLES / "neuschwanstein.jpg" if options.content is None else Path(options.content)
    style = images.SAMPLES / "starry_night.jpg" if options.style is None else Path(options.style)
    if content.is_dir():
        raise InputError(f"{content}: is a folder; give a picture, or let tfstyle fast paint the whole folder.")
    for path in (content, style) + (() if recipe.init in STARTS else (Path(recipe.init),)):
        decoding.probe(path, long_side=1)
    weights.check(recipe.weights)
    return content, style


def _check_output(options: argparse.Namespace, output: Path) -> None:
    """Refuses a result, or a folder of `--save-every`, that could not be written."""
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
    """The file named, or CONTENT.STYLE.png under a free name: in the folder named, or where default results go."""
    if options.output and not os.path.isdir(options.output):
        return Path(options.output)
    folder = Path(options.output) if options.output else default_folder(content)
    return files.FreeName(folder / f"{content.stem}.{style}.png", beside=beside)


def default_folder(content: Path) -> Path:
    """Where results go by default: beside the photograph; for an embedded one, into the working folder."""
    embedded = Path(os.path.realpath(content)).is_relative_to(os.path.realpath(images.SAMPLES.parent))
    return Path() if embedded else content.parent


def _steps_folder(output: Path) -> Path:
    """Where `--save-every` puts its images."""
    return output.with_name(f"{output.stem}-steps")
