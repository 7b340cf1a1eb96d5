"""Stylizes many pictures in one process: finds them, names the results, passes over what fails, and reports."""

from __future__ import annotations

import base64
import csv
import html
import io
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tfstyle import files, images
from tfstyle.errors import InputError, OutputError, TfstyleError, UsageError
from tfstyle.pictures import encoding
from tfstyle.styles import RAMPS, Style, as_styles, parse_style

TABLE, INDEX = "results.csv", "index.html"
"""The files of a batch beside its results."""

THUMBNAIL = 200
"""Long side in pixels of the pictures in the index."""

_COLUMNS = ("content", "style", "output", "status", "seconds", "message")
_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>tfstyle</title>'
_LONGEST_TABLE = 1 << 26


class Job(NamedTuple):
    """A picture to be made.

    Attributes:
        content: path of the content image.
        style: the style image; None for a network of one style.
        output: path of the result.
    """

    content: Path
    style: Style | None
    output: Path


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        job: the job.
        status: "done", "skipped" because the result was there, or "failed".
        seconds: how long it took.
        message: why it failed.
    """

    job: Job
    status: str
    seconds: float = 0.0
    message: str = ""


def find_contents(sources: Sequence[Path], *, output: Path) -> list[tuple[Path, Path]]:
    """Finds the content images of a batch.

    Args:
        sources: pictures, and folders that are searched with all folders in them, but for files and folders whose
            names begin with a dot. Damaged pictures are found as well, by their names.
        output: the folder of the results, which is not searched.

    Returns:
        Each path, and its folder within the source, sorted.

    Raises:
        UsageError: if a source is the folder of the results.
        InputError: if there is no picture.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.resolve() == output.resolve():
            raise UsageError(f"{output}: is the folder of the pictures; name another one for the results with -o.")
        if not source.is_dir():
            found.setdefault(source, Path())
            continue
        for folder, inside, names in os.walk(source):
            inside[:] = sorted(
                name for name in inside if name[0] != "." and (Path(folder) / name).resolve() != output.resolve()
            )
            for path in (Path(folder) / name for name in sorted(names)):
                if path.name[0] != "." and images.is_picture(path):
                    found.setdefault(path, Path(folder).relative_to(source))
    if not found:
        raise InputError(f"{', '.join(map(str, sources))}: no picture; give pictures or folders.")
    return list(found.items())


def read_pairs(path: Path) -> list[tuple[Path, Style]]:
    """Reads pairs from a CSV file with the columns "content" and "style"; relative paths begin at the file's folder.

    Raises:
        InputError: if the file cannot be read, lacks a column, or names a missing picture.
    """
    try:
        if path.stat().st_size > _LONGEST_TABLE:
            raise OSError(f"more than {_LONGEST_TABLE >> 20} MB")
        if not path.is_file():  # A pipe would never end.
            raise OSError("a folder, pipe or device")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV file that can be read ({error}).") from None
    if not {"content", "style"} <= set(columns):
        named = ", ".join(map(repr, columns)) or "none"
        raise InputError(f"{path}: its first line should name the columns content and style, not {named[:80]}.")
    pairs = []
    for number, row in enumerate(rows, 2):
        if not row.get("content") or not row.get("style"):
            raise InputError(f"{path}: line {number} has no content or no style.")
        style = parse_style(str(row["style"]))
        beside = {
            name: path.parent / given
            for name in ("picture", "mask", "style_mask")
            if (given := getattr(style, name)) is not None and given not in RAMPS
        }
        pairs.append((path.parent / str(row["content"]), replace(style, **beside)))
        for given in (pairs[-1][0], *beside.values()):
            if not given.is_file():
                raise InputError(f"{path}: line {number} names {given}, which is no file.")
    if not pairs:
        raise InputError(f"{path}: holds no pairs.")
    return pairs


