"""Compares methods on the same pairs of pictures: errors, seconds and ratios, measured in one process tree.

    python scripts/benchmark.py steps --size 512                  # seconds per step, memory, one-pass networks
    python scripts/benchmark.py pictures --size 256 --pairs 10    # complete runs; continues where it was stopped
    python scripts/benchmark.py fast --size 1024 --repeats 3 --against CHECKOUT    # one pass, in turn with another one

Methods: `plain`, a TensorFlow tutorial loop in plain Keras, 100 steps; `johnson`, 500 evaluations of the recipe;
`johnson-content`, the same objective started at the content image; `crowson`, the complete recipe; and tfstyle's own
`draft`, `balanced`, `best`, and `fast`, one pass. Every run has its own process, pair by pair and method by method.
Pictures and errors are stored under --output by the hash of method, recipe, pictures, size and device; the hash does
not include the code, so use a new folder after changing it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _methods import METHODS, our_steps, plain_loop, read_pair, recipe_of, run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CONTENTS = ("neuschwanstein", "colosseum", "chelsea")
STYLES = ("starry_night", "cafe_terrace", "harvest", "night_cafe")
SAMPLE_PAIRS = [(CONTENTS[i % 3], STYLES[i % 4]) for i in range(12)]
FIGURES = ("gram", "moments", "sliced_wasserstein", "colors", "content", "ssim", "grain", "matched_share", "semantic")
LOOKS = [2.0**power for power in range(-1, 11)]
"""Numbers of evaluations, in images of the full size, at which the image is kept and measured after the run."""

GOALS = {"gram": (0.5, 0.3), "sliced_wasserstein": (0.2, 0.15, 0.125)}
"""Thresholds of the style errors; the report shows when each is reached."""


def peak():
    """Returns the peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # On Linux `ru_maxrss` starts at the parent's value.
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def picture_row(job):
    """Makes one complete run; returns its errors at each of `LOOKS` and at the end."""
    import tensorflow as tf

    from tfstyle import images, metrics, vgg

    content, style = read_pair(job["pair"], job["size"])
    library, looks, losses, evaluations = peak(), [], [], 0.0
    with tf.device(job["device"]):
        began, worked = time.perf_counter(), time.process_time()
        for share, image, total in run(job["method"], content, style, job["size"]):
            if not evaluations:
                first = time.perf_counter() - began
            before, evaluations = evaluations, evaluations + share
            if any(before < look <= evaluations for look in LOOKS):
                looks.append((evaluations, time.perf_counter() - began, image))
            if total is not None:
                losses.append((round(evaluations, 3), total))
        looks.append((evaluations, time.perf_counter() - began, image))
    row = {"first_step": first, "seconds": looks[-1][1], "processor_seconds": time.process_time() - worked}
    row |= {"evaluations": evaluations, "memory": peak() - library, "losses": losses}
    images.write(image, job["picture"], overwrite=True)
    network = vgg.load_vgg(metrics.LAYERS)
    height, width = content.shape[1:3]
    shown = [(count, seconds, images.resize(image, height, width)) for count, seconds, image in looks]
    measured = [(count, seconds, *metrics.compare(network, content, style, image)) for count, seconds, image in shown]
    return row | {"curve": measured} | dict(zip(FIGURES, measured[-1][2:], strict=True))


def memory_row(job):
    """Returns the peak memory, beyond the imported library, of a short run at one scale."""
    from tfstyle.recipes import Adam, get_recipe

    content, style = read_pair(job["pair"], job["size"])
    own = get_recipe("wasserstein", size=job["size"], precision=job["precision"], scale_start=0)
    recipe = own if job["optimizer"] == "lbfgs" else get_recipe(own, optimizer=Adam())
    library = peak()
    for _ in our_steps(get_recipe(recipe, scale_steps=(12,)), content, style):
        pass
    return {"memory": peak() - library}


