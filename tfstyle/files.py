"""Checks paths of output files, finds free names, and saves a result elsewhere if its path cannot be written."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tfstyle import atomic
from tfstyle.errors import OutputError

_FORBIDDEN = re.compile(r'[\\/:*?"<>|]')
"""Characters that some file systems do not allow in a name."""

LONGEST_NAME = 255
"""Longest name of a file, in bytes, that common file systems allow."""

LONGEST_PATH = 4000
"""Longest path, in bytes, that Linux accepts, minus some room for a temporary name."""


def check_file(path: Path, suffixes: Iterable[str], *, overwrite: bool = False) -> None:
    """Checks early, before any work is done, that a file can be written.

    Args:
        path: path of the file.
        suffixes: the suffixes allowed, such as ".png".
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: if the suffix is not allowed, the folder is missing or not writable, the path is not that of a
            regular file or a circular link, or the file exists and `overwrite` is not set.
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
    target = os.path.realpath(path)
    if os.path.islink(target):
        raise OutputError(f"{path}: is a symbolic link that leads back to itself; remove it.")
    check_place(Path(target))


def check_name(path: Path) -> None:
    """Checks that no name in a path is too long: for such a path, even testing whether the file exists fails.

    Raises:
        OutputError: if the name, the name of a folder above it, or the whole path is too long.
    """
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise OutputError(f"{path}: has a name of more than {LONGEST_NAME} bytes; choose a shorter one.")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise OutputError(f"{path}: is a path of more than {LONGEST_PATH} bytes; choose a shorter one.")


def check_place(path: Path) -> None:
    """Checks that a file or folder can be made at a path.

    Raises:
        OutputError: if the folder that would contain it is missing or not writable, or the name is too long.
    """
    check_name(path)
    if not os.path.isdir(path.parent):
        raise OutputError(f"{path}: there is no folder {str(path.parent)!r}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {str(path.parent)!r} is not writable; choose another.")


@contextlib.contextmanager
def make_folder(folder: Path) -> Iterator[None]:
    """Makes a folder if it is missing, and on exit removes it again if it is empty.

    Only the last folder of a path is made, so that a misspelled path does not make a tree of folders.

    Raises:
        OutputError: if the folder cannot be made.
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


def make_folders(folder: Path) -> None:
    """Makes a folder and those above it, where they are missing.

    Raises:
        OutputError: if one cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error


def check_folders(folder: Path) -> None:
    """Checks that a folder is there, or could be made with those above it.

    Raises:
        OutputError: if something else is in its place or in that of one above it, or it is not writable.
    """
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not os.path.isdir(there):
        raise OutputError(f"{there}: is no folder, but results would be in it; choose another folder.")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there}: the folder is not writable; choose another.")


def make_free_folder(folder: Path) -> Path:
    """Makes a folder under the first free name of FOLDER, FOLDER-2, FOLDER-3, ….

    Returns:
        Its path.

    Raises:
        OutputError: if the folder cannot be made.
    """
    try:
        for path in number_names(folder):
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}).") from error
    return path


def save_atomically(path: Path, data: bytes | Callable[[BinaryIO], Any], *, overwrite: bool) -> None:
    """Writes a file atomically, like `atomic.write`.

    Raises:
        OutputError: if it cannot be written, or it exists and `overwrite` is not set.
    """
    try:
        atomic.write(path, data, overwrite=overwrite)
    except OSError as error:
        raise OutputError(f"{_describe_failure(path, error)}; choose another name or folder.") from error


def save_result(path: str | os.PathLike, data: bytes, *, overwrite: bool = False) -> Path:
    """Writes the result of long work atomically; if its path cannot be written, saves it elsewhere.

    Args:
        path: path of the file, or a `FreeName`.
        data: bytes of the file.
        overwrite: whether to replace an existing file.

    Returns:
        The path of the file.

    Raises:
        OutputError: if it was saved elsewhere, as by `rescue`; the message says where.
    """
    try:
        if isinstance(path, FreeName):
            return path.write(data)
        atomic.write(Path(path), data, overwrite=overwrite)
    except OSError as error:
        rescue(Path(path), data, _describe_failure(Path(path), error))
    return Path(path)


