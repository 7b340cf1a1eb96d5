"""Writes the result of a run and its record, also if the run breaks off."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from tfstyle import files, images, records
from tfstyle.environment import tf
from tfstyle.errors import DivergedError, Interrupted
from tfstyle.pictures import encoding
from tfstyle.steps import Step

_log = logging.getLogger("tfstyle")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Where and how a result and its record are written.

    Attributes:
        path: path of the picture; None writes none.
        record_path: path of the record; None writes none.
        size: (height, width) of the picture.
        made: the record, but for what only the result tells.
        alpha, quality, overwrite: as for `images.write_result`.
    """

    path: str | os.PathLike | None
    record_path: Path | None
    size: tuple[int, int]
    made: Mapping[str, Any]
    alpha: Any = None
    quality: int = 95
    overwrite: bool = False

    def write(self, step: Step) -> tf.Tensor:
        """Writes the image of a step at the result's size, and returns it."""
        image = images.resize(step.image, *self.size)
        if self.path is None and self.record_path is None:
            return image
        pixels = encoding.to_uint8(np.asarray(image))
        text = records.encode({**self.made, "step": step.index, "pixels": records.fingerprint(pixels)})
        if self.record_path is not None:
            files.save_result(self.record_path, f"{text}\n".encode(), overwrite=self.overwrite)
        if self.path is not None:
            options: dict[str, Any] = {"alpha": self.alpha, "quality": self.quality, "overwrite": self.overwrite}
            images.write_result(image, self.path, text={records.KEYWORD: text}, **options)
        return image


def finish(steps: Generator[Step, None, None], result: Result) -> tf.Tensor:
    """Runs all steps and writes the last image; if the run breaks off, the image so far.

    Raises:
        DivergedError: from the run; the message says where its best image is.
        Interrupted: on Ctrl-C.
        OutputError: as for `images.write_result`.
        Exception: whatever else ends the run, after the image so far is written.
    """
    last: Step | None = None
    try:
        with contextlib.closing(steps):
            for step in steps:
                last = step
    except DivergedError as error:
        if last is None or result.path is None or error.image is None:
            raise
        where = _save(result, dataclasses.replace(last, image=error.image), "its best image")
        raise DivergedError(f"{error} {where}") from None
    except BaseException as error:  # Ctrl-C, a callback failed, or memory ran out: no reason to lose the picture.
        if last is None or result.path is None:
            raise
        where = _save(result, last, "the image so far")
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(where) from None
        _log.warning("%s", where)
        raise
    step = cast(Step, last)  # A run has at least one step.
    try:
        return result.write(step)
    except KeyboardInterrupt:  # While the file was being written: write it again.
        if result.path is None:
            raise
        raise Interrupted(_save(result, step, "the result")) from None


def _save(result: Result, step: Step, what: str) -> str:
    """Writes the image of a run that breaks off; returns a message with its path, or why it was not written."""
    try:
        result.write(step)
    except Exception as failure:  # An OutputError says where the image is.
        return str(failure)
    return f"{os.fspath(result.path or '')}: {what}."
