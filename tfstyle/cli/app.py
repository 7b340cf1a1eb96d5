"""The command `tfstyle app`: the web page and the JSON API."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tfstyle import atomic, files
from tfstyle.cli import events, streams
from tfstyle.errors import InputError, OutputError, SetupError, UsageError
from tfstyle.fields import parse_bytes

_log = logging.getLogger("tfstyle")

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def run(options: argparse.Namespace) -> None:
    """Serves the page until the command is stopped; prints its address."""
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError:
            raise SetupError(f"the page needs the package {package}; pip install 'tfstyle[app]'.") from None
    from tfstyle.app import server
    from tfstyle.app.routes import Limits

    limits = Limits(size=options.max_size, upload=parse_bytes("max_upload", options.max_upload))
    if limits.size < 64:
        raise UsageError(f"`max_size` should be at least 64 pixels, not {limits.size}.")
    if options.memory is not None:
        parse_bytes("memory", options.memory)
    gallery = None if options.gallery is None else Path(options.gallery)
    if gallery is not None and not gallery.is_dir():
        raise InputError(f"{gallery}: is no folder; name one with pictures of paintings.")
    open_to_all, token = not server.is_loopback(options.host), options.token or ""
    if not (token.isascii() and token.isprintable()):
        raise UsageError("`token` should be letters, digits and signs of ASCII; a browser sends no others.")
    if open_to_all and not token:
        token = secrets.token_urlsafe(16)
    folder = Path(options.output)
    with files.make_folder(folder), _lock(folder):
        listener = server.listen(options.host, options.port)
        url = _address(listener, options.host) + (f"?token={quote(token, safe='')}" if token else "")
        if open_to_all:
            _log.warning("anyone who knows the address below can use this machine; the connection is not encrypted.")

        def prepare() -> None:
            with streams.quiet_tensorflow(options.debug):
                from tfstyle import api  # noqa: F401, loads TensorFlow while the page is looked at.

        def on_start() -> None:
            if options.json:
                events.emit("start", command="app", url=url)
            else:
                print(url, flush=True)
            if options.browser:  # A browser in a terminal returns only when it is closed.
                threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()

        def abort(number: int) -> None:
            streams.print_error("interrupted.")
            os._exit(128 + number)  # TensorFlow's threads would delay the end of the interpreter, or crash it.

        server.serve(
            listener,
            folder,
            host=options.host,
            token=token,
            limits=limits,
            gallery=gallery,
            memory=options.memory,
            prepare=prepare,
            on_start=on_start,
            abort=abort,
        )


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keeps other servers out of the folder of the pictures.

    Raises:
        OutputError: if one is there, or nothing can be written to the folder.
    """
    with contextlib.ExitStack() as stack:
        try:
            is_free = stack.enter_context(atomic.lock(folder / ".lock"))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror}); name another folder.") from error
        if not is_free:
            raise OutputError(f"{folder}: another tfstyle app keeps its pictures there; name another folder.")
        yield


def _address(listener: socket.socket, host: str) -> str:
    """Returns the address of the page; a server that listens everywhere is known by this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}/"
