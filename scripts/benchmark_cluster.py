"""Compares the throughput of a batch on 1 and on 2 workers of a Ray cluster, of one core each, on this machine.

    python scripts/benchmark_cluster.py --size 128 --steps 20 --pictures 12 --rounds 2

The two take turns. Pictures per minute are those after the first of each worker, which loads TensorFlow and compiles;
the seconds of the whole batch include that.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

STORE = 80_000_000
"""Bytes of each node's memory for objects."""


def add_node(cluster, core):
    """Adds a node that computes on one core; its processes inherit the core from this one."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return cluster.add_node(num_cpus=1, object_store_memory=STORE)
    finally:
        os.sched_setaffinity(0, every)


def measure(address, work, pictures, workers):
    """Returns pictures per minute after the first ones, and the seconds of the whole batch."""
    from tfstyle import batch, images
    from tfstyle.cluster import driver
    from tfstyle.styles import Style

    with tempfile.TemporaryDirectory() as folder:
        contents = [(images.SAMPLES / "neuschwanstein.jpg", Path(str(number))) for number in range(pictures)]
        jobs = batch.plan_jobs(contents, [Style(images.SAMPLES / "starry_night.jpg")], Path(folder))
        began = time.perf_counter()
        done = [time.perf_counter() - began for outcome in driver.run(jobs, work, address=address) if check(outcome)]
    first = 2 * workers - 1  # By then each worker has compiled.
    return 60 * (pictures - 1 - first) / (done[-1] - done[first]), done[-1]


def check(outcome):
    """Returns True; ends the program if a picture failed."""
    if outcome.status != "done":
        raise SystemExit(outcome.message)
    return True


def main():
    """Prints a row for each batch, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="draft", help="recipe [draft]")
    parser.add_argument("--size", type=int, default=128, metavar="N", help="long side in pixels [128]")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps of each picture [20]")
    parser.add_argument("--pictures", type=int, default=12, metavar="N", help="pictures of each batch [12]")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="batches of each kind [2]")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)

    from ray.cluster_utils import Cluster

    from tfstyle.makers import RecipeWork
    from tfstyle.recipes import get_recipe

    recipe = get_recipe(options.recipe, size=options.size, steps=options.steps)
    work = RecipeWork(recipe=recipe, overrides={"size": options.size})
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster, cores = Cluster(initialize_head=True, head_node_args=head), sorted(os.sched_getaffinity(0))[:2]
    found: dict[int, list[float]] = {1: [], 2: []}
    try:
        print(f"{'workers':>8}{'per minute':>12}{'whole, s':>10}")
        for _ in range(options.rounds):
            for workers in (1, 2):
                nodes = [add_node(cluster, core) for core in cores[:workers]]
                rate, seconds = measure(cluster.address, work, options.pictures, workers)
                found[workers].append(rate)
                print(f"{workers:8}{rate:12.1f}{seconds:10.1f}", flush=True)
                for node in nodes:
                    cluster.remove_node(node, allow_graceful=False)
    finally:
        cluster.shutdown()
    one, two = (statistics.median(found[workers]) for workers in (1, 2))
    print(f"2 workers make {two / one:.2f} times as many pictures per minute as 1.")


if __name__ == "__main__":
    main()
