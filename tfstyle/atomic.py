"""Writes files and folders atomically: completely or not at all. Errors are plain `OSError`.

- A file is written under a temporary name in the same folder and then renamed, which fails if the name is taken. On a
  file system without hard links, an empty file reserves the name until the complete file replaces it.
- Overwriting keeps a symbolic link and replaces, or creates, the file it points to. A replaced file keeps its
  permissions; its other hard links keep the old bytes. Pipes, devices and folders are never replaced.
- A temporary file is locked while its process lives. The next write in the same folder removes the files of a
  killed process. Some network file systems do not share locks between machines, so files of another machine are removed
  only if they are a day old.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

fcntl: ModuleType | None
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows has no such locks: files of a killed process are not removed.
    fcntl = None

_TEMPORARY = ".tfstyle."
_OURS = f"{_TEMPORARY}{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}."
"""Prefix of the temporary names that this machine makes."""
_DAY = 86_400.0  # Seconds.


def write(path: Path, data: bytes | Callable[[BinaryIO], Any], *, overwrite: bool) -> None:
    """Writes a file atomically.

    Args:
        path: the file.
        data: its bytes, or a function that writes them to a binary stream.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: if the path exists and may not be replaced.
        OSError: if the file cannot be written.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    with _make_temporary_file(target.parent) as temporary:
        with temporary.open("r+b") as stream:
            if overwrite and os.path.lexists(target):
                mode = target.stat().st_mode
                if not stat.S_ISREG(mode):
                    raise FileExistsError
                temporary.chmod(mode & 0o777)  # Before it has any content, which may be private.
            data(stream) if callable(data) else stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _rename_if_free(temporary, target)


def _rename_if_free(source: Path, path: Path) -> None:
    """Renames a file if the new name is free, in one atomic step; the old name may remain as well.

    Raises:
        FileExistsError: if the new name is taken.
    """
    try:
        os.link(source, path)
        return
    except FileExistsError:
        raise
    except OSError:  # No hard links on this file system.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(source, path)
    except OSError:
        path.unlink()
        raise


def replace_folder(new: Path, path: Path, *, aside: Path) -> None:
    """Renames a folder to a path, and removes the folder that was there.

    Args:
        new: the folder, on the same file system as `path`.
        path: its new path.
        aside: a free path for the old folder until it is removed; after a crash it is still complete there.

    Raises:
        OSError: if it fails; then nothing has changed.
    """
    if not path.is_dir():
        new.rename(path)
        return
    path.rename(aside)
    try:
        new.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def make_temporary_folder(folder: Path) -> Iterator[Path]:
    """Makes a temporary folder in a folder and removes it on exit; after a kill, the next write there removes it.

    Raises:
        OSError: if it cannot be made.
    """
    with _make_temporary_file(folder) as path:
        scratch = Path(f"{path}.d")
        scratch.mkdir()
        yield scratch


@contextlib.contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Locks a file, which is made, inside the context; yields False if another process has locked it.

    Where there are no locks, as on Windows and on some file systems, it is always True.

    Raises:
        OSError: if the file cannot be made.
    """
    with path.open("ab") as file:
        free = True
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
            except OSError:
                pass
        yield free


@contextlib.contextmanager
def _make_temporary_file(folder: Path) -> Iterator[Path]:
    """Makes a temporary file, locked while this process lives, and removes it on exit, with its folder."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        _remove_if_unlocked(path)
    path, descriptor = _create_locked(folder)
    try:
        if fcntl is None:
            os.close(descriptor)  # Windows neither renames nor removes open files.
        yield path
    finally:
        _remove(path)
        if fcntl is not None:
            os.close(descriptor)


def _create_locked(folder: Path) -> tuple[Path, int]:
    """Makes a locked temporary file; returns its path and its descriptor, which holds the lock until it is closed."""
    while True:
        path = folder / f"{_OURS}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return path, descriptor
        with contextlib.suppress(OSError):  # Some file systems have no locks; nothing is removed there.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # Another process removed it before it was locked.


def _remove_if_unlocked(path: Path) -> None:
    """Removes the temporary file of a killed process; a locked one belongs to a live process."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        if not path.name.startswith(_OURS) and time.time() - path.lstat().st_mtime < _DAY:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Removes the folder that belongs to a temporary file, and then the file."""
    shutil.rmtree(f"{path}.d", ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()
