"""Trainer ⇄ file: everything the next step depends on, written whole and restored whole or not at all."""

from __future__ import annotations

import io
import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfstyle import containers, files
from tfstyle.errors import DivergedError, UsageError, WeightsError
from tfstyle.limits import MAX_OPTIONS_BYTES, MAX_STEPS

_FIXED = "fixed"


class Resumable(Protocol):
    """What has a state: `fitting.Trainer` and its like."""

    @property
    def step(self) -> int:
        """Steps made so far."""

    def state(self) -> Mapping[str, Sequence[Any]]:
        """Name → variables, each with `numpy` and `assign`."""


def save_state(trainer: Resumable, path: Path, *, fixed: Mapping[str, Any]) -> None:
    """Writes what the next step depends on, whole or not at all.

    Args:
        trainer: compiled.
        path: an `.npz` file, replaced if it is there.
        fixed: numbers that must be the same when it is restored.

    Raises:
        OutputError: if it cannot be written.
        DivergedError: if a number in it is not finite; what is there is kept.
    """
    arrays = {name: np.asarray(variable.numpy()) for name, variable in _variables(trainer).items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise DivergedError(f"the weights are not finite at step {trainer.step}; choose a smaller `learning_rate`.")
    stream = io.BytesIO()
    np.savez(stream, **{_FIXED: np.array(json.dumps(dict(fixed), sort_keys=True))}, **arrays)  # type: ignore[arg-type]
    files.save_atomically(path, stream.getvalue(), overwrite=True)


def restore_state(trainer: Resumable, path: Path, *, fixed: Mapping[str, Any]) -> None:
    """Puts a trainer back where `save_state` left it, or leaves it as it is.

    Raises:
        UsageError: if it was saved with other numbers.
        WeightsError: if it is missing, damaged, of another network, or holds numbers that no training leaves, or if
            it cannot be read.
        MemoryLimitError: if memory runs out.
    """
    variables = _variables(trainer)
    expected = {name: np.asarray(variable.numpy()) for name, variable in variables.items()}
    try:
        before, arrays = _read(path, room=sum(array.nbytes for array in expected.values()))
    except Exception as error:  # Whatever zipfile, json and NumPy say of a damaged file.
        if failure := containers.translate_error(path, error):
            raise failure from error
        cause = str(error) if isinstance(error, WeightsError) else type(error).__name__
        raise WeightsError(
            f"{path}: is missing, damaged or no training state ({cause}); begin anew with `overwrite`."
        ) from error
    for name, value in json.loads(json.dumps(dict(fixed))).items():
        if before.get(name) != value:
            was, given = reprlib.repr(before.get(name)), reprlib.repr(value)
            raise UsageError(f"{path}: was made with {name} {was}, not {given}; resume with {name} {was}.")
    kinds = [{name: (a.shape, a.dtype) for name, a in group.items()} for group in (expected, arrays)]
    if kinds[0] != kinds[1]:
        raise WeightsError(f"{path}: is the state of another network; begin anew with `overwrite`.")
    if not all(_plausible(array) for array in arrays.values()):
        raise WeightsError(f"{path}: holds numbers that no training leaves; begin anew with `overwrite`.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _variables(trainer: Resumable) -> dict[str, Any]:
    return {
        f"{name}/{index}": variable for name, group in trainer.state().items() for index, variable in enumerate(group)
    }


def _read(path: Path, *, room: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fixed numbers and the arrays of a file that has room for some bytes of arrays and for the options."""
    members = containers.unzip(containers.read_bytes(path, room + MAX_OPTIONS_BYTES))
    arrays = {name.removesuffix(".npy"): _array(content) for name, content in members.items()}
    return dict(json.loads(arrays.pop(_FIXED).item())), arrays


def _array(content: bytes) -> np.ndarray:
    """The array of an `.npy` file: a view of its bytes, whatever its header says."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")


def _plausible(array: np.ndarray) -> bool:
    """Whether numbers are finite, and counted steps in their range."""
    if array.dtype.kind in "iu":
        return bool(np.all((array >= 0) & (array <= MAX_STEPS)))
    return bool(np.isfinite(array).all())
