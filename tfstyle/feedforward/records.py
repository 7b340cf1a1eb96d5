"""Folder ⇄ what a training leaves: its state, network, losses, curves and sample sheets. No TensorFlow here."""

from __future__ import annotations

import csv
from pathlib import Path

from tfstyle import files, plots
from tfstyle.errors import OutputError, UsageError

STATE, NETWORK, LOSSES, CURVES, SHEETS = "state.npz", "network.keras", "losses.csv", "losses.png", "samples"
"""What a training's folder holds; `SHEETS` is a folder of 000200.jpg, …"""


def check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Says before any work is done that a training could not use a folder.

    Args:
        folder: new, empty, or of an earlier training if `resume` or `overwrite`.
        resume: go on with the training in it.
        overwrite: give up the training in it.

    Raises:
        OutputError: if it cannot be used.
        UsageError: if both are asked for.
    """
    if resume and overwrite:
        raise UsageError("give --resume to go on or --overwrite to begin anew, not both.")
    files.check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder with -o.")
    trained = (folder / STATE).is_file()
    if resume and not trained:
        raise OutputError(f"{folder}: holds no training to go on with; leave out --resume to begin one.")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found and not resume:
        if not trained and found - {NETWORK, LOSSES, CURVES, SHEETS}:
            raise OutputError(f"{folder}: is not empty and no training of tfstyle; choose another folder with -o.")
        if not trained and not overwrite:
            raise OutputError(f"{folder}: holds what a failed training left; begin anew with --overwrite.")
        if not overwrite:
            raise OutputError(f"{folder}: holds a training; go on with --resume, or begin anew with --overwrite.")


def clear(folder: Path) -> None:
    """Makes the folder, and removes what an earlier training left in it; whatever else lies there stays.

    Raises:
        OutputError: if it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
        sheets = folder.glob(f"{SHEETS}/{'[0-9]' * 6}.jpg")
        for path in [*(folder / name for name in (STATE, NETWORK, LOSSES, CURVES)), *sheets]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made or cleared ({error.strerror}).") from error


def read_losses(folder: Path) -> list[dict[str, float]]:
    """The lines of `LOSSES`, one an epoch: "step", "loss" and the terms.

    Raises:
        OutputError: if it is missing or not such a file.
    """
    try:
        rows = csv.DictReader((folder / LOSSES).read_text().splitlines())
        return [{name: float(value) for name, value in row.items() if value != "NA"} for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(f"{folder / LOSSES}: cannot be read; the curves are not drawn.") from error


def draw_curves(folder: Path) -> None:
    """Draws every column of `LOSSES` into `CURVES`, the loss first."""
    rows = [{"scale": 0.0} | row for row in read_losses(folder)]
    terms = ["loss", *(name for name in rows[-1] if name not in ("scale", "epoch", "step", "loss"))]
    files.save_atomically(folder / CURVES, plots.loss_curves({"": rows}, terms=terms), overwrite=True)
