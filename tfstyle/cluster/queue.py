"""Which worker of a cluster makes which picture: what a lost worker had goes back, nothing is made twice or lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tfstyle import batch
from tfstyle.cluster.painter import Delivery
from tfstyle.errors import InputError, SetupError, WorkerError

AHEAD = 2
"""Pictures that a worker has at most: the one it makes, and the next one, which is sent meanwhile."""

MOST_LOSSES = 3
"""Workers that may be lost while they make a picture; then it is given up."""

PATIENCE = 60.0
"""Seconds without any worker after which a batch ends."""


class Joined(NamedTuple):
    """A worker is ready.

    Attributes:
        worker: its name.
    """

    worker: str


class Lost(NamedTuple):
    """A worker is no more.

    Attributes:
        worker: its name.
    """

    worker: str


class Finished(NamedTuple):
    """A worker has returned a picture.

    Attributes:
        worker: its name.
        number: number of the job.
        delivery: what it returned.
    """

    worker: str
    number: int
    delivery: Delivery


class Note(NamedTuple):
    """Something to be told.

    Attributes:
        line: what.
    """

    line: str


Event = Joined | Lost | Finished | Note


class Engine(Protocol):
    """Where workers run."""

    def poll(self, seconds: float) -> list[Event]:
        """Returns what has happened; waits for it for some seconds."""

    def submit(self, worker: str, number: int, job: batch.Job) -> None:
        """Sends a job to a worker.

        Raises:
            InputError: if a file of the job cannot be read.
        """

    def refused(self) -> str:
        """Returns why every machine of the cluster has been refused; "" if one has not."""


class Queue:
    """The numbers of the jobs: waiting, at a worker, or finished.

    Args:
        count: number of jobs.
    """

    def __init__(self, count: int) -> None:
        self._waiting = deque(range(count))
        self._at: dict[str, deque[int]] = {}
        self._losses: Counter[int] = Counter()
        self.unfinished = set(range(count))

    @property
    def workers(self) -> list[str]:
        """The names of the workers."""
        return list(self._at)

    def join(self, worker: str) -> None:
        """Adds a worker."""
        self._at.setdefault(worker, deque())

    def take(self, worker: str) -> int | None:
        """Returns the next job for a worker; None if there is none, or it has enough.

        The last jobs are given to workers without any, so that none waits behind a long one while others are idle.
        """
        most = AHEAD if len(self._waiting) > len(self._at) else 1
        if not self._waiting or len(self._at[worker]) >= most:
            return None
        self._at[worker].append(self._waiting.popleft())
        return self._at[worker][-1]

    def finish(self, worker: str, number: int) -> bool:
        """Records that a job is finished; returns whether it was not before."""
        if number in self._at.get(worker, ()):
            self._at[worker].remove(number)
        new = number in self.unfinished
        self.unfinished.discard(number)
        return new

    def lose(self, worker: str) -> int | None:
        """Removes a worker, whose jobs wait again, before the others.

        Returns:
            A job that is given up, because as many workers as `MOST_LOSSES` have been lost while they made it; else
            None.
        """
        back = self._at.pop(worker, deque())
        if not back:
            return None
        made = back[0]  # A worker takes one after the other.
        self._losses[made] += 1
        given_up = self._losses[made] >= MOST_LOSSES
        if given_up:
            back.popleft()
            self.unfinished.discard(made)
        self._waiting.extendleft(reversed(back))
        return made if given_up else None


def dispatch(
    jobs: Sequence[batch.Job], engine: Engine, *, address: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[int, Delivery] | Note | None]:
    """Has all jobs made by the workers of a cluster.

    Args:
        jobs: the jobs.
        engine: where the workers run.
        address: of the cluster, for messages.
        clock: function that returns seconds.

    Yields:
        (number, `Delivery`) for each job as it is finished; a `Note` to be told; None at least every second.

    Raises:
        SetupError: if all machines have been refused.
        WorkerError: if there is no worker for `PATIENCE`.
    """
    queue, seen = Queue(len(jobs)), clock()
    while queue.unfinished:
        yield from _hand_out(jobs, queue, engine)
        for event in engine.poll(1.0):
            yield from _handle(event, queue)
        yield None
        if queue.workers:
            seen = clock()
        elif reason := engine.refused():
            raise SetupError(reason)
        elif clock() - seen > PATIENCE:
            raise WorkerError(
                f"no machine of the Ray cluster at {address} has been free for {PATIENCE:.0f} s; `ray status` lists "
                "what it has; `skip_existing` goes on."
            )


def _hand_out(jobs: Sequence[batch.Job], queue: Queue, engine: Engine) -> Iterator[tuple[int, Delivery]]:
    """Gives each worker as much as it may have; yields the jobs whose files cannot be read."""
    for _ in range(AHEAD):
        for worker in queue.workers:
            if (number := queue.take(worker)) is None:
                continue
            try:
                engine.submit(worker, number, jobs[number])
            except InputError as error:
                queue.finish(worker, number)
                yield number, Delivery({}, failure=str(error))


def _handle(event: Event, queue: Queue) -> Iterator[tuple[int, Delivery] | Note]:
    """Records an event; yields what it tells."""
    if isinstance(event, Note):
        yield event
    elif isinstance(event, Joined):
        queue.join(event.worker)
    elif isinstance(event, Lost):
        if (number := queue.lose(event.worker)) is not None:
            yield number, Delivery({}, failure=f"{MOST_LOSSES} workers were lost while they made it.")
    elif queue.finish(event.worker, event.number):
        yield event.number, event.delivery
