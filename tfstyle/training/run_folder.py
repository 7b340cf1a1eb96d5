"""The folder of a training: its state, network, losses, curves and sample sheets. No TensorFlow here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfstyle import files, plots
from tfstyle.errors import OutputError, UsageError

STATE, NETWORK, LOSSES, CURVES, SHEETS = "state.npz", "network.keras", "losses.csv", "losses.png", "samples"
"""What a training's folder holds; `SHEETS` is a folder of 000200.jpg, …"""

_UNFINISHED = ".tfstyle.*"
"""Temporary files that `files.save_atomically` leaves behind when its process is killed, and clears the next time."""

Row = dict[str, float]
"""A line of `LOSSES`: "step", "loss" and the terms, means over the steps since the line before."""


def check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises before any work is done if a training could not use a folder.

    Args:
        folder: new, empty, or of an earlier training if `resume` or `overwrite`.
        resume: go on with the training in it.
        overwrite: discard the training in it.

    Raises:
        OutputError: if it cannot be used.
        UsageError: if both are asked for.
    """
    if resume and overwrite:
        raise UsageError("give `resume` to go on or `overwrite` to start again, not both.")
    files.check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder with `output`.")
    trained = (folder / STATE).is_file()
    if resume and not trained:
        raise OutputError(f"{folder}: holds no training to go on with; leave out `resume` to begin one.")
    try:
        found = {path.name for path in folder.iterdir() if not path.match(_UNFINISHED)} if folder.is_dir() else set()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read ({error.strerror}); choose another with `output`.") from error
    if found and not resume:
        if not trained and found - {NETWORK, LOSSES, CURVES, SHEETS}:
            raise OutputError(f"{folder}: is not empty and no training of tfstyle; choose another with `output`.")
        if not trained and not overwrite:
            raise OutputError(f"{folder}: holds what a failed training left; start again with `overwrite`.")
        if not overwrite:
            raise OutputError(f"{folder}: holds a training; go on with `resume`, or start again with `overwrite`.")
    _check_kinds(folder)
    if resume:
        read_losses(folder)


def _check_kinds(folder: Path) -> None:
    """Raises OutputError if a folder lies where a training writes a file, or a file where it makes a folder."""
    for name in (STATE, NETWORK, LOSSES, CURVES):
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name}: is a folder where the training writes a file; move it away.")
    if (folder / SHEETS).exists() and not (folder / SHEETS).is_dir():
        raise OutputError(f"{folder / SHEETS}: is a file where the training makes a folder; move it away.")


def make(folder: Path) -> None:
    """Makes a folder if it is not there.

    Raises:
        OutputError: if it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error


def clear(folder: Path) -> None:
    """Makes a training's folder, and removes from it what an earlier training left; other files stay.

    Args:
        folder: as from `check`.

    Raises:
        OutputError: if it cannot be made or cleared.
    """
    make(folder)
    stale = [folder / name for name in (STATE, NETWORK, LOSSES, CURVES)]
    stale += folder.glob(f"{SHEETS}/{'[0-9]' * 6}.jpg")
    try:
        for path in stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror}).") from error


def read_losses(folder: Path) -> list[Row]:
    """Reads the lines of `LOSSES`; there are none if the file is missing or empty, before the first epoch has ended.

    Raises:
        OutputError: if it is not such a file.
    """
    path = folder / LOSSES
    if not path.exists():
        return []
    try:
        lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), strict=True)
        rows = [{name: float(value) for name, value in line.items() if value != "NA"} for line in lines]
        if any("step" not in row for row in rows):
            raise ValueError
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise OutputError(f"{path}: is damaged or no file of losses; move it away to go on without it.") from error
    return rows


def write_losses(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes `LOSSES` anew, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    columns = {name: None for row in rows for name in row if name != "epoch"}  # Older trainings had it.
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), "NA", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "step": int(row["step"])} for row in rows)
    files.save_atomically(folder / LOSSES, stream.getvalue().encode(), overwrite=True)


def draw_curves(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Draws every column of `LOSSES` into `CURVES`, the loss first.

    Raises:
        OutputError: if it cannot be written.
    """
    terms = ["loss", *(name for name in rows[-1] if name not in ("epoch", "step", "loss"))]
    lines = [{"scale": 0.0} | dict(row) for row in rows]
    files.save_atomically(folder / CURVES, plots.draw_loss_curves({"": lines}, terms=terms), overwrite=True)
