"""Makes a result again from its record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfstyle import api, images, records
from tfstyle.callbacks import Callback
from tfstyle.environment import tf
from tfstyle.errors import InputError, TfstyleError, UsageError
from tfstyle.pictures import encoding
from tfstyle.recipes.parts import BUILT_IN, STARTS
from tfstyle.recipes.recipe import Recipe, recipe_from_record
from tfstyle.styles import RAMPS, Style, as_styles, name_pictures, name_styles


class Rerun(NamedTuple):
    """A result that was made again.

    Attributes:
        image: float32 [1, height, width, 3].
        same: whether its pixels are those of the first result.
    """

    image: tf.Tensor
    same: bool


def rerun(
    source: str | os.PathLike,
    *,
    content: str | os.PathLike | None = None,
    style: Any = None,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    callbacks: Iterable[Callback] = (),
) -> Rerun:
    """Makes a result again, from the record in a PNG file or in a file of its own.

    On the same machine, with the same versions, it is the same to the last bit; a result of a run that was broken off
    is made as far as that run came.

    Args:
        source: a PNG file that `api.stylize` has written, or its `record`.
        content, style: the pictures, or a list of the style images; None looks for files of their names beside
            `source`, in the working folder and among the built-in pictures.
        output, overwrite, callbacks: as for `api.stylize`.

    Returns:
        The `Rerun`.

    Raises:
        InputError: if `source` holds no record, or a file that it names is missing or has changed.
        UsageError: if the recipe had functions or objects of your own, or belongs to another version.
        TfstyleError: any that `api.stylize` raises.
    """
    path = Path(source)
    record = records.read(path)
    try:
        given = {} if style is None else name_pictures(as_styles(style))
        if unknown := given.keys() - record["inputs"]:
            raise UsageError(
                f"{path}: its record has no {sorted(unknown)[0]}; give the style images and masks that it has."
            )
        arguments = _arguments(record, path, {"content": content, **given})
        step, pixels = record["step"], record["pixels"]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, TfstyleError):
            raise
        raise InputError(f"{path}: its record is incomplete ({error}); it cannot be made again.") from None
    observers = [*callbacks, lambda made: made.index == step]
    image = api.stylize(output=output, overwrite=overwrite, callbacks=observers, **arguments)
    return Rerun(image, records.fingerprint(encoding.to_uint8(np.asarray(image))) == pixels)


def _arguments(record: Mapping[str, Any], path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `api.stylize` that a record describes."""
    inputs = {kind: _find(path, kind, file, given.get(kind)) for kind, file in record["inputs"].items()}
    described = dict(record["recipe"])
    for part, name in (("start", "init"), ("network", "weights")):
        if name in inputs:
            described[part] = {**described[part], name: str(inputs[name])}
    recipe = recipe_from_record(described)
    parts = record["options"].get("styles", [{}])
    _check_words(path, recipe, record["options"], parts, inputs)
    return {
        "content": inputs["content"],
        "style": [
            Style(
                inputs[name],
                **{"mask": inputs.get(f"{name} mask"), "style_mask": inputs.get(f"{name} style_mask"), **part},
            )
            for name, part in zip(name_styles(parts), parts, strict=True)
        ],
        "protect": inputs.get("protect", record["options"].get("protect")),
        "recipe": recipe,
        "size": recipe.pyramid.size,
        **{name: record["options"][name] for name in ("background", "keep_alpha", "quality")},
        **{name: record["options"][name] for name in ("memory", "feather") if name in record["options"]},
    }


_PARTS_OF_STYLES = ("mask", "style_mask")
"""Masks of a style; if they are files, these are among the inputs, under other names."""


def _check_words(
    path: Path,
    recipe: Recipe,
    options: Mapping[str, Any],
    parts: Iterable[Mapping[str, Any]],
    inputs: Mapping[str, Path],
) -> None:
    """Raises `InputError` if a record from elsewhere names files that are not among its inputs, with their hashes."""
    given = [
        ("init", recipe.start.init, STARTS),
        ("weights", recipe.network.weights, BUILT_IN),
        ("protect", options.get("protect"), (None, "faces", *RAMPS)),
        *((name, part.get(name), (None, *RAMPS)) for part in parts for name in _PARTS_OF_STYLES),
    ]
    for name, value, words in given:
        if value not in words and (name in _PARTS_OF_STYLES or name not in inputs):
            raise InputError(f"{path}: its record names a file as {name} that is not among its inputs.")


def _find(path: Path, kind: str, file: Mapping[str, str], given: Any) -> Path:
    """Returns the path of a file that a record names.

    Raises:
        InputError: if it is missing or has changed.
    """
    name, what = Path(file["name"]).name, f"the {kind} of {path}"
    if given is None and not name:
        raise InputError(f"{what} was not read from a file; save it and give its path.")
    named = [Path(given)] if given is not None else [folder / name for folder in (path.parent, Path(), images.SAMPLES)]
    there = [candidate for candidate in named if os.path.isfile(candidate)]
    if not there and given is None:
        raise InputError(f"{what} was {name[:80]}, which is not beside it; give CONTENT and STYLE.")
    if not there:
        raise InputError(f"{given}: no such file; it should be {what}.")
    for candidate in there:
        if records.fingerprint(candidate) == file["sha256"]:
            return candidate
    raise InputError(f"{there[0]}: is not {what}, or has changed since; give CONTENT and STYLE.")
