"""Exports networks as SavedModel, ONNX or LiteRT with a documented flat signature, for programs without tfstyle.

The folder has the layout TensorFlow Serving expects, NAME/1/, with two files beside the version: `signature.json`,
which names every tensor, and NOTICE, with the licenses of the weights. The folder appears only when it is complete.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
from pathlib import Path
from typing import Any

from tfstyle import atomic, files
from tfstyle.environment import keras, tf
from tfstyle.errors import OutputError, SetupError, UsageError, unknown_name
from tfstyle.feedforward.adain import AdaINDecoder
from tfstyle.feedforward.transformer_net import TransformerNet
from tfstyle.model import StyleContentModel
from tfstyle.serving import FORMATS

_NEEDS = {"savedmodel": (), "onnx": ("tf2onnx", "onnx"), "litert": ()}
"""Packages that each format needs."""

_FILES = {"onnx": "model.onnx", "litert": "model.tflite"}
"""File name of each format that is a single file."""

_EXAMPLE_SIDE = 32
"""Sides of the images that a model is called on once before it is exported."""


def flat_extractor(model: StyleContentModel) -> keras.Model:
    """Makes a functional model with one named input and flat named outputs.

    Args:
        model: a built `StyleContentModel`.

    Returns:
        A functional model of `image`, float32 [N, H, W, 3] in [0, 1], any N, H and W, that returns a dictionary of
        `style_LAYER` (the statistic) and `content_LAYER` (the features).
    """
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    found = model(image)
    outputs = {
        f"{kind}_{layer}": keras.layers.Identity(name=f"{kind}_{layer}", dtype="float32")(value)
        for kind in ("style", "content")
        for layer, value in found[kind].items()
    }
    return keras.Model(image, outputs, name="extractor")


def export_extractor(
    model: StyleContentModel, directory: str | os.PathLike, *, format: str = "savedmodel", overwrite: bool = False
) -> Path:
    """Exports a style and content extractor for other programs.

    Args:
        model: a built `StyleContentModel`.
        directory: the folder to make; version 1 of the model is written to `directory/1`.
        format: "savedmodel", "onnx" (which needs `pip install 'tfstyle[export]'`) or "litert".
        overwrite: replace an existing export. After a crash that export is still complete, at worst as DIRECTORY-old.

    Returns:
        The folder.

    Raises:
        OutputError: if the folder exists or cannot be written.
        SetupError: if the format needs a package that is not installed.
        UsageError: if the format is unknown.
    """
    facts = {"statistic": model.statistic, "smallest_side": model.vgg.smallest_side}
    return _export(flat_extractor(model), facts, Path(directory), format=format, overwrite=overwrite)


def export_network(
    network: TransformerNet | AdaINDecoder,
    directory: str | os.PathLike,
    *,
    format: str = "savedmodel",
    overwrite: bool = False,
) -> Path:
    """Exports a trained network for other programs.

    The model takes `image`, float32 [N, H, W, 3] in [0, 1], any N, H and W, and returns "painting", of the same shape
    and range. That of AdaIN's decoder also takes `style`, another image, and that of a generator takes `code`, float32
    [N, code_size], normally distributed; all zeros are the mean of its styles.

    Args:
        network: as from `feedforward.serialization.load`.
        directory, format, overwrite: as for `export_extractor`.

    Returns:
        The folder.

    Raises:
        OutputError, SetupError, UsageError: as `export_extractor`.
    """
    facts = {"smallest_side": network.smallest_side}
    return _export(network.export_model(), facts, Path(directory), format=format, overwrite=overwrite)


def _export(flat: keras.Model, facts: dict[str, Any], directory: Path, *, format: str, overwrite: bool) -> Path:
    """Exports a functional model; `facts` are added to `signature.json`."""
    check_export(directory, format=format, overwrite=overwrite)
    example = [tf.zeros([1, *(side or _EXAMPLE_SIDE for side in given.shape[1:])]) for given in flat.inputs]
    flat(_as_declared(example))  # Keras exports only models that have been called.
    place = Path(os.path.realpath(directory))  # A link is kept, and its target is replaced.
    try:
        with atomic.make_temporary_folder(place.parent) as scratch:
            whole = scratch / "whole"
            (whole / "1").mkdir(parents=True)
            _write(flat, whole / "1", format)
            (whole / "signature.json").write_text(json.dumps(signature(flat, format) | facts, indent=2) + "\n")
            (whole / "NOTICE").write_text(_notice(), encoding="utf-8")
            aside = Path(files.FreeName(place.with_name(files.shorten_name(place.name, "-old"))))
            atomic.replace_folder(whole, place, aside=aside)
    except OutputError:
        raise
    except (OSError, tf.errors.OpError) as error:  # TensorFlow raises its own on a full disk.
        cause = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        cause = cause.rpartition("; ")[2].partition(" [Op:")[0]  # Drops operation and temporary folder.
        raise OutputError(f"{directory}: cannot be written ({cause}); choose another folder.") from error
    return directory


def check_export(directory: Path, *, format: str, overwrite: bool) -> None:
    """Checks the format and the folder of an export before any work is done.

    Raises:
        OutputError, SetupError, UsageError: as `export_extractor`.
    """
    if format not in FORMATS:
        raise UsageError(unknown_name("format", format, FORMATS))
    files.check_place(directory)
    exists = os.path.lexists(directory)  # True also for a broken link.
    if exists and not overwrite:
        raise OutputError(f"{directory}: exists; choose another folder, or replace it with `overwrite`.")
    if exists and not (directory / "signature.json").is_file():
        raise OutputError(f"{directory}: is not an export of tfstyle and is left alone; choose another folder.")
    files.check_place(Path(os.path.realpath(directory)))
    for package in _NEEDS[format]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise SetupError(f"the format {format} needs {package}; pip install 'tfstyle[export]'.") from error


def _write(flat: keras.Model, folder: Path, format: str) -> None:
    """Writes the model in one format."""
    if format == "savedmodel":
        served = _Served(flat)
        endpoint = served.serve.get_concrete_function()
        tf.saved_model.save(served, str(folder), signatures={"serving_default": endpoint})
    elif format == "onnx":
        flat.export(folder / _FILES[format], format="onnx", verbose=False)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(flat)
        with contextlib.redirect_stdout(io.StringIO()):  # The converter prints the signature.
            (folder / _FILES[format]).write_bytes(converter.convert())


def _as_declared(inputs: list[Any]) -> Any:
    """Returns the inputs as a functional model takes them: a list, or the single input itself."""
    return inputs if len(inputs) > 1 else inputs[0]


class _Served(tf.Module):
    """A model in the form to save: its weights and its function. `Model.export` would store every variable twice."""

    def __init__(self, flat: keras.Model) -> None:
        super().__init__()
        self.weights = [variable.value for variable in flat.variables]
        inputs = [tf.TensorSpec(given.shape, tf.float32, name=given.name) for given in flat.inputs]
        self.serve = tf.function(
            lambda *inputs: flat(_as_declared(list(inputs)), training=False), input_signature=inputs
        )


def signature(flat: keras.Model, format: str) -> dict[str, Any]:
    """Describes a model for `signature.json`: inputs, outputs, their shapes, and how it was made."""
    version = importlib.metadata.version("tfstyle")
    picture = {"dtype": "float32", "shape": ["N", "H", "W", 3], "range": [0, 1], "color": "sRGB"}
    code = {"dtype": "float32", "distribution": "normal"}
    return {
        "format": format,
        "made_by": f"tfstyle {version}",
        "signature": "serving_default",
        "input": {
            given.name: picture if len(given.shape) == 4 else code | {"shape": ["N", given.shape[1]]}
            for given in flat.inputs
        },
        "outputs": {
            name: {"dtype": "float32", "shape": ["N", *(size if size else "free" for size in output.shape[1:])]}
            for name, output in sorted(flat.output.items())
        },
    }


def _notice() -> str:
    """Reads the NOTICE that tfstyle was installed with."""
    files = importlib.metadata.files("tfstyle") or []
    for file in files:
        if file.name == "NOTICE":
            return file.read_text(encoding="utf-8")
    raise OutputError("NOTICE, whose licenses go with the weights, is not installed; reinstall tfstyle.")
