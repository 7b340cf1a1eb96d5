"""The command `tfstyle batch`: many pictures in one process, with a table and a page of the results."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfstyle import batch, files, images, records, weights
from tfstyle.batch import Job, Outcome
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import check_memory, start, typed_recipe
from tfstyle.errors import BatchError, Interrupted, OutputError, UsageError
from tfstyle.pictures import decoding, encoding
from tfstyle.pictures.decoding import Picture
from tfstyle.recipes.recipe import OPTIONS, Recipe
from tfstyle.styles import check_one_pass, check_styles, name_pictures

_FAST_FIELDS = ("size", "color", "color_strength", "precision")
"""Fields of a recipe that `--fast` uses."""

_log = logging.getLogger("tfstyle")


def run(options: argparse.Namespace) -> None:
    """Makes every picture of a batch; prints the path of each result."""
    recipe, overrides = typed_recipe(options)
    fast = options.fast or options.model is not None
    folder = Path(options.output)
    jobs = _plan_jobs(options, folder)
    _check(options, recipe, jobs, fast=fast)
    start(options, recipe, output=str(folder), pictures=len(jobs), fast=fast)
    with files.make_folder(folder):
        with quiet_tensorflow(options.debug):
            from tfstyle import environment
        environment.grow_gpu_memory()
        made = _run_fast(options, jobs) if fast else _run_recipe(options, jobs, recipe, overrides)
        outcomes: list[Outcome] = []
        began = time.perf_counter()
        try:
            for outcome in made:
                outcomes.append(outcome)
                batch.write_table(batch.report_path(folder, batch.TABLE, options.shard), outcomes)
                _report(options, outcomes, len(jobs), time.perf_counter() - began)
        except KeyboardInterrupt:
            done = sum(outcome.status == "done" for outcome in outcomes)
            raise Interrupted(f"{done} of {len(jobs)} pictures are in {folder}; --skip-existing goes on.") from None
        finally:
            if outcomes:
                batch.write_index(batch.report_path(folder, batch.INDEX, options.shard), outcomes)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed:
        table = batch.report_path(folder, batch.TABLE, options.shard)
        raise BatchError(f"{failed} of {len(jobs)} pictures failed; {table} says why.")


def _plan_jobs(options: argparse.Namespace, folder: Path) -> list[Job]:
    """Returns the jobs that the options describe."""
    suffix = f".{options.format}"
    if options.pairs is not None:
        if options.contents or options.styles:
            raise UsageError("give --pairs, or CONTENT and --styles, not both.")
        jobs = batch.plan_pairs(batch.read_pairs(Path(options.pairs)), folder, suffix=suffix)
    elif not options.contents or (not options.styles and options.model is None):
        raise UsageError("give CONTENT and --styles, or --pairs FILE.")
    else:
        contents = batch.find_contents(list(map(Path, options.contents)), output=folder)
        styles = batch.expand_styles(options.styles or [])
        jobs = batch.plan_jobs(contents, styles or [None], folder, suffix=suffix, model=options.model)
    return batch.select_shard(jobs, options.shard)


def _check(options: argparse.Namespace, recipe: Recipe, jobs: Sequence[Job], *, fast: bool) -> None:
    """Makes every check that needs no TensorFlow.

    Raises:
        UsageError: if options cannot be used together.
        InputError: if a style image cannot be used.
        OutputError: if results exist that are neither to be skipped nor replaced.
    """
    images.parse_color(options.background)
    encoding.check_quality(options.quality)
    check_memory(options)
    typed = [name for name in OPTIONS if name in vars(options)]
    if fast and (other := [name for name in typed if name not in _FAST_FIELDS]):
        raise UsageError(f"`{other[0]}` is for a recipe's runs, not for one pass; leave it or --fast out.")
    weights.check(recipe.network.weights)
    for style in {id(job.style): job.style for job in jobs if job.style is not None}.values():
        if fast:
            check_one_pass([style])
        check_styles([style], recipe, feather=0.0)
        for path in name_pictures([style]).values():
            decoding.probe(Path(path), long_side=1)
    there = [job.output for job in jobs if job.output.exists()]
    if there and not (options.skip_existing or options.overwrite):
        raise OutputError(
            f"{there[0]}: exists, and {len(there) - 1} more; use --skip-existing to go on, or --overwrite."
        )


def _run_recipe(options: argparse.Namespace, jobs: Sequence[Job], recipe: Recipe, overrides: Any) -> Any:
    """Runs a recipe for each job; returns the outcomes."""
    from tfstyle import api

    def read(job: Job) -> Picture:
        picture = _read(job.content, options.background, recipe.pyramid.size)
        return dataclasses.replace(picture, source=records.identify(job.content))  # As in the record of a single run.

    def make(job: Job, content: Picture) -> None:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        # Where a run that breaks off leaves its image, so that --skip-existing does not take that for the result.
        name = files.shorten_name(f"{job.output.stem}.unfinished", job.output.suffix)
        unfinished = job.output.with_name(name)
        api.stylize(
            content,
            job.style,
            recipe=recipe,
            output=unfinished,
            memory=options.memory,
            background=options.background,
            quality=options.quality,
            overwrite=True,
            **overrides,
        )
        os.replace(unfinished, job.output)

    return batch.run(jobs, make, read=read, skip_existing=options.skip_existing)


def _run_fast(options: argparse.Namespace, jobs: Sequence[Job]) -> Any:
    """Stylizes the picture of each job in one pass; returns the outcomes."""
    from tfstyle import one_pass
    from tfstyle.feedforward import serialization

    network = serialization.load(options.model) if options.model else None
    chosen = {name: getattr(options, name) for name in _FAST_FIELDS if name in vars(options)}
    read_style = functools.lru_cache(maxsize=8)(functools.partial(_read, background=options.background))

    def read(job: Job) -> Picture:
        return _read(job.content, options.background, chosen.get("size", 0))

    def make(job: Job, content: Picture) -> Any:
        styles = [dataclasses.replace(job.style, picture=read_style(job.style.picture))] if job.style else []
        return one_pass.stylize_fast(content, styles, model=network, **chosen)

    def write(job: Job, image: Any) -> None:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        images.write_result(image, job.output, quality=options.quality, overwrite=options.overwrite)

    return batch.run(jobs, make, read=read, write=write, skip_existing=options.skip_existing)


def _read(path: Path, background: str, long_side: int = 0) -> Picture:
    """Reads a picture; what was converted is logged now, and not when the picture is used."""
    picture = images.read_and_log(path, background=background, long_side=long_side)
    return dataclasses.replace(picture, notes=(), warnings=())


def _report(options: argparse.Namespace, outcomes: Sequence[Outcome], total: int, passed: float) -> None:
    """Prints what became of the last job, and how long the rest will take."""
    job, status, seconds, message = outcomes[-1]
    if status == "failed":
        _log.warning("passed over %s: %s", job.content, message)
    if options.json:
        if status == "done":
            events.result(options, job.output, content=str(job.content), seconds=round(seconds, 1))
        else:
            events.skipped(options, job.content, message or "the result exists")
        return
    if status == "done":
        events.result(options, job.output)
    made = sum(outcome.status != "skipped" for outcome in outcomes)
    if not options.quiet and made:
        left = passed / made * (total - len(outcomes))
        print(f"{len(outcomes)}/{total}, {seconds:.0f} s; about {_duration(left)} left", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """Formats a duration: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
