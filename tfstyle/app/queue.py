"""The queue of the page and the API: its jobs are made one after another in a thread, and outlive the server."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfstyle import files, images
from tfstyle.app.jobs import (
    DONE,
    FAILED,
    PREVIEW,
    PREVIEW_SIDE,
    QUEUED,
    RUNNING,
    STATE,
    STOPPED,
    UPLOADING,
    Job,
    Observer,
    load_jobs,
    make_key,
    plain_message,
    show,
)
from tfstyle.app.tasks import CHECKPOINT
from tfstyle.errors import OutputError, TfstyleError, as_tfstyle_error

_log = logging.getLogger("tfstyle")

_UNWATCHED_SECONDS = 2.0
"""How long an attended job goes on without a listener: as long as a page needs to load again."""

_SECONDS_TO_BEGIN = 8.0
"""How much longer a page may take until it follows its new job."""


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
        for job in sorted(load_jobs(folder), key=lambda job: job.created):
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
            (self.folder / key / STATE).write_text(json.dumps({"state": UPLOADING}), encoding="utf-8")
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
            (job.folder / STATE).write_text(json.dumps({"state": UPLOADING}), encoding="utf-8")

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