def rescue(path: Path, data: bytes, reason: str) -> NoReturn:
    """Saves a file under the next free name in its folder, or else in the working folder, or in the temporary folder.

    Args:
        path: the path that could not be written.
        data: bytes of the file.
        reason: why it could not be written, as the beginning of the message.

    Raises:
        OutputError: always; it names the reason and the path of the file.
    """
    for folder in (lambda: path.parent, Path.cwd, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):  # `Path.cwd` raises it as well, if the folder no longer exists.
            saved = _write_first_free(number_names(folder() / path.name), data)
            break
    else:
        raise OutputError(f"{reason}, nor in the working or the temporary folder; the result is lost.")
    error = OutputError(f"{reason}; saved as {saved}.")
    error.saved = saved
    raise error


class FreeName(os.PathLike):
    """A default output path: the first free one of NAME, NAME-2, NAME-3, …, chosen anew until the file is written.

    A path typed by the user is never numbered; a default path is, so that no file is overwritten.

    Args:
        path: the path NAME.
        beside: function from a path to a second path that must also be free when the first number is chosen.
    """

    def __init__(self, path: Path, *, beside: Callable[[Path], Path] = lambda path: path) -> None:
        free = (name for name in number_names(path) if not (os.path.lexists(name) or os.path.lexists(beside(name))))
        self._path, self._first = path, next(free)
        self._written: Path | None = None

    def _names(self) -> Iterator[Path]:
        """Yields the numbered names, starting with the one chosen first."""
        return itertools.dropwhile(lambda name: name != self._first, number_names(self._path))

    def __fspath__(self) -> str:
        """Returns the path that was written; before that, the one that is free now."""
        return str(self._written or next(itertools.filterfalse(os.path.lexists, self._names())))

    def write(self, data: bytes) -> Path:
        """Writes a file under the first free name; returns its path.

        Raises:
            OSError: if it cannot be written.
        """
        self._written = _write_first_free(self._names(), data)
        return self._written


def number_names(path: Path) -> Iterator[Path]:
    """Yields NAME, NAME-2, NAME-3, …, each shortened to what file systems allow."""
    yield path.with_name(shorten_name(path.stem, path.suffix))
    for number in itertools.count(2):
        yield path.with_name(shorten_name(path.stem, f"-{number}{path.suffix}"))


def shorten_name(stem: str, ending: str = "") -> str:
    """Joins a stem and an ending into a file name, and shortens the stem to what file systems allow."""
    room = LONGEST_NAME - len(os.fsencode(ending))
    if len(os.fsencode(stem)) > room:
        stem = os.fsencode(stem)[:room].decode(errors="ignore")
    return stem + ending


def make_distinct_names(stems: Iterable[str], suffix: str) -> list[str]:
    """Makes file names from words: valid on Windows, and numbered where two are equal, ignoring case."""
    names: dict[str, str] = {}
    for stem in stems:
        every = (path.name for path in number_names(Path(_FORBIDDEN.sub("-", stem) + suffix)))
        name = next(name for name in every if name.casefold() not in names)
        names[name.casefold()] = name
    return list(names.values())


def _write_first_free(names: Iterable[Path], data: bytes) -> Path:
    """Writes a file under the first of the names that is free; returns its path."""
    for name in itertools.filterfalse(os.path.lexists, names):
        with contextlib.suppress(FileExistsError):
            atomic.write(name, data, overwrite=False)
            break
    return name


def _describe_failure(path: Path, error: OSError) -> str:
    """Describes why a file could not be written, as the beginning of a sentence."""
    if isinstance(error, FileExistsError):
        return f"{path}: has appeared meanwhile and was left alone"
    return f"{path}: cannot be written ({error.strerror or error})"
