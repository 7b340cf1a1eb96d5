"""Saves and restores the state of a training: everything the next step depends on.

A state (`states`) has one array for each variable, named "group/name" after the weight's path in its network, and as
facts the options that must be the same when the state is restored.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from tfstyle import containers, states
from tfstyle.errors import DivergedError, UsageError, WeightsError
from tfstyle.limits import MAX_STEPS

FORMER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "average": "ema_decay",
        "pool": "image_pool",
        "pretraining": "pretraining_steps",
        "start": "initial_weights",
        "style": "style image",
        "styles": "style images",
        "photographs": "content images",
    }
)
"""The current names of fixed options, by their names in states of earlier versions."""


class Resumable(Protocol):
    """An object whose state can be saved and restored, such as a `trainer.Trainer`."""

    @property
    def step(self) -> int:
        """Number of steps made so far."""

    def state(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the variables by group and name, each with `numpy` and `assign`."""


def save_state(trainer: Resumable, path: Path, *, fixed: Mapping[str, Any]) -> None:
    """Saves the state of a training atomically.

    Args:
        trainer: a compiled trainer.
        path: an `.npz` file, replaced if it exists.
        fixed: options that must be the same when the state is restored.

    Raises:
        OutputError: if the file cannot be written.
        DivergedError: if a weight is not finite; an existing file is kept.
    """
    arrays = {
        f"{group}/{name}": np.asarray(variable.numpy())
        for group, variables in trainer.state().items()
        for name, variable in variables.items()
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise DivergedError(f"the weights are not finite at step {trainer.step}; choose a smaller `learning_rate`.")
    states.write(path, arrays, facts=fixed)


def restore_state(trainer: Resumable, path: Path, *, fixed: Mapping[str, Any]) -> None:
    """Restores what `save_state` saved; if that fails, the trainer is unchanged.

    States of earlier versions are restored as well: they name a variable by its position in its group ("network/0"),
    and have some options under `FORMER_NAMES`.

    Raises:
        UsageError: if the state was saved with other options.
        WeightsError: if the file is missing, cannot be read, is damaged, belongs to another network, or holds values
            that no training writes.
        MemoryLimitError: if memory runs out.
    """
    state = trainer.state()
    expected = [np.asarray(variable.numpy()) for variables in state.values() for variable in variables.values()]
    try:
        before, arrays = states.read(path, room=sum(array.nbytes for array in expected))
    except Exception as error:  # Whatever zipfile, json and NumPy raise for a damaged file.
        if failure := containers.translate_error(path, error):
            raise failure from error
        cause = str(error) if isinstance(error, WeightsError) else type(error).__name__
        raise WeightsError(
            f"{path}: is missing, damaged or no training state ({cause}); start again with `overwrite`."
        ) from error
    before = {FORMER_NAMES.get(name, name): value for name, value in before.items()}
    for name, value in json.loads(json.dumps(dict(fixed))).items():
        if before.get(name) != value:
            was, given = reprlib.repr(before.get(name)), reprlib.repr(value)
            raise UsageError(f"{path}: was made with {name} {was}, not {given}; resume with {name} {was}.")
    variables = _name_variables(state, by_position=_names_positions(arrays))
    shapes = [(array.shape, array.dtype) for array in expected]
    found = [(arrays[name].shape, arrays[name].dtype) for name in variables if name in arrays]
    if set(arrays) != set(variables) or found != shapes:
        raise WeightsError(f"{path}: is the state of another network; start again with `overwrite`.")
    if not all(_is_plausible(array) for array in arrays.values()):
        raise WeightsError(f"{path}: holds values that no training writes; start again with `overwrite`.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _name_variables(state: Mapping[str, Mapping[str, Any]], *, by_position: bool) -> dict[str, Any]:
    """Returns all variables by their names in a file."""
    return {
        f"{group}/{position if by_position else name}": variable
        for group, variables in state.items()
        for position, (name, variable) in enumerate(variables.items())
    }


def _names_positions(arrays: Mapping[str, Any]) -> bool:
    """Returns whether the arrays are named by position, as in files of earlier versions."""
    return all(name.rpartition("/")[2].isdecimal() for name in arrays)


def _is_plausible(array: np.ndarray) -> bool:
    """Returns whether floats are finite, and integers, which count steps, are in range."""
    if array.dtype.kind in "iu":
        return bool(np.all((array >= 0) & (array <= MAX_STEPS)))
    return bool(np.isfinite(array).all())
