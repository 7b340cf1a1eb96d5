"""The folder of a training: its state, network, losses, curves and sample sheets.

This module does not import TensorFlow.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfstyle import files, plots
from tfstyle.errors import OutputError, UsageError

STATE = "state.npz"
"""The state, from which a training is resumed; see `checkpoint`."""

NETWORK = "network.keras"
"""The network."""

LOSSES = "losses.csv"
"""The losses, a line for each epoch."""

CURVES = "losses.png"
"""Curves of the losses."""

SHEETS = "samples"
"""The folder of sample sheets; the sheet of step 200 is 000200.jpg."""

_UNFINISHED = ".tfstyle.*"
"""Temporary files that `files.save_atomically` leaves behind if its process is killed, and removes the next time."""

Row = dict[str, float]
"""A line of `LOSSES`: "step", "loss" and its terms, means over the steps since the line before."""


def check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises an error early if a training could not use a folder.

    Args:
        folder: a new or empty folder, or that of an earlier training if `resume` or `overwrite`.
        resume: continue the training in it.
        overwrite: discard the training in it and start again.

    Raises:
        OutputError: if the folder cannot be used.
        UsageError: if both `resume` and `overwrite` are set.
    """
    if resume and overwrite:
        raise UsageError("give `resume` to continue the training or `overwrite` to start again, not both.")
    files.check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder with `output`.")
    trained = (folder / STATE).is_file()
    if resume and not trained:
        raise OutputError(f"{folder}: holds no training to resume; leave out `resume` to start one.")
    try:
        found = {path.name for path in folder.iterdir() if not path.match(_UNFINISHED)} if folder.is_dir() else set()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be read ({error.strerror}); choose another folder with `output`."
        ) from error
    if found and not resume:
        if not trained and found - {NETWORK, LOSSES, CURVES, SHEETS}:
            raise OutputError(
                f"{folder}: is not empty and holds no training of tfstyle; choose another folder with `output`."
            )
        if not trained and not overwrite:
            raise OutputError(f"{folder}: holds files of a failed training; start again with `overwrite`.")
        if not overwrite:
            raise OutputError(
                f"{folder}: holds a training; continue it with `resume`, or start again with `overwrite`."
            )
    _check_kinds(folder)
    if resume:
        read_losses(folder)


def _check_kinds(folder: Path) -> None:
    """Raises OutputError if there is a folder where a training writes a file, or a file where it makes a folder."""
    for name in (STATE, NETWORK, LOSSES, CURVES):
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name}: is a folder where the training writes a file; move it away.")
    if (folder / SHEETS).exists() and not (folder / SHEETS).is_dir():
        raise OutputError(f"{folder / SHEETS}: is a file where the training makes a folder; move it away.")


def make(folder: Path) -> None:
    """Makes a folder if it does not exist.

    Raises:
        OutputError: if the folder cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error


def clear(folder: Path) -> None:
    """Makes the folder of a training and removes the files of an earlier training; other files are kept.

    Args:
        folder: a folder that `check` accepts.

    Raises:
        OutputError: if the folder cannot be made, or a file cannot be removed.
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
    """Reads the lines of `LOSSES`; none if the file is missing or empty, as before the end of the first epoch.

    Raises:
        OutputError: if the file cannot be read or is damaged.
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
        raise OutputError(f"{path}: is damaged or no file of losses; move it away to continue without it.") from error
    return rows


def write_losses(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes `LOSSES` atomically, replacing an existing file.

    Raises:
        OutputError: if the file cannot be written.
    """
    columns = {name: None for row in rows for name in row if name != "epoch"}  # "epoch" is from earlier versions.
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), "NA", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "step": int(row["step"])} for row in rows)
    files.save_atomically(folder / LOSSES, stream.getvalue().encode(), overwrite=True)


def draw_curves(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Draws every column of `LOSSES` into `CURVES`, the loss first.

    Raises:
        OutputError: if the file cannot be written.
    """
    terms = ["loss", *(name for name in rows[-1] if name not in ("epoch", "step", "loss"))]
    lines = [{"level": 0.0} | dict(row) for row in rows]
    files.save_atomically(folder / CURVES, plots.draw_loss_curves({"": lines}, terms=terms), overwrite=True)
