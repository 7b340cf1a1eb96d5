"""The workers of a Ray cluster: one for each machine, or for each of its GPUs.

A worker reserves its share of the machine, so Ray starts nothing else there.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfstyle import batch
from tfstyle.cluster.painter import Delivery, Painter, files_of, versions
from tfstyle.cluster.queue import MOST_LOSSES, Event, Finished, Joined, Lost, Note
from tfstyle.errors import InputError, SetupError, TfstyleError
from tfstyle.makers import FastWork, RecipeWork
from tfstyle.pictures import decoding

_LOOK = 2.0
"""Seconds between two looks at the machines of the cluster."""

_SHARED = 16
"""Style images and masks that are kept in the cluster's memory at the same time."""


class Started(NamedTuple):
    """What a worker returns when it starts.

    Attributes:
        host: name of its machine.
        versions: as `painter.versions`.
        error: why its work cannot start; None if it can.
    """

    host: str
    versions: dict[str, str]
    error: TfstyleError | None = None


class Actor:
    """A worker as Ray runs it, in a process of its own."""

    def start(
        self, expected: dict[str, str], work: RecipeWork | FastWork, sent: Mapping[str, bytes], *, level: int
    ) -> Started:
        """Loads what the work needs, unless the versions are not those expected."""
        host, found = socket.gethostname(), versions()
        if found != expected:
            return Started(host, found)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            self._painter = Painter(work, sent, level=level)
        except TfstyleError as error:
            return Started(host, found, error)
        atexit.register(self._painter.close)
        return Started(host, found)

    def paint(self, job: batch.Job, content: bytes, shared: Mapping[str, Any]) -> Delivery:
        """Makes a picture; the values of `shared` are references to bytes."""
        import ray

        fetch: dict[str, Any] = {path: functools.partial(ray.get, given) for path, given in shared.items()}
        return self._painter.paint(job, content, fetch)


class _Worker:
    """What is known of a worker: its node, its actor, and the calls that have not returned, in their order."""

    def __init__(self, node: str, actor: Any) -> None:
        self.node, self.actor = node, actor
        self.calls: dict[Any, int | None] = {}


