"""The jobs of the page and the API: one queue, made one after another in a thread, kept in a folder.

A job outlives the server: its folder holds its files, its state and the checkpoints of its run.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import files, images
from tfstyle.app.tasks import CHECKPOINT, Task
from tfstyle.errors import OutputError, TfstyleError, as_tfstyle_error
from tfstyle.pictures import encoding

_log = logging.getLogger("tfstyle")

QUEUED, RUNNING, DONE, STOPPED, FAILED = "queued", "running", "done", "stopped", "failed"
"""States of a job. A stopped one has the image so far, if it had begun, and can go on."""

STATE, PREVIEW = "job.json", "preview.jpg"
"""Files in the folder of a job, beside those of its task."""

PREVIEW_SIDE = 640
"""Long side in pixels of the pictures that show a run."""

_SECONDS_BETWEEN_PREVIEWS = 0.4

_UNWATCHED_SECONDS = 2.0
"""How long an attended job goes on without a listener: as long as a page needs to load again."""

_SECONDS_TO_BEGIN = 8.0
"""How much longer a page may take until it follows its new job."""


@dataclass(eq=False, kw_only=True)
class Job:
    """A task and what has become of it. Changed only by the methods of `Queue` and by the thread of the run.

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


_UPLOADING = "uploading"
"""State of a folder that is no job yet, or no longer."""

_KEPT = ("key", "visitor", "attended", "created", "state", "message", "progress", "facts", "curve")


