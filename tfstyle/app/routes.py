"""The pages and the JSON API, described at `/openapi.json`."""

from __future__ import annotations

import asyncio
import functools
import io
import shutil
import threading
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import prometheus_client as prometheus
from fastapi import APIRouter, Cookie, Depends, Form, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.sse import EventSourceResponse

import tfstyle
from tfstyle import images
from tfstyle.app import jobs, tasks
from tfstyle.app.guard import TOKEN_COOKIE
from tfstyle.app.jobs import Job
from tfstyle.app.queue import Queue
from tfstyle.app.schema import JobEvent, JobForm, JobState, Offer, Problem, Sample, describe
from tfstyle.app.uploads import receive
from tfstyle.errors import TfstyleError
from tfstyle.recipes.catalog import RECIPES

STATIC = Path(__file__).parent / "static"
"""The files of the page."""

LONGEST_QUEUE = 200
"""Jobs that may wait."""

_VISITOR_COOKIE = "tfstyle_visitor"
_YEAR = 365 * 24 * 3600
_SHOWN_SIDE = 1280
_CACHED = "private, max-age=600"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may ask for.

    Attributes:
        size: long side of a result in pixels.
        upload: bytes of the pictures of a job together.
    """

    size: int = 2048
    upload: int = 64_000_000


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the routes need, as `app.state.service`.

    Attributes:
        queue: the jobs.
        limits: what clients may ask for.
        samples: file name → path of the pictures that are offered.
        registry: the metrics.
    """

    queue: Queue
    limits: Limits
    samples: Mapping[str, Path]
    registry: prometheus.CollectorRegistry


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]


def _find(key: str, service: Serving) -> Job:
    job = service.queue.jobs.get(key)
    if job is None:
        raise HTTPException(404, "there is no such picture; it may have been deleted.")
    return job


Known = Annotated[Job, Depends(_find)]


def _finished(job: Known) -> Path:
    if job.result is None:
        raise HTTPException(409, f"there is no result: the picture is {job.state}.")
    return job.result


Finished = Annotated[Path, Depends(_finished)]
Visitor = Annotated[str, Cookie(alias=_VISITOR_COOKIE, include_in_schema=False)]

router = APIRouter(responses={code: {"model": Problem} for code in (400, 401, 403, 404, 409, 413, 422, 503)})


@router.get("/", include_in_schema=False)
def send_page(request: Request, visitor: Visitor = "") -> Response:
    """Sends the page; a token in its address becomes a cookie."""
    # Not "strict": a browser that follows a link from elsewhere would come without its cookies, as a new visitor.
    options: dict[str, Any] = {"httponly": True, "samesite": "lax", "max_age": _YEAR}
    token = request.query_params.get("token", "")
    if token and token.isascii() and token.isprintable():
        redirected = RedirectResponse("/", 303)
        redirected.set_cookie(TOKEN_COOKIE, token, **options)
        return redirected
    page = FileResponse(STATIC / "index.html")
    if not visitor:
        page.set_cookie(_VISITOR_COOKIE, jobs.make_key(), **options)
    return page


@router.get("/healthz", summary="Answers if the server works")
def send_health(service: Serving) -> dict[str, str]:
    """Answers 503 if the thread that makes pictures has ended."""
    if not service.queue.is_working:
        raise HTTPException(503, "pictures are no longer made; start the server again.")
    return {"status": "ok"}


@router.get("/metrics", summary="Metrics in Prometheus' text format", response_class=Response)
def send_metrics(service: Serving) -> Response:
    """Sends the metrics."""
    return Response(prometheus.generate_latest(service.registry), media_type=prometheus.CONTENT_TYPE_LATEST)


@router.get("/v1", summary="What this server offers")
def send_offer(service: Serving) -> Offer:
    """Sends limits, recipes and samples."""
    samples = [
        Sample(
            name=name,
            kind="photograph" if name in tasks.PHOTOGRAPHS else "painting",
            title=Path(name).stem.replace("_", " ").capitalize(),
        )
        for name in service.samples
    ]
    return Offer(
        version=tfstyle.__version__,
        largest_size=service.limits.size,
        largest_upload=service.limits.upload,
        recipes={name: recipe.summary for name, recipe in RECIPES.items()},
        samples=samples,
    )


@router.get("/v1/samples/{name}", summary="A sample picture", response_class=FileResponse)
def send_sample(name: str, service: Serving) -> FileResponse:
    """Sends a sample picture."""
    if name not in service.samples:
        raise HTTPException(404, "there is no such sample picture; GET /v1 names them.")
    return FileResponse(service.samples[name])


