"""What the server refuses, and what it survives."""

import contextlib
import socket
import time

import httpx
import pytest
from servers import serve_in_thread

from tfstyle.app import guard
from tfstyle.app.routes import Limits

SMALL = Limits(upload=100_000)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a server with a token, on this machine, and small limits."""
    folder = tmp_path_factory.mktemp("guarded")
    options = {"hosts": ("127.0.0.1", "localhost"), "token": "secret", "patience": (0.5, 1.5)}
    with serve_in_thread(folder, limits=SMALL, **options) as (client, _):
        yield client


KNOWN = {"authorization": "Bearer secret"}


def post(client, headers=None, **options):
    return client.post("/v1/jobs", headers=KNOWN | (headers or {}), **options)


def test_without_the_token_nothing_but_the_health_is_seen(client):
    assert client.get("/healthz").status_code == 200
    for path in ("/", "/v1", "/metrics", "/openapi.json", "/static/page.js", "/v1/jobs/x"):
        for given in (
            {},
            {"authorization": "Bearer wrong"},
            {"cookie": "tfstyle_token=wrong"},
            {"cookie": "a=\x01;=;"},
        ):
            answer = client.get(path, headers=given)
            assert answer.status_code == 401
            assert "a token is needed" in answer.json()["message"]


def test_the_token_comes_as_a_header_in_the_address_or_as_a_cookie(client):
    assert client.get("/v1", headers=KNOWN).status_code == 200
    redirected = client.get("/?token=secret")
    assert (redirected.status_code, redirected.headers["location"]) == (303, "/")
    cookie = redirected.headers["set-cookie"]
    assert "tfstyle_token=secret" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/v1").status_code == 200
    client.cookies.clear()
    assert client.get("/v1").status_code == 401


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "flag", "a@b=1", "u=Zo\xeb Smith", "other=hello world"])
def test_the_token_is_found_among_cookies_of_others(client, other):
    cookies = f"{other}; tfstyle_token=secret; x=1".encode("latin-1")
    assert client.get("/v1", headers={"cookie": cookies}).status_code == 200


def test_a_token_that_no_cookie_holds_is_no_error(client):
    assert client.get("/?token=%E6%97%A5&token=secret").status_code in (200, 303, 401)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "]"])
def test_another_name_of_the_server_is_refused(client, host):
    answer = client.get("/v1", headers=KNOWN | {"host": host})
    assert answer.status_code in (400, 421)  # uvicorn itself refuses what is no name.


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://localhost:1"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({}, False),
    ],
)
def test_a_post_of_another_site_is_refused(client, headers, is_refused):
    answer = post(client, headers, data={"content_name": "x"})
    assert answer.status_code == (403 if is_refused else 422)
    own = {"origin": str(client.base_url).rstrip("/")}
    assert post(client, own, data={"content_name": "x"}).status_code == 422


def test_every_answer_has_the_security_headers(client):
    for answer in (client.get("/v1", headers=KNOWN), client.get("/v1"), client.get("/nothing", headers=KNOWN)):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_large_upload_is_refused_before_and_while_it_is_read(client):
    large = {"files": {"content": ("a.jpg", b"x" * 200_000)}}
    assert post(client, **large).status_code == 413
    assert "at most 0 MB" in post(client, **large).json()["message"]

    def pieces():  # Without a length in advance.
        yield b'--b\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n\r\n'
        for _ in range(30):
            yield b"x" * 10_000
        yield b"\r\n--b--\r\n"

    answer = post(client, {"content-type": "multipart/form-data; boundary=b"}, content=pieces())
    assert answer.status_code == 413
    assert client.get("/healthz").status_code == 200


def test_bombs_of_many_parts_and_of_deep_headers_are_refused(client):
    parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(1800)) + b"--b--"
    answer = post(client, {"content-type": "multipart/form-data; boundary=b"}, content=parts)
    assert answer.status_code == 400
    assert "message" in answer.json()
    header = b"--b\r\n" + b"X-A: " + b"y" * 90_000 + b"\r\n\r\n--b--"
    answer = post(client, {"content-type": "multipart/form-data; boundary=b"}, content=header)
    assert answer.status_code in (400, 422)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("body", [b"", b"nonsense", b"--b", b"--b\r\n\r\n"])
def test_damaged_forms_are_refused(client, body):
    answer = post(client, {"content-type": "multipart/form-data; boundary=b"}, content=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"]


def connect(client, text):
    stream = socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)
    stream.sendall(text.encode())
    return stream


HEAD = (
    "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n"
    '--b\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n\r\n'
)


def test_an_upload_that_stands_still_or_drips_is_ended(client):
    with connect(client, HEAD) as stream:
        assert b"408" in stream.recv(100)
    began = time.monotonic()
    with connect(client, HEAD) as stream, contextlib.suppress(OSError):
        stream.settimeout(0.2)
        while time.monotonic() - began < 10:
            stream.sendall(b"-")
            with contextlib.suppress(TimeoutError):
                assert b"408" in stream.recv(100)
                break
    assert 1.0 < time.monotonic() - began < 5.0


def test_idle_connections_keep_nobody_out(client):
    with contextlib.ExitStack() as stack:
        for number in range(100):
            stack.enter_context(connect(client, "" if number % 2 else "GET / HTTP/1.1\r\nHo"))
        assert httpx.get(client.base_url.join("/healthz"), timeout=5).status_code == 200


def test_limits_are_those_of_the_documentation():
    assert (guard.IDLE_SECONDS, guard.UPLOAD_SECONDS) == (20.0, 300.0)
