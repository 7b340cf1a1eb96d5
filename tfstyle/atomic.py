"""Writes files and folders whole or not at all; errors are plain `OSError`s.

- A file is written under a temporary name in its own folder and then takes its name, which fails if something is there.
  Where a file system has no hard links, an empty file holds the name until the whole one replaces it.
- Overwriting keeps a symbolic link and replaces the file that it points to, or makes it. A replaced file keeps its
  permissions; its other hard links keep the old bytes. Pipes, devices and folders are never replaced.
- Temporary names are locked as long as their process lives; what a killed one left is removed by the next that writes
  in the folder. Some network file systems keep locks to one machine: what another one left must be a day old as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: what a killed process left stays there.
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = ".tfstyle."
_OURS = f"{_TEMPORARY}{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}."
"""Beginning of the temporary names of this machine."""
_DAY = 86_400.0


def write(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Writes a file whole or not at all.

    Raises:
        FileExistsError: if something is there that may not be replaced.
        OSError: if it cannot be written.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    with _unfinished_file(target.parent) as temporary:
        with temporary.open("r+b") as stream:
            if overwrite and os.path.lexists(target):
                mode = target.stat().st_mode
                if not stat.S_ISREG(mode):
                    raise FileExistsError
                temporary.chmod(mode & 0o777)  # Before anything is in it: the file may be private.
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _rename_if_free(temporary, target)


def _rename_if_free(source: Path, path: Path) -> None:
    """Gives a file a name, in one step with the question whether it is free; the source may stay as well.

    Raises:
        FileExistsError: if it is not.
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
    """Gives a folder a name, in the place of one that is there.

    Args:
        new: the folder, on the same file system.
        path: the name.
        aside: a free name for the one that is there until it is removed; a crash leaves it whole there.

    Raises:
        OSError: if it cannot be done; all is then as it was.
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
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """A new folder in another for work that is not finished yet; removed at the end, or after a kill by the next run.

    Raises:
        OSError: if it cannot be made.
    """
    with _unfinished_file(folder) as path:
        scratch = Path(f"{path}.d")
        scratch.mkdir()
        yield scratch


@contextlib.contextmanager
def _unfinished_file(folder: Path) -> Iterator[Path]:
    """A new file of a temporary name, locked as long as this process lives; removed at the end, with its folder."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        _remove_if_unlocked(path)
    path, descriptor = _create_locked(folder)
    try:
        if fcntl is None:
            os.close(descriptor)  # Windows neither renames nor removes what is open.
        yield path
    finally:
        _remove(path)
        if fcntl is not None:
            os.close(descriptor)


def _create_locked(folder: Path) -> tuple[Path, int]:
    """A new file and its descriptor, whose lock ends with it."""
    while True:
        path = folder / f"{_OURS}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return path, descriptor
        with contextlib.suppress(OSError):  # Some file systems have no locks; nothing is cleared there.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # Another process took it for a leftover before it was locked.


def _remove_if_unlocked(path: Path) -> None:
    """Removes what a killed process left; a file that is locked belongs to a live one."""
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
    """Removes a temporary file, after the folder that goes with it."""
    shutil.rmtree(f"{path}.d", ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()
