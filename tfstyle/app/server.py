"""The web server of the page and the API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import tfstyle
from tfstyle.app import tasks
from tfstyle.app.connections import Connection
from tfstyle.app.guard import Guard
from tfstyle.app.jobs import Job
from tfstyle.app.queue import Queue
from tfstyle.app.routes import STATIC, Limits, Service, router
from tfstyle.errors import InputError, OutputError, TfstyleError, UsageError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def make_app(service: Service, *, lifespan: Any = None) -> FastAPI:
    """Makes the application.

    Args:
        service: what its routes need.
        lifespan: as for FastAPI.
    """
    app = FastAPI(
        title="tfstyle",
        version=tfstyle.__version__,
        summary="Neural style transfer: a photograph in the style of a painting.",
        docs_url=None,  # Its pages load scripts from another site.
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    _report_errors(app)
    return app


def _report_errors(app: FastAPI) -> None:
    """Makes every answer to a request that fails a `Problem`."""

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, OSError):  # The form could not be kept while it was read.
            return JSONResponse({"message": "the server has no room for the pictures; try again later."}, 507)
        return JSONResponse({"message": error.detail}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_values(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the form"
        return JSONResponse({"message": f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}."}, 422)

    @app.exception_handler(TfstyleError)
    async def refuse_input(request: Request, error: TfstyleError) -> JSONResponse:
        status = 422 if isinstance(error, (UsageError, InputError)) else 507 if isinstance(error, OutputError) else 500
        return JSONResponse({"message": " ".join(str(error).replace("`", "").split())}, status)


def _make_metrics(registry: prometheus.CollectorRegistry) -> Callable[[Job, float], None]:
    """Registers the metrics of finished jobs; returns the function that counts one."""
    ended = prometheus.Counter("tfstyle_jobs", "Jobs that have ended.", ["state"], registry=registry)
    took = prometheus.Histogram(
        "tfstyle_job_seconds",
        "Seconds from the begin of a job to its end.",
        ["method"],
        buckets=(1, 2, 5, 10, 30, 60, 120, 300, 600, 1800),
        registry=registry,
    )

    def count(job: Job, seconds: float) -> None:
        ended.labels(job.state).inc()
        took.labels("fast" if job.task.fast else job.task.recipe).observe(seconds)

    return count


class _Server(uvicorn.Server):
    """A server that ends the run and the streams of events when it is stopped, and at once when it is stopped twice."""

    def __init__(self, config: uvicorn.Config, queue: Queue, abort: Callable[[int], Any]) -> None:
        super().__init__(config)
        self._queue, self._abort = queue, abort

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Handles a signal."""
        if self.should_exit:
            self._abort(sig)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # That a client still waits is no error.
        self._queue.close()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket of a server.

    Raises:
        UsageError: if the address cannot be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"`port` should be 0 to 65535, not {port}.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        cause = (os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)).lower()
        raise UsageError(f"{host}:{port} cannot be used ({cause}); choose another `port` or `host`.") from error


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach a host."""
    return host in _LOOPBACK or host.startswith("127.")


def serve(
    listener: socket.socket,
    folder: Path,
    *,
    host: str,
    token: str = "",
    limits: Limits,
    gallery: Path | None = None,
    memory: str | None = None,
    prepare: Callable[[], Any] = lambda: None,
    on_start: Callable[[], None] = lambda: None,
    abort: Callable[[int], Any] = lambda number: None,
) -> None:
    """Serves the page and the API until a signal ends it; the run then ends after its step and can go on later.

    Args:
        listener: from `listen`.
        folder: where jobs are kept.
        host: the name of the host that `listener` belongs to.
        token: what clients need to know; "" for nothing.
        limits: what clients may ask for.
        gallery: a folder of paintings that the page offers beside the samples.
        memory: what a run should take at most, as for `api.stylize`.
        prepare: called in the thread of the jobs, before the first.
        on_start: called when the server answers.
        abort: called with the number of a second signal, while the run ends its step.
    """
    registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)
    queue = Queue(folder, memory=memory, prepare=prepare, on_end=_make_metrics(registry))
    waiting = prometheus.Gauge("tfstyle_jobs_waiting", "Jobs that wait.", registry=registry)
    waiting.set_function(lambda: queue.length)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def watch() -> None:
            while True:
                await asyncio.sleep(0.5)
                queue.stop_unattended()

        queue.start()
        watching = asyncio.create_task(watch())
        on_start()
        yield
        watching.cancel()
        queue.close()
        while queue.is_working:
            await asyncio.sleep(0.05)

    service = Service(queue=queue, limits=limits, samples=tasks.find_samples(gallery), registry=registry)
    app = make_app(service, lifespan=lifespan)
    hosts = {host, *_LOOPBACK} if is_loopback(host) else ()
    guarded = Guard(app, hosts=hosts, token=token, largest=limits.upload)
    config = uvicorn.Config(
        guarded,
        http=Connection,
        log_level="error",  # With warnings, a line for each damaged request.
        access_log=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,  # A client that does not read would keep the server.
        lifespan="on",
    )
    server = _Server(config, queue, abort)
    server.run(sockets=[listener])
