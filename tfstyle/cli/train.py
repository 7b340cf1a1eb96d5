"""Trains a network: `tfstyle train fast`, `train adain` and `train gan`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tfstyle import images
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.errors import InputError
from tfstyle.fields import option_fields
from tfstyle.pictures import decoding
from tfstyle.training import dataset, run_folder
from tfstyle.training.options import AdaINOptions, FastOptions, GANOptions, TrainingOptions

SHEET_SIZE = 384
"""Long side of the photographs on a sample sheet, in pixels."""

SHEET_MOST = 6
"""Most photographs on a sample sheet."""


def run(options: argparse.Namespace) -> None:
    """Runs the kind of training asked for; the path of the network, or its event, goes to standard output."""
    events.result(options, {"fast": _fast, "adain": _adain, "gan": _gan}[options.kind](options))


def _fast(options: argparse.Namespace) -> Path:
    numbers, photographs, folder = _checked(options, FastOptions)
    painting = Path(options.style)
    sides = decoding.probe(painting, long_side=1)
    if min(sides) < numbers.size:
        raise InputError(
            f"{painting}: is {sides[0]}x{sides[1]}, smaller than a crop of {numbers.size} pixels; give a larger "
            "picture or a smaller `size`."
        )
    with quiet_tensorflow(options.debug):
        from tfstyle.training import perceptual
    return perceptual.train_fast(painting, photographs, _run(options, numbers, folder), options=numbers)


def _adain(options: argparse.Namespace) -> Path:
    numbers, photographs, folder = _checked(options, AdaINOptions)
    paintings = dataset.list_pictures(Path(options.styles), crop=numbers.size, what="painting")
    with quiet_tensorflow(options.debug):
        from tfstyle.training import perceptual
    return perceptual.train_adain(paintings, photographs, _run(options, numbers, folder), options=numbers)


def _gan(options: argparse.Namespace) -> Path:
    numbers, photographs, folder = _checked(options, GANOptions)
    paintings = dataset.list_pictures(Path(options.styles), crop=numbers.size, what="painting")
    with quiet_tensorflow(options.debug):
        from tfstyle.training import gan
    return gan.train_gan(paintings, photographs, _run(options, numbers, folder), options=numbers)


def _checked(options: argparse.Namespace, kind: type[TrainingOptions]) -> tuple[Any, list[Path], Path]:
    """Numbers, photographs and folder, after every check that needs no TensorFlow."""
    typed = {item.name for item in option_fields(kind)} & set(vars(options))
    numbers = kind(**{name: getattr(options, name) for name in typed})
    folder = Path(options.output)
    run_folder.check(folder, resume=options.resume, overwrite=options.overwrite)
    return numbers, dataset.list_pictures(Path(options.photos), crop=numbers.size), folder


def _run(options: argparse.Namespace, numbers: TrainingOptions, folder: Path) -> Any:
    """The place of a training, with the photographs of its sample sheet: those named, or the embedded ones."""
    from tfstyle import environment
    from tfstyle.feedforward.transformer_net import SMALLEST
    from tfstyle.training import perceptual, progress

    environment.grow_gpu_memory()
    if options.samples:
        paths = dataset.list_pictures(Path(options.samples), crop=1)[:SHEET_MOST]
    else:
        paths = [images.SAMPLES / f"{name}.jpg" for name in ("chelsea", "colosseum", "neuschwanstein")]
    samples = [images.fit(images.read(path, long_side=SHEET_SIZE).image, SHEET_SIZE) for path in paths]
    for path, sample in zip(paths, samples, strict=True):
        if min(sample.shape[1:3]) < SMALLEST:
            raise InputError(f"{path}: is too thin for a sample sheet, {SMALLEST} pixels at {SHEET_SIZE}; name others.")
    events.start(options, steps=numbers.steps)
    shown: list[Any] = []
    if options.json:
        shown = [progress.JsonLines(numbers.steps)]
    elif not options.quiet:
        shown = [progress.Progress(numbers.steps)]
    return perceptual.Run(
        folder,
        resume=options.resume,
        overwrite=options.overwrite,
        mirrored=getattr(options, "mirrored", False),
        samples=samples,
        callbacks=shown,
    )
