"""Two pictures and some varied fields → one picture for each combination, a labelled grid, and the loss curves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfstyle import api, plots
from tfstyle.callbacks import Callback, History
from tfstyle.environment import tf
from tfstyle.errors import UsageError
from tfstyle.recipes.published import get_recipe
from tfstyle.recipes.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """One run of a sweep.

    Attributes:
        label: the varied values, as "style_weight=1e+06 init=noise".
        values: field → value.
        image: float32 [1, height, width, 3].
        rows: what `callbacks.History` kept.
    """

    label: str
    values: Mapping[str, Any]
    image: tf.Tensor
    rows: Sequence[Mapping[str, float]]


def combinations(recipe: Recipe, vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of the varied values, those that share a compiled graph after one another.

    Args:
        recipe: what is varied.
        vary: field of the recipe → values.

    Returns:
        One dictionary a combination. Every one has been checked: `dataclasses.replace(recipe, **values)` is valid.

    Raises:
        UsageError: if a field is unknown, or a value is not valid or there twice.
    """
    for name, options in vary.items():
        if len({repr(option) for option in options}) < len(options):
            raise UsageError(f"`{name}` is to be varied to one value twice: {', '.join(map(_short, options))}.")
    every = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    graphs = [get_recipe(recipe, **values).compiled_part() for values in every]
    order = {graph: number for number, graph in reversed(list(enumerate(graphs)))}
    return [values for _, values in sorted(zip(graphs, every, strict=True), key=lambda pair: order[pair[0]])]


def sweep(
    content: Any,
    style: Any,
    *,
    vary: Mapping[str, Sequence[Any]],
    recipe: str | Recipe = "default",
    callbacks: Callable[[str], Iterable[Callback]] = lambda label: (),
    **options: Any,
) -> Iterator[Outcome]:
    """Runs a recipe once for each combination of varied values, on one compiled graph wherever they allow it.

    Args:
        content, style: as for `api.stylize`.
        vary: field of the recipe → values.
        recipe: a name or a `Recipe`.
        callbacks: makes the callbacks of one run, given its label: each run closes its own.
        **options: further arguments of `api.stylize`; a varied value replaces an option of the same name.

    Yields:
        An `Outcome` after each run.

    Raises:
        UsageError: if a field is unknown or a value is not valid, before the first run.
        TfstyleError: as `api.stylize`.
    """
    if not callable(callbacks):
        raise UsageError("`callbacks` should be a function of a run's label that makes that run's callbacks.")
    base = get_recipe(recipe)
    for values in combinations(base, vary):
        name, history = label(values), History()
        observers: list[Callback] = [history, *callbacks(name)]
        image = api.stylize(content, style, recipe=base, callbacks=observers, **(options | values))
        yield Outcome(name, values, image, history.rows)


def label(values: Mapping[str, Any]) -> str:
    """The varied values in words: "style_weight=1e+06 init=noise"."""
    return " ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    """A value as one types it, in the shortest exact form."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def overview(outcomes: Sequence[Outcome], *, columns: int) -> Any:
    """The pictures of a sweep in a labelled grid, uint8 [height, width, 3]."""
    return plots.draw_grid(
        [outcome.image for outcome in outcomes], [outcome.label for outcome in outcomes], columns=columns
    )