class RayEngine:
    """The workers of the cluster that Ray is connected to, as a `queue.Engine`.

    Args:
        work: what the workers are to do.
        level: level from which they return lines of the log.
    """

    def __init__(self, work: RecipeWork | FastWork, *, level: int) -> None:
        import ray

        self._ray, self._work, self._level = ray, work, level
        self._actor = ray.remote(max_restarts=0, max_task_retries=0)(Actor)
        self._sent = ray.put({path: Path(path).read_bytes() for path in work.files().values()})
        self._shared: collections.OrderedDict[str, Any] = collections.OrderedDict()
        self._workers: dict[str, _Worker] = {}
        self._refusals: dict[str, str] = {}
        self._failures: collections.Counter[str] = collections.Counter()
        self._nodes: set[str] = set()
        self._looked = -_LOOK

    def poll(self, seconds: float) -> list[Event]:
        """Returns what has happened; waits for it for some seconds."""
        events: list[Event] = []
        if time.monotonic() - self._looked >= _LOOK:
            events += self._look()
            self._looked = time.monotonic()
        calls = {call: name for name, worker in self._workers.items() for call in worker.calls}
        if events or not calls:
            time.sleep(0 if events else seconds)
            return events
        returned, _ = self._ray.wait(list(calls), num_returns=1, timeout=seconds)
        return [event for call in returned for event in self._receive(calls[call], call)]

    def submit(self, worker: str, number: int, job: batch.Job) -> None:
        """Sends a job to a worker.

        Raises:
            InputError: if a file of the job cannot be read.
        """
        content = _read_picture(job.content)
        shared = {path: self._share(path) for path in files_of(job)}
        target = self._workers[worker]
        target.calls[target.actor.paint.remote(job, content, shared)] = number

    def refused(self) -> str:
        """Returns why every machine of the cluster has been refused; "" if one has not."""
        usable = self._nodes - self._refusals.keys()
        return "" if usable or not self._refusals else next(iter(self._refusals.values()))

    def close(self) -> None:
        """Ends all workers."""
        ending = [worker.actor.__ray_terminate__.remote() for worker in self._workers.values()]
        with contextlib.suppress(Exception):  # Those that do not end so are ended by Ray, as this process ends.
            self._ray.wait(ending, num_returns=len(ending), timeout=2.0)

    def _look(self) -> Iterator[Event]:
        """Starts workers where there are none; yields those whose machine is gone."""
        alive = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        self._nodes = {node for node, resources in alive.items() if _divide(resources)}
        for name in [name for name, worker in self._workers.items() if worker.node not in alive]:
            yield self._drop(name)
        for node in self._nodes - self._refusals.keys():
            for number, share in enumerate(_divide(alive[node])):
                if (name := f"{node}/{number}") not in self._workers:
                    self._start(name, node, share)

    def _start(self, name: str, node: str, share: dict[str, float]) -> None:
        """Starts a worker on a node, with a share of its resources."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        actor: Any = self._actor.options(scheduling_strategy=there, **share).remote()
        worker = self._workers[name] = _Worker(node, actor)
        worker.calls[actor.start.remote(versions(), self._work, self._sent, level=self._level)] = None

    def _receive(self, name: str, call: Any) -> Iterator[Event]:
        """Yields what the return of a call means."""
        from ray.exceptions import RayError, RayTaskError

        number = self._workers[name].calls.pop(call)
        try:
            result = self._ray.get(call)
        except RayTaskError as error:
            if number is not None:
                raise RuntimeError(f"a worker of the cluster: {_last_line(error)}") from error
            yield from self._refuse(name, f"its worker cannot start ({_last_line(error)})")
        except RayError:
            self._workers[name].calls = {call: number, **self._workers[name].calls}
            yield from self._lose(name, starting=number is None)
        else:
            if number is None:
                yield from self._welcome(name, result)
            elif result.unusable:
                yield from self._refuse(name, result.unusable)
            else:
                self._failures.pop(self._workers[name].node, None)
                yield Finished(name, number, result)

    def _welcome(self, name: str, started: Started) -> Iterator[Event]:
        """Yields that a worker can be used, or that it cannot."""
        here = versions()
        if isinstance(started.error, SetupError):
            yield from self._refuse(name, str(started.error), started.host)
        elif started.error is not None:
            raise started.error
        elif other := [
            f"{key} {value}, here {here[key]}" for key, value in started.versions.items() if value != here[key]
        ]:
            yield from self._refuse(name, f"has {'; '.join(other)}; install the same on all machines.", started.host)
        else:
            yield Joined(name)

    def _lose(self, name: str, *, starting: bool) -> Iterator[Event]:
        """Yields that a worker is lost; a machine on which none starts is refused."""
        node = self._workers[name].node
        self._failures[node] += starting
        if self._failures[node] >= MOST_LOSSES:
            yield from self._refuse(name, f"{MOST_LOSSES} workers ended there while they started.")
        else:
            yield self._drop(name)

    def _refuse(self, name: str, reason: str, host: str = "") -> Iterator[Event]:
        """Yields that the machine of a worker is not used any more."""
        node = self._workers[name].node
        self._refusals[node] = f"the machine {host or self._address(node)} of the cluster: {reason}"
        yield Note(f"passed over {self._refusals[node]}")
        for each in [each for each, worker in self._workers.items() if worker.node == node]:
            yield self._drop(each)

    def _address(self, node: str) -> str:
        """Returns the name of a node's machine."""
        names = (each["NodeManagerHostname"] for each in self._ray.nodes() if each["NodeID"] == node)
        return next(names, node)

    def _drop(self, name: str) -> Event:
        """Ends a worker, of which nothing is received any more."""
        with contextlib.suppress(Exception):  # It may be gone.
            self._ray.kill(self._workers[name].actor)
        del self._workers[name]
        return Lost(name)

    def _share(self, path: str) -> Any:
        """Returns a reference to the bytes of a file in the memory of the cluster."""
        if path not in self._shared:
            self._shared[path] = self._ray.put(_read_picture(Path(path)))
        self._shared.move_to_end(path)
        if len(self._shared) > _SHARED:
            self._shared.popitem(last=False)  # Calls that need it hold it.
        return self._shared[path]


def _divide(resources: Mapping[str, float]) -> list[dict[str, float]]:
    """Returns the share of each worker of a machine; a machine without processors for Ray has none."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if gpus:
        return [{"num_cpus": cores // gpus, "num_gpus": 1}] * gpus
    return [{"num_cpus": cores}] if cores else []


def _read_picture(path: Path) -> bytes:
    """Reads the bytes of a picture.

    Raises:
        InputError: if it is missing or no picture.
    """
    decoding.probe(path, long_side=1)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
