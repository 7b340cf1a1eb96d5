"""Compares an evaluation of loss and gradient in tiles with that of the whole image: seconds and peak memory.

    python scripts/benchmark_tiles.py --sizes 1024 2048 --tiles 512 256 --repeats 3

Every size and tile has a process of its own, on samples resized to squares. `--largest-whole` leaves out what would not
fit as a whole. With `--workers N`, tiles are also divided among N processes of one core each, beside one process with N
cores: what the split costs, the exchange of sums and gradient included.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import socket
import statistics
import subprocess
import sys
import time

from benchmark import in_child, peak

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def row(size, tile, recipe_name, repeats, cores=None):
    """Returns median seconds of an evaluation once compiled, peak memory beyond the imports, loss, and what it sent."""
    if cores:
        os.sched_setaffinity(0, cores)
    import tensorflow as tf

    from tfstyle import images
    from tfstyle.distribution import Devices, join_workers
    from tfstyle.model import build_model
    from tfstyle.objective import make_objective
    from tfstyle.recipes import get_recipe
    from tfstyle.targets import make_targets
    from tfstyle.tiling import Tiling

    devices = Devices(join_workers())
    exchanged, add = [], devices.sum

    def add_and_count(tensors):
        began, size = (
            time.perf_counter(),
            sum(tensor.numpy().nbytes for tensor in map(tf.constant, tf.nest.flatten(tensors))),
        )
        found = add(tensors)
        exchanged.append((size, time.perf_counter() - began))
        return found

    devices.sum = add_and_count
    recipe = get_recipe(recipe_name, recurrence=0.0, regions="none")
    library = peak()
    model = build_model(recipe.network, recipe.loss)
    content, style = (
        tf.constant(images.resize(images.read(images.SAMPLES / name).image, size, size))
        for name in ("neuschwanstein.jpg", "starry_night.jpg")
    )
    weights = {name: tf.constant(weight) for name, weight in recipe.term_weights.by_term().items()}
    options = {"weights": weights, "flipped": model.vgg.flipped_kernels(recipe.network.flip_kernels)}
    if tile:
        tiling = Tiling(model, recipe.loss, devices=devices)
        see = functools.partial(tiling.describe, tile=tile)
        search = functools.partial(tiling.search, tile=tile)
        targets = make_targets(model, recipe.loss, content, [style], see=see, search=search)
        evaluate = tiling.make_objective(targets, tile=tile, **options)
    else:
        compute = tf.function(
            lambda content, style: make_targets(model, recipe.loss, content, [style]), autograph=False
        )
        targets = compute(content, style)
        evaluate = tf.function(make_objective(model, recipe.loss, targets, **options), autograph=False)
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        loss = float(evaluate(content).loss)
        seconds.append(time.perf_counter() - began)
    megabytes, waited = (sum(part) / (repeats + 1) for part in zip(*exchanged, strict=True)) if exchanged else (0, 0.0)
    found = {"seconds": statistics.median(seconds[1:]), "memory": peak() - library, "loss": loss}
    return found | {"megabytes": megabytes / 1e6, "exchange": waited}


def in_workers(job, count):
    """Measures a row in several workers on loopback, of one core each; returns that of the first."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    for listener in listeners:
        listener.close()
    workers = []
    for number in range(count):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        words = [sys.executable, __file__, "row", json.dumps(job | {"cores": [number]})]
        environment = os.environ | {"TF_CONFIG": json.dumps(task)}
        workers.append(
            subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    outputs = [worker.communicate() for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit(outputs[0][1])
    return json.loads(outputs[0][0].splitlines()[-1])


def print_row(size, how, found, whole):
    """Prints a measured row; `whole` is the seconds of the whole image, if known."""
    ratio = f"{found['seconds'] / whole:9.2f}" if whole else " " * 9
    print(
        f"{size:6}{how:>8}{found['seconds']:9.2f}{ratio}{found['memory'] / 1e9:7.2f}{found['loss']:14.6g}", flush=True
    )


def main():
    """Prints a row for each size and tile."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024], metavar="N", help="sides in pixels [1024]")
    parser.add_argument("--tiles", type=int, nargs="+", default=[512], metavar="N", help="lengths of tiles [512]")
    parser.add_argument("--recipe", default="wasserstein", help="recipe [wasserstein]")
    parser.add_argument("--repeats", type=int, default=3, help="measured evaluations [3]")
    parser.add_argument("--largest-whole", type=int, default=2048, metavar="N", help="largest whole image [2048]")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="divide tiles among N processes as well")
    options = parser.parse_args()
    print(f"{'size':>6}{'tile':>8}{'s':>9}{'/ whole':>9}{'GB':>7}{'loss':>14}")
    for size in options.sizes:
        whole = None
        for tile in ([0] if size <= options.largest_whole else []) + options.tiles:
            job = {"size": size, "tile": tile, "recipe_name": options.recipe, "repeats": options.repeats}
            found = in_child(job, script=__file__)
            whole = found["seconds"] if not tile else whole
            print_row(size, tile or "whole", found, whole)
            if tile and options.workers:
                cores = list(range(options.workers))
                print_row(size, "1 proc.", in_child(job | {"cores": cores}, script=__file__), whole)
                divided = in_workers(job, options.workers)
                print_row(size, f"{options.workers} proc.", divided, whole)
                print(f"{'':12} exchanged {divided['megabytes']:.1f} MB in {divided['exchange']:.2f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["row"]:  # One row, for `in_child`.
        print(json.dumps(row(**json.loads(sys.argv[2]))))
    else:
        main()
