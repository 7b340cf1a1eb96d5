"""Checkpoints of a run: saved while it runs, so that it can go on after a crash as if it had never stopped.

A folder holds the newest checkpoint and the one before it, each a file of a state (`states`). A new one takes the place
of the newest only when it is complete.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import reprlib
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfstyle import __version__, containers, files, records, states
from tfstyle.callbacks import History
from tfstyle.distribution import Devices
from tfstyle.divergence import Watched
from tfstyle.environment import tf
from tfstyle.errors import OutputError, UsageError, WeightsError
from tfstyle.iterate import RunState
from tfstyle.recipes.recipe import Recipe
from tfstyle.steps import Snapshot, Step
from tfstyle.styles import Style
from tfstyle.transfer import Transfer

_log = logging.getLogger("tfstyle")

NEWEST, BEFORE, DAMAGED = "checkpoint.npz", "before.npz", "damaged.npz"
"""The files of a folder; the third is a newest one that could not be read."""

SECONDS = 30.0
"""Seconds between two checkpoints, if no number of steps is given."""


class Saved(NamedTuple):
    """What a folder holds.

    Attributes:
        snapshot: from which the run goes on.
        rows: the rows of the steps before (`callbacks.step_to_row`).
    """

    snapshot: Snapshot
    rows: list[dict[str, Any]]


def describe(recipe: Recipe, pictures: Mapping[str, tf.Tensor | None], styles: Iterable[Style]) -> dict[str, Any]:
    """Returns what must be the same when a run goes on: version, recipe, pixels, parts of the styles."""
    hashes = {name: None if image is None else records.fingerprint(image) for name, image in pictures.items()}
    parts = [style.record() for style in styles]
    versions = {"tfstyle": __version__, "tensorflow": tf.__version__}
    return versions | {"recipe": recipe.record(), "pictures": hashes, "styles": parts}


class Checkpoints(History):
    """Saves checkpoints of a run in a folder, and the last one when the run ends or breaks off.

    Args:
        folder: the folder; it is made with the first checkpoint.
        fixed: what must be the same when the run goes on, from `describe`.
        every: steps between two checkpoints; None saves one every 30 seconds.
    """

    def __init__(self, folder: Path, *, fixed: Mapping[str, Any], every: int | None = None) -> None:
        super().__init__()
        self._folder, self._fixed, self._every = folder, dict(fixed), every
        self._unsaved: Step | None = None
        self._saved_at = time.monotonic()

    def __call__(self, step: Step) -> None:
        """Saves a checkpoint if it is time for one."""
        super().__call__(step)
        self._unsaved = step
        if step.index % self._every == 0 if self._every else time.monotonic() - self._saved_at > SECONDS:
            self.save()

    def save(self) -> None:
        """Saves a checkpoint of the last step, unless it is saved; if it cannot be written, the run goes on."""
        step, self._unsaved = self._unsaved, None
        if step is None or step.snapshot is None:
            return
        held = step.snapshot
        place = {"index": held.index, "level": held.level, "losses": dict(held.losses), "seconds": held.seconds}
        retries, best, *losses = held.watched
        guard = {"retries": retries, "losses": losses}
        facts = self._fixed | {"step": place, "guard": guard, "settings": dict(step.settings), "rows": self.rows[:-1]}
        newest = self._folder / NEWEST
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if newest.is_file():
                os.replace(newest, self._folder / BEFORE)
            states.write(newest, _name(held.begun, best, held.state), facts=facts)
        except (OSError, OutputError) as error:
            _log.warning("%s: no checkpoint of step %d was written (%s)", self._folder, held.index, error)
        self._saved_at = time.monotonic()

    def close(self) -> None:
        """Saves the last step."""
        self.save()


def _name(begun: Any, best: Any, state: Any) -> dict[str, Any]:
    """Returns the tensors of a snapshot, or their specifications, by their names in a file.

    NumPy's files have no bfloat16: such tensors are written as the numbers of their bits.
    """
    named = {"best": best} if begun is None else {"begun": begun, "best": best}
    named |= {f"state/{number}": part for number, part in enumerate(tf.nest.flatten(state))}
    return {name: _bits(part) for name, part in named.items()}


def _bits(part: Any) -> Any:
    if part.dtype != tf.bfloat16:
        return part
    return tf.TensorSpec(part.shape, tf.uint16) if isinstance(part, tf.TensorSpec) else tf.bitcast(part, tf.uint16)


def check(folder: Path, *, resume: bool, every: int | None = None) -> None:
    """Raises an error early if a run could not use a folder.

    Args:
        folder: a folder that need not exist; one with a checkpoint only if `resume`.
        resume: the run goes on from its checkpoint.
        every: as for `Checkpoints`.

    Raises:
        OutputError: if the folder cannot be used.
        UsageError: if `every` is less than 1.
    """
    if every is not None and every < 1:
        raise UsageError(f"`checkpoint_every` should be at least 1 step, not {every}.")
    files.check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder for checkpoints.")
    if resume and not holds_one(folder):
        raise OutputError(f"{folder}: holds no checkpoint to resume; give it as `checkpoint` to start a run.")
    if holds_one(folder) and not resume:
        raise OutputError(f"{folder}: holds the checkpoint of another run; resume it, or name another folder.")


def holds_one(folder: Path) -> bool:
    """Returns whether a folder holds a checkpoint."""
    return any((folder / name).exists() for name in (NEWEST, BEFORE))


def find_variant(folder: Path, variants: Iterable[Recipe]) -> Recipe | None:
    """Returns which of the recipes `planning.lighter` a folder's checkpoint is of; None if of none, or damaged."""
    for path in (folder / NEWEST, folder / BEFORE):
        with contextlib.suppress(Exception):  # Whatever zipfile, json and NumPy raise; `restore` reports it.
            recorded = states.read_facts(path)["recipe"]["optimizer"]
            return next(each for each in variants if json.loads(json.dumps(each.record()))["optimizer"] == recorded)
    return None


