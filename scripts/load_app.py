"""Sends many pictures to `tfstyle app` at once: is any lost, is the order kept, how long does each wait?

python scripts/load_app.py [--requests 50] [--size 512]

First one picture at a time, for the time of a single call; then all at once. A picture that is n-th in the queue should
take n single calls; the ratio of the two is printed for the median and the 95th percentile.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx_sse


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Runs a server; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["app", "--port", "0", "--no-browser", "-o", folder]
        process = subprocess.Popen([sys.executable, "-m", "tfstyle", *words], stdout=subprocess.PIPE, text=True)
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()
            process.wait()


def paint(address: str, size: int) -> tuple[float, float, str]:
    """Has a sample painted in one pass; returns when it was accepted, when it was done, and its state."""
    with httpx.Client(base_url=address, timeout=600) as client:
        form = {"content_name": "colosseum.jpg", "style_names": "harvest.jpg", "fast": "true", "size": str(size)}
        job: dict[str, Any] = client.post("/v1/jobs", data=form).raise_for_status().json()
        with httpx_sse.connect_sse(client, "GET", f"/v1/jobs/{job['id']}/events") as source:
            for event in source.iter_sse():
                job = json.loads(event.data)
    return job["created"], time.time(), job["state"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50, metavar="N", help="pictures at once [50]")
    parser.add_argument("--size", type=int, default=512, metavar="N", help="long side in pixels [512]")
    parser.add_argument("--mixed", action="store_true", help="every second and third picture at half and 3/4 of it")
    options = parser.parse_args()
    sizes = [options.size * (4, 2, 3)[number % 3 if options.mixed else 0] // 4 for number in range(options.requests)]
    with serve() as address:
        single = {}
        for size in sorted(set(sizes)):
            paint(address, size)  # The first of a size is slower.
            times = [done - accepted for accepted, done, _ in (paint(address, size) for _ in range(5))]
            single[size] = statistics.median(times)
            print(f"{size} px, one at a time: {single[size]:.2f} s")
        with ThreadPoolExecutor(options.requests) as pool:
            made = sorted(zip(pool.map(lambda size: paint(address, size), sizes), sizes, strict=True))
    lost = sum(state != "done" for (_, _, state), _ in made)
    done = [end for (_, end, _), _ in made]
    disorder = sum(after < before - 0.2 for before, after in itertools.pairwise(done))
    due, ratios = 0.0, []
    for (accepted, end, _), size in made:
        due += single[size]
        ratios.append((end - accepted) / due)
    ratios.sort()
    took = max(done) - made[0][0][0]
    print(f"{len(made)} at once in {took:.1f} s: {lost} lost, {disorder} before an earlier one")
    p95 = ratios[min(len(ratios) - 1, round(0.95 * len(ratios)))]
    print(f"wait / (single call x place): median {statistics.median(ratios):.2f}, 95th percentile {p95:.2f}")


if __name__ == "__main__":
    main()
