"""The jobs of the page and the API, each kept in a folder: its files, its state and the checkpoints of its run."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import files, images
from tfstyle.app.tasks import Task
from tfstyle.errors import OutputError
from tfstyle.pictures import encoding

_log = logging.getLogger("tfstyle")

QUEUED, RUNNING, DONE, STOPPED, FAILED = "queued", "running", "done", "stopped", "failed"
"""States of a job. A stopped one has the image so far, if it had begun, and can go on."""

STATE, PREVIEW = "job.json", "preview.jpg"
"""Files in the folder of a job, beside those of its task."""

PREVIEW_SIDE = 640
"""Long side in pixels of the pictures that show a run."""

_SECONDS_BETWEEN_PREVIEWS = 0.4


@dataclass(eq=False, kw_only=True)
class Job:
    """A task and what has become of it. Changed only by the methods of `queue.Queue` and by the thread of the run.

    Attributes:
        key: random name, which a client needs to reach the job.
        folder: its folder.
        task: what it makes.
        visitor: the browser it came from; "" for a client of the API.
        attended: stop it when nobody follows it any more.
        created: when it was first put into the queue, in seconds since 1970.
        state: one of the states.
        message: why it failed or stopped.
        progress: completed fraction of the work.
        facts: step, steps, level, levels, width, height, seconds and loss, once it has begun.
        curve: a row [step, level, loss] for each step.
        preview: a JPEG of the image so far.
        stopping: why the run is to end after this step; "" if it is not.
        unwatched_since: when the last listener left, on the monotonic clock; None while there is one.
        listeners: called, in any thread, after each change.
    """

    key: str
    folder: Path
    task: Task
    visitor: str = ""
    attended: bool = False
    created: float = 0.0
    state: str = QUEUED
    message: str = ""
    progress: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    curve: list[tuple[int, int, float]] = field(default_factory=list)
    preview: bytes = b""
    stopping: str = ""
    unwatched_since: float | None = None
    listeners: set[Callable[[], Any]] = field(default_factory=set)

    @contextlib.contextmanager
    def listen(self, listener: Callable[[], Any]) -> Iterator[None]:
        """Calls a listener after each change inside the context."""
        self.listeners.add(listener)
        self.unwatched_since = None
        try:
            yield
        finally:
            self.listeners.discard(listener)
            if not self.listeners:
                self.unwatched_since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more unless somebody asks for it."""
        return self.state in (DONE, STOPPED, FAILED)

    @property
    def result(self) -> Path | None:
        """The result, or the image so far of a job that stopped; None if there is none."""
        path = self.folder / self.task.result
        return path if self.is_over and path.is_file() else None

    @property
    def can_go_on(self) -> bool:
        """Whether the run can go on."""
        return self.state == STOPPED and not self.task.fast

    def tell(self) -> None:
        """Calls every listener."""
        for listener in tuple(self.listeners):
            listener()

    def save(self) -> None:
        """Writes the state to the folder; if that fails, the job goes on without."""
        kept = {name: getattr(self, name) for name in _KEPT} | {"task": self.task.record()}
        try:
            files.save_atomically(self.folder / STATE, json.dumps(kept).encode(), overwrite=True)
        except OutputError as error:
            _log.warning("%s", error)

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Reads a job from its folder; raises what `json` and missing values raise if the file is damaged."""
        kept = json.loads((folder / STATE).read_text(encoding="utf-8"))
        curve = [(int(step), int(level), float(loss)) for step, level, loss in kept["curve"]]
        job = cls(**{**kept, "task": Task.from_record(kept["task"]), "folder": folder, "curve": curve})
        if (folder / PREVIEW).is_file():
            job.preview = (folder / PREVIEW).read_bytes()
        return job


UPLOADING = "uploading"
"""State of a folder that is no job yet, or no longer."""

_KEPT = ("key", "visitor", "attended", "created", "state", "message", "progress", "facts", "curve")


def make_key() -> str:
    """Returns a random name that cannot be guessed."""
    return secrets.token_urlsafe(16)


class Observer:
    """The callback that notes the steps of a run in its job, and ends the run if the job is to stop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shown = -math.inf

    def __call__(self, step: Any) -> bool:
        """Notes a step; returns True if it is to be the last."""
        job, now = self._job, time.monotonic()
        height, width = map(int, step.image.shape[1:3])
        loss = float(step.losses["total"])
        job.curve.append((step.index, step.level, loss))
        job.progress = float(step.progress)
        job.facts = {
            "step": step.index,
            "steps": step.total,
            "level": step.level,
            "levels": step.levels,
            "width": width,
            "height": height,
            "seconds": round(step.seconds, 1),
            "loss": loss,
        }
        ends = bool(job.stopping) or step.index == step.total
        if ends or (job.listeners and now - self._shown >= _SECONDS_BETWEEN_PREVIEWS):
            show(job, step.image)
            self._shown = now
        if ends:
            with contextlib.suppress(OutputError):
                files.save_atomically(job.folder / PREVIEW, job.preview, overwrite=True)
        job.tell()
        return bool(job.stopping)

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Begins with the steps before a checkpoint; those after it are made again."""
        self._job.curve = [(row["step"], row["level"], row["total"]) for row in rows]


def show(job: Job, image: Any) -> None:
    """Makes an image the preview of a job."""
    job.preview = encode_small(image, PREVIEW_SIDE)


def encode_small(image: Any, long_side: int) -> bytes:
    """Returns an image as JPEG, made smaller if it is longer than that."""
    small = np.asarray(images.fit(image, min(long_side, max(image.shape[1:3]))))
    return encoding.encode(encoding.to_uint8(small[0]), "JPEG", quality=85)


def plain_message(error: BaseException, folder: Path) -> str:
    """Returns the message of an error without the path of a job's folder, and without backquotes."""
    return " ".join(str(error).replace(f"{folder}/", "").replace("`", "").split())


def load_jobs(folder: Path) -> Iterator[Job]:
    """Yields the jobs of a folder; those that were never uploaded completely are deleted."""
    for state in sorted(folder.glob(f"*/{STATE}")):
        path = state.parent
        try:
            if json.loads(state.read_text(encoding="utf-8")) == {"state": UPLOADING}:
                shutil.rmtree(path, ignore_errors=True)
            else:
                yield Job.load(path)
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s: is left alone, its %s cannot be read (%s).", path, STATE, error)
