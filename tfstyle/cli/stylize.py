"""Options → a picture: checks everything that can be checked at once, then loads TensorFlow and paints."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tfstyle import decoding, images, recipes, weights
from tfstyle.errors import OutputError
from tfstyle.recipe import Recipe, option_fields

SAMPLES = Path(__file__).parent.parent / "data" / "samples"


def run(options: argparse.Namespace) -> None:
    """Runs `tfstyle stylize` or `tfstyle demo`; the path of the result goes to standard output."""
    recipe, overrides = _recipe(options)
    content, style, output = _checked_files(options, recipe)
    with quiet_tensorflow(options.debug):
        from tfstyle import api, callbacks

    observers: list[callbacks.Callback] = []
    if options.json:
        observers.append(callbacks.JsonLines(sys.stdout))
    elif not options.quiet:
        observers.append(callbacks.Progress(sys.stderr))
    if options.save_every is not None:
        observers.append(
            callbacks.SaveImages(
                _steps_folder(output), options.save_every, suffix=output.suffix, quality=options.quality
            )
        )
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
    if options.json:
        height, width = image.shape[1:3]
        print(json.dumps({"event": "result", "output": str(output), "width": width, "height": height}))
    else:
        print(output)


def _recipe(options: argparse.Namespace) -> tuple[Recipe, dict]:
    """The recipe with what was typed; the size is kept apart, since a typed one may enlarge the photograph."""
    typed = {item.name for item in option_fields()} & set(vars(options))
    overrides = {name: getattr(options, name) for name in typed}
    if overrides.get("steps") == 0:
        raise ValueError("steps should be at least 1, not 0.")
    recipe = recipes.get_recipe(options.recipe, **overrides)
    return recipe, {"size": recipe.size} if "size" in typed else {}


def _checked_files(options: argparse.Namespace, recipe: Recipe) -> tuple[Path, Path, Path]:
    """The three paths, after every check that needs no TensorFlow."""
    if not 1 <= options.quality <= 100:
        raise ValueError(f"quality should be from 1 to 100, not {options.quality}.")
    if options.save_every is not None and options.save_every < 1:
        raise ValueError(f"save-every should be at least 1 step, not {options.save_every}.")
    images.parse_color(options.background)
    if (options.content is None) != (options.style is None):
        raise ValueError("give both a photograph and a painting, or neither for the embedded ones.")
    embedded = options.content is None
    content = SAMPLES / "neuschwanstein.jpg" if embedded else Path(options.content)
    style = SAMPLES / "starry_night.jpg" if embedded else Path(options.style)
    for path in (content, style) + (() if recipe.init in ("content", "noise") else (Path(recipe.init),)):
        decoding.probe(path)
    weights.check(recipe.weights)
    return content, style, _output(options, content, style, Path() if embedded else None)


def _output(options: argparse.Namespace, content: Path, style: Path, folder: Path | None) -> Path:
    """The named output, checked, or a default name that is free."""
    if options.output is None:
        path = (content.parent if folder is None else folder) / f"{content.stem}.{style.stem}.png"
        path = images.free_name(path, beside=_steps_folder)
    else:
        path = Path(options.output)
        if path.is_dir():
            path = images.free_name(path / f"{content.stem}.{style.stem}.png", beside=_steps_folder)
    images.check_output(path, overwrite=options.overwrite, alpha=options.keep_alpha)
    if options.save_every is not None and _steps_folder(path).exists() and not options.overwrite:
        raise OutputError(f"{_steps_folder(path)}: exists; choose another name with -o, or use --overwrite.")
    return path


def _steps_folder(output: Path) -> Path:
    """Where `--save-every` puts its images."""
    return output.with_name(f"{output.stem}-steps")


@contextlib.contextmanager
def quiet_tensorflow(debug: bool) -> Iterator[None]:
    """Keeps TensorFlow's messages about the machine away from standard error while it is loaded.

    They are written by its C++ part straight to the file descriptor, before any setting is read.
    """
    if debug:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
