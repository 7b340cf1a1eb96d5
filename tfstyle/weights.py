"""Reads the weights of VGG networks: the embedded file, and files of Keras, PyTorch and safetensors.

Each reader returns plain arrays under the names in the file; `read` gives them the layer names and layout of Keras. No
reader runs code from a file, opens another file, or takes more memory than the size of the file allows (`containers`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tfstyle import containers, torchfile
from tfstyle.errors import WeightsError
from tfstyle.limits import MAX_HEADER_BYTES, MAX_WEIGHT, MAX_WEIGHT_PARTS
from tfstyle.vgg19 import VGG19_BLOCKS, layer_names

FOLDER = Path(__file__).parent / "data" / "weights"
"""Folder of the embedded files."""

EMBEDDED_HASHES: Mapping[str, str] = MappingProxyType(
    {
        "vgg19-normalized": "b9c1f60ea9c878fe92542005a90d2d631a50072bc44388dae6ef67a310a32863",
        "adain-decoder": "7d86b8f39420b0d2e1ab61bc9a01ca52a7189cacc5ae4162708642520510a236",
        "vgg19-magnitudes": "a35e5cff77afe8b3591410be7fc27e5df51be5075963a28c70a3a1575d0f6a8d",
    }
)
"""Name of an embedded file → its SHA-256, as made by `scripts/build_weights.py` and `scripts/measure_magnitudes.py`."""

NETWORK_HASHES: Mapping[str, str] = MappingProxyType(
    {"starry-night": "a86f4ab9235b738ebe9561f2c274ddd3aecac6f97138a077f47aab110d20dfd5"}
)
"""Name of an embedded network of one style, a file of `feedforward.serialization` → its SHA-256."""

_SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

Arrays = dict[str, np.ndarray]
"""Name → array."""


class NetworkWeights(NamedTuple):
    """Weights of a VGG network.

    Attributes:
        layers: Keras layer name → (kernel [3, 3, in, out], bias [out]), float32.
        input_scale: the pixel range that files of this kind were trained on: "keras" (BGR, 0 to 255, minus the mean) or
            "torch" (RGB, 0 to 1, normalized by mean and standard deviation).
    """

    layers: dict[str, tuple[np.ndarray, np.ndarray]]
    input_scale: str


def embedded_path(name: str) -> Path:
    """Returns the path of an embedded file."""
    return FOLDER / f"{name}{'.keras' if name in NETWORK_HASHES else '.safetensors'}"


def hash_file(path: Path) -> str:
    """Computes the SHA-256 of a file, in hexadecimal.

    Raises:
        WeightsError: if the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); give a weights file.") from error


def read_embedded(name: str) -> Arrays:
    """Reads an embedded file and checks its hash.

    Args:
        name: "vgg19-normalized", "adain-decoder" or "vgg19-magnitudes".

    Returns:
        Name → float32 array, kernels [3, 3, in, out] under `LAYER.kernel` and biases [out] under `LAYER.bias`; or
        magnitudes [out] and [1] under `LAYER.conv` and `LAYER.relu`.

    Raises:
        WeightsError: if the file is missing, or its hash is not that of this version of tfstyle.
    """
    path = embedded_path(name)
    if hash_file(path) != EMBEDDED_HASHES[name]:
        raise WeightsError(f"{path}: is not the file tfstyle was built with (SHA-256 differs); reinstall tfstyle.")
    return {key: array.astype(np.float32) for key, array in _read_safetensors(path).items()}


def read(source: str | Path, *, blocks: tuple[tuple[int, ...], ...] = VGG19_BLOCKS) -> NetworkWeights:
    """Reads the convolutions of a VGG network.

    Args:
        source: "embedded"; "imagenet" (downloaded and cached by Keras); or the path of a file: `.h5` or `.weights.h5`
            of Keras, `.pth` or `.pt` with a state dictionary (torchvision or Caffe: same names, different range),
            or `.safetensors` with the names of either.
        blocks: number of filters of each convolution, block by block.

    Returns:
        A `NetworkWeights` with every convolution of `blocks`.

    Raises:
        WeightsError: if the file is missing, damaged, too large, of another network or cannot be read, or has values
            that are not finite or beyond `MAX_WEIGHT`.
        MemoryLimitError: if memory runs out.
    """
    if source == "embedded":
        arrays, of_torch = read_embedded("vgg19-normalized"), False
        return NetworkWeights(_name_layers(arrays, blocks, "embedded weights", of_torch), "keras")
    if source == "imagenet":
        return NetworkWeights(_name_layers(_read_imagenet(), blocks, "imagenet weights", False), "keras")
    path = Path(source)
    arrays = _read_file(path)
    if any(name.endswith("running_mean") for name in arrays):
        raise WeightsError(f"{path}: is a network with batch normalization; a VGG-19 without it is needed.")
    of_torch = not any(re.search(r"block\d+_conv\d+", name) for name in arrays) and path.suffix.lower() not in (
        ".h5",
        ".hdf5",
    )
    # A leading 1x1 convolution converts RGB to BGR in 0-255 minus the mean, which `vgg` does itself.
    prepared = any(array.shape == (3, 3, 1, 1) for array in arrays.values())
    scale = "torch" if of_torch and not prepared else "keras"
    return NetworkWeights(_name_layers(arrays, blocks, str(path), of_torch), scale)


