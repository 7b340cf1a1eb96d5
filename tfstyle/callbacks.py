"""Steps → what happens during a run: progress bar, saved images, lines of JSON.

A callback is anything that can be called with a `transfer.Step`; if it has a `close` method, that is called when the
run ends, however it ends. Callbacks see steps and cannot change them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tfstyle import images
from tfstyle.errors import OutputError
from tfstyle.transfer import Step

Callback = Callable[[Step], Any]


def observed(steps: Iterable[Step], callbacks: Iterable[Callback]) -> Iterator[Step]:
    """Passes steps through, showing each to every callback; closes the callbacks at the end.

    Args:
        steps: what `Transfer.steps` yields.
        callbacks: observers, called in order.

    Yields:
        The same steps.
    """
    with contextlib.ExitStack() as stack:
        observers = list(callbacks)
        for callback in observers:
            if hasattr(callback, "close"):
                stack.callback(callback.close)
        for step in steps:
            for callback in observers:
                callback(step)
            yield step


class Progress:
    """A progress bar with the losses and the time left; nothing where the stream is not a terminal.

    Args:
        stream: where it is drawn; standard error if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar: Any = None

    def __call__(self, step: Step) -> None:
        """Moves the bar to a step."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=step.total, file=self._stream, disable=None, unit="step", dynamic_ncols=True)
        height, width = step.image.shape[1:3]
        self._bar.set_description(f"{width}x{height}", refresh=False)
        shown = {name: f"{step.losses[name]:.3g}" for name in ("style", "content") if name in step.losses}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(step.index - self._bar.n)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


class SaveImages:
    """Saves the image every few steps as FOLDER/0020.png, FOLDER/0040.png, …

    Args:
        folder: made at the first image.
        every: steps between two images.
        suffix: file ending, which says the format.
        quality: as for `images.write`.
    """

    def __init__(self, folder: Path, every: int, *, suffix: str = ".png", quality: int = 95) -> None:
        if every < 1:
            raise ValueError(f"save_every should be at least 1 step, not {every}.")
        self.folder, self.every, self.suffix, self.quality = Path(folder), every, suffix, quality

    def __call__(self, step: Step) -> None:
        """Saves the image if it is its turn."""
        if step.index % self.every:
            return
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made ({error.strerror}).") from error
        path = self.folder / f"{step.index:04d}{self.suffix}"
        images.write(step.image, path, quality=self.quality, overwrite=True)


class JsonLines:
    """Writes one JSON object a step: index, total, scale, size, losses, seconds.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, step: Step) -> None:
        """Writes the line of a step."""
        height, width = step.image.shape[1:3]
        record = {
            "event": "step",
            "step": step.index,
            "steps": step.total,
            "scale": step.scale,
            "scales": step.scales,
            "width": width,
            "height": height,
            "losses": dict(step.losses),
            "seconds": round(step.seconds, 3),
        }
        print(json.dumps(record), file=self._stream, flush=True)
