"""Callbacks of a run: progress bar, saved images, history, loss curves, contact sheet, animation, JSON lines.

A callback is anything that can be called with a `steps.Step`; if it has a `close` method, that is called when the
run ends, also after an error. A `restore` method is called with the rows of the earlier steps if a run is resumed.
Callbacks cannot change a step; one that returns True ends the run.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tfstyle import files, images, plots
from tfstyle.environment import tf
from tfstyle.errors import UsageError
from tfstyle.pictures import encoding
from tfstyle.steps import Step
from tfstyle.tensors import sides

Callback = Callable[[Step], Any]
"""The type of a callback."""


def observe(steps: Iterable[Step], callbacks: Iterable[Callback]) -> Generator[Step, None, None]:
    """Calls every callback with each step of a run, and closes the steps and the callbacks at the end.

    Args:
        steps: the steps of a run, as `Transfer.steps` yields them.
        callbacks: called in this order; the step for which one returns True is the last.

    Yields:
        The same steps, each before the callbacks are called.
    """
    with contextlib.ExitStack() as stack:
        if hasattr(steps, "close"):
            stack.callback(steps.close)
        callbacks = list(callbacks)
        for callback in callbacks:
            if hasattr(callback, "close"):
                stack.callback(callback.close)
        for step in steps:
            yield step  # First, so that the step is not lost if a callback fails.
            stops = [callback(step) is True for callback in callbacks]
            if any(stops):
                return


class Progress:
    """Shows the progress of a run: on a terminal a bar with losses and remaining time, elsewhere log lines.

    A line is printed at the first step of each level, once a minute, and at the last step. The remaining time is
    estimated from `Step.progress`, since steps at small sizes are faster. A stream that cannot be written to does not
    stop the run.

    Args:
        stream: a text stream; standard error if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar: Any = None
        self._printed: tuple[int, float] | None = None

    def __call__(self, step: Step) -> None:
        """Shows the progress after a step."""
        stream = self._stream or sys.stderr
        if stream is None:  # A program without a console.
            return
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty():
                self._draw(step, stream)
            else:
                self._print(step, stream)

    def _draw(self, step: Step, stream: TextIO) -> None:
        if self._bar is None:
            from tqdm import tqdm

            form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            self._bar = tqdm(total=1.0, file=stream, dynamic_ncols=True, bar_format=form)
        height, width = sides(step.image)
        self._bar.set_description_str(f"{width}x{height} step {step.index}/{step.total}", refresh=False)
        shown = {name: f"{step.losses[name]:.3g}" for name in plots.TERMS if name in step.losses}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(step.progress - self._bar.n)

    def _print(self, step: Step, stream: TextIO) -> None:
        level, seconds = self._printed or (0, 0.0)
        if step.level == level and step.index < step.total and step.seconds < seconds + 60:
            return
        self._printed = step.level, step.seconds
        height, width = sides(step.image)
        place = f"level {step.level} of {step.levels}, {width}x{height}: step {step.index} of {step.total}"
        print(f"{place}, {step.seconds:.0f} s", file=stream, flush=True)

    def close(self) -> None:
        """Ends the bar or log of a run; the object can then be used for another."""
        if self._bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self._bar.close()
        self._bar = self._printed = None


class SaveImages:
    """Saves the image every few steps as FOLDER/0020.png, FOLDER/0040.png, and so on.

    Args:
        folder: the folder; it is made with the first image.
        every: steps between two images.
        suffix: suffix of the files, which decides their format.
        quality: as for `images.write`.
        overwrite: write into an existing folder; otherwise the images then go to FOLDER-2, FOLDER-3, …

    Raises:
        UsageError: if `every` is less than 1.
    """

    def __init__(
        self, folder: Path, every: int, *, suffix: str = ".png", quality: int = 95, overwrite: bool = False
    ) -> None:
        if every < 1:
            raise UsageError(f"`every` should be at least 1 step, not {every}.")
        self.folder, self.every, self.suffix, self.quality = Path(folder), every, suffix, quality
        self._made = overwrite and self.folder.is_dir()

    def __call__(self, step: Step) -> None:
        """Saves the image of every n-th step."""
        if step.index % self.every:
            return
        if not self._made:
            self.folder, self._made = files.make_free_folder(self.folder), True
        path = self.folder / f"{step.index:04d}{self.suffix}"
        images.write(step.image, path, quality=self.quality, overwrite=True)


def step_to_row(step: Step) -> dict[str, Any]:
    """Returns a step as one flat row: step, level, width, height, seconds, every loss term, and the settings."""
    height, width = sides(step.image)
    place = {"step": step.index, "level": step.level, "width": width, "height": height}
    return place | {"seconds": round(step.seconds, 3)} | dict(step.losses) | dict(step.settings)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool = False) -> None:
    """Writes rows to a file: JSON if its suffix is .json, else CSV.

    Raises:
        OutputError: if the file could not be written there and was saved elsewhere; the message says where.
    """
    if path.suffix.lower() == ".json":
        text = json.dumps(rows, indent=1) + "\n"
    else:
        stream = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))  # Terms of weight 0 are missing.
        writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = stream.getvalue()
    files.save_result(path, text.encode(), overwrite=overwrite)


