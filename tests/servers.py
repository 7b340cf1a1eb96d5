"""Servers for the tests: in a thread of this process, and as a process of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import httpx_sse
import prometheus_client
import uvicorn

from tfstyle.app import tasks
from tfstyle.app.connections import Connection
from tfstyle.app.guard import Guard
from tfstyle.app.queue import Queue
from tfstyle.app.routes import Limits, Service
from tfstyle.app.server import make_app


def wait_for(condition, seconds=30.0):
    """Waits until a condition is true; fails after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextlib.contextmanager
def serve_in_thread(folder, *, limits=None, **guarded):
    """Serves the application in a thread; yields a client and the queue."""
    queue = Queue(folder)
    service = Service(
        queue=queue,
        limits=limits or Limits(),
        samples=tasks.find_samples(),
        registry=prometheus_client.CollectorRegistry(),
    )
    app = Guard(make_app(service), **{"largest": service.limits.upload, **guarded})
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, log_level="error", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    queue.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            wait_for(lambda: server.started)
            yield client, queue
    finally:
        queue.close()
        server.should_exit = True
        thread.join(30)


@contextlib.contextmanager
def serve_in_process(folder, *options):
    """Runs `tfstyle app`; yields a client and the process."""
    command = [sys.executable, "-m", "tfstyle", "app", "--port", "0", "--no-browser", "-o", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.communicate(timeout=60)
        with httpx.Client(base_url=url.partition("?")[0], timeout=120) as client:
            yield client, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def follow(client, job):
    """Yields the events of a job."""
    with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job['id']}/events") as source:
        for event in source.iter_sse():
            yield json.loads(event.data)


def finish(client, job):
    """Waits for a job to end; returns its last state."""
    *_, last = follow(client, job)
    return last