def plan_jobs(
    contents: Sequence[tuple[Path, Path]],
    styles: Sequence[Style | None],
    folder: Path,
    *,
    suffix: str = ".png",
    model: str | None = None,
) -> list[Job]:
    """Plans a job for every content image and every style image.

    Args:
        contents: from `find_contents`.
        styles: the style images.
        folder: of the results, in which the folders of the content images are made again.
        suffix: of the results.
        model: the network of one style, which takes the place of a style image in names.
    """
    jobs = [(path, inside, style) for path, inside in contents for style in styles]
    return _name_jobs(jobs, folder, suffix, Path(model or ""))


def plan_pairs(pairs: Sequence[tuple[Path, Style]], folder: Path, *, suffix: str = ".png") -> list[Job]:
    """Plans a job for each pair from `read_pairs`; other arguments are those of `plan_jobs`."""
    return _name_jobs([(path, Path(), style) for path, style in pairs], folder, suffix, Path())


def _name_jobs(triples: list[tuple[Path, Path, Style | None]], folder: Path, suffix: str, model: Path) -> list[Job]:
    """Names results CONTENT.STYLE.png; where names collide, those of the files are whole, and then numbered."""
    paintings = [Path(style.picture) if style else model for *_, style in triples]
    stems = [f"{path.stem}.{painting.stem}" for (path, *_), painting in zip(triples, paintings, strict=True)]
    short = Counter((inside, stem) for (_, inside, _), stem in zip(triples, stems, strict=True))
    taken: set[Path] = set()
    jobs = []
    for (path, inside, style), painting, stem in zip(triples, paintings, stems, strict=True):
        name = stem if short[inside, stem] == 1 else f"{path.name}.{painting.name}"
        output = next(path for path in files.number_names(folder / inside / f"{name}{suffix}") if path not in taken)
        taken.add(output)
        jobs.append(Job(path, style, output))
    return jobs


def select_shard(jobs: Sequence[Job], shard: str | None) -> list[Job]:
    """Returns every N-th job from the I-th on, for a shard written "I/N"; None selects all.

    Raises:
        UsageError: if it is not written so, or I is not 1 to N.
    """
    if shard is None:
        return list(jobs)
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"`shard` should be I/N with I from 1 to N, such as 2/8, not {shard!r}.")
    return list(jobs)[int(number) - 1 :: int(count)]


def split_existing(jobs: Sequence[Job], *, skip_existing: bool) -> tuple[list[Outcome], list[Job]]:
    """Returns the outcomes of jobs that are passed over because their result exists, and the other jobs."""
    there = {number for number, job in enumerate(jobs) if skip_existing and job.output.exists()}
    skipped = [Outcome(jobs[number], "skipped") for number in sorted(there)]
    return skipped, [job for number, job in enumerate(jobs) if number not in there]


def run(
    jobs: Sequence[Job],
    make: Callable[[Job, Any], Any],
    *,
    read: Callable[[Job], Any] = lambda job: None,
    write: Callable[[Job, Any], Any] = lambda job, made: None,
    skip_existing: bool = False,
) -> Generator[Outcome, None, None]:
    """Makes the pictures of a batch; the next one is read and the last one written while one is made.

    Args:
        jobs: the jobs.
        make: (job, what was read) → result.
        read: job → what `make` needs; runs in a thread, one job ahead.
        write: (job, result); runs in a thread.
        skip_existing: pass over jobs whose result exists.

    Yields:
        The `Outcome` of each job, when its result is written.

    Raises:
        OutputError: if a result cannot be written, which would be so for the next ones.
    """
    there, waiting = split_existing(jobs, skip_existing=skip_existing)
    yield from there
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(read, waiting[0]) if waiting else None
        last: tuple[Job, Future, float] | None = None
        for number, job in enumerate(waiting):
            began, current = time.perf_counter(), ahead
            ahead = reader.submit(read, waiting[number + 1]) if number + 1 < len(waiting) else None
            made, failure = None, None
            try:
                made = make(job, current.result() if current else None)
            except BaseException as error:
                failure = error
            seconds = time.perf_counter() - began
            before, last = last, (job, writer.submit(write, job, made), seconds) if failure is None else None
            if before is not None:  # Only now: what follows may end the batch, and what is made is to be written.
                yield _finished(*before)
            if failure is None:
                continue
            if isinstance(failure, TfstyleError) and not isinstance(failure, OutputError):
                yield Outcome(job, "failed", seconds, str(failure))
            else:
                raise failure
        if last is not None:
            yield _finished(*last)


