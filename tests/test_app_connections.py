"""Connections that come to nothing."""

import contextlib
import socket
import time

import httpx
import pytest
from servers import serve_in_thread, wait_for

from tfstyle.app import connections
from tfstyle.app.connections import Connection


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a server with small limits."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Connection, "patience", 1.0)
        patched.setattr(Connection, "most", 20)
        with serve_in_thread(tmp_path_factory.mktemp("served")) as (client, _):
            yield client


def connect(client, text=b""):
    stream = socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)
    stream.sendall(text)
    return stream


def is_closed(stream):
    """Reads what has come; returns whether the server has closed the connection."""
    try:
        while stream.recv(10_000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHo", HEALTH, HEALTH + b"GET / HT"])
def test_a_connection_without_a_complete_request_is_closed(client, text):
    began = time.monotonic()
    with connect(client, text) as stream:
        assert is_closed(stream)
    assert time.monotonic() - began < 5.0


def test_a_request_that_drips_is_ended(client):
    with connect(client, b"GET / HTTP/1.1\r\n") as stream:
        stream.settimeout(0.1)
        wait_for(lambda: drips(stream), seconds=5.0)


def drips(stream):
    """Sends a little of a header; returns whether the server has closed the connection."""
    with contextlib.suppress(OSError):
        stream.sendall(b"a: b\r\n")
    return is_closed(stream)


def test_a_connection_that_is_used_stays(client):
    with connect(client) as stream:
        stream.settimeout(0.1)
        for _ in range(8):
            stream.sendall(HEALTH)
            time.sleep(0.2)
            assert not is_closed(stream)


def test_a_slow_answer_is_no_idle_connection(client, monkeypatch):
    monkeypatch.setattr("tfstyle.app.queue.Queue.is_working", property(lambda queue: time.sleep(2.5) or True))
    assert httpx.get(client.base_url.join("/healthz"), timeout=5).status_code == 200


def test_there_are_only_so_many_and_room_comes_back(client, monkeypatch):
    monkeypatch.setattr(Connection, "patience", 3.0)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(client))
        refused = stack.enter_context(connect(client))
        with contextlib.suppress(OSError):
            assert not refused.recv(100)
        wait_for(lambda: answers(client))


def test_a_client_that_does_not_read_is_ended(client, monkeypatch):
    """An answer longer than all buffers would wait for its reader for ever."""
    monkeypatch.setattr("tfstyle.app.routes.prometheus.generate_latest", lambda registry: b"x" * 50_000_000)
    with connect(client, HEALTH.replace(b"/healthz", b"/metrics")) as stream:
        assert stream.recv(1000)
        time.sleep(4.5)
        received = 0
        with contextlib.suppress(OSError):
            while part := stream.recv(1_000_000):
                received += len(part)
        assert received < 50_000_000


def answers(client):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(client.base_url.join("/healthz"), timeout=5).status_code == 200
    return False


def test_half_of_the_files_are_for_pictures(monkeypatch):
    resource = pytest.importorskip("resource")
    for files, most in ((1024, 512), (20, 32), (1 << 20, 1000), (resource.RLIM_INFINITY, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, files=files: (files, files))
        assert connections.largest_number() == most
