"""Tests tfstyle under the load of a service: many pictures at once, and many recipes and sizes one after another.

    python scripts/stress.py threads    # 8 threads x 20 pictures, 5 sizes, 3 recipes: bit-identical to single runs
    python scripts/stress.py memory     # 60 calls over 6 recipes and 20 sizes; resident memory after every tenth call
    python scripts/stress.py batch      # 200 pictures by `tfstyle batch`, with a recipe and in one pass, and one by one

Prints one line per result and ends with exit code 1 if a picture differs, memory grows, or a batch takes longer than
its pictures.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path

import numpy as np

RECIPES = ("balanced", "pytorch-lbfgs", "crowson")
SIZES = (64, 72, 80, 88, 96)
PHOTOGRAPHS = ("chelsea.jpg", "colosseum.jpg", "neuschwanstein.jpg")
PAINTINGS = ("starry_night.jpg", "harvest.jpg", "night_cafe.jpg", "cafe_terrace.jpg")
WIDE_RECIPES = (*RECIPES, "tensorflow-tutorial", "d2l", "anish")
MEMORY_LIMIT = 1.10
"""Largest allowed ratio of the resident memory after any tenth call to that after the first ten calls; of batches, that
of the memory after the last tenth to that after the second one, and of their time to that of the single pictures."""


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


def batch(count):
    """Stylizes a folder in shards and its pictures one by one; returns the greatest ratio of memory and of time."""
    from tfstyle import api, cli, images, one_pass

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        photos, painting = Path(folder) / "photos", images.SAMPLES / PAINTINGS[0]
        photos.mkdir()
        for index in range(count):
            picture = images.read(images.SAMPLES / PHOTOGRAPHS[index % 3], long_side=160).image
            images.write(images.fit(picture, SIZES[index % 5]), photos / f"{index:03}.png")
        ways = {"--fast": (one_pass.stylize_fast, {}), "--recipe=draft": (api.stylize, {"recipe": "draft"})}
        for option, (function, overrides) in ways.items():
            after, seconds = [], []
            for shard in range(1, 11):
                words = ["batch", str(photos), "--styles", str(painting), option, "-o", f"{folder}/{option}"]
                began = time.perf_counter()
                code = cli.main([*words, "-q", "--shard", f"{shard}/10"])
                seconds.append(time.perf_counter() - began)
                after.append(resident_megabytes())
                alone = time.perf_counter()
                for path in sorted(photos.iterdir())[shard - 1 :: 10]:
                    function(path, painting, output=f"{folder}/alone.png", overwrite=True, **overrides)
                seconds.append(seconds.pop() / (time.perf_counter() - alone))
                print(
                    f"batch {option}: exit code {code}, {after[-1]:.0f} MB, {seconds[-1]:.2f} of the time", flush=True
                )
            ratios += [after[-1] / after[1], statistics.median(seconds)]
    return max(ratios)


def main():
    """Reads the options and runs the test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("threads", "memory", "batch"))
    parser.add_argument("--count", type=int, help="pictures [160 for threads, 60 for memory, 200 for batch]")
    parser.add_argument("--workers", type=int, default=8, help="threads [8]")
    options = parser.parse_args()
    if options.what == "threads":
        failed = threads(options.count or 160, options.workers) > 0
    elif options.what == "batch":
        failed = batch(options.count or 200) > MEMORY_LIMIT
    else:
        failed = memory(options.count or 60) > MEMORY_LIMIT
    sys.exit(failed)


if __name__ == "__main__":
    main()
