"""Saves and loads trained networks in Keras' own format, by name or path.

A file is checked before Keras reads it, and Keras loads only the weights; the network, one of `KINDS`, is created from
a few numbers in the file's config.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import containers, files, weights
from tfstyle.environment import keras
from tfstyle.errors import OutputError, WeightsError, unknown_name
from tfstyle.feedforward.adain import AdaINDecoder
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.limits import MAX_BLOCKS, MAX_FILTERS, MAX_HEADER_BYTES, MAX_WEIGHT

KINDS: dict[str, type[keras.Model]] = {
    keras.saving.get_registered_name(kind): kind for kind in (TransformerNet, Generator, AdaINDecoder)
}
"""The classes that a file may hold, by their registered names."""

_CHANNELS: dict[type, int] = {TransformerNet: 3, Generator: 3, AdaINDecoder: 512}
"""Number of input channels of each class."""

_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64")
"""Dtype policies that a config may name."""

_LONGEST_CAUSE = 200
"""Largest number of characters that an error quotes from another library's message."""


def shipped() -> list[str]:
    """Lists the names of the networks that come with the package."""
    return sorted(weights.NETWORK_HASHES)


def find(source: str | Path) -> Path:
    """Finds the file of a network.

    Args:
        source: a name in `shipped()`, or the path of a `.keras` file.

    Raises:
        WeightsError: if there is none.
    """
    if str(source) in shipped():
        return weights.embedded_path(str(source))
    path = Path(source)
    if path.suffix.lower() != ".keras":
        raise WeightsError(f"{unknown_name('network', str(source), shipped())} Or give the path of a .keras file.")
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no such network file.")
    return path


def load(source: str | Path) -> TransformerNet | AdaINDecoder:
    """Loads a trained network.

    Args:
        source: as for `find`.

    Returns:
        A `TransformerNet`, which may be a `Generator`, or an `AdaINDecoder`.

    Raises:
        WeightsError: if there is no such network, or its file cannot be read, is damaged or larger than any network of
            tfstyle, holds another kind of model, lacks weights, or has weights not finite or beyond `MAX_WEIGHT`.
        MemoryLimitError: if memory runs out.
    """
    path = find(source)
    if str(source) in shipped() and weights.hash_file(path) != weights.NETWORK_HASHES[str(source)]:
        raise WeightsError(f"{path}: is not the file tfstyle was built with (SHA-256 differs); reinstall tfstyle.")
    try:
        description, stored = _read_archive(path)
        name = description["class_name"]
        kind = KINDS.get(description["registered_name"])
        network = _restore(kind, description, stored) if kind else None
    except Exception as error:  # Whatever zipfile, h5py and Keras raise for a damaged file.
        if failure := containers.translate_error(path, error):
            raise failure from error
        cause = (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST_CAUSE]
        raise WeightsError(f"{path}: is damaged or no network of tfstyle ({cause}); train it again.") from error
    if network is None:
        found = name if str(name).isidentifier() else "model of another kind"
        raise WeightsError(f"{path}: holds a {found}; a network from tfstyle train is needed.")
    if not all(weights.are_plausible(array) for array in network.get_weights()):
        raise WeightsError(f"{path}: holds numbers that are not finite, or beyond {MAX_WEIGHT:g}; train it again.")
    return network


def _read_archive(path: Path) -> tuple[dict[str, Any], bytes]:
    """Reads a Keras archive: the description of the model, and the HDF5 file of its weights."""
    members = containers.unzip(containers.read_bytes(path))
    if not {"config.json", "model.weights.h5"} <= members.keys():
        raise WeightsError("its archive lacks config.json or model.weights.h5")
    if len(members["config.json"]) > MAX_HEADER_BYTES:
        raise WeightsError(f"its config has more than {MAX_HEADER_BYTES} bytes")
    return json.loads(members["config.json"]), members["model.weights.h5"]


def _restore(kind: type[keras.Model], description: dict[str, Any], stored: bytes) -> TransformerNet | AdaINDecoder:
    """Creates the network that the config describes, and loads its weights with Keras."""
    channels = _CHANNELS[kind]
    shape = description.get("build_config", {}).get("input_shape", [])
    if len(shape) != 4 or shape[-1] != channels:
        raise WeightsError(f"its config does not say that it was built for [batch, height, width, {channels}]")
    network = kind(**_options(description["config"], len(stored)))
    network.build((None, None, None, channels))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "network.weights.h5")
        file.write_bytes(stored)
        containers.read_hdf5(file, dimensions=())  # Rejects files that would use much memory or read other files.
        network.load_weights(file)  # Fails if a variable is missing or has another shape.
    return network


def _options(config: Mapping[str, Any], stored: int) -> dict[str, Any]:
    """Checks a network's config, also that it describes no more weights than are stored; returns the arguments."""
    dtype = config["dtype"]
    precision = dtype if isinstance(dtype, str) else dtype["config"]["name"]
    filters, blocks, code_size = config.get("filters", [0]), config.get("blocks", 0), config.get("code_size", 0)
    counts = (*filters, code_size, blocks)
    if precision not in _PRECISIONS or not all(type(count) is int for count in counts):
        raise WeightsError("its config holds an unknown precision, or filters and blocks that are no integers")
    if not (min(counts) >= 0 and max(counts) <= MAX_FILTERS and blocks <= MAX_BLOCKS):
        raise WeightsError(f"it has more than {MAX_FILTERS} filters or {MAX_BLOCKS} blocks")
    if 2 * blocks * 9 * filters[-1] ** 2 * np.float32().nbytes > stored:
        raise WeightsError("its config describes a larger network than is stored")
    return {**config, "dtype": precision}


def save(network: keras.Model, path: Path) -> None:
    """Writes a network in float32, atomically, replacing an existing file; equal networks give equal bytes.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "network.keras")
            to_float32(network).save(file)
            data = _remove_dates(file)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    files.save_atomically(path, data, overwrite=True)


def _remove_dates(file: Path) -> bytes:
    """Returns the bytes of a .keras file without its creation time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(file) as dated, zipfile.ZipFile(stream, "w") as archive:
        for name in dated.namelist():
            data = dated.read(name)
            if name == "metadata.json":
                facts = {key: value for key, value in json.loads(data).items() if key != "date_saved"}
                data = json.dumps(facts).encode()
            archive.writestr(zipfile.ZipInfo(name), data)  # Always dated January 1, 1980.
    return stream.getvalue()


def to_float32(network: keras.Model) -> keras.Model:
    """Returns a network with the same weights that computes in float32, whatever the precision of its training."""
    if network.dtype_policy.name == "float32":
        return network
    copy: keras.Model = type(network).from_config(network.get_config() | {"dtype": "float32"})
    copy.build_from_config(network.get_build_config())
    copy.set_weights(network.get_weights())
    return copy
