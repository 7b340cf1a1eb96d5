"""Keras callbacks that report the progress of a training: a bar or lines of text, JSON events, sample sheets."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tfstyle import files, plots
from tfstyle.environment import keras, tf
from tfstyle.pictures import encoding
from tfstyle.training import run_folder

_log = logging.getLogger("tfstyle")


class SampleSheet(keras.callbacks.Callback):
    """Writes a sheet of content images, each above its stylized image, every few steps: SHEETS/000200.jpg at step 200.

    Args:
        folder: the existing folder of the training.
        stylize: a function of a content image [1, height, width, 3] that returns its stylized image, of any size.
        content_images: content images, the same on every sheet.
        every: steps between two sheets; the first is made before the first step.

    Raises:
        OutputError: if a sheet cannot be written.
    """

    def __init__(
        self, folder: Path, stylize: Callable[[tf.Tensor], Any], content_images: Sequence[Any], *, every: int
    ) -> None:
        super().__init__()
        self.folder, self.stylize = Path(folder) / run_folder.SHEETS, stylize
        self.content_images, self.every = content_images, every

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Makes the folder, and the sheet of the untrained network at step 0."""
        run_folder.make(self.folder)
        if self.model.step == 0:
            self.write()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a sheet every `every` steps."""
        if self.model.step % self.every == 0:
            self.write()

    def write(self) -> None:
        """Writes a sheet now."""
        step = self.model.step
        count = len(self.content_images)
        pictures = [*self.content_images, *(self.stylize(image) for image in self.content_images)]
        sheet = plots.draw_grid(pictures, ["content"] * count + [f"step {step}"] * count, columns=count)
        data = encoding.encode(sheet, "JPEG", quality=90)
        files.save_atomically(self.folder / f"{step:06d}.jpg", data, overwrite=True)


_WRITE_ERRORS = (OSError, ValueError)
"""Exceptions that a stream raises if its reader has closed it (OSError), or if it is closed itself (ValueError)."""


class _StreamCallback(keras.callbacks.Callback):
    """Base class of the callbacks that write to a stream."""

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        super().__init__()
        self.steps, self.stream = steps, stream


class Progress(_StreamCallback):
    """Shows the progress of a training: on a terminal a bar with the losses, otherwise a line of losses per epoch.

    The training continues if the stream cannot be written to.

    Args:
        steps: the last step.
        stream: a text stream; standard error if None.
    """

    bar: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Draws the bar at the current step."""
        from tqdm import tqdm

        stream, done = self.stream or sys.stderr, self.model.step
        with contextlib.suppress(*_WRITE_ERRORS):
            if self.bar is None and stream is not None and stream.isatty():
                self.bar = tqdm(total=self.steps, initial=done, file=stream, unit="step", dynamic_ncols=True)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Updates the bar."""
        if self.bar is not None:
            with contextlib.suppress(*_WRITE_ERRORS):
                self.bar.set_postfix_str(_format_losses(logs, "3"), refresh=False)
                self.bar.update(self.model.step - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the means of the epoch, or logs them if there is a bar."""
        line = f"step {self.model.step} of {self.steps}: {_format_losses(logs, '4')}"
        if self.bar is not None:
            _log.info("%s", line)
            return
        stream = self.stream or sys.stderr
        if stream is not None:  # None in a program without a console; `print` would write to standard output.
            with contextlib.suppress(*_WRITE_ERRORS):
                print(line, file=stream, flush=True)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the bar, unless `trainer.fit` continues after the rest of an unfinished epoch."""
        if self.bar is not None and self.model.stop_training:
            with contextlib.suppress(*_WRITE_ERRORS):
                self.bar.close()
            self.bar = None


class JsonLines(_StreamCallback):
    """Prints one JSON object per epoch: the step, the last step, and the means of the losses.

    Args:
        steps: the last step.
        stream: a text stream; standard output if None.
    """

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the means of the epoch."""
        event = {"event": "step", "step": self.model.step, "steps": self.steps, "losses": _select_losses(logs)}
        print(json.dumps(event), file=self.stream or sys.stdout, flush=True)


def _select_losses(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns the losses in Keras' logs."""
    return {name: float(value) for name, value in (logs or {}).items() if name != "step"}


def _format_losses(logs: Mapping[str, Any] | None, digits: str) -> str:
    """Formats the losses in one line, the total first."""
    terms = _select_losses(logs)
    names = sorted(terms, key=lambda name: name != "loss")
    return ", ".join(f"{name} {terms[name]:.{digits}g}" for name in names)
