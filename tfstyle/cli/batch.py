"""The command `tfstyle batch`: many pictures in one process, with a table and a page of the results."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from tfstyle import batch, files, images, weights
from tfstyle.batch import Job, Outcome
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import check_memory, start, typed_recipe
from tfstyle.cluster import driver
from tfstyle.errors import BatchError, Interrupted, OutputError, UsageError
from tfstyle.makers import FastWork, RecipeWork
from tfstyle.pictures import decoding, encoding
from tfstyle.recipes.recipe import OPTIONS, Recipe
from tfstyle.styles import check_one_pass, check_styles, name_pictures

_FAST_FIELDS = ("size", "color", "color_strength", "precision")
"""Fields of a recipe that `--fast` uses."""

_log = logging.getLogger("tfstyle")


def run(options: argparse.Namespace) -> None:
    """Makes every picture of a batch; prints the path of each result."""
    recipe, overrides = typed_recipe(options)
    folder = Path(options.output)
    jobs = _plan_jobs(options, folder)
    _check(options, recipe, jobs, fast=_is_fast(options))
    start(options, recipe, output=str(folder), pictures=len(jobs), fast=_is_fast(options))
    with files.make_folder(folder):
        with quiet_tensorflow(options.debug):
            from tfstyle import environment
        environment.grow_gpu_memory()  # Thumbnails are resized here, also if a cluster makes the pictures.
        made = _make(options, jobs, _describe_work(options, recipe, overrides))
        outcomes: list[Outcome] = []
        began = time.perf_counter()
        try:
            with contextlib.closing(made):
                for outcome in made:
                    outcomes.append(outcome)
                    table = batch.report_path(folder, batch.TABLE, options.shard)
                    batch.write_table(table, _in_order(outcomes, jobs))
                    _report(options, outcomes, len(jobs), time.perf_counter() - began)
        except KeyboardInterrupt:
            done = sum(outcome.status == "done" for outcome in outcomes)
            raise Interrupted(f"{done} of {len(jobs)} pictures are in {folder}; --skip-existing goes on.") from None
        finally:
            if outcomes:
                index = batch.report_path(folder, batch.INDEX, options.shard)
                batch.write_index(index, _in_order(outcomes, jobs))
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
    if options.ray is not None:
        driver.check(options.ray)
    folder = Path(options.output)
    pairs = None if options.pairs is None else Path(options.pairs)
    batch.check_reports(folder, options.shard, pairs=pairs, overwrite=options.overwrite)
    there = [job.output for job in jobs if job.output.exists()]
    if there and not (options.skip_existing or options.overwrite):
        raise OutputError(
            f"{there[0]}: exists, and {len(there) - 1} more; use --skip-existing to go on, or --overwrite."
        )
    for within in {job.output.parent: None for job in jobs}:
        files.check_folders(within)
    for path in there if options.overwrite and not options.skip_existing else ():
        files.check_file(path, (path.suffix,), overwrite=True)


def _describe_work(options: argparse.Namespace, recipe: Recipe, overrides: Any) -> RecipeWork | FastWork:
    """Returns what is to be done with each job."""
    if not _is_fast(options):
        return RecipeWork(
            recipe=recipe,
            overrides=overrides,
            memory=options.memory,
            background=options.background,
            quality=options.quality,
            overwrite=options.overwrite,
        )
    chosen = {name: getattr(options, name) for name in _FAST_FIELDS if name in vars(options)}
    return FastWork(
        model=options.model,
        options=chosen,
        background=options.background,
        quality=options.quality,
        overwrite=options.overwrite,
    )


def _make(
    options: argparse.Namespace, jobs: Sequence[Job], work: RecipeWork | FastWork
) -> Generator[Outcome, None, None]:
    """Makes the pictures, here or on a cluster; returns the outcomes."""
    if options.ray is not None:
        chosen = {"skip_existing": options.skip_existing, "overwrite": options.overwrite, "debug": options.debug}
        return driver.run(jobs, work, address=options.ray, **chosen)
    maker = work.start()
    return batch.run(jobs, maker.make, read=maker.read, write=maker.write, skip_existing=options.skip_existing)


def _in_order(outcomes: Sequence[Outcome], jobs: Sequence[Job]) -> list[Outcome]:
    """Returns outcomes in the order of their jobs; a cluster finishes them in another."""
    places = {job.output: number for number, job in enumerate(jobs)}
    return sorted(outcomes, key=lambda outcome: places[outcome.job.output])


def _is_fast(options: argparse.Namespace) -> bool:
    """Returns whether one pass makes each picture."""
    return options.fast or options.model is not None


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
