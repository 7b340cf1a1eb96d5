"""Prepares the standard streams: any file name can be printed, closed streams do no harm, TensorFlow is kept quiet."""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from tfstyle.errors import SetupError, TfstyleError


def prepare() -> None:
    """Makes the standard streams safe to use.

    A closed one is opened on the null device, so that a file opened later does not take its number. Standard output
    prints file names as they are stored, and other characters that its encoding lacks as \\xe9 or \\u795e.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest number that is free: this one.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, open to the end.
    for stream, errors in ((sys.stdout, _ESCAPE), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encodes one character that a stream could not: a byte of a file name as itself, another by its number."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


_ESCAPE = "tfstyle.escape"
codecs.register_error(_ESCAPE, _escape)


def drop_output() -> None:
    """Drops what was printed and cannot be written, so that the interpreter does not complain at its end."""
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
    """Holds back what TensorFlow writes to standard error while it is loaded; prints it if loading fails.

    Its C++ part writes remarks on the machine straight to the file descriptor, before any setting is read. Should it
    end the process, `faulthandler` still says where.

    Args:
        debug: hold nothing back.
    """
    held = None if debug else _temporary_file()
    if held is None:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    real, failed, watching = os.dup(2), False, not faulthandler.is_enabled()
    if watching:
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
        if watching:
            faulthandler.disable()
        if failed:
            held.seek(0)
            with contextlib.suppress(OSError):
                os.write(2, held.read())
        os.close(real)
        held.close()


def _temporary_file() -> Any:
    """A new file without a name, or None where there is no place for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None
