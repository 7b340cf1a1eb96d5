"""The process that Ray runs in, because Ray ends its process when the cluster is gone, and prints what it likes.

Nothing but this module and `engine` uses Ray.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from tfstyle import batch
from tfstyle.cluster.engine import RayEngine
from tfstyle.cluster.queue import dispatch
from tfstyle.errors import SetupError, TfstyleError, WorkerError
from tfstyle.makers import FastWork, RecipeWork

LOADED, CONNECTED, DONE = "loaded", "connected", "done"
"""What `serve` sends before and after all else."""


def serve(
    connection: Connection,
    jobs: Sequence[batch.Job],
    work: RecipeWork | FastWork,
    *,
    address: str,
    level: int,
    debug: bool,
) -> None:
    """Has jobs made by a cluster, as a process of its own.

    Args:
        connection: takes `LOADED`, `CONNECTED`, what `dispatch` yields, and `DONE`; or an error.
        jobs: the jobs.
        work: what is to be done.
        address: of the cluster, as `ray.init` takes it.
        level: level of the log.
        debug: let Ray print.
    """
    _detach(debug)
    try:
        import ray
    except ImportError as error:
        connection.send(SetupError(f"Ray cannot be imported ({error}); pip install 'tfstyle[ray]'."))
        return
    try:
        connection.send(LOADED)
        _connect(ray, address, debug)
        connection.send(CONNECTED)
        engine = RayEngine(work, level=level)
        try:
            for message in dispatch(jobs, engine, address=address):
                connection.send(message)
        finally:
            engine.close()
        connection.send(DONE)
    except BrokenPipeError:
        return  # The batch has ended.
    except Exception as error:
        if debug:
            traceback.print_exc()
        connection.send(_translate(error, address, connected=ray.is_initialized()))


def lost_message(address: str) -> str:
    """Returns the message about a cluster that is gone."""
    return f"the Ray cluster at {address} no longer answers; what is done stays, and `skip_existing` goes on."


def _translate(error: Exception, address: str, *, connected: bool) -> Exception:
    """Returns an error that another process can read; those that Ray raises itself mean a lost cluster."""
    if isinstance(error, TfstyleError):
        return error
    if not connected or isinstance(error, ConnectionError) or type(error).__module__.startswith("ray."):
        return WorkerError(lost_message(address))
    return error if isinstance(error, RuntimeError) else RuntimeError(f"{type(error).__name__}: {error}")


def _detach(debug: bool) -> None:
    """Separates this process from the terminal: Ctrl-C is for the batch, and nothing but debugging is printed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()
    if not debug:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())


def _connect(ray: Any, address: str, debug: bool) -> None:
    """Connects Ray to a cluster.

    Raises:
        SetupError: if the cluster has another version of Ray or Python.
        WorkerError: if there is none.
    """
    level = logging.INFO if debug else logging.CRITICAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, log_to_driver=debug, logging_level=level)
    except (RuntimeError, ValueError, OSError) as error:  # As Ray raises them.
        text = " ".join(str(error).split())
        if "ersion mismatch" in text:
            raise SetupError(f"the Ray cluster at {address}: {text}") from error
        raise WorkerError(f"no Ray cluster answers at {address} ({text}).") from error