class Queue:
    """Jobs in the order in which they came, and the thread that makes them.

    Args:
        folder: where jobs are kept; those of an earlier server are found there. One that was running then, or whose
            page was open, has stopped; others wait again.
        memory: as for `api.stylize`, for every run.
        prepare: called in the thread before the first job.
        on_end: called with each job that has ended and its seconds, in the thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        memory: str | None = None,
        prepare: Callable[[], Any] = lambda: None,
        on_end: Callable[[Job, float], None] = lambda job, seconds: None,
    ) -> None:
        self.folder, self._memory, self._prepare, self._on_end = folder, memory, prepare, on_end
        self._changed = threading.Condition()
        self._closed = False
        self.jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._thread = threading.Thread(target=self._work, name="tfstyle jobs", daemon=True)
        for job in sorted(_load_jobs(folder), key=lambda job: job.created):
            self.jobs[job.key] = job
            if job.state == RUNNING or (job.state == QUEUED and job.attended):
                job.state, job.message = STOPPED, "the server was stopped"
                job.save()
            elif job.state == QUEUED:
                self._waiting.append(job)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the current run after its step, and takes no more; does not wait for that."""
        with self._changed:
            self._closed = True
            if self._running is not None:
                self._running.stopping = "the server was stopped"
            self._changed.notify_all()
        for job in tuple(self.jobs.values()):
            job.tell()

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return not self._closed

    @property
    def is_working(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def make_folder(self) -> tuple[str, Path]:
        """Makes a folder for a job; returns the job's key and the folder.

        Raises:
            OutputError: if it cannot be made.
        """
        key = make_key()
        try:
            (self.folder / key).mkdir()
            (self.folder / key / STATE).write_text(json.dumps({"state": _UPLOADING}), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"no folder for a picture can be made ({error.strerror}); make room.") from error
        return key, self.folder / key

    def add(self, job: Job) -> None:
        """Puts a job at the end of the queue."""
        with self._changed:
            job.created = time.time()  # In the order of the queue.
            self.jobs[job.key] = job
            self._append(job)
        job.tell()

    def resume(self, job: Job) -> bool:
        """Puts a stopped job at the end of the queue again; returns whether it could go on."""
        with self._changed:
            if self.jobs.get(job.key) is not job or not job.can_go_on:
                return False
            self._append(job)
        job.tell()
        return True

    def _append(self, job: Job) -> None:
        job.state, job.message, job.stopping = QUEUED, "", ""
        job.unwatched_since = None if job.listeners else time.monotonic() + _SECONDS_TO_BEGIN
        self._waiting.append(job)
        job.save()
        self._changed.notify_all()

    def place(self, job: Job) -> int:
        """Returns how many jobs come before a waiting one, with the one that runs; 0 for one that does not wait."""
        with self._changed, contextlib.suppress(ValueError):
            return self._waiting.index(job) + (self._running is not None)
        return 0

    @property
    def length(self) -> int:
        """Number of jobs that wait."""
        return len(self._waiting)

    def stop_unattended(self) -> None:
        """Stops the attended jobs that nobody has followed for some time."""
        for job in tuple(self.jobs.values()):
            since = job.unwatched_since
            if job.attended and not job.is_over and since is not None and time.monotonic() - since > _UNWATCHED_SECONDS:
                self.stop(job, "the page was closed")

    def stop(self, job: Job, why: str) -> None:
        """Takes a job out of the queue, or ends its run after this step; its image so far is kept."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.state, job.message = STOPPED, why
                job.save()
                self._tell_waiting()
            elif job is self._running:
                job.stopping = why
        job.tell()

    def remove(self, job: Job) -> None:
        """Stops a job and deletes its files."""
        self.stop(job, "it was deleted")
        with self._changed:
            self.jobs.pop(job.key, None)
            running = job is self._running
        if not running:
            shutil.rmtree(job.folder, ignore_errors=True)
            return
        with contextlib.suppress(OSError):  # The thread deletes them; a server that is killed before, when it starts.
            (job.folder / STATE).write_text(json.dumps({"state": _UPLOADING}), encoding="utf-8")

    def _tell_waiting(self) -> None:
        for job in self._waiting:
            job.tell()

    def _work(self) -> None:
        """Makes one job after another."""
        self._prepare()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                job = self._running = self._waiting.pop(0)
                job.state, job.stopping = RUNNING, ""
                job.save()
                self._tell_waiting()
            job.tell()
            began = time.monotonic()
            state, message = self._run(job)
            with self._changed:
                self._running = None
                job.state, job.message = state, message
                kept = job.key in self.jobs
                if kept:
                    job.save()
            if kept:
                self._on_end(job, time.monotonic() - began)
            else:
                shutil.rmtree(job.folder, ignore_errors=True)
            job.tell()

    def _run(self, job: Job) -> tuple[str, str]:
        """Runs a job; returns its state and the message."""
        try:
            height, width = job.task.make(job.folder, callbacks=[Observer(job)], memory=self._memory)
            if job.stopping and job.progress < 1.0 and not job.task.fast:
                return STOPPED, job.stopping
            job.progress = 1.0
            job.facts |= {"height": height, "width": width}
            self._keep_preview(job)
            shutil.rmtree(job.folder / CHECKPOINT, ignore_errors=True)
        except Exception as error:
            failure = as_tfstyle_error(error)
            if not isinstance(error, TfstyleError):
                _log.error("a picture failed: %s", failure, exc_info=error)
            if isinstance(error, OutputError) and error.saved is not None:
                _log.error("%s", error)
                return FAILED, "the server could not keep the result in its folder; ask who runs it."
            return FAILED, plain_message(failure, job.folder)
        return DONE, ""

    @staticmethod
    def _keep_preview(job: Job) -> None:
        """Makes the preview of a finished job from its result, and keeps it for a later server."""
        with contextlib.suppress(TfstyleError, OSError):
            show(job, images.read(job.folder / job.task.result, long_side=PREVIEW_SIDE).image)
            files.save_atomically(job.folder / PREVIEW, job.preview, overwrite=True)


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


def _load_jobs(folder: Path) -> Iterator[Job]:
    """Yields the jobs of a folder; those that were never uploaded completely are deleted."""
    for state in sorted(folder.glob(f"*/{STATE}")):
        path = state.parent
        try:
            if json.loads(state.read_text(encoding="utf-8")) == {"state": _UPLOADING}:
                shutil.rmtree(path, ignore_errors=True)
            else:
                yield Job.load(path)
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s: is left alone, its %s cannot be read (%s).", path, STATE, error)
