"""Sweeps: one run of a recipe for each combination of values of some of its fields."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfstyle import api, files, plots
from tfstyle.callbacks import Callback, History
from tfstyle.checkpoint import holds_one
from tfstyle.environment import tf
from tfstyle.errors import OutputError, UsageError
from tfstyle.recipes.catalog import get_recipe
from tfstyle.recipes.recipe import Overrides, Recipe, replace
from tfstyle.styles import as_styles, check_styles

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class SweepRun:
    """A finished run of a sweep.

    Attributes:
        label: the varied values, as "style_weight=1e+06 init=noise".
        values: field of the recipe to its value.
        image: float32 [1, height, width, 3].
        rows: one per step, as `callbacks.step_to_row` returns it; none from `variations`.
    """

    label: str
    values: Mapping[str, Any]
    image: tf.Tensor
    rows: Sequence[Mapping[str, float]]


LOOKS: tuple[Mapping[str, Any], ...] = (
    {},
    {"strength": 0.75},
    {"strength": 0.5},
    {"style_scale": 0.5},
    {"style_scale": 2.0},
    {"color": "content"},
    {"color": "match"},
    {"color": "content", "style_scale": 2.0},
    {"color": "match", "strength": 0.6},
    {"palette": 1.0},
)
"""What `variations` replaces in the recipe, picture by picture: strength, size of the strokes, and colors."""


def expand_grid(recipe: Recipe, vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Returns all combinations of the varied values; those that share a compiled graph are consecutive.

    Args:
        recipe: the recipe to vary.
        vary: field of the recipe to its values.

    Returns:
        One dictionary of fields and values per combination; `get_recipe(recipe, **values)` accepts each.

    Raises:
        UsageError: if a field is unknown, or a value is not valid or is repeated.
    """
    for name, options in vary.items():
        if len({repr(option) for option in options}) < len(options):
            raise UsageError(
                f"`{name}` is to be varied to the same value twice: {', '.join(map(_format_value, options))}."
            )
    every = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    graphs = [replace(recipe, values).graph_key for values in every]
    order = {graph: number for number, graph in reversed(list(enumerate(graphs)))}
    return [values for _, values in sorted(zip(graphs, every, strict=True), key=lambda pair: order[pair[0]])]


def sweep(
    content: Any,
    style: Any,
    *,
    vary: Mapping[str, Sequence[Any]],
    recipe: str | Recipe = "default",
    make_callbacks: Callable[[str], Iterable[Callback]] = lambda label: (),
    background: str = "white",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    memory: int | str | None = None,
    **overrides: Unpack[Overrides],
) -> Iterator[SweepRun]:
    """Runs a recipe once for each combination of varied values; runs share a compiled graph where possible.

    Args:
        content, style: as for `api.stylize`.
        vary: field of the recipe to its values.
        recipe: the name of a recipe, or a `Recipe`.
        make_callbacks: returns the callbacks of one run, given its label; they are closed after that run.
        background: as for `api.stylize`.
        checkpoint: a folder for the checkpoints of all runs; None saves none.
        checkpoint_every: as for `api.stylize`.
        resume: go on with the sweep whose checkpoints are in that folder: runs that are finished there are not run
            again, and the first that is not finished goes on.
        memory: as for `api.stylize`.
        **overrides: as for `api.stylize`; a varied value replaces the override of the same name.

    Yields:
        A `SweepRun` after each run.

    Raises:
        UsageError: if a field is unknown or a value is not valid, before the first run.
        TfstyleError: as `api.stylize`.
    """
    if not callable(make_callbacks):
        raise UsageError("`make_callbacks` should be a function from a run's label to that run's callbacks.")
    base = get_recipe(recipe)
    grid = expand_grid(base, vary)
    styles = as_styles(style)
    for values in grid:  # What cannot be run is refused before the first run.
        check_styles(styles, replace(base, {**overrides, **values}), feather=0.0)
    folder = None if checkpoint is None else Path(checkpoint)
    if folder is None and resume:
        raise UsageError("`resume` needs the folder of the checkpoints as `checkpoint`.")
    if folder is not None:
        _check_folder(folder, resume=resume)
    with contextlib.nullcontext() if folder is None else files.make_folder(folder):
        for number, values in enumerate(grid, 1):
            name, history = format_label(values), History()
            observers: list[Callback] = [history, *make_callbacks(name)]
            chosen: dict[str, Any] = {**overrides, **values, "memory": memory}
            if folder is not None:
                own = folder / f"{number:03d}"
                chosen |= {"checkpoint": own, "checkpoint_every": checkpoint_every, "resume": holds_one(own)}
            image = api.stylize(content, styles, recipe=base, callbacks=observers, background=background, **chosen)
            yield SweepRun(name, values, image, history.rows)


def variations(
    content: Any, style: Any, *, recipe: str | Recipe = "default", size: int = 256, **options: Any
) -> Iterator[SweepRun]:
    """Makes ten small pictures of one pair, to choose a look from: one for each entry of `LOOKS`.

    Args:
        content, style: as for `api.stylize`.
        recipe: the name of a recipe, or a `Recipe`.
        size: long side of the pictures.
        **options: further arguments of `api.stylize`; an entry of `LOOKS` replaces that of the same name.

    Yields:
        A `SweepRun` after each picture; its label is the command line's options for that look.

    Raises:
        TfstyleError: as `api.stylize`.
    """
    for values in LOOKS:
        image = api.stylize(content, style, recipe=recipe, size=size, **{**options, **values})
        yield SweepRun(" ".join(list_options(values)), values, image, ())


def list_options(values: Mapping[str, Any]) -> list[str]:
    """Returns values as the words of options: ["--color", "content", "--style-scale", "2"]."""
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", _format_value(value))]


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Raises `OutputError` if a sweep could not start, or not go on, in a folder of checkpoints."""
    held = folder.is_dir() and any(map(holds_one, folder.iterdir()))
    if resume and not held:
        raise OutputError(f"{folder}: holds no checkpoint to resume; give it as `checkpoint` to start a sweep.")
    if held and not resume:
        raise OutputError(f"{folder}: holds the checkpoints of another sweep; resume it, or name another folder.")


def format_label(values: Mapping[str, Any]) -> str:
    """Formats the varied values: "style_weight=1e+06 init=noise"."""
    return " ".join(f"{name}={_format_value(value)}" for name, value in values.items())


def _format_value(value: Any) -> str:
    """Formats a value in its shortest exact form."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def draw_grid(runs: Sequence[SweepRun], *, columns: int) -> Any:
    """Draws the images of a sweep in a labeled grid, uint8 [height, width, 3]."""
    return plots.draw_grid([run.image for run in runs], [run.label or "as it is" for run in runs], columns=columns)
