"""Network → SavedModel (and ONNX, LiteRT) with a stated flat signature, for programs that know nothing of tfstyle.

The folder has the layout TensorFlow Serving expects, NAME/1/, with two files beside the version: `signature.json`,
which names every tensor, and NOTICE, whose licences go with the weights. It appears only when it is complete.
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
from tfstyle.feedforward.adain import AdaINDecoder, ArbitraryStyle
from tfstyle.feedforward.generator import Generator
from tfstyle.feedforward.transformer_net import SMALLEST, Transformer
from tfstyle.model import StyleContentModel

FORMATS = ("savedmodel", "onnx", "litert")
"""What a network can be exported as."""

_NEEDS = {"savedmodel": (), "onnx": ("tf2onnx", "onnx"), "litert": ()}
_FILES = {"onnx": "model.onnx", "litert": "model.tflite"}


def flat_extractor(model: StyleContentModel) -> keras.Model:
    """The model with one named input and flat named outputs.

    Args:
        model: a built `StyleContentModel`.

    Returns:
        A functional model: `image` float32 [N, H, W, 3] in [0, 1], N, H and W free → a dictionary of
        `style_LAYER` (the statistic) and `content_LAYER` (the features).
    """
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    described = model(image)
    outputs = {
        f"{kind}_{layer}": keras.layers.Identity(name=f"{kind}_{layer}", dtype="float32")(value)
        for kind in ("style", "content")
        for layer, value in described[kind].items()
    }
    return keras.Model(image, outputs, name="extractor")


def export_extractor(
    model: StyleContentModel, directory: str | os.PathLike, *, format: str = "savedmodel", overwrite: bool = False
) -> Path:
    """Writes a style and content extractor that strangers' programs can load.

    Args:
        model: a built `StyleContentModel`.
        directory: the folder to make; its version 1 goes into `directory/1`.
        format: "savedmodel", "onnx", which needs `pip install 'tfstyle[export]'`, or "litert".
        overwrite: replace an export that is there. A crash leaves it whole, at the last as DIRECTORY-old.

    Returns:
        The folder.

    Raises:
        OutputError: if it exists or cannot be written.
        SetupError: if a format needs a package that is not installed.
        UsageError: if the format is unknown.
    """
    facts = {"statistic": model.statistic, "smallest_side": model.vgg.smallest_side}
    return _export(flat_extractor(model), facts, Path(directory), format=format, overwrite=overwrite)


def flat_network(network: Transformer | AdaINDecoder) -> keras.Model:
    """A trained network with named inputs and one named output.

    Args:
        network: as from `feedforward.serialization.load`.

    Returns:
        A functional model of `image`, and for a decoder of `style` beside it, float32 [N, H, W, 3] in [0, 1], N, H
        and W free, to {"painting": the same, of the image's size}. A generator has `code` beside it, float32 [N,
        code_size], normal numbers; all zeros are the middle of its styles.
    """
    image, style = (keras.Input((None, None, 3), name=name, dtype="float32") for name in ("image", "style"))
    if isinstance(network, Generator):
        inputs = [image, keras.Input((network.code_size,), name="code", dtype="float32")]
        painted = network(*inputs)
    elif isinstance(network, Transformer):
        inputs, painted = image, network(image)
    else:
        inputs = [image, style]
        painted = ArbitraryStyle(network)(inputs)
    return keras.Model(inputs, {"painting": keras.layers.Identity(name="painting", dtype="float32")(painted)})


def export_network(
    network: Transformer | AdaINDecoder,
    directory: str | os.PathLike,
    *,
    format: str = "savedmodel",
    overwrite: bool = False,
) -> Path:
    """Writes a trained network that strangers' programs can load.

    Args:
        network: as from `feedforward.serialization.load`.
        directory, format, overwrite: as for `export_extractor`.

    Returns:
        The folder.

    Raises:
        OutputError, SetupError, UsageError: as `export_extractor`.
    """
    smallest = SMALLEST if isinstance(network, Transformer) else ArbitraryStyle.smallest_side
    flat = flat_network(network)
    return _export(flat, {"smallest_side": smallest}, Path(directory), format=format, overwrite=overwrite)


def _export(flat: keras.Model, facts: dict[str, Any], directory: Path, *, format: str, overwrite: bool) -> Path:
    """Writes a functional model; `facts` stand in `signature.json` beside its inputs and outputs."""
    check_export(directory, format=format, overwrite=overwrite)
    any_side = 2**5
    example = [tf.zeros([1, *(side or any_side for side in given.shape[1:])]) for given in flat.inputs]
    flat(_as_declared(example))  # Keras exports only what has been called.
    place = Path(os.path.realpath(directory))  # A link stays, and what it points to is replaced.
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
    except (OSError, tf.errors.OpError) as error:  # TensorFlow's own for a full disk.
        cause = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        cause = cause.rpartition("; ")[2].partition(" [Op:")[
            0
        ]  # TensorFlow names its operation and our scratch folder.
        raise OutputError(f"{directory}: cannot be written ({cause}); choose another folder.") from error
    return directory


def check_export(directory: Path, *, format: str, overwrite: bool) -> None:
    """Refuses early what could not be exported.

    Raises:
        OutputError, SetupError, UsageError: as `export_extractor`.
    """
    if format not in FORMATS:
        raise UsageError(unknown_name("format", format, FORMATS))
    files.check_place(directory)
    exists = os.path.lexists(directory)  # A link that points to nothing is something as well.
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
    """The model in one format."""
    if format == "savedmodel":
        served, endpoint = _served(flat)
        tf.saved_model.save(served, str(folder), signatures={"serving_default": endpoint})
    elif format == "onnx":
        flat.export(folder / _FILES[format], format="onnx", verbose=False)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(flat)
        with contextlib.redirect_stdout(io.StringIO()):  # It prints the signature.
            (folder / _FILES[format]).write_bytes(converter.convert())


def _as_declared(pictures: list[Any]) -> Any:
    """What a functional model of as many inputs is called with: a list, or the only one itself."""
    return pictures if len(pictures) > 1 else pictures[0]


def _served(flat: keras.Model) -> tuple[tf.Module, Any]:
    """The module to save and its signature. `Model.export` would store every variable twice."""
    served = tf.Module()
    served.weights = [variable.value for variable in flat.variables]
    inputs = [tf.TensorSpec(given.shape, tf.float32, name=given.name) for given in flat.inputs]
    served.serve = tf.function(lambda *inputs: flat(_as_declared(list(inputs)), training=False), input_signature=inputs)
    return served, served.serve.get_concrete_function()


def signature(flat: keras.Model, format: str) -> dict[str, Any]:
    """What `signature.json` says of any model: inputs, outputs, their shapes, and how it was made."""
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
    """The NOTICE that tfstyle was installed with."""
    files = importlib.metadata.files("tfstyle") or []
    for file in files:
        if file.name == "NOTICE":
            return file.read_text(encoding="utf-8")
    raise OutputError("NOTICE, whose licences go with the weights, is not installed; reinstall tfstyle.")
