"""Protects the server: hosts, cross-site posts, the token, the size and pace of uploads; an ASGI middleware."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser

TOKEN_COOKIE = "tfstyle_token"
"""The cookie that holds the token in a browser."""

IDLE_SECONDS, UPLOAD_SECONDS = 20.0, 300.0
"""How long the next part of an upload may take, and the whole of it."""

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_OPEN_PATHS = ("/healthz",)
"""Paths that need no token: a container's health check has none."""

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuses requests that the server should not see, and adds security headers to every answer.

    - A name of the server that is not known could be that of an attacker's page (DNS rebinding): 421.
    - A request that changes something and comes from another site's page: 403.
    - A request without the token, if there is one: 401. It comes as `Authorization: Bearer`, as `?token=` or in the
      cookie that a page opened with `?token=` sets.
    - An upload that is too large: 413; one that is too slow: 408.

    Args:
        app: the application.
        hosts: names by which the server may be called; empty for any.
        token: what a client needs to know; "" for nothing.
        largest: bytes of a request's body.
        patience: seconds for the next part of a body, and for all of it.
    """

    def __init__(
        self,
        app: Any,
        *,
        hosts: Collection[str] = (),
        token: str = "",
        largest: int,
        patience: tuple[float, float] = (IDLE_SECONDS, UPLOAD_SECONDS),
    ) -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token
        self._largest, self._patience = largest, patience

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refuse(scope, headers)
        if refused is not None:
            await self._drain(receive)
            await _answer(send, *refused)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_encode(_HEADERS)]
            await send(message)

        await self._app(scope, self._limited(receive), send_guarded)

    def _refuse(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        """Returns the status and the message for a request that is refused; None for a good one."""
        host = headers.get("host", "")
        if self._hosts and _split(f"//{host}").hostname not in self._hosts:
            return 421, f"this server is not {host or 'without a name'}; use {sorted(self._hosts)[0]}."
        if scope["method"] not in _SAFE_METHODS and not _is_same_site(headers, host):
            return 403, "a page of another site sent this; use the page of this server."
        if self._token and scope["path"] not in _OPEN_PATHS and not self._knows_token(scope, headers):
            return 401, "a token is needed; open the address that tfstyle app printed, or send Authorization: Bearer."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._largest:
            return 413, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"the pictures together should have at most {self._largest / 1e6:.0f} MB; send smaller ones."

    def _knows_token(self, scope: Any, headers: dict[str, str]) -> bool:
        """Returns whether a request holds the token."""
        given = [headers.get("authorization", "").removeprefix("Bearer ")]
        given += parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        given.append(cookie_parser(headers.get("cookie", "")).get(TOKEN_COOKIE, ""))
        return any(hmac.compare_digest(word.encode(), self._token.encode()) for word in given)

    async def _drain(self, receive: Any) -> None:
        """Reads the body of a refused request, within limits: a client that still sends would not see the answer."""

        async def read() -> None:
            received, more = 0, True
            while more and received <= 4 * self._largest:
                message = await receive()
                received += len(message.get("body", b""))
                more = message.get("more_body", False)

        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read(), self._patience[0])

    def _limited(self, receive: Any) -> Any:
        """Returns `receive` with limits on the size and the pace of the body."""
        received, whole = 0, False
        began = time.monotonic()
        idle, total = self._patience

        async def limited() -> Any:
            nonlocal received, whole
            if whole:
                return await receive()  # Waits for the end of the connection.
            patience = min(idle, began + total - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), max(patience, 0.0))
            except asyncio.TimeoutError:
                raise HTTPException(408, "the upload is too slow; send smaller pictures.") from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > self._largest:
                raise HTTPException(413, self._too_large)
            return message

        return limited


def _is_same_site(headers: dict[str, str], host: str) -> bool:
    """Returns whether a request comes from a page of this server, or from no browser."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or _split(origin).netloc == host


def _split(address: str) -> SplitResult:
    """Returns the parts of an address; none of one that is not valid."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _encode(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _answer(send: Any, status: int, message: str) -> None:
    """Sends an answer with a message, and ends the connection, so that no body has to be read."""
    headers = _HEADERS | {"content-type": "application/json", "connection": "close"}
    await send({"type": "http.response.start", "status": status, "headers": _encode(headers)})
    await send({"type": "http.response.body", "body": json.dumps({"message": message}).encode()})
