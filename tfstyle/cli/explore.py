"""Runs `tfstyle recipes`, `features`, `regions`, `sweep`, `variations` and `export`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfstyle import files, images, weights
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import (
    check_memory,
    check_pictures,
    checkpoint_options,
    join_names,
    make_step_callbacks,
    result_path,
    start,
    typed_recipe,
)
from tfstyle.errors import Interrupted, OutputError, UsageError, unknown_name
from tfstyle.pictures import decoding, encoding
from tfstyle.recipes.catalog import RECIPES, get_recipe
from tfstyle.recipes.recipe import OPTIONS, Overrides, replace
from tfstyle.tensors import sides
from tfstyle.vgg19 import STYLE_LAYERS, layer_names


def recipes(options: argparse.Namespace) -> None:
    """Prints every recipe with one line about it, or every value of one."""
    if options.name is not None:
        record = get_recipe(options.name).record()
        if options.json:
            print(json.dumps(record))
        for line in () if options.json else _lines(record):
            print(line)
        return
    for recipe in RECIPES.values():
        summary = {"name": recipe.name, "summary": recipe.summary}
        print(json.dumps(summary) if options.json else f"{recipe.name:<21}{recipe.summary}")


def _lines(record: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Yields a recipe's record as text, one line per value; the values of a part are indented below its name."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            whole = [", ".join(map(str, value))] if value and not isinstance(value[0], str) else value
            yield from (f"{indent}{name if not number else '':<22}{entry}" for number, entry in enumerate(whole))
        else:
            yield f"{indent}{name:<22}{value}"


def _layers(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """Splits layer names at commas and spaces, and checks each."""
    layers = default if text is None else tuple(re.split(r"[,\s]+", text.strip()))
    for layer in layers:
        if layer not in layer_names():
            raise UsageError(unknown_name("layer", layer, layer_names()))
    return layers


def _new_folder(options: argparse.Namespace, default: str) -> Path:
    """Returns the folder for the results: the one given with -o, or the default.

    Raises:
        OutputError: if it is not empty and `--overwrite` is not given, or it could not be made.
    """
    folder = Path(options.output or files.shorten_name(default))
    files.check_place(folder)
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise OutputError(f"{folder}: is a file; name a folder with -o.")
        return folder
    try:
        used = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read ({error.strerror}); choose another with -o.") from error
    if used and not options.overwrite:
        raise OutputError(f"{folder}: is not empty; choose another folder with -o, or use --overwrite.")
    return folder


def features(options: argparse.Namespace) -> None:
    """Runs `tfstyle features`.

    Writes LAYER.png, the mean of the feature map over its channels, and LAYER-channels.png, the strongest channels.
    """
    layers = _layers(options.layers, STYLE_LAYERS)
    if options.size < 1:
        raise UsageError(f"--size should be at least 1, not {options.size}.")
    decoding.probe(Path(options.image), long_side=options.size)
    weights.check(options.weights)
    folder = _new_folder(options, f"{Path(options.image).stem}-features")
    events.start(options, image=options.image, layers=layers, size=options.size)
    with quiet_tensorflow(options.debug):
        from tfstyle import plots, vgg
    picture = images.read_and_log(options.image, long_side=options.size).image
    image = images.fit(picture, min(options.size, max(sides(picture))))
    network = vgg.load_vgg(layers, weights=options.weights, activation=options.activation)
    network.check_size(image)
    with files.make_folder(folder):
        for layer, found in network(image).items():
            images.write(plots.draw_feature_map(found), folder / f"{layer}.png", overwrite=options.overwrite)
            sheet = encoding.encode(plots.draw_strongest_channels(found), "PNG")
            files.save_atomically(folder / f"{layer}-channels.png", sheet, overwrite=options.overwrite)
    events.result(options, folder)


def regions(options: argparse.Namespace) -> None:
    """Runs `tfstyle regions`: draws the regions that two pictures share."""
    if not 2 <= options.regions <= 8:
        raise UsageError(f"--regions should be 2 to 8, not {options.regions}.")
    recipe = get_recipe("default", regions=options.regions)
    content, (painted,) = check_pictures(options, recipe)
    style = Path(painted.picture)
    output = result_path(options, content, f"{style.stem}.regions")
    images.check_output(output, overwrite=options.overwrite)
    events.start(options, content=str(content), styles=[str(style)], regions=options.regions)
    with quiet_tensorflow(options.debug):
        from tfstyle import plots
        from tfstyle.model import build_model
        from tfstyle.regions import find_regions
    photograph, painting = (
        images.as_image(images.read_and_log(path, long_side=_REGIONS_SIZE, background=options.background).image, name)
        for path, name in ((content, "content"), (style, "style"))
    )
    network = build_model(recipe.network, recipe.loss).vgg
    for picture, path in ((photograph, content), (painting, style)):
        network.check_size(picture, str(path))
    found = find_regions(network, photograph, painting, count=recipe.loss.region_count)
    sheet = plots.draw_regions(photograph, painting, found)
    images.write_result(np.float32(sheet / 255.0), output, overwrite=options.overwrite)
    events.result(options, Path(output))
    if options.masks is not None:
        _write_masks(options, {content.stem: (photograph, found.content), style.stem: (painting, found.style)})


_REGIONS_SIZE = 512


def _write_masks(options: argparse.Namespace, named: dict[str, tuple[Any, Any]]) -> None:
    """Writes each region of two pictures as a mask, to be edited and given to `stylize`."""
    folder = Path(options.masks)
    with files.make_folder(folder):
        for name, (picture, masks) in named.items():
            enlarged = np.asarray(images.resize(masks, *sides(picture)))
            for number in range(enlarged.shape[-1]):
                mask = np.repeat(enlarged[..., number : number + 1], 3, axis=-1)
                images.write_result(mask, folder / f"{name}-{number + 1}.png", overwrite=options.overwrite)
    events.result(options, folder)


def _varied(words: list[str]) -> dict[str, list[Any]]:
    """Parses words of the form `field=a,b,c` and converts the values to the field's type."""
    kinds = {name: item.metadata["kind"] for name, item in OPTIONS.items()}
    vary = {}
    for word in words:
        name, _, values = word.partition("=")
        name = name.replace("-", "_")
        if name in Overrides.__annotations__ and name not in kinds:
            raise UsageError(f"{name} cannot be varied, only fields that are options: {', '.join(kinds)}.")
        if name not in kinds:
            raise UsageError(unknown_name("field to vary", name, kinds))
        try:
            vary[name] = [kinds[name](value) for value in values.split(",")]
        except ValueError:
            raise UsageError(f"--vary {word}: expected {name}=A,B with {kinds[name].__name__} values.") from None
    return vary