class History:
    """Keeps one row per step, and writes them to a file at the end.

    Args:
        path: a .csv or .json file; None only keeps the rows.
        overwrite: replace an existing file.

    Attributes:
        rows: the steps as `step_to_row` returns them.
    """

    def __init__(self, path: Path | None = None, *, overwrite: bool = False) -> None:
        self._path, self._overwrite = path, overwrite
        self.rows: list[dict[str, Any]] = []

    def __call__(self, step: Step) -> None:
        """Adds the row of a step."""
        self.rows.append(step_to_row(step))

    def restore(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begins with the rows of earlier steps, when a run is resumed."""
        self.rows = [dict(row) for row in rows]

    def close(self) -> None:
        """Writes the file."""
        if self._path is not None and self.rows:
            write_rows(self._path, self.rows, overwrite=self._overwrite)


class LossCurves(History):
    """Plots the style and content losses at the end, to a .png, .jpg, .webp, .svg or .pdf file."""

    def close(self) -> None:
        """Writes the plot."""
        if self._path is not None and self.rows:
            data = plots.draw_loss_curves({"": self.rows}, format=self._path.suffix[1:].lower())
            files.save_result(self._path, data, overwrite=self._overwrite)


class _ImageRecorder:
    """Keeps the image of every n-th and of the last step, at most 640 pixels long; draws them to a file at the end."""

    def __init__(
        self, path: Path, draw: Callable[[list, list[str]], bytes], *, every: int | None, pictures: int, overwrite: bool
    ) -> None:
        self._path, self._draw, self._overwrite = path, draw, overwrite
        self._every, self._wanted = every, pictures
        self._images: list = []
        self._labels: list[str] = []

    def __call__(self, step: Step) -> None:
        """Keeps the image of every n-th step and of the last."""
        every = self._every or math.ceil(step.total / self._wanted)
        if step.index % every == 0 or step.index == step.total:
            self._images.append(images.fit(step.image, min(640, max(sides(step.image)))).numpy())
            self._labels.append(f"step {step.index}")

    def close(self) -> None:
        """Writes the file."""
        if self._images:
            data = self._draw(self._images, self._labels)
            files.save_result(self._path, data, overwrite=self._overwrite)


class Strip(_ImageRecorder):
    """Writes a contact sheet: images of the run in one row, each labeled with its step.

    Args:
        path: a picture file in a format of `images.write`.
        every: steps between two images; None for about eight images.
        overwrite: replace an existing file.
    """

    def __init__(self, path: Path, *, every: int | None = None, overwrite: bool = False) -> None:
        def draw(pictures: list, labels: list[str]) -> bytes:
            pixels = plots.draw_grid(pictures, labels, columns=len(labels))
            return encoding.encode(pixels, encoding.WRITERS[path.suffix.lower()])

        super().__init__(path, draw, every=every, pictures=8, overwrite=overwrite)


class Animation(_ImageRecorder):
    """Writes the run as an animated GIF.

    Args:
        path: a .gif file.
        every: steps between two images; None for about forty images.
        overwrite: replace an existing file.
    """

    def __init__(self, path: Path, *, every: int | None = None, overwrite: bool = False) -> None:
        super().__init__(
            path, lambda pictures, labels: plots.draw_animation(pictures), every=every, pictures=40, overwrite=overwrite
        )


class TensorBoard:
    """Logs the losses of each step, and the image every few steps (`pip install 'tfstyle[tensorboard]'`).

    Args:
        folder: the folder of the event files.
        every: steps between two images.
    """

    def __init__(self, folder: Path, *, every: int = 20) -> None:
        self._writer, self._every = tf.summary.create_file_writer(str(folder)), every

    def __call__(self, step: Step) -> None:
        """Logs a step."""
        with self._writer.as_default(step=step.index):
            for name, value in step.losses.items():
                tf.summary.scalar(f"loss/{name}", value)
            if step.index % self._every == 0 or step.index == step.total:
                tf.summary.image("image", tf.clip_by_value(step.image, 0.0, 1.0))

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


class JsonLines:
    """Writes one JSON object per step: step, steps, progress, level, size, losses, seconds, settings.

    Args:
        stream: a text stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, step: Step) -> None:
        """Writes the object of a step."""
        height, width = sides(step.image)
        event = {
            "event": "step",
            "step": step.index,
            "steps": step.total,
            "progress": round(step.progress, 4),
            "level": step.level,
            "levels": step.levels,
            "width": width,
            "height": height,
            "losses": dict(step.losses),
            "seconds": round(step.seconds, 3),
            "settings": dict(step.settings),
        }
        print(json.dumps(event), file=self._stream, flush=True)
