"""Keras callbacks that show a training: a progress bar or lines, JSON events, sample sheets."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tfstyle import files, images, plots
from tfstyle.environment import keras, tf
from tfstyle.training import run_folder

_log = logging.getLogger("tfstyle")


class SampleSheet(keras.callbacks.Callback):
    """Paints the same photographs every few steps, below themselves, into SHEETS/000200.jpg, …

    Args:
        folder: the training's; it is there.
        paint: image [1, height, width, 3] to its painting, of any size.
        photographs: such images.
        every: steps between two sheets; the first is made before the first step.

    Raises:
        OutputError: if a sheet cannot be written.
    """

    def __init__(
        self, folder: Path, paint: Callable[[tf.Tensor], Any], photographs: Sequence[Any], *, every: int
    ) -> None:
        super().__init__()
        self.folder, self.paint = Path(folder) / run_folder.SHEETS, paint
        self.photographs, self.every = photographs, every

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Makes the folder, and the sheet of the untrained network."""
        run_folder.make(self.folder)
        if self.model.step == 0:
            self.write()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a sheet if it is its turn."""
        if self.model.step % self.every == 0:
            self.write()

    def write(self) -> None:
        """Paints and writes now."""
        step = self.model.step
        pictures = [*self.photographs, *(self.paint(photograph) for photograph in self.photographs)]
        labels = ["photograph"] * len(self.photographs) + [f"step {step}"] * len(self.photographs)
        sheet = plots.draw_grid(pictures, labels, columns=len(self.photographs))
        data = images.encode(sheet, "JPEG", quality=90)
        files.save_atomically(self.folder / f"{step:06d}.jpg", data, overwrite=True)


_CANNOT_WRITE = (OSError, ValueError)
"""What a stream raises that nobody reads any more, or that is closed."""


class _Shown(keras.callbacks.Callback):
    """Shows a training on a stream; see the subclasses."""

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        super().__init__()
        self.steps, self.stream = steps, stream


class Progress(_Shown):
    """Shows how far a training is: on a terminal a bar with the losses, else a line of them each epoch.

    A stream that cannot be written to does not stop the training.

    Args:
        steps: the last step.
        stream: where to; standard error if None.
    """

    bar: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Draws the bar where the training stands."""
        from tqdm import tqdm

        stream, done = self.stream or sys.stderr, self.model.step
        with contextlib.suppress(*_CANNOT_WRITE):
            if self.bar is None and stream is not None and stream.isatty():
                self.bar = tqdm(total=self.steps, initial=done, file=stream, unit="step", dynamic_ncols=True)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves it."""
        if self.bar is not None:
            with contextlib.suppress(*_CANNOT_WRITE):
                self.bar.set_postfix_str(_line(logs, "3"), refresh=False)
                self.bar.update(self.model.step - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the means of the epoch where there is no bar, or logs them."""
        line = f"step {self.model.step} of {self.steps}: {_line(logs, '4')}"
        if self.bar is not None:
            _log.info("%s", line)
            return
        stream = self.stream or sys.stderr
        if stream is not None:  # As in a program without a console; `print` would take standard output.
            with contextlib.suppress(*_CANNOT_WRITE):
                print(line, file=stream, flush=True)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Leaves the bar as it stands; `fitting.fit` goes on after the rest of an interrupted epoch."""
        if self.bar is not None and self.model.stop_training:
            with contextlib.suppress(*_CANNOT_WRITE):
                self.bar.close()
            self.bar = None


class JsonLines(_Shown):
    """Prints one JSON object an epoch: the step, the last step, and the means of the losses.

    Args:
        steps: the last step.
        stream: where to; standard output if None.
    """

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the means of the epoch."""
        event = {"event": "step", "step": self.model.step, "steps": self.steps, "losses": _losses(logs)}
        print(json.dumps(event), file=self.stream or sys.stdout, flush=True)


def _losses(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """The losses in Keras' logs."""
    return {name: float(value) for name, value in (logs or {}).items() if name != "step"}


def _line(logs: Mapping[str, Any] | None, digits: str) -> str:
    """The losses in one line, the total first."""
    terms = _losses(logs)
    names = sorted(terms, key=lambda name: name != "loss")
    return ", ".join(f"{name} {terms[name]:.{digits}g}" for name in names)