def sweep(options: argparse.Namespace) -> None:
    """Runs `tfstyle sweep`: writes one picture for each combination, grid.png, losses.png and losses.csv."""
    recipe, overrides = typed_recipe(options)
    vary = _varied(options.vary)
    content, styles = check_pictures(options, recipe)
    for name in ("init", "weights"):  # Their values may be files.
        for value in vary.get(name, ()):
            check_pictures(options, replace(recipe, {name: value}))
    checkpoints = checkpoint_options(options)
    check_memory(options)
    folder = _new_folder(options, f"{content.stem}.{join_names(styles)}-sweep")
    with quiet_tensorflow(options.debug):
        from tfstyle import sweeps
    labels = [sweeps.format_label(values) for values in sweeps.expand_grid(recipe, vary)]
    names = files.make_distinct_names((label.replace(" ", "_") for label in labels), ".png")
    painted = [str(style.picture) for style in styles]
    start(options, recipe, content=str(content), styles=painted, vary=vary, pictures=len(labels))
    runs: list[Any] = []
    with files.make_folder(folder):
        try:
            for run in sweeps.sweep(
                content,
                styles,
                vary=vary,
                recipe=recipe,
                make_callbacks=lambda label: make_step_callbacks(options),
                background=options.background,
                **checkpoints,
                memory=options.memory,
                **overrides,
            ):
                path = folder / names[len(runs)]
                images.write_result(run.image, path, overwrite=options.overwrite)
                runs.append(run)
                if options.json:
                    events.result(options, path, **run.values)
                elif not options.quiet:
                    print(f"{len(runs)}/{len(labels)} {run.label}", file=sys.stderr)
        except KeyboardInterrupt:
            raise Interrupted(f"{len(runs)} of {len(labels)} pictures are in {folder}.") from None
        finally:  # Also after a run that has failed.
            if runs:
                _write_overview(folder, runs, len(next(reversed(vary.values()))), overwrite=options.overwrite)
    events.result(options, folder, pictures=len(labels))


