"""Files, or the machine → a few lines about them: `tfstyle inspect`, `compare` and `doctor`."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import tfstyle
from tfstyle import decoding, images, weights
from tfstyle.cli.stylize import quiet_tensorflow
from tfstyle.errors import InputError, WeightsError


def inspect(options: argparse.Namespace) -> None:
    """Prints how a picture file was read: the load path and nothing after it."""
    with quiet_tensorflow(options.debug):
        picture = images.read(options.file, background=options.background)
    height, width = picture.image.shape[1:3]
    facts = {
        "file": options.file,
        "format": picture.format,
        "stored": f"{picture.size[0]}x{picture.size[1]}, mode {picture.mode}",
        "size": f"{width}x{height}",
        "profile": picture.profile or "none, taken as sRGB",
        "orientation": str(picture.orientation),
        "alpha": "no" if picture.alpha is None else f"yes, {(picture.alpha < 1).mean():.0%} not opaque",
    }
    for name, fact in facts.items():
        print(f"{name + ':':<13}{fact}")
    for note in picture.notes:
        print(f"{'converted:':<13}{note}")
    for warning in picture.warnings:
        print(f"{'warning:':<13}{warning}")


def compare(options: argparse.Namespace) -> None:
    """Prints the figures of pictures made by any program, one line each."""
    paths = [options.content, options.style, *options.results]
    for path in paths:
        decoding.probe(Path(path))
    with quiet_tensorflow(options.debug):
        from tfstyle import metrics, vgg
    content, style, *results = (images.read(path, background=options.background).image for path in paths)
    network = vgg.load_vgg(metrics.LAYERS)
    names = metrics.Figures._fields
    width = max(len(path) for path in options.results)
    if not options.json:
        print(f"{'':<{width}}" + "".join(f"{name.replace('_', ' '):>20}" for name in names))
    for path, result in zip(options.results, results, strict=True):
        try:
            figures = metrics.compare(network, content, style, result)
        except InputError as error:
            raise InputError(f"{path}: cannot be measured: {error}") from error
        if options.json:
            print(json.dumps({"result": path} | {name: round(value, 5) for name, value in figures._asdict().items()}))
        else:
            print(f"{path:<{width}}" + "".join(f"{value:20.3f}" for value in figures))


def doctor(options: argparse.Namespace) -> None:
    """Prints versions, devices and embedded weights.

    Raises:
        WeightsError: if an embedded file is not what it should be, after everything is printed.
    """
    with quiet_tensorflow(options.debug):
        from tfstyle.environment import available_memory, keras, tf

        devices = [(d, tf.config.experimental.get_device_details(d)) for d in tf.config.list_physical_devices()]
    import numpy
    import PIL

    versions = {
        "tfstyle": tfstyle.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
    }
    for name, version in versions.items():
        print(f"{name + ':':<13}{version}")
    for device, details in devices:
        name = device.name.removeprefix("/physical_device:")
        print(f"{'device:':<13}{name} {details.get('device_name', '')}".rstrip())
    free = available_memory()
    print(f"{'memory:':<13}{'unknown' if free is None else f'{free / 1e9:.1f} GB free'}")
    damaged = []
    for name, expected in {**weights.EMBEDDED_HASHES, **weights.NETWORK_HASHES}.items():
        found = weights.file_hash(weights.embedded_path(name))
        damaged += [] if found == expected else [name]
        print(f"{'weights:':<13}{name} {found} {'ok' if found == expected else 'DAMAGED'}")
    if damaged:
        raise WeightsError(f"embedded weights are damaged: {', '.join(damaged)}; reinstall tfstyle.")