@router.post("/v1/jobs", summary="Puts a picture into the queue", status_code=202)
def add_job(
    form: Annotated[JobForm, Form(media_type="multipart/form-data")],
    *,
    response: Response,
    service: Serving,
    visitor: Visitor = "",
) -> JobState:
    """Checks the files and options of a form, and puts its job into the queue."""
    queue = service.queue
    if queue.length >= LONGEST_QUEUE:
        message = f"{queue.length} pictures are waiting; try again later."
        raise HTTPException(503, message, headers={"retry-after": "60"})
    key, folder = queue.make_folder()
    try:
        task = receive(form, folder, service.samples)
        task.check(folder, largest=service.limits.size)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, TfstyleError):
            raise type(error)(jobs.plain_message(error, folder)) from None
        raise
    job = Job(key=key, folder=folder, task=task, visitor=visitor, attended=form.attended)
    queue.add(job)
    response.headers["location"] = f"/v1/jobs/{key}"
    return JobState(**describe(job, queue))


@router.get("/v1/jobs", summary="The jobs of this browser, the newest first")
def send_jobs(service: Serving, visitor: Visitor = "") -> list[JobState]:
    """Sends the jobs that came with the same cookie."""
    own = [job for job in tuple(service.queue.jobs.values()) if visitor and job.visitor == visitor]
    return [JobState(**describe(job, service.queue)) for job in sorted(own, key=lambda job: -job.created)]


@router.get("/v1/jobs/{key}", summary="A job")
def send_job(job: Known, service: Serving) -> JobState:
    """Sends the state of a job."""
    return JobState(**describe(job, service.queue))


@router.get("/v1/jobs/{key}/events", summary="Follows a job until it ends", response_class=EventSourceResponse)
async def follow_job(job: Known, service: Serving) -> AsyncIterator[JobEvent]:
    """Sends a `JobEvent` after each change, and ends with the job or the server."""
    loop, changed, sent = asyncio.get_running_loop(), asyncio.Event(), 0
    with job.listen(functools.partial(loop.call_soon_threadsafe, changed.set)):
        while True:
            changed.clear()
            is_last = job.is_over or not service.queue.is_open
            sent = min(sent, len(job.curve))  # A run that goes on begins at its checkpoint.
            rows = job.curve[sent:]
            sent += len(rows)
            yield JobEvent(**describe(job, service.queue), curve=rows)
            if is_last:
                return
            await changed.wait()
            await asyncio.sleep(0.05)  # Several changes are one event.


@router.post("/v1/jobs/{key}/stop", summary="Stops a job; its image so far is the result")
def stop_job(job: Known, service: Serving) -> JobState:
    """Takes a job out of the queue, or ends its run after this step."""
    service.queue.stop(job, "you stopped it")
    return JobState(**describe(job, service.queue))


@router.post("/v1/jobs/{key}/resume", summary="Lets a stopped job go on, after those that wait")
def resume_job(job: Known, service: Serving) -> JobState:
    """Puts a stopped job into the queue again."""
    if not service.queue.resume(job):
        raise HTTPException(409, f"a picture that is {job.state} cannot go on; only a stopped run can.")
    return JobState(**describe(job, service.queue))


@router.delete("/v1/jobs/{key}", summary="Stops a job and deletes its files", status_code=204)
def delete_job(job: Known, service: Serving) -> None:
    """Deletes a job."""
    service.queue.remove(job)


@router.get("/v1/jobs/{key}/preview", summary="A small picture of the image so far", response_class=Response)
def send_preview(job: Known) -> Response:
    """Sends the preview as JPEG."""
    if not job.preview:
        raise HTTPException(404, "the picture has not begun.")
    return Response(job.preview, media_type="image/jpeg", headers={"cache-control": _CACHED})


@router.get("/v1/jobs/{key}/result", summary="The result as PNG", response_class=FileResponse)
def send_result(path: Finished) -> FileResponse:
    """Sends the result."""
    return FileResponse(path, filename=path.name, content_disposition_type="inline")


@router.get("/v1/jobs/{key}/content", summary="The photograph, of at most 1280 pixels", response_class=Response)
def send_content(job: Known) -> Response:
    """Sends the content image as JPEG, upright, since browsers do not read all formats."""
    with _reading:
        data = _shrink(job.folder / job.task.content)
    return Response(data, media_type="image/jpeg", headers={"cache-control": _CACHED})


_reading = threading.Lock()  # A large picture takes much memory until it is reduced.


@functools.lru_cache(maxsize=64)
def _shrink(path: Path) -> bytes:
    return jobs.encode_small(images.read(path, long_side=_SHOWN_SIDE).image, _SHOWN_SIDE)


@router.get(
    "/v1/jobs/{key}/archive", summary="The result, its record, the pictures and the command", response_class=Response
)
def send_archive(job: Known, path: Finished) -> Response:
    """Sends the files of a job as .zip."""
    named = {"content-disposition": f"attachment; filename*=UTF-8''{quote(path.stem)}.zip"}
    return Response(_pack(job), media_type="application/zip", headers=named)


def _pack(job: Job) -> bytes:
    """Packs the result, its record, the files of the task and the command line."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:  # Pictures are compressed already.
        for path in sorted(job.folder.iterdir()):
            if path.is_file() and path.name not in (jobs.STATE, jobs.PREVIEW) and path.name[0] != ".":
                archive.write(path, path.name)
        archive.writestr(tasks.COMMAND, f"{job.task.command()}\n")
    return stream.getvalue()