def in_child(job, checkout=None, *, script=__file__):
    """Measures a row in a process of its own, with the tfstyle of another checkout if one is given."""
    command = [sys.executable, script, "row", json.dumps(job)]
    environment = os.environ | ({"PYTHONPATH": str(checkout)} if checkout else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def key_of(job):
    """Returns the hash that a row is stored by: of method and recipe, pictures, size, device and repeat."""
    from tfstyle.recipes import RECIPES

    recipe = repr(recipe_of(job["method"], job["size"])) if job["method"] in {*RECIPES, "johnson-content"} else ""
    parts = [job["method"], recipe, str(job["size"]), job["device"], str(job["repeat"])]
    whole = hashlib.sha256("\n".join(parts).encode())
    for path in job["pair"]:
        whole.update(Path(path).read_bytes())
    return whole.hexdigest()[:16]


def pictures(options):
    """Measures the rows that are missing, then writes the tables."""
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for repeat in range(options.repeats):
        for content, style in find_pairs(options):
            for method in options.methods.split(","):
                job = {"method": method, "pair": [content, style], "size": options.size, "device": options.device}
                names = Path(content).stem, Path(style).stem
                job |= {"repeat": repeat, "name": " x ".join(names)}
                key = key_of(job)
                job["picture"] = str(folder / ".".join([*names, str(options.size), method, key, "png"]))
                kept = folder / f"{key}.json"
                if not kept.exists():
                    row = job | in_child(job)
                    kept.with_suffix(".part").write_text(json.dumps(row))
                    kept.with_suffix(".part").rename(kept)
                    print(f"{job['name']:<32}{method:<10}{row['seconds']:8.1f} s", file=sys.stderr)
                rows.append(json.loads(kept.read_text()))
    write_csv(rows, folder / f"figures-{options.size}.csv")
    draw(rows, folder / f"curves-{options.size}.png")
    report(rows)


def find_pairs(options):
    """Returns the pairs to run: the samples, or the files of two folders in a fixed random order."""
    from tfstyle import images

    if options.contents and options.styles:
        contents, styles = (sorted(map(str, Path(folder).iterdir())) for folder in (options.contents, options.styles))
        pairs = list(itertools.product(contents, styles))
        random.Random(0).shuffle(pairs)
    else:
        pairs = [tuple(str(images.SAMPLES / f"{name}.jpg") for name in pair) for pair in SAMPLE_PAIRS]
    return pairs[: options.pairs]


def write_csv(rows, path):
    """Writes one line per run."""
    costs = ("evaluations", "first_step", "seconds", "processor_seconds", "memory")
    names = ("name", "method", "size", "repeat", *costs, *FIGURES)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([row[name] for name in names] for row in rows)


def draw(rows, path):
    """Draws style errors over seconds and over the content error, means over the pairs, one curve per method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    axes = ((1, 2), (1, 4), (6, 4))  # Indices in a curve's points: seconds, Gram, sliced Wasserstein and content error.
    names = {1: "seconds", 2: "Gram error", 4: "sliced Wasserstein error", 6: "content error"}
    for method, runs in by_method(rows).items():
        length = min(len(run["curve"]) for run in runs)
        points = [[statistics.mean(run["curve"][i][k] for run in runs) for i in range(length)] for k in range(8)]
        for panel, (x, y) in zip(panels, axes, strict=True):
            panel.plot(points[x], points[y], marker=".", label=method if panel is panels[0] else None)
    for panel, (x, y) in zip(panels, axes, strict=True):
        panel.set(xlabel=names[x], ylabel=names[y], xscale="log" if x == 1 else "linear")
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=110)


def by_method(rows):
    """Groups the rows by method, in the order of the pairs."""
    methods = dict.fromkeys(row["method"] for row in rows)
    return {method: [row for row in rows if row["method"] == method] for method in methods}


def report(rows):
    """Prints means over the pairs; then, against baselines, ratios of the means and pairs on which ours is lower."""
    runs = by_method(rows)
    shown = ("seconds", "processor_seconds", *FIGURES)
    print("\n| method | evaluations | memory GB | " + " | ".join(shown) + " |\n" + "|---" * (len(shown) + 3) + "|")
    for method, own in runs.items():
        mean = {name: statistics.mean(row[name] for row in own) for name in ("evaluations", "memory", *shown)}
        cells = [method, f"{mean['evaluations']:.0f}", f"{mean['memory'] / 1e9:.2f}"]
        print("| " + " | ".join(cells + [f"{mean[name]:.3f}" for name in shown]) + " |")
    compared = ("gram", "sliced_wasserstein", "content", "processor_seconds")
    print("\n| ours / baseline | " + " | ".join(compared) + " |\n" + "|---" * 5 + "|")
    for ours, baseline in itertools.product(("draft", "balanced", "best"), ("plain", "johnson", "crowson")):
        if ours in runs and baseline in runs:
            cells = [versus(runs[ours], runs[baseline], name) for name in compared]
            print(f"| {ours} / {baseline} | " + " | ".join(cells) + " |")
    titles = [f"{name} ≤ {goal}" for name, goals in GOALS.items() for goal in goals]
    print("\nevaluations / seconds until an error is first measured this low; means over the pairs")
    print("| method | " + " | ".join(titles) + " |\n" + "|---" * (len(titles) + 1) + "|")
    for method, own in runs.items():
        cells = [reached(own, name, goal) for name, goals in GOALS.items() for goal in goals]
        print(f"| {method} | " + " | ".join(cells) + " |")
    if "johnson" in runs and "johnson-content" in runs:
        goals = [row["losses"][-1][1] for row in runs["johnson"]]
        needed = [evaluations_to(row, goal) for row, goal in zip(runs["johnson-content"], goals, strict=True)]
        print(f"\nevaluations from the photograph to johnson's loss at 500, pair by pair: {needed}")


def versus(ours, baseline, name):
    """Formats the ratio of the means, and the number of pairs on which ours is lower."""
    lower = sum(a[name] < b[name] for a, b in zip(ours, baseline, strict=True))
    ratio = sum(row[name] for row in ours) / sum(row[name] for row in baseline)
    return f"{ratio:.3f} ({lower} of {len(ours)})"


def reached(rows, name, goal):
    """Formats the mean evaluations and seconds until an error is at most `goal`; a dash if a pair never reaches it."""
    place = 2 + FIGURES.index(name)
    found = [next((point for point in row["curve"] if point[place] <= goal), None) for row in rows]
    if None in found:
        return "-"
    return " / ".join(f"{statistics.mean(point[i] for point in found):.{i}f}" for i in range(2))


def evaluations_to(row, loss):
    """Returns the evaluations until the total loss is at most `loss`; None if it never is."""
    return next((count for count, total in row["losses"] if total <= loss), None)


def steps(options):
    """Measures seconds per step, in turn in one process; memory; a second picture; one pass at four sizes."""
    import tensorflow as tf

    from tfstyle import images
    from tfstyle.recipes import get_recipe

    pair = [str(images.SAMPLES / f"{name}.jpg") for name in SAMPLE_PAIRS[0]]
    start = in_child({"pair": pair, "size": options.size, "began": time.time()})
    for what, moment in (("TensorFlow", start["imported"]), ("first step", start["seconds"])):
        print(f"{'start to ' + what:<24}{moment:8.3f} s")
    content, style = read_pair(pair, options.size)
    tutorial = get_recipe("tensorflow-tutorial", steps=100000)
    half = get_recipe(tutorial, precision="bfloat16")
    with tf.device(options.device):
        loops = {
            "sgemm floor": sgemm(content.shape[1] * content.shape[2]),
            "plain": plain_loop(content, style),
            "float32": our_steps(tutorial, content, style),
            "bfloat16": our_steps(half, content, style),
            "L-BFGS alone": lbfgs_alone(content.shape),
        }
        seconds = {name: [] for name in loops}
        for repeat in range(options.repeats + 2):
            for name, loop in loops.items():
                began = time.perf_counter()
                value = next(loop)
                if repeat >= 2:  # The first steps compile.
                    seconds[name].append(value if isinstance(value, float) else time.perf_counter() - began)
        for name, values in seconds.items():
            print(f"{name:<24}{statistics.median(values):8.3f} s per step")
        for over, under in (
            ("float32", "sgemm floor"),
            ("float32", "plain"),
            ("bfloat16", "float32"),
            ("L-BFGS alone", "float32"),
        ):
            ratios = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
            name = f"{over} / {under}"
            print(f"{name:<24}{statistics.median(ratios):8.3f}   ({min(ratios):.3f} to {max(ratios):.3f})")
        again(pair, options.size)
    for name, optimizer, precision in (
        ("Adam, float32", "adam", "float32"),
        ("L-BFGS, float32", "lbfgs", "float32"),
        ("L-BFGS, bfloat16", "lbfgs", "bfloat16"),
    ):
        used = in_child({"optimizer": optimizer, "precision": precision, "pair": pair, "size": 1024})["memory"]
        print(f"{name:<24}{used / 1e9:8.2f} GB beyond the library, 1024 px")


def sgemm(pixels):
    """Yields the seconds that a step (1.551 million operations per pixel) takes at the speed of a matrix product."""
    import tensorflow as tf

    matrix = tf.random.stateless_normal([2048, 2048], seed=(0, 0))
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    while True:
        began = time.perf_counter()
        float(product())
        yield 1.551104e6 * pixels * (time.perf_counter() - began) / (2.0 * 2048**3)


def lbfgs_alone(shape):
    """Yields the seconds of a step of L-BFGS, history 10, on an objective of negligible cost."""
    import tensorflow as tf

    from tfstyle.lbfgs import LBFGSOptimizer
    from tfstyle.recipes import LBFGS

    curvature = tf.random.stateless_uniform(shape, seed=(0, 0)) + 0.1
    optimizer, image = LBFGSOptimizer(LBFGS(learning_rate=0.1, history=10)), tf.ones(shape)
    step = tf.function(lambda state, image: optimizer.update(state, image, curvature * image))
    state = optimizer.init(image)
    for _ in range(12):  # Until the history is full.
        state, image = step(state, image)
    while True:
        began = time.perf_counter()
        state, image = step(state, image)
        yield time.perf_counter() - began


def first_step(job):
    """Returns the seconds from the start of this process (`began`, from its parent) to import and first step."""
    import tensorflow  # noqa: F401

    imported = time.time() - job["began"]
    next(our_steps(recipe_of("balanced", job["size"]), *read_pair(job["pair"], job["size"])))
    return {"imported": imported, "seconds": time.time() - job["began"]}


def again(pair, size):
    """Measures the time to the first step of a first and a second picture, and one pass of AdaIN at four sizes."""
    from tfstyle.feedforward.adain import load_adain
    from tfstyle.recipes import get_recipe
    from tfstyle.transfer import Transfer

    recipe = get_recipe("wasserstein", size=size)
    content, style = read_pair(pair, size)
    transfer = Transfer(recipe)
    for picture in ("first", "second"):
        began = time.perf_counter()
        next(transfer.steps(content, style))
        print(f"{picture + ' picture':<24}{time.perf_counter() - began:8.3f} s to the first step")
    for side in (256, 512, 1024, 2048):
        content, style = read_pair(pair, side)
        load_adain().stylize(content, [style])
        began = time.perf_counter()
        load_adain().stylize(content, [style]).numpy()
        print(f"one pass, {side:<14}{time.perf_counter() - began:8.3f} s")


def fast_row(job):
    """Returns the seconds and processor seconds of a second pass of AdaIN's network, once compiled, and peak memory."""
    from tfstyle.feedforward.adain import load_adain

    content, style = read_pair(job["pair"], job["size"])
    library = peak()
    for _ in range(2):
        began, worked = time.perf_counter(), time.process_time()
        load_adain().stylize(content, [style], **job["stylize"]).numpy()
    row = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - worked}
    return row | {"memory": peak() - library}