def _finished(job: Job, writing: Future, seconds: float) -> Outcome:
    writing.result()
    return Outcome(job, "done", seconds)


def write_table(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes the table of a batch, and replaces that of an earlier run."""
    rows = [
        (
            job.content,
            job.style.picture if job.style else "",
            os.path.relpath(job.output, path.parent),
            status,
            f"{seconds:.1f}",
            message,
        )
        for job, status, seconds, message in outcomes
    ]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_COLUMNS, *rows])
    files.save_result(path, text.getvalue().encode(errors="surrogateescape"), overwrite=True)


def report_path(folder: Path, name: str, shard: str | None) -> Path:
    """Returns the path of `TABLE` or `INDEX`; each shard has its own."""
    path = folder / name
    return path if shard is None else path.with_stem(f"{path.stem}-{shard.replace('/', '-of-')}")


def check_reports(folder: Path, shard: str | None, *, pairs: Path | None = None, overwrite: bool = False) -> None:
    """Checks that table and page of a batch replace nothing but those of an earlier one.

    Args:
        folder, shard: as for `report_path`.
        pairs: the file of the pairs.
        overwrite: whether other files may be replaced.

    Raises:
        OutputError: if one would replace the file of the pairs, another file, or what is no file.
    """
    for name, begin in ((TABLE, ",".join(_COLUMNS)), (INDEX, _HEAD)):
        path = report_path(folder, name, shard)
        if not os.path.lexists(path):
            continue
        files.check_file(path, (path.suffix,), overwrite=True)
        if pairs is not None and path.exists() and path.samefile(pairs):
            raise OutputError(f"{path}: is read and would be replaced; choose another folder for the results.")
        if not overwrite and path.exists():
            try:
                with path.open("rb") as file:
                    own = file.read(len(begin)) == begin.encode()
            except OSError as error:
                raise OutputError(f"{path}: cannot be read ({error.strerror}); rename it.") from error
            if not own:
                raise OutputError(f"{path}: exists, and is not from a batch; rename it, or use --overwrite.")


def write_index(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes a page with a thumbnail of each result, which opens from disk, and replaces that of an earlier run."""
    figures = []
    for job, status, _, message in outcomes:
        link, name = (
            quote(os.fsencode(os.path.relpath(job.output, path.parent).replace(os.sep, "/"))),
            html.escape(job.output.name),
        )
        if status != "failed" and not job.output.exists():
            continue
        picture, note = "", message
        try:
            if status != "failed":
                thumbnail = images.fit(images.read(job.output, long_side=THUMBNAIL).image, THUMBNAIL)
                jpeg = encoding.encode(encoding.to_uint8(thumbnail.numpy()[0]), "JPEG", quality=80)
                source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
                picture = f'<a href="{link}"><img src="{source}" alt="{name}"></a>'
        except InputError as error:
            note = str(error)
        caption = "<br>".join([name, *([html.escape(note)] if note else [])])
        figures.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    style = "body{font:14px sans-serif}figure{display:inline-block;width:220px;margin:8px;vertical-align:top}"
    head = f"{_HEAD}<style>{style}</style>"
    files.save_result(path, "\n".join([head, *figures, "</html>"]).encode(errors="surrogateescape"), overwrite=True)


def expand_styles(texts: Sequence[str]) -> list[Style]:
    """Reads style images as `styles.parse_style`; the pictures of a folder are a style each."""
    styles = [part for text in texts for part in as_styles(parse_style(text))]
    return [replace(style, weight=1.0) for style in styles]
