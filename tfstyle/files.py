"""Checks the names of files to be written, and writes them atomically."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tfstyle.errors import OutputError

LONGEST_NAME = 255
"""Bytes of a file's name that every common file system holds."""


def check_file(path: Path, suffixes: Iterable[str], *, overwrite: bool = False) -> None:
    """Says before any work is done that a file of one of some kinds could not be written.

    Raises:
        OutputError: if the ending is another, the folder missing or not writable, or the file there and `overwrite` not
            given.
    """
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise OutputError(f"{path}: cannot be written as {path.suffix or 'a file without ending'!r}; use {known}.")
    check_place(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; choose another name, or replace it with `overwrite`.")


def check_name(path: Path) -> None:
    """Says that a name is longer than file systems hold, which then fail even to say that nothing is there.

    Raises:
        OutputError: if it is.
    """
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OutputError(f"{path}: has a name of more than {LONGEST_NAME} bytes; choose a shorter one.")


def check_place(path: Path) -> None:
    """Says that nothing could be made at a path, be it a file or a folder.

    Raises:
        OutputError: if the folder it would lie in is missing or not writable, or the name is too long.
    """
    check_name(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {str(path.parent)!r}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {str(path.parent)!r} is not writable; choose another.")


def save_atomically(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Writes a file through a temporary one in the same folder, so that it is never seen half-written.

    Raises:
        OutputError: if it cannot be written, or has appeared meanwhile and `overwrite` is not given.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tfstyle.", delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        if not overwrite and path.exists():
            raise OutputError(f"{path}: has appeared meanwhile and was left alone; choose another name.")
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror}).") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def free_name(path: Path, *, beside: Callable[[Path], Path] = lambda path: path) -> Path:
    """The path itself if nothing is there, else the first of NAME-2, NAME-3, … that is free.

    Args:
        path: the name wanted.
        beside: path → another that must be free as well.
    """
    return next(name for name in _numbered(path) if not (name.exists() or beside(name).exists()))


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
