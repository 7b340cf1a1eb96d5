"""Keeps the files of a form in the folder of a job, under names that are safe there and on a command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import UploadFile

from tfstyle import files
from tfstyle.app import jobs, tasks
from tfstyle.app.tasks import Painting, Task
from tfstyle.errors import OutputError, UsageError


def receive(form: Any, folder: Path, samples: Mapping[str, Path]) -> Task:
    """Writes the files of a form into a folder; returns the task.

    Args:
        form: a `schema.JobForm`.
        folder: the folder of the job.
        samples: file name → path of the sample pictures.

    Raises:
        UsageError: if a file is missing or given twice, or a sample is unknown.
        OutputError: if a file cannot be written.
    """
    kept = _Folder(folder, samples)
    content = kept.take("content", [form.content], [form.content_name])
    pictures = kept.take("styles", form.styles, form.style_names)
    if len(content) != 1:
        raise UsageError("give a photograph: `content`, or the sample `content_name`.")
    if not pictures and not (form.fast or form.model):
        raise UsageError("give a painting: `styles`, or samples as `style_names`.")
    if (form.masks and form.mask_names) or (form.protect is not None and form.protect_name is not None):
        raise UsageError("masks are given twice: as files, and by name; leave one out.")
    masks: Sequence[str | None] = form.mask_names or [kept.upload(mask, "mask.png") for mask in form.masks]
    for name, given in (("masks", masks), ("weights", form.weights)):
        if given and len(given) != len(pictures):
            raise UsageError(f"{len(pictures)} paintings have {len(given)} `{name}`; give one for each, or none.")
    facts = zip(pictures, form.weights or [1.0] * len(pictures), masks or [None] * len(pictures), strict=True)
    return Task(
        content=content[0],
        paintings=tuple(Painting(picture=picture, weight=weight, mask=mask) for picture, weight, mask in facts),
        protect=form.protect_name if form.protect is None else kept.upload(form.protect, "protect.png"),
        recipe=form.recipe,
        fast=form.fast or form.model is not None,
        model=form.model,
        fields={name: value for name in tasks.FIELDS if (value := getattr(form, name)) is not None},
    )


class _Folder:
    """The folder of a job while its files are written."""

    def __init__(self, folder: Path, samples: Mapping[str, Path]) -> None:
        self._folder, self._samples = folder, samples
        self._taken = {jobs.STATE, jobs.PREVIEW, tasks.CHECKPOINT, tasks.COMMAND}

    def take(self, default: str, uploads: Sequence[UploadFile | None], names: Sequence[str | None]) -> list[str]:
        """Keeps uploaded pictures, under their own names, and samples; returns their names."""
        kept = [self.upload(each, tasks.clean_name(each.filename, default)) for each in uploads if each is not None]
        return kept + [self._copy(name) for name in names if name is not None]

    def upload(self, given: UploadFile, name: str) -> str:
        """Keeps an uploaded file; returns its name."""

        def write(path: Path) -> None:
            with path.open("xb") as file:
                shutil.copyfileobj(given.file, file)

        return self._keep(name, write)

    def _copy(self, name: str) -> str:
        """Copies a sample picture; returns its name."""
        if name not in self._samples:
            raise UsageError(f"there is no sample picture {name!r}; GET /v1 names them.")
        return self._keep(name, lambda path: shutil.copyfile(self._samples[name], path))

    def _keep(self, name: str, write: Callable[[Path], Any]) -> str:
        """Writes a file under a free name."""
        free = (path for path in files.number_names(self._folder / name) if path.name.casefold() not in self._taken)
        path = next(free)
        self._taken.add(path.name.casefold())
        try:
            write(path)
        except OSError as error:
            raise OutputError(f"{name}: cannot be kept ({error.strerror}); make room.") from error
        return path.name
