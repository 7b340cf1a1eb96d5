"""Checks the names of files to be written, finds free ones, and saves a result elsewhere rather than lose it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from tfstyle import atomic
from tfstyle.errors import OutputError

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
"""Characters that some file system does not hold in a name."""

LONGEST_NAME = 255
"""Bytes of a file's name that every common file system holds."""

LONGEST_PATH = 4000
"""Bytes of a path that Linux opens, less the room for a temporary name."""


def check_file(path: Path, suffixes: Iterable[str], *, overwrite: bool = False) -> None:
    """Refuses early what could not be written as a file of one of some kinds.

    Raises:
        OutputError: if the ending is another, the folder missing or not writable, or something there that is no
            ordinary file or that `overwrite` was not given for.
    """
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise OutputError(f"{path}: cannot be written as {path.suffix or 'a file without ending'!r}; use {known}.")
    check_place(path)
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder; name a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: is a pipe or device; name an ordinary file.")
    if not overwrite:
        raise OutputError(f"{path}: exists; choose another name, or replace it with `overwrite`.")
    check_place(Path(os.path.realpath(path)))


def check_name(path: Path) -> None:
    """Refuses names that are longer than file systems hold, which then fail even to say that nothing is there.

    Raises:
        OutputError: if the name, that of a folder above it, or the whole path is too long.
    """
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise OutputError(f"{path}: has a name of more than {LONGEST_NAME} bytes; choose a shorter one.")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise OutputError(f"{path}: is a path of more than {LONGEST_PATH} bytes; choose a shorter one.")


def check_place(path: Path) -> None:
    """Refuses paths at which nothing could be made, be it a file or a folder.

    Raises:
        OutputError: if the folder it would lie in is missing or not writable, or the name is too long.
    """
    check_name(path)
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path}: there is no folder {str(path.parent)!r}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {str(path.parent)!r} is not writable; choose another.")


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Makes a folder if it is missing; at the end it is removed again if nothing was put into it.

    Only the last folder of a path is made, so that a misspelt one does not become a tree.

    Raises:
        OutputError: if it cannot be made.
    """
    made = not os.path.isdir(folder)
    if made:
        check_place(folder)
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_free_folder(folder: Path) -> Path:
    """Makes a folder under the first name of FOLDER, FOLDER-2, FOLDER-3, … that is free.

    Raises:
        OutputError: if it cannot be made.
    """
    try:
        for path in numbered(folder):
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error
    return path


def save_atomically(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        OutputError: if it cannot be written, or has appeared meanwhile and `overwrite` is not given.
    """
    try:
        atomic.write(path, data, overwrite=overwrite)
    except OSError as error:
        raise OutputError(f"{_reason(path, error)}; choose another name or folder.") from error


def save_result(path: str | os.PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    """Writes a file that cost much work: if it cannot take its name, it is saved elsewhere.

    Args:
        path: where to, or a `FreeName`.
        data: what to write.
        overwrite: replace a file that is there.

    Returns:
        Where the file is.

    Raises:
        OutputError: if it had to be saved elsewhere, which the message names (as `rescue`).
    """
    try:
        if isinstance(path, FreeName):
            return path.write(data)
        atomic.write(Path(path), data, overwrite=overwrite)
    except OSError as error:
        rescue(Path(path), data, _reason(Path(path), error))
    return Path(path)


def rescue(path: Path, data: bytes, reason: str) -> NoReturn:
    """Saves a file under the next free name beside its own; else in the working folder; else in the temporary one.

    Raises:
        OutputError: always: the reason, and where the file is now.
    """
    for folder in (lambda: path.parent, Path.cwd, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):  # That of a folder that is gone is one, too.
            saved = _write_first_free(numbered(folder() / path.name), data)
            break
    else:
        raise OutputError(f"{reason}, nor in the working or the temporary folder; the result is lost.")
    raise OutputError(f"{reason}; saved as {saved}.")


class FreeName(os.PathLike):
    """A name that nobody chose: until it is written, the first of NAME, NAME-2, NAME-3, … that is free.

    Args:
        path: the name wanted.
        beside: path to another that must be free as well when the name is chosen.
    """

    def __init__(self, path: Path, *, beside: Callable[[Path], Path] = lambda path: path) -> None:
        free = (name for name in numbered(path) if not (os.path.lexists(name) or os.path.lexists(beside(name))))
        self._path, self._first = path, next(free)
        self._written: Path | None = None

    def _names(self) -> Iterator[Path]:
        return itertools.dropwhile(lambda name: name != self._first, numbered(self._path))

    def __fspath__(self) -> str:
        """The path that was written, or would be now."""
        return str(self._written or next(itertools.filterfalse(os.path.lexists, self._names())))

    def write(self, data: bytes) -> Path:
        """Writes a file under the first free name.

        Raises:
            OSError: if it cannot be written.
        """
        self._written = _write_first_free(self._names(), data)
        return self._written


def numbered(path: Path) -> Iterator[Path]:
    """NAME, NAME-2, NAME-3, …, each cut to what file systems hold."""
    yield path.with_name(fitted(path.stem, path.suffix))
    for number in itertools.count(2):
        yield path.with_name(fitted(path.stem, f"-{number}{path.suffix}"))


def fitted(stem: str, ending: str = "") -> str:
    """A file's name of a stem and an ending, the stem cut to what file systems hold."""
    room = LONGEST_NAME - len(os.fsencode(ending))
    if len(os.fsencode(stem)) > room:
        stem = os.fsencode(stem)[:room].decode(errors="ignore")
    return stem + ending


def distinct_names(stems: Iterable[str], suffix: str) -> list[str]:
    """File names for some words: such as Windows allows, numbered where two are the same but for case."""
    names: dict[str, str] = {}
    for stem in stems:
        every = (path.name for path in numbered(Path(_FORBIDDEN.sub("-", stem) + suffix)))
        name = next(name for name in every if name.casefold() not in names)
        names[name.casefold()] = name
    return list(names.values())


def _write_first_free(names: Iterable[Path], data: bytes) -> Path:
    """Writes a file under the first name that is free at that moment."""
    for name in itertools.filterfalse(os.path.lexists, names):
        with contextlib.suppress(FileExistsError):
            atomic.write(name, data, overwrite=False)
            break
    return name


def _reason(path: Path, error: OSError) -> str:
    """Why a file could not be written, as the beginning of a sentence."""
    if isinstance(error, FileExistsError):
        return f"{path}: has appeared meanwhile and was left alone"
    return f"{path}: cannot be written ({error.strerror or error})"