def check(source: str | Path) -> None:
    """Checks early, before any work is done, that a source of weights exists; the file is not opened.

    Raises:
        WeightsError: if `source` is neither "embedded" nor "imagenet" nor an existing file of a known kind.
    """
    path = Path(source)
    if str(source) in ("embedded", "imagenet"):
        return
    if path.suffix.lower() not in _READERS:
        raise WeightsError(f"{path}: expected embedded, imagenet, or a file ending in {', '.join(_READERS)}.")
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no such weights file.")


def _read_file(path: Path) -> Arrays:
    """Reads a file by its suffix; every error is one line that begins with the path."""
    check(path)
    try:
        return _READERS[path.suffix.lower()](path)
    except Exception as error:  # h5py, zipfile, json and NumPy raise exceptions of many kinds on a damaged file.
        if failure := containers.translate_error(path, error):
            raise failure from error
        known = isinstance(error, (WeightsError, OSError)) and str(error)
        cause = " ".join(known.split()) if known else f"it is damaged ({type(error).__name__})"
        raise WeightsError(f"{path}: cannot be read as {path.suffix} weights: {cause}; get the file again.") from error


def _read_h5(path: Path) -> Arrays:
    """Reads the kernels and biases of an HDF5 file under their paths."""
    arrays = containers.read_hdf5(path, dimensions=(1, 4))
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


def _read_safetensors(path: Path) -> Arrays:
    """Reads a safetensors file: eight bytes with the length of the header, the header in JSON, the arrays without gaps.

    The library safetensors is not used, so that running tfstyle needs no further package.
    """
    data = containers.read_bytes(path)
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise WeightsError("it is cut short or not a safetensors file")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    end = 0
    for first, last in sorted(entry["data_offsets"] for entry in header.values()):
        if first != end or last < first or len(header) > MAX_WEIGHT_PARTS:
            raise WeightsError("its tensors are too many, overlap or leave gaps")
        end = last
    if end != len(body):
        raise WeightsError("it is cut short or damaged")
    return {name: _decode_tensor(entry, body) for name, entry in header.items()}


def _decode_tensor(entry: dict, body: memoryview) -> np.ndarray:
    """Makes the array of one entry of the header of a safetensors file."""
    start, end = entry["data_offsets"]
    array = np.frombuffer(body[start:end], _SAFETENSORS_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # The upper half of a float32.
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


_READERS = {
    ".h5": _read_h5,
    ".hdf5": _read_h5,
    ".pth": torchfile.read,
    ".pt": torchfile.read,
    ".safetensors": _read_safetensors,
}
"""Suffix of a file → its reader."""


def _read_imagenet() -> Arrays:
    """Reads Keras' own VGG-19, which Keras downloads once and caches."""
    from tfstyle.environment import keras

    try:
        network = keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a plain Exception if a download fails.
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"imagenet weights: Keras could not download them ({reason}); connect to the internet, or use `weights` "
            "embedded."
        ) from error
    layers = [layer for layer in network.layers if layer.weights]
    return {
        f"{layer.name}.{part}": array
        for layer in layers
        for part, array in zip(("kernel", "bias"), layer.get_weights(), strict=True)
    }


def _name_layers(
    arrays: Arrays, blocks: tuple[tuple[int, ...], ...], origin: str, of_torch: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Assigns kernels and biases to the layer names of Keras: by the names in the file, or else by their order."""
    kernels = {name: array for name, array in arrays.items() if array.ndim == 4 and array.shape != (3, 3, 1, 1)}
    names = sorted(kernels, key=_natural_key)
    layers, inputs = {}, 3
    wanted = layer_names(blocks)
    for index, (layer, filters) in enumerate(zip(wanted, sum(blocks, ()), strict=True)):
        found = [name for name in names if re.search(rf"{layer}(?!\d)", name)] or names[index : index + 1]
        if not found:
            raise WeightsError(f"{origin}: holds no {layer}; a VGG-19 of {len(wanted)} convolutions is needed.")
        kernel, bias = kernels[found[0]], _find_bias(found[0], arrays)
        kernel = kernel.transpose(2, 3, 1, 0) if of_torch else kernel
        layers[layer] = _check_layer(kernel, bias, (3, 3, inputs, filters), f"{origin}: {layer}")
        inputs = filters
    return layers


def _natural_key(name: str) -> str:
    """Returns a sort key under which layer 10 follows layer 9."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), name)


def _find_bias(kernel_name: str, arrays: Arrays) -> np.ndarray | None:
    """Finds the bias of a kernel: the one-dimensional array with the same name up to the last word."""
    stem = re.split(r"[./][^./]*$|_W_1", kernel_name)[0]
    beside = (array for name, array in arrays.items() if array.ndim == 1 and re.match(re.escape(stem) + r"[./_]", name))
    return next(beside, None)


def _check_layer(
    kernel: np.ndarray, bias: np.ndarray | None, shape: tuple[int, ...], what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Checks shapes and values of a kernel and its bias; returns both as float32."""
    if kernel.shape != shape or bias is None or bias.shape != shape[-1:]:
        found = f"{kernel.shape} with bias {None if bias is None else bias.shape}"
        raise WeightsError(f"{what} has shape {found}, expected {shape}; this is not VGG-19.")
    if not all(are_plausible(array) for array in (kernel, bias)):
        raise WeightsError(f"{what} holds numbers that are not finite, or beyond {MAX_WEIGHT:g}; get the file again.")
    return kernel.astype(np.float32), bias.astype(np.float32)


def are_plausible(array: np.ndarray) -> bool:
    """Whether all values are finite and at most `MAX_WEIGHT` in magnitude, as those of trained networks are."""
    return bool(np.all(np.abs(array) <= MAX_WEIGHT))  # A comparison with NaN is false.
