"""A worker of a cluster: receives the files of a picture, makes it as a batch on one machine does, returns its file."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from tfstyle import __version__, atomic, batch
from tfstyle.errors import OutputError, TfstyleError
from tfstyle.makers import FastWork, RecipeWork
from tfstyle.styles import name_pictures

_log = logging.getLogger("tfstyle")


class Delivery(NamedTuple):
    """What a worker returns of a picture.

    Attributes:
        files: name → bytes of each file that was written in the place of the result.
        seconds: how long it took.
        failure: why there is no result; "" if there is one.
        unusable: why the machine cannot be used any more; "" if it can.
        notes: (level, line) of what was logged.
    """

    files: Mapping[str, bytes]
    seconds: float = 0.0
    failure: str = ""
    unusable: str = ""
    notes: tuple[tuple[int, str], ...] = ()


def versions() -> dict[str, str]:
    """Returns the versions on which a picture and its record depend; TensorFlow is not loaded."""
    return {
        "tfstyle": __version__,
        "tensorflow": metadata.version("tensorflow"),
        "Python": platform.python_version(),
    }


def files_of(job: batch.Job) -> list[str]:
    """Returns the files that a job may share with others: its style image and masks."""
    return [] if job.style is None else [os.fspath(path) for path in name_pictures([job.style]).values()]


class Painter:
    """Makes pictures from files that another machine sends.

    Args:
        work: what is to be done.
        sent: path on the other machine → bytes, of the files of `work`.
        level: level from which lines of the log are returned.

    Raises:
        TfstyleError: from the start of the work.
        OSError: if the files cannot be written.
    """

    def __init__(self, work: RecipeWork | FastWork, sent: Mapping[str, bytes], *, level: int) -> None:
        self._level, self._kept = level, dict[str, Path]()
        self._open = contextlib.ExitStack()
        self._folder = self._open.enter_context(atomic.make_temporary_folder(Path(tempfile.gettempdir())))
        try:
            self._folder.chmod(0o700)
            self._keep(sent)
            named = work.files()
            self._maker = work.moved({name: str(self._kept[path]) for name, path in named.items()}).start()
        except BaseException as error:
            self.close()
            if isinstance(error, TfstyleError):
                raise type(error)(_rename(str(error), self._kept.items())) from error
            raise

    def close(self) -> None:
        """Removes all files."""
        self._open.close()

    def paint(self, job: batch.Job, content: bytes, shared: Mapping[str, Callable[[], bytes]]) -> Delivery:
        """Makes a picture.

        Args:
            job: the job, with the paths of the other machine.
            content: bytes of the content image.
            shared: path of each of `files_of` → function that fetches its bytes; called only for a new one.
        """
        began = time.perf_counter()
        with collected_log(self._level) as lines, contextlib.ExitStack() as folders:
            places = list(self._kept.items())
            try:
                self._keep({path: fetch() for path, fetch in shared.items() if path not in self._kept})
                folder = Path(folders.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
                moved = self._move(job, folder)
                places = [*self._kept.items(), *zip(map(os.fspath, job[::2]), moved[::2], strict=True)]
                moved.content.write_bytes(content)
                failure = self._make(moved)
                written = {path.name: path.read_bytes() for path in sorted(moved.output.parent.iterdir())}
                delivery = Delivery(written, failure=_rename(failure, places))
            except OSError as error:  # Such as a full disk, or a lost folder of temporary files.
                delivery = Delivery({}, unusable=" ".join(str(error).split()))
        notes = tuple((level, _rename(line, places)) for level, line in lines)
        return delivery._replace(seconds=time.perf_counter() - began, notes=notes)

    def _make(self, job: batch.Job) -> str:
        """Makes a picture of this machine's files; returns why it failed, or ""."""
        read, make, write = self._maker
        try:
            write(job, make(job, read(job)))
        except OutputError:
            raise
        except TfstyleError as error:
            return str(error)
        return ""

    def _move(self, job: batch.Job, folder: Path) -> batch.Job:
        """Returns a job with the files in a folder, and the shared ones, each under its own name."""
        content, output = folder / "in" / job.content.name, folder / "out" / job.output.name
        content.parent.mkdir()
        output.parent.mkdir()
        if job.style is None:
            return batch.Job(content, None, output)
        ours: dict[str, Any] = {
            name: self._kept[os.fspath(given)]
            for name in ("picture", "mask", "style_mask")
            if (given := getattr(job.style, name)) is not None and os.fspath(given) in files_of(job)
        }
        return batch.Job(content, dataclasses.replace(job.style, **ours), output)

    def _keep(self, sent: Mapping[str, bytes]) -> None:
        """Writes files that several pictures need, each into a folder of its own."""
        for path, data in sent.items():
            place = Path(tempfile.mkdtemp(dir=self._folder)) / Path(path).name
            place.write_bytes(data)
            self._kept[path] = place


def _rename(text: str, places: Iterable[tuple[str, Path]]) -> str:
    """Replaces paths of this machine in a message by those of the other one."""
    for path, place in places:
        text = text.replace(f"{place.parent}{os.sep}", path.removesuffix(place.name))
    return text


class _Collector(logging.Handler):
    """Collects the lines of a log, as (level, line)."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))


@contextlib.contextmanager
def collected_log(level: int) -> Iterator[list[tuple[int, str]]]:
    """Collects the lines of tfstyle's log from a level on, as (level, line), inside the context."""
    collector, before = _Collector(), _log.level
    _log.setLevel(level)
    _log.addHandler(collector)
    try:
        yield collector.lines
    finally:
        _log.removeHandler(collector)
        _log.setLevel(before)
