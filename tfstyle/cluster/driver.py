"""Runs a batch on a Ray cluster: checks that it is there, writes the results that come from it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import re
import signal
import socket
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tfstyle import batch, files
from tfstyle.batch import Outcome
from tfstyle.cluster import server
from tfstyle.cluster.painter import Delivery
from tfstyle.cluster.queue import PATIENCE, Note
from tfstyle.errors import OutputError, SetupError, UsageError, WorkerError
from tfstyle.makers import FastWork, RecipeWork

CONNECT = 15.0
"""Seconds within which a cluster has to answer."""

_ADDRESS = re.compile(r"(?:ray://)?(\[[^\]]+\]|[^:/\s\[\]]+):(\d{1,5})")

_log = logging.getLogger("tfstyle")


def check(address: str) -> None:
    """Checks early, before any work is done, that a cluster can be asked.

    Args:
        address: HOST:PORT, from a machine of the cluster; ray://HOST:PORT, from another one; or "auto", the cluster of
            this machine.

    Raises:
        UsageError: if it has another form.
        SetupError: if Ray is not installed.
        WorkerError: if nobody answers there.
    """
    found = _ADDRESS.fullmatch(address)
    if address != "auto" and (not found or int(found[2]) > 65535):
        raise UsageError(f"`ray` should be HOST:PORT, ray://HOST:PORT or auto, not {address!r}.")
    if importlib.util.find_spec("ray") is None:
        raise SetupError("`ray` needs the package ray; pip install 'tfstyle[ray]'.")
    if not found:
        return
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=CONNECT / 3).close()
    except OSError as error:
        raise WorkerError(f"no Ray cluster answers at {address} ({error}); start it, or correct the address.") from None


def run(
    jobs: Sequence[batch.Job],
    work: RecipeWork | FastWork,
    *,
    address: str,
    skip_existing: bool = False,
    overwrite: bool = False,
    debug: bool = False,
) -> Generator[Outcome, None, None]:
    """Makes the pictures of a batch on the machines of a cluster, and writes the results here.

    Args:
        jobs: the jobs.
        work: what is to be done.
        address: as for `check`.
        skip_existing: pass over jobs whose result exists.
        overwrite: replace results that exist.
        debug: let Ray print.

    Yields:
        The `Outcome` of each job, when its result is written, in the order in which they come.

    Raises:
        SetupError: if no machine of the cluster can be used, as with another version of tfstyle.
        WorkerError: if the cluster does not answer, or no longer, or has no free machine.
        OutputError: if a result cannot be written, which would be so for the next ones.
        TfstyleError: from the start of the work, on a worker.
    """
    there, waiting = batch.split_existing(jobs, skip_existing=skip_existing)
    yield from there
    if not waiting:
        return
    with _process(waiting, work, address, debug=debug) as connection:
        for message in _messages(connection, address):
            if isinstance(message, Note):
                _log.warning("%s", message.line)
            elif message is not None:
                number, delivery = message
                yield _write(waiting[number], delivery, overwrite=overwrite)


def _write(job: batch.Job, delivery: Delivery, *, overwrite: bool) -> Outcome:
    """Writes the files of a picture, and logs what its worker has logged."""
    for level, line in delivery.notes:
        _log.log(level, "%s", line)
    for name, data in delivery.files.items():
        with contextlib.suppress(OutputError):  # It is then written elsewhere.
            files.make_folders(job.output.parent)
        path = job.output.with_name(name)
        files.save_result(path, data, overwrite=overwrite or path != job.output)
    return Outcome(job, "failed" if delivery.failure else "done", delivery.seconds, delivery.failure)


@contextlib.contextmanager
def _process(jobs: Sequence[batch.Job], work: Any, address: str, *, debug: bool) -> Iterator[Connection]:
    """Runs `server.serve` in a process, which ends with the context."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    options = {"address": address, "level": _log.getEffectiveLevel(), "debug": debug}
    process = context.Process(target=server.serve, args=(theirs, list(jobs), work), kwargs=options, daemon=True)
    with _ignored_interrupts():
        process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(0.1)
        process.kill()  # Ray ends the workers of a process that is gone.
        process.join()


@contextlib.contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Starts processes that ignore Ctrl-C from the beginning. Only the main thread can do that."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _messages(connection: Connection, address: str) -> Iterator[Any]:
    """Yields what `dispatch` does in the other process.

    Raises:
        WorkerError: if the process says nothing any more, or has ended.
        Exception: what it raised.
    """
    silent = f"no Ray cluster answers at {address}; start it, or from outside of it give ray://HOST:10001."
    for seconds in (PATIENCE, CONNECT):  # To load Ray, and to connect.
        _receive(connection, seconds, silent)
    while (message := _receive(connection, PATIENCE, server.lost_message(address))) != server.DONE:
        yield message


def _receive(connection: Connection, seconds: float, lost: str) -> Any:
    """Returns the next message; raises a WorkerError if there is none, or the error that is the message."""
    try:
        message = connection.recv() if connection.poll(seconds) else WorkerError(lost)
    except (EOFError, OSError):
        message = WorkerError(lost)
    if isinstance(message, Exception):
        raise message
    return message
