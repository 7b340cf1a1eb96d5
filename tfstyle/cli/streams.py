"""Prepares the standard streams for any file name and closed streams; holds back what TensorFlow prints on loading."""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from tfstyle.errors import SetupError, TfstyleError

_log = logging.getLogger("tfstyle")


def prepare() -> None:
    """Makes the standard streams safe to use.

    A closed stream is opened on the null device, so that no file opened later gets its descriptor. Standard output
    prints the bytes of a file name as they are; characters that its encoding lacks become \\xe9 or \\u795e.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Gets the lowest free number: this one.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, stays open.
    for stream, errors in ((sys.stdout, _ESCAPE), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: encodes an undecodable byte of a file name as itself, another character as its escape."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


_ESCAPE = "tfstyle.escape"
codecs.register_error(_ESCAPE, _escape)


def drop_output() -> None:
    """Discards output that cannot be written, so that the interpreter prints no error about it when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(line: str) -> None:
    """Prints a line to standard error, if that can be written."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def quiet_tensorflow(debug: bool) -> Iterator[None]:
    """Holds back what TensorFlow writes to standard error while it is loaded.

    Its C++ code writes notes about the machine directly to file descriptor 2, before Python can configure its log. So
    the descriptor is redirected to a temporary file inside the context:

    - if loading fails, the text held back is printed before the error is raised again;
    - if it succeeds, or tfstyle refuses its input (a `TfstyleError` other than `SetupError`), it is discarded;
    - if the process crashes, `faulthandler` still prints where, to the real standard error.

    Args:
        debug: redirect nothing; the same happens where no temporary file can be made.
    """
    try:
        held = None if debug else tempfile.TemporaryFile()  # noqa: SIM115, closed below.
    except OSError:
        held = None
    if held is None:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    real, failed, enabled = os.dup(2), False, faulthandler.is_enabled()
    if not enabled:
        faulthandler.enable(real)
    os.dup2(held.fileno(), 2)
    try:
        yield
    except Exception as error:
        failed = isinstance(error, SetupError) or not isinstance(error, TfstyleError)
        raise
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os.dup2(real, 2)
        if not enabled:
            faulthandler.disable()
        os.close(real)
        with held, contextlib.suppress(OSError):
            if failed:
                held.seek(0)
                os.write(2, held.read())


def join_workers(debug: bool) -> Any:
    """Waits for the workers of `TF_CONFIG`, and returns their strategy; None if there are none."""
    from tfstyle import distribution

    if workers := distribution.count_workers():
        _log.warning("waits for the %d workers of TF_CONFIG.", workers)
    with quiet_tensorflow(debug):
        return distribution.join_workers()