def fast(options):
    """Measures one pass with each transform and precision, in turn with another checkout's if one is given."""
    from tfstyle import images
    from tfstyle.feedforward.options import TRANSFORMS

    pair = [str(images.SAMPLES / f"{name}.jpg") for name in SAMPLE_PAIRS[0]]
    cases = {"other checkout": (options.against, {})} if options.against else {}
    cases |= {name: (None, {"transform": name}) for name in TRANSFORMS}
    cases["adain, float32"] = (None, {"precision": "float32"})
    rows = {name: [] for name in cases}
    for _ in range(options.repeats):
        for name, (checkout, keywords) in cases.items():
            rows[name].append(in_child({"pair": pair, "size": options.size, "stylize": keywords}, checkout))
    for name, own in rows.items():
        keys = ("seconds", "processor_seconds", "memory")
        seconds, processor, memory = (statistics.median(row[key] for row in own) for key in keys)
        print(f"{name:<24}{seconds:8.3f} s{processor:8.3f} processor s{memory / 1e9:8.2f} GB beyond the library")


def main():
    """Reads the options and runs a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("steps", "pictures", "fast", "row"), help="row: one run, called by the others")
    parser.add_argument("job", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=256, help="long side in pixels [256]")
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs [10; the samples have 12]")
    parser.add_argument("--contents", help="folder of photographs, with --styles, instead of the samples")
    parser.add_argument("--styles", help="folder of paintings")
    parser.add_argument("--repeats", type=int, default=1, help="measured steps, or runs of each picture [1]")
    parser.add_argument("--device", default="", help="device, such as CPU:0 or GPU:0 [TensorFlow's choice]")
    parser.add_argument("--methods", default=",".join(METHODS), help="methods to run, separated by commas [all]")
    parser.add_argument("--against", metavar="DIR", help="root of another checkout, to run `fast` in turn with")
    parser.add_argument("--output", default="benchmark", help="folder for pictures, errors and curves [benchmark]")
    options = parser.parse_args()
    if options.part == "row":
        job = json.loads(options.job)
        measures = {"optimizer": memory_row, "began": first_step, "stylize": fast_row}
        measure = next((measure for key, measure in measures.items() if key in job), picture_row)
        print(json.dumps(measure(job)))
    else:
        {"steps": steps, "pictures": pictures, "fast": fast}[options.part](options)


if __name__ == "__main__":
    main()