def variations(options: argparse.Namespace) -> None:
    """Runs `tfstyle variations`: draws ten looks of one pair on a sheet, each with its options."""
    recipe, _ = typed_recipe(options)
    content, styles = check_pictures(options, recipe)
    check_memory(options)
    output = result_path(options, content, f"{join_names(styles)}.variations")
    images.check_output(output, overwrite=options.overwrite)
    painted = [str(style.picture) for style in styles]
    start(options, recipe, content=str(content), styles=painted)
    with quiet_tensorflow(options.debug):
        from tfstyle import sweeps
    runs = []
    size = recipe.pyramid.size if "size" in vars(options) else _VARIATIONS_SIZE
    chosen = {"background": options.background, "memory": options.memory}
    for run in sweeps.variations(content, styles, recipe=recipe, size=size, **chosen):
        runs.append(run)
        command = shlex.join(["tfstyle", "stylize", options.content, *options.styles, *_typed(options, run)])
        if not (options.quiet or options.json):
            print(f"{len(runs)}/{len(sweeps.LOOKS)} {command}", file=sys.stderr, flush=True)
    sheet = sweeps.draw_grid(runs, columns=5)
    images.write_result(np.float32(sheet / 255.0), output, overwrite=options.overwrite)
    events.result(options, Path(output), looks=[run.label for run in runs])


_VARIATIONS_SIZE = 256


def _typed(options: argparse.Namespace, run: Any) -> list[str]:
    """Returns the options that make a look again: those that were typed, but for the size, and its own."""
    from tfstyle.sweeps import list_options

    typed = {name: getattr(options, name) for name in OPTIONS if name in vars(options) and name != "size"}
    recipe = {} if options.recipe == "default" else {"recipe": options.recipe}
    return list_options(recipe | typed | dict(run.values))


def _write_overview(folder: Path, runs: list[Any], columns: int, *, overwrite: bool) -> None:
    """Writes grid.png, losses.png and losses.csv of the finished runs."""
    from tfstyle import callbacks, plots, sweeps

    grid = sweeps.draw_grid(runs, columns=columns)
    files.save_result(folder / "grid.png", encoding.encode(grid, "PNG"), overwrite=overwrite)
    curves = plots.draw_loss_curves({run.label: run.rows for run in runs})
    files.save_result(folder / "losses.png", curves, overwrite=overwrite)
    rows = [{"run": run.label} | dict(row) for run in runs for row in run.rows]
    callbacks.write_rows(folder / "losses.csv", rows, overwrite=overwrite)


def export(options: argparse.Namespace) -> None:
    """Runs `tfstyle export`: the feature extractor, or a trained network."""
    if options.what != "extractor":
        _export_network(options)
        return
    style, content = _layers(options.style_layers, STYLE_LAYERS), _layers(options.content_layers, ("block4_conv2",))
    folder = _export_folder(options)
    weights.check(options.weights)
    with quiet_tensorflow(options.debug):
        from tfstyle.model import StyleContentModel
        from tfstyle.serving.export import check_export, export_extractor

        check_export(folder, format=options.format, overwrite=options.overwrite)
        model = StyleContentModel(style, content, weights=options.weights, pooling=options.pooling)
        export_extractor(model, folder, format=options.format, overwrite=options.overwrite)
    print(folder)


def _export_network(options: argparse.Namespace) -> None:
    """Exports a trained network, given by its name or file."""
    folder = _export_folder(options)
    with quiet_tensorflow(options.debug):
        from tfstyle.feedforward import serialization
        from tfstyle.serving.export import check_export, export_network
    check_export(folder, format=options.format, overwrite=options.overwrite)
    network = serialization.load(options.what)
    with quiet_tensorflow(options.debug):
        export_network(network, folder, format=options.format, overwrite=options.overwrite)
    print(folder)


def _export_folder(options: argparse.Namespace) -> Path:
    """Returns the folder to export into, given either as DIR or with -o, not both."""
    if (options.directory is None) == (options.output is None):
        raise UsageError(f"name one folder to export into: tfstyle export {options.what} -o DIR.")
    return Path(options.directory if options.output is None else options.output)
