"""Network ⇄ file: trained networks by name or path, in Keras' own format, read in its safe mode."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

from tfstyle import files, weights
from tfstyle.environment import keras
from tfstyle.errors import OutputError, WeightsError, unknown_name
from tfstyle.feedforward.networks import AdaINDecoder
from tfstyle.feedforward.players import Generator
from tfstyle.feedforward.transformer import Transformer

KINDS = (Transformer, Generator, AdaINDecoder)
"""What a file may hold."""


def shipped() -> list[str]:
    """Names of the networks that come with the package."""
    return sorted(weights.NETWORK_HASHES)


def find(source: str | Path) -> Path:
    """The file of a network.

    Args:
        source: a name in `shipped()`, or the path of a `.keras` file.

    Raises:
        WeightsError: if there is none.
    """
    if str(source) in shipped():
        return weights.embedded_path(str(source))
    path = Path(source)
    if path.suffix != ".keras":
        raise WeightsError(f"{unknown_name('network', str(source), shipped())} Or give the path of a .keras file.")
    if not path.is_file():
        raise WeightsError(f"{path}: no such network file.")
    return path


def load(source: str | Path) -> Transformer | AdaINDecoder:
    """Loads a trained network.

    Args:
        source: as for `find`.

    Returns:
        A `Transformer`, which may be a `Generator`, or an `AdaINDecoder`.

    Raises:
        WeightsError: if there is none, or the file is damaged or holds another kind of model.
    """
    path = find(source)
    if str(source) in shipped() and weights.file_hash(path) != weights.NETWORK_HASHES[str(source)]:
        raise WeightsError(f"{path}: is not the file tfstyle was built with (SHA-256 differs); reinstall tfstyle.")
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything at all on damaged files.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: is damaged or no network of tfstyle ({cause}); train it again.") from error
    if not isinstance(network, KINDS):
        raise WeightsError(f"{path}: holds a {type(network).__name__}; a network from tfstyle train is needed.")
    return network


def save(network: keras.Model, path: Path) -> None:
    """Writes a network whole or not at all, in float32, replacing a file that is there; equal ones as equal bytes.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "network.keras")
            in_float32(network).save(file)
            data = _without_dates(file)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    files.save_atomically(path, data, overwrite=True)


def _without_dates(file: Path) -> bytes:
    """A .keras file without the time at which it was made."""
    stream = io.BytesIO()
    with zipfile.ZipFile(file) as dated, zipfile.ZipFile(stream, "w") as archive:
        for name in dated.namelist():
            data = dated.read(name)
            if name == "metadata.json":
                data = json.dumps(
                    {key: value for key, value in json.loads(data).items() if key != "date_saved"}
                ).encode()
            archive.writestr(zipfile.ZipInfo(name), data)  # Its date is the first of 1980.
    return stream.getvalue()


def in_float32(network: keras.Model) -> keras.Model:
    """A network of the same weights that computes in float32, whatever it was trained in."""
    if network.dtype_policy.name == "float32":
        return network
    copy = type(network).from_config(network.get_config() | {"dtype": "float32"})
    copy.build_from_config(network.get_build_config())
    copy.set_weights(network.get_weights())
    return copy
