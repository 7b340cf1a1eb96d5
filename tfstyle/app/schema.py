"""The API's forms and answers, which its description at `/openapi.json` is made from."""

from __future__ import annotations

import math
import zlib
from typing import Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, create_model

from tfstyle.app import jobs, tasks
from tfstyle.app.jobs import Job
from tfstyle.app.queue import Queue
from tfstyle.faces import FACES
from tfstyle.recipes.catalog import RECIPES
from tfstyle.recipes.recipe import OPTIONS
from tfstyle.styles import RAMPS

MAX_PAINTINGS = 8
"""Style images of a job."""


_Recipe: Any = Literal[tuple(RECIPES)]
_Network: Any = Literal[tasks.NETWORKS]
_Ramp: Any = Literal[RAMPS]
_Protected: Any = Literal[(FACES, *RAMPS)]


class _Form(BaseModel):
    """A picture to be made: files, or names of sample pictures, and options."""

    model_config = ConfigDict(extra="forbid")

    content: UploadFile | None = Field(None, description="the photograph; or give content_name")
    content_name: str | None = Field(None, description="a sample picture as the photograph, from /v1/samples")
    styles: list[UploadFile] = Field([], description="the painting, or several", max_length=MAX_PAINTINGS)
    style_names: list[str] = Field([], description="sample pictures as paintings, after those of styles", max_length=8)
    weights: list[float] = Field([], description="weight of each painting beside the others; none for equal ones")
    masks: list[UploadFile] = Field([], description="where each painting counts: a mask for each, or none")
    mask_names: list[_Ramp] = Field([], description="ramps as masks for all paintings, in place of masks")
    protect: UploadFile | None = Field(None, description="a mask of what stays as in the photograph")
    protect_name: _Protected | None = Field(None, description="a word in place of that mask")
    recipe: _Recipe = Field("balanced", description="a recipe, as in tfstyle recipes")
    fast: bool = Field(False, description="one pass of a network, in seconds, in place of a recipe")
    model: _Network | None = Field(None, description="with fast, a network of one style")
    attended: bool = Field(False, description="stop when nobody follows the events any more, as the page does")


def _option(name: str) -> Any:
    """Returns type and description of a form field for a field of a recipe."""
    facts = OPTIONS[name].metadata
    kind: Any = Literal[facts["choices"]] if facts["choices"] else facts["kind"]
    bounds = {"ge": facts["low"], "le": facts["high"]} if kind in (int, float) else {}
    finite = {word: bound for word, bound in bounds.items() if math.isfinite(bound)}
    return kind | None, Field(None, description=facts["help"], **finite)


JobForm: Any = create_model(
    "JobForm", __base__=_Form, __doc__=_Form.__doc__, **{name: _option(name) for name in tasks.FIELDS}
)
"""The form of a new job, with a field for each option of a recipe."""


class JobState(BaseModel):
    """A job as clients see it."""

    id: str
    created: float = Field(description="when it was accepted, in seconds since 1970")
    state: Literal["queued", "running", "done", "stopped", "failed"]
    message: str = Field(description="why it stopped or failed")
    place: int = Field(description="how many jobs come before it")
    progress: float = Field(description="completed fraction of the work")
    seconds_left: float | None = Field(description="about how long the run will still take")
    step: int | None
    steps: int | None
    width: int | None
    height: int | None
    loss: float | None
    name: str = Field(description="name of the result's file")
    command: str = Field(description="the command line that makes the same picture from the same files")
    is_stopping: bool = Field(description="whether a run ends after this step")
    can_go_on: bool = Field(description="whether a stopped run can go on")
    preview: str | None = Field(description="address of a small picture of the image so far")
    result: str | None = Field(description="address of the result, or of the image so far of a stopped run")


class JobEvent(JobState):
    """A job, and the steps since the last event."""

    curve: list[tuple[int, int, float]] = Field(description="step, level and loss of each new step")


class Sample(BaseModel):
    """A sample picture."""

    name: str
    kind: Literal["photograph", "painting"]
    title: str


class Offer(BaseModel):
    """What this server offers."""

    version: str
    largest_size: int = Field(description="largest long side of a result in pixels")
    largest_upload: int = Field(description="bytes of the pictures of a job together")
    recipes: dict[str, str] = Field(description="name and summary of each recipe")
    samples: list[Sample]


class Problem(BaseModel):
    """Why a request was refused."""

    message: str


def describe(job: Job, queue: Queue) -> dict[str, Any]:
    """Describes a job as the fields of a `JobState`."""
    known, address = job.facts, f"/v1/jobs/{job.key}"
    is_begun = job.state == jobs.RUNNING and 0.0 < job.progress < 1.0
    left = known["seconds"] * (1.0 - job.progress) / job.progress if is_begun else None
    return {
        "id": job.key,
        "created": job.created,
        "state": job.state,
        "message": job.message,
        "place": queue.place(job),
        "progress": round(job.progress, 4),
        "seconds_left": None if left is None else round(left, 1),
        **{name: known.get(name) for name in ("step", "steps", "width", "height", "loss")},
        "name": job.task.result,
        "command": job.task.command(),
        "is_stopping": job.state == jobs.RUNNING and bool(job.stopping),
        "can_go_on": job.can_go_on,
        "preview": f"{address}/preview?v={zlib.crc32(job.preview):x}" if job.preview else None,
        "result": f"{address}/result" if job.result else None,
    }
