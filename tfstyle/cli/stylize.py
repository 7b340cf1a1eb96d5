"""Options → a picture: checks everything that can be checked at once, then loads TensorFlow and paints."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfstyle import decoding, files, images, recipes, weights
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.errors import InputError, OutputError, SetupError, UsageError
from tfstyle.recipe import STARTS, Recipe, option_fields


def run(options: argparse.Namespace) -> None:
    """Runs `tfstyle stylize` or `tfstyle demo`; the path of the result goes to standard output."""
    recipe, overrides = typed_recipe(options)
    content, style = checked_pictures(options, recipe)
    output = _output(options, content, style)
    _check_records(options, output)
    start(options, recipe, content=str(content), style=str(style))
    with quiet_tensorflow(options.debug):
        from tfstyle import api

        observers = list(_observers(options, output))
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
    events.result(options, output, width=width, height=height)


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
        yield callbacks.SaveImages(_steps_folder(output), every, suffix=output.suffix, quality=options.quality)
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


def _check_records(options: argparse.Namespace, output: Path) -> None:
    """Refuses files about the run that could not be written, or would be written over one another."""
    taken = {output.resolve()}
    for name, suffixes in RECORDS.items():
        if getattr(options, name):
            path = Path(getattr(options, name))
            files.check_file(path, suffixes, overwrite=options.overwrite)
            if path.resolve() in taken:
                raise OutputError(f"{path}: is named for two files of this run; choose another name.")
            taken.add(path.resolve())
    if options.tensorboard and Path(options.tensorboard).is_file():
        raise OutputError(f"{options.tensorboard}: is a file; name a folder with --tensorboard.")
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise SetupError("--tensorboard needs the package tensorboard; pip install 'tfstyle[tensorboard]'.")


def typed_recipe(options: argparse.Namespace) -> tuple[Recipe, dict]:
    """The recipe with what was typed; the size is kept apart, since a typed one may enlarge the photograph."""
    typed = {item.name for item in option_fields()} & set(vars(options))
    overrides = {name: getattr(options, name) for name in typed}
    if overrides.get("steps") == 0:
        raise UsageError("steps should be at least 1, not 0.")
    recipe = recipes.get_recipe(options.recipe, **overrides)
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
        decoding.probe(path)
    weights.check(recipe.weights)
    return content, style


def _output(options: argparse.Namespace, content: Path, style: Path) -> Path:
    """The named output, checked, or a free default name: beside the photograph, or here for the embedded one."""
    check_quality(options.quality)
    if options.save_every is not None and options.save_every < 1:
        raise UsageError(f"save-every should be at least 1 step, not {options.save_every}.")
    path = result_path(options, content, style, beside=_steps_folder)
    images.check_output(path, overwrite=options.overwrite, alpha=options.keep_alpha)
    if options.save_every is not None and _steps_folder(path).exists() and not options.overwrite:
        raise OutputError(f"{_steps_folder(path)}: exists; choose another name with -o, or use --overwrite.")
    return path


def check_quality(quality: int) -> None:
    """Refuses a quality that no format knows."""
    if not 1 <= quality <= 100:
        raise UsageError(f"quality should be from 1 to 100, not {quality}.")


def result_path(
    options: argparse.Namespace, content: Path, style: Path, *, beside: Callable[[Path], Path] = lambda path: path
) -> Path:
    """The file named, or CONTENT.STYLE.png under a free name: in the folder named, beside the photograph, or here."""
    named = Path(options.output or (content.parent if options.content else ""))
    files.check_name(named)
    if options.output and not named.is_dir():
        return named
    path = named / f"{content.stem}.{style.stem}.png"
    files.check_name(path)
    return files.free_name(path, beside=beside)


def _steps_folder(output: Path) -> Path:
    """Where `--save-every` puts its images."""
    return output.with_name(f"{output.stem}-steps")
