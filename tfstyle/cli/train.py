"""The commands `tfstyle train fast`, `train adain` and `train gan`, which train networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfstyle import images
from tfstyle.cli import events
from tfstyle.cli.streams import join_workers, quiet_tensorflow
from tfstyle.errors import InputError
from tfstyle.fields import option_fields
from tfstyle.pictures import decoding
from tfstyle.tensors import sides
from tfstyle.training import dataset, run_folder
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions, TrainingOptions

SHEET_SIZE = 384
"""Long side of the content images on a sample sheet, in pixels."""

MAX_SHEET_IMAGES = 6
"""Largest number of content images on a sample sheet."""


def run(options: argparse.Namespace) -> None:
    """Runs a training of the given kind, and prints the path of the network or the JSON event of the result."""
    network = {"fast": _train_fast, "adain": _train_adain, "gan": _train_gan}[options.kind](options)
    if _reports(options):
        events.result(options, network)


def _train_fast(options: argparse.Namespace) -> Path:
    numbers, content_images, folder = _check(options, FastOptions)
    style_image = Path(options.style)
    width, height = decoding.probe(style_image, long_side=1)
    if min(width, height) < numbers.size:
        raise InputError(
            f"{style_image}: is {width}x{height}, smaller than a crop of {numbers.size} pixels; give a larger "
            "picture or a smaller `size`."
        )
    with quiet_tensorflow(options.debug):
        from tfstyle.training import perceptual
    return perceptual.train_fast(style_image, content_images, _make_run(options, numbers, folder), options=numbers)


def _train_adain(options: argparse.Namespace) -> Path:
    numbers, content_images, folder = _check(options, AdaINOptions)
    style_images = dataset.list_pictures(Path(options.styles), crop=numbers.size)
    with quiet_tensorflow(options.debug):
        from tfstyle.training import adain
    return adain.train_adain(style_images, content_images, _make_run(options, numbers, folder), options=numbers)


def _train_gan(options: argparse.Namespace) -> Path:
    numbers, content_images, folder = _check(options, GANOptions)
    style_images = dataset.list_pictures(Path(options.styles), crop=numbers.size)
    with quiet_tensorflow(options.debug):
        from tfstyle.training import gan
    return gan.train_gan(style_images, content_images, _make_run(options, numbers, folder), options=numbers)


def _check(options: argparse.Namespace, kind: type[TrainingOptions]) -> tuple[Any, list[Path], Path]:
    """Returns hyperparameters, content images and folder, after all checks that do not need TensorFlow."""
    typed = {item.name for item in option_fields(kind)} & set(vars(options))
    numbers = kind(**{name: getattr(options, name) for name in typed})
    folder = Path(options.output)
    run_folder.check(folder, resume=options.resume, overwrite=options.overwrite)
    return numbers, dataset.list_pictures(Path(options.photos), crop=numbers.size), folder


def _make_run(options: argparse.Namespace, numbers: TrainingOptions, folder: Path) -> Any:
    """Makes the `Run`; its sample sheets show the given content images, or the embedded ones."""
    from tfstyle import environment
    from tfstyle.feedforward.transformer_net import SMALLEST
    from tfstyle.training import progress
    from tfstyle.training.run import Run

    environment.grow_gpu_memory()
    strategy = None
    if getattr(options, "mirrored", False):  # Before TensorFlow computes anything.
        strategy = join_workers(options.debug) or environment.tf.distribute.MirroredStrategy()
    if options.samples:
        paths = dataset.list_pictures(Path(options.samples), crop=1)[:MAX_SHEET_IMAGES]
    else:
        paths = [images.SAMPLES / f"{name}.jpg" for name in ("chelsea", "colosseum", "neuschwanstein")]
    samples = [images.fit(images.read(path, long_side=SHEET_SIZE).image, SHEET_SIZE) for path in paths]
    for path, sample in zip(paths, samples, strict=True):
        if min(sides(sample)) < SMALLEST:
            raise InputError(
                f"{path}: is too narrow for a sample sheet: with a long side of {SHEET_SIZE} pixels, its short side "
                f"has less than {SMALLEST}; choose other `samples`."
            )
    events.start(options, steps=numbers.steps)
    callbacks: list[Any] = []
    if options.json and _reports(options):
        callbacks = [progress.JsonLines(numbers.steps)]
    elif not options.quiet and _reports(options):
        callbacks = [progress.Progress(numbers.steps)]
    return Run(
        folder,
        resume=options.resume,
        overwrite=options.overwrite,
        strategy=strategy,
        samples=samples,
        callbacks=callbacks,
    )


def _reports(options: argparse.Namespace) -> bool:
    """Returns whether this process reports the training; of several workers, the chief does."""
    from tfstyle import distribution

    return not getattr(options, "mirrored", False) or distribution.is_chief()