def restore(folder: Path, specs: RunState, *, fixed: Mapping[str, Any], settings: Mapping[str, str]) -> Saved:
    """Reads the newest checkpoint of a folder, or the one before if the newest is damaged, which is logged.

    Args:
        folder: the folder.
        specs: specifications of the tensors of the run's state, `Transfer.state_specs`.
        fixed: from `describe`, for the run that is to go on.
        settings: `Transfer.settings` of that run.

    Raises:
        UsageError: if it is the checkpoint of another run; the message names a difference.
        WeightsError: if no checkpoint can be read.
        MemoryLimitError: if memory runs out.
    """
    causes = []
    for path in (folder / NEWEST, folder / BEFORE):
        try:
            facts, arrays = states.read(path, room=path.stat().st_size if path.is_file() else 0)
            _check_same(path, facts, {**fixed, "settings": settings})
            saved = _saved(facts, arrays, specs)
        except UsageError:
            raise
        except Exception as error:  # Whatever zipfile, json and NumPy raise for a damaged file.
            if failure := containers.translate_error(path, error):
                raise failure from error
            causes.append(f"{path.name}: {error if isinstance(error, WeightsError) else type(error).__name__}")
            continue
        if causes and (folder / NEWEST).exists():
            os.replace(folder / NEWEST, folder / DAMAGED)  # Otherwise it would take the place of the one before.
            _log.warning("the newest checkpoint is damaged (%s); the run goes on from the one before.", causes[0])
        return saved
    raise WeightsError(f"{folder}: no checkpoint can be read ({'; '.join(causes)}); start the run again.")


def follow(
    folder: Path | None,
    transfer: Transfer,
    observers: list[Any],
    *,
    fixed: Mapping[str, Any],
    every: int | None,
    resume: bool,
    devices: Devices,
) -> Snapshot | None:
    """Adds the callback that saves checkpoints; returns the last step of one that is resumed.

    The rows of the steps before it are given to the callbacks that take them.

    Args:
        folder, every, resume: of the checkpoints, as for `api.stylize`.
        transfer: what runs on.
        observers: the callbacks of the run.
        fixed: as for `restore`; workers need the same.
        devices: of the run.

    Raises:
        UsageError: if it is the checkpoint of another run, or workers have different ones.
        WeightsError, MemoryLimitError: as for `restore`.
    """
    snapshot = None
    if folder is not None and devices.index == 0:
        observers.insert(0, Checkpoints(folder, fixed=fixed, every=every))  # Before one fails.
    if folder is not None and resume:
        snapshot, rows = restore(folder, transfer.state_specs, fixed=fixed, settings=transfer.settings)
        for callback in observers:
            if hasattr(callback, "restore"):
                callback.restore(rows)
    devices.check_same("picture, recipe, version or checkpoint", [fixed, snapshot.index if snapshot else 0])
    return snapshot


def _saved(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], specs: RunState) -> Saved:
    """Returns the content of a checkpoint; raises `WeightsError` if it has other tensors than the run."""
    expected = _name(specs.image if "begun" in arrays else None, specs.image, specs)
    fits = set(arrays) == set(expected) and all(
        spec.dtype == arrays[name].dtype and spec.shape.is_compatible_with(arrays[name].shape)
        for name, spec in expected.items()
    )
    if not fits or len({arrays[name].shape for name in ("begun", "best", "state/0") if name in arrays}) > 1:
        raise WeightsError("it has other tensors than this run")
    flat = tf.nest.flatten(specs)
    parts = [tf.constant(arrays[f"state/{number}"]) for number in range(len(flat))]
    tensors = [
        part if part.dtype == spec.dtype else tf.bitcast(part, spec.dtype)
        for part, spec in zip(parts, flat, strict=True)
    ]
    step, guard, state = facts["step"], facts["guard"], tf.nest.pack_sequence_as(specs, tensors)
    watched = Watched(int(guard["retries"]), tf.constant(arrays["best"]), *map(float, guard["losses"]))
    place = (int(step["index"]), int(step["level"]), dict(step["losses"]), float(step["seconds"]))
    begun = tf.constant(arrays["begun"]) if "begun" in arrays else None
    return Saved(Snapshot(*place, begun, state, watched), list(facts["rows"]))


def _check_same(path: Path, facts: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Raises `UsageError` if what must be the same differs."""
    before, now = (dict(_flatten(json.loads(json.dumps(each)))) for each in (facts, fixed))
    for name, value in now.items():
        was = before.get(name)
        if was == value:
            continue
        part, _, field = name.rpartition(".")
        if part == "pictures":
            raise UsageError(f"{path}: was made with another {field} image; resume with the same pictures and size.")
        if field in ("drawn_regions", "styles"):
            raise UsageError(f"{path}: was made with other masks or weights of the style images; resume with those.")
        found, given = reprlib.repr(was), reprlib.repr(value)
        raise UsageError(f"{path}: was made with {field} {found}, not {given}; resume with {field} {found}.")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the entries of nested mappings, with their names joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
