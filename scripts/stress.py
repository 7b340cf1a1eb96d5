"""Tests tfstyle under the load of a service: many pictures at once, and many recipes and sizes one after another.

    python scripts/stress.py threads    # 8 threads x 20 pictures, 5 sizes, 3 recipes: bit-identical to single runs
    python scripts/stress.py memory     # 60 calls over 6 recipes and 20 sizes; resident memory after every tenth call

Prints one line per result and ends with exit code 1 if a picture differs or memory grows.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import sys
from concurrent import futures
from pathlib import Path

import numpy as np

RECIPES = ("balanced", "pytorch-lbfgs", "crowson")
SIZES = (64, 72, 80, 88, 96)
PHOTOGRAPHS = ("chelsea.jpg", "colosseum.jpg", "neuschwanstein.jpg")
PAINTINGS = ("starry_night.jpg", "harvest.jpg", "night_cafe.jpg", "cafe_terrace.jpg")
WIDE_RECIPES = (*RECIPES, "tensorflow-tutorial", "d2l", "anish")
MEMORY_LIMIT = 1.10
"""Largest allowed ratio of the resident memory after any tenth call to that after the first ten calls."""


def paint(job):
    """Stylizes one picture; a job is (recipe, size, photograph, painting, steps)."""
    import tfstyle

    recipe, size, photograph, painting, steps = job
    samples = tfstyle.SAMPLES
    overrides = {"recipe": recipe, "size": size, "steps": steps}
    return np.asarray(tfstyle.stylize(samples / photograph, samples / painting, **overrides))


def resident_megabytes():
    """Returns the resident memory of this process in megabytes, after garbage collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads(count, workers):
    """Compares pictures made in many threads with the same pictures made in turn; returns how many differ."""
    every = itertools.product(PAINTINGS, SIZES, RECIPES, PHOTOGRAPHS)  # Threads share recipe and size.
    work = [(recipe, size, photograph, painting, 6) for painting, size, recipe, photograph in every][:count]
    with futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(paint, work))
    wrong = sum(not np.array_equal(picture, paint(job)) for job, picture in zip(work, found, strict=True))
    print(f"threads: {workers} threads, {len(work)} pictures, {wrong} differ from the single run")
    return wrong


def memory(count):
    """Measures resident memory over many recipes and 20 sizes of one pair; returns its growth after the tenth call.

    The remaining growth is TensorFlow's: oneDNN caches about 0.2 MB of code for each shape of a convolution, up to 1024
    of them (none with TF_ENABLE_ONEDNN_OPTS=0).
    """
    after = []
    for index in range(1, count + 1):
        recipe, size = WIDE_RECIPES[index % len(WIDE_RECIPES)], 64 + 2 * (index % 20)
        paint((recipe, size, PHOTOGRAPHS[0], PAINTINGS[0], 3))
        if index % 10 == 0:
            after.append(resident_megabytes())
            growth = after[-1] / after[0]
            print(f"memory: {after[-1]:.0f} MB after {index} calls, {growth:.3f} of the tenth", flush=True)
    return max(after) / after[0]


def main():
    """Reads the options and runs the test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("threads", "memory"))
    parser.add_argument("--count", type=int, help="pictures [160 for threads, 60 for memory]")
    parser.add_argument("--workers", type=int, default=8, help="threads [8]")
    options = parser.parse_args()
    if options.what == "threads":
        failed = threads(options.count or 160, options.workers) > 0
    else:
        failed = memory(options.count or 60) > MEMORY_LIMIT
    sys.exit(failed)


if __name__ == "__main__":
    main()
