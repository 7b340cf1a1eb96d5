"""`tfstyle inspect`, `compare` and `doctor`: print facts about files and the installation."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import tfstyle
from tfstyle import images, weights
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.errors import InputError, WeightsError
from tfstyle.pictures import decoding

_INSPECTED_SIDE = 2048
"""Long side in pixels; a much larger picture is reduced while it is read, to save time and memory."""

_INSPECTED = ("format", "mode", "size", "profile", "orientation", "notes", "warnings")
"""Attributes of a `Picture` that `inspect --json` prints."""


def inspect(options: argparse.Namespace) -> None:
    """Runs `tfstyle inspect`: prints how a picture file is read, and what is converted."""
    with quiet_tensorflow(options.debug):
        picture = images.read(options.file, background=options.background, long_side=_INSPECTED_SIDE)
    height, width = picture.full_size
    alpha = None if picture.alpha is None else float((picture.alpha < 1).mean())
    if options.json:
        facts = {name: getattr(picture, name) for name in _INSPECTED}
        print(json.dumps({"file": options.file, "width": width, "height": height, **facts, "not_opaque": alpha}))
        return
    lines = {
        "file": options.file,
        "format": picture.format,
        "stored": f"{picture.size[0]}x{picture.size[1]}, mode {picture.mode}",
        "size": f"{width}x{height}",
        "profile": picture.profile or "none, taken as sRGB",
        "orientation": str(picture.orientation),
        "alpha": "no" if alpha is None else f"yes, {alpha:.0%} not opaque",
    }
    for name, line in lines.items():
        print(f"{name + ':':<13}{line}")
    for note in picture.notes:
        print(f"{'converted:':<13}{note}")
    for warning in picture.warnings:
        print(f"{'warning:':<13}{warning}")


_LEGEND = """
Distances from the style image, lower is better: between Gram matrices (gram), means and standard deviations (moments)
and distributions (sliced wasserstein) of the features, and between the colors (colors).
Distance from the content image, lower is better: between the features (content).
Structural similarity to the content image, higher is better, 1 if equal: ssim.
Finest detail where the content image is flat, over the style image's, best about 0.5 to 1.1, engraved from 1.5: grain.
Share of the style image that the content image has use for, whatever the result (matched share), and how far each place
looks like the parts of the style image that resemble the content image there, higher is better (semantic)."""
"""Printed below the table of `compare`."""


def compare(options: argparse.Namespace) -> None:
    """Runs `tfstyle compare`: prints quality metrics, one line per result."""
    longest = max(side for path in options.results for side in decoding.probe(Path(path)))
    given = [options.content, options.style]
    for path in given:
        decoding.probe(Path(path), long_side=longest)  # Metrics are computed at the size of a result.
    with quiet_tensorflow(options.debug):
        from tfstyle import metrics, vgg
    content, style = (images.read(path, background=options.background, long_side=longest).image for path in given)
    results = [images.read(path, background=options.background).image for path in options.results]
    network = vgg.load_vgg(metrics.LAYERS)
    names = metrics.Scores._fields
    width, widths = max(len(path) for path in options.results), [max(len(name), 6) + 2 for name in names]
    if not options.json:
        print(" " * width + "".join(f"{name.replace('_', ' '):>{w}}" for name, w in zip(names, widths, strict=True)))
    for path, result in zip(options.results, results, strict=True):
        try:
            figures = metrics.compare(network, content, style, result)
        except InputError as error:
            raise InputError(f"{path}: cannot be measured: {error}") from error
        if options.json:
            print(json.dumps({"result": path} | {name: round(value, 5) for name, value in figures._asdict().items()}))
        else:
            print(f"{path:<{width}}" + "".join(f"{value:{w}.3f}" for value, w in zip(figures, widths, strict=True)))
    if not options.json:
        print(_LEGEND)


def doctor(options: argparse.Namespace) -> None:
    """Runs `tfstyle doctor`: prints versions, optional packages, devices, memory, settings and embedded weights.

    Raises:
        WeightsError: if an embedded file is missing or its hash is wrong, after everything has been printed.
    """
    with quiet_tensorflow(options.debug):
        facts = _facts()
    if options.json:
        print(json.dumps(facts))
    else:
        for name, text in _lines(facts):
            print(f"{name + ':':<13}{text}")
    damaged = [name for name, (_, sound) in facts["weights"].items() if not sound]
    if damaged:
        raise WeightsError(f"embedded weights are damaged: {', '.join(damaged)}; reinstall tfstyle.")


_EXTRAS = {
    "app": ("fastapi", "uvicorn", "python-multipart", "prometheus-client"),
    "export": ("onnx", "tf2onnx"),
    "faces": ("scikit-image",),
    "heif": ("pillow-heif",),
    "ray": ("ray",),
    "tensorboard": ("tensorboard",),
}
"""Extra of the installation → its packages."""


def _facts() -> dict[str, Any]:
    """Collects facts about the installation and the machine."""
    from tfstyle.environment import keras, resolve_settings, tf
    from tfstyle.machine import available_memory

    devices = [(d, tf.config.experimental.get_device_details(d)) for d in tf.config.list_physical_devices()]
    known = {**weights.EMBEDDED_HASHES, **weights.NETWORK_HASHES}
    found = {name: _hash(name) for name in known}
    return {
        "tfstyle": tfstyle.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": metadata.version("numpy"),
        "pillow": metadata.version("pillow"),
        "extras": {extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()},
        "devices": {d.name.removeprefix("/physical_device:"): about.get("device_name", "") for d, about in devices},
        "cpus": os.cpu_count(),
        "free_memory": available_memory(),
        "settings": resolve_settings(),
        "weights": {name: (found[name], found[name] == known[name]) for name in known},
    }


def _hash(name: str) -> str:
    """The hash of an embedded file, or "missing"."""
    try:
        return weights.hash_file(weights.embedded_path(name))
    except WeightsError:
        return "missing"


def _version(package: str) -> str | None:
    """The version of a package, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Formats the facts as pairs of label and text."""
    for name, value in facts.items():
        if isinstance(value, str):
            yield name, value
    for extra, packages in facts["extras"].items():
        found = (f"{name} {version}" if version else f"no {name}" for name, version in packages.items())
        yield "extra", f"{extra}: {', '.join(found)}"
    for name, about in facts["devices"].items():
        yield "device", f"{name} {about}".rstrip()
    yield "processors", str(facts["cpus"])
    free = facts["free_memory"]
    yield "memory", "unknown" if free is None else f"{free / 1e9:.1f} GB free"
    for name, on in facts["settings"].items():
        yield "setting", f"{name} {'on' if on else 'off'}"
    for name, (digest, sound) in facts["weights"].items():
        yield "weights", f"{name} {digest} {'ok' if sound else 'DAMAGED'}"
