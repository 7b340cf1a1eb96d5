"""Options → what the network sees, what varying a number does, and what others can load: features, sweep, export."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from tfstyle import files, images, weights
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import checked_pictures, shown_steps, start, typed_recipe
from tfstyle.errors import Interrupted, OutputError, UsageError, unknown_name
from tfstyle.fields import option_fields
from tfstyle.pictures import decoding
from tfstyle.recipes.published import RECIPES, get_recipe
from tfstyle.recipes.recipe import Recipe
from tfstyle.vgg19 import STYLE_LAYERS, layer_names


def recipes(options: argparse.Namespace) -> None:
    """Prints every recipe with one line about it, or every value of one."""
    if options.name is not None:
        values = dataclasses.asdict(get_recipe(options.name))
        if options.json:
            print(json.dumps(values))
        for name, value in () if options.json else values.items():
            print(f"{name:<23}{' '.join(map(str, value)) if isinstance(value, tuple) else value}")
        return
    for recipe in RECIPES.values():
        summary = {"name": recipe.name, "summary": recipe.summary}
        print(json.dumps(summary) if options.json else f"{recipe.name:<21}{recipe.summary}")


def _layers(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """Layer names separated by commas or spaces, each checked."""
    layers = default if text is None else tuple(re.split(r"[,\s]+", text.strip()))
    for layer in layers:
        if layer not in layer_names():
            raise UsageError(unknown_name("layer", layer, layer_names()))
    return layers


def _new_folder(options: argparse.Namespace, default: str) -> Path:
    """The folder results go into: it must be new, or empty, or `--overwrite` given."""
    folder = Path(options.output or files.shorten_name(default))
    files.check_place(folder)
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise OutputError(f"{folder}: is a file; name a folder with -o.")
        return folder
    try:
        used = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be looked into ({error.strerror}); choose another with -o.") from error
    if used and not options.overwrite:
        raise OutputError(f"{folder}: is not empty; choose another folder with -o, or use --overwrite.")
    return folder


def features(options: argparse.Namespace) -> None:
    """Runs `tfstyle features`: LAYER.png, the mean feature map, and LAYER-channels.png for each layer."""
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
    image = images.fit(picture, min(options.size, max(picture.shape[1:3])))
    network = vgg.load_vgg(layers, weights=options.weights, taps=options.taps)
    network.check_size(image)
    with files.make_folder(folder):
        for layer, found in network(image).items():
            images.write(plots.draw_feature_map(found), folder / f"{layer}.png", overwrite=options.overwrite)
            sheet = images.encode(plots.draw_strongest_channels(found), "PNG")
            files.save_atomically(folder / f"{layer}-channels.png", sheet, overwrite=options.overwrite)
    events.result(options, folder)


def _varied(words: list[str]) -> dict[str, list[Any]]:
    """`field=a,b,c` for each word, values of the field's type."""
    kinds = {item.name: item.metadata["kind"] for item in option_fields(Recipe)}
    vary = {}
    for word in words:
        name, _, values = word.partition("=")
        name = name.replace("-", "_")
        if name in {item.name for item in dataclasses.fields(Recipe)} - set(kinds):
            raise UsageError(f"{name} cannot be varied, only a number that is an option: {', '.join(kinds)}.")
        if name not in kinds:
            raise UsageError(unknown_name("field to vary", name, kinds))
        try:
            vary[name] = [kinds[name](value) for value in values.split(",")]
        except ValueError:
            raise UsageError(f"--vary {word}: expected {name}=A,B with {kinds[name].__name__} values.") from None
    return vary


def sweep(options: argparse.Namespace) -> None:
    """Runs `tfstyle sweep`: one picture for each combination, grid.png, losses.png and losses.csv."""
    recipe, overrides = typed_recipe(options)
    vary = _varied(options.vary)
    content, style = checked_pictures(options, recipe)
    for name in ("init", "weights"):  # Those that may name a file.
        for value in vary.get(name, ()):
            checked_pictures(options, get_recipe(recipe, **{name: value}))
    folder = _new_folder(options, f"{content.stem}.{style.stem}-sweep")
    with quiet_tensorflow(options.debug):
        from tfstyle import sweeps
    labels = [sweeps.label(values) for values in sweeps.combinations(recipe, vary)]
    names = files.make_distinct_names((label.replace(" ", "_") for label in labels), ".png")
    start(options, recipe, content=str(content), style=str(style), vary=vary, pictures=len(labels))
    outcomes: list[Any] = []
    shown = {"callbacks": lambda label: shown_steps(options), "background": options.background}
    with files.make_folder(folder):
        try:
            for outcome in sweeps.sweep(content, style, vary=vary, recipe=recipe, **shown, **overrides):
                path = folder / names[len(outcomes)]
                images.write_result(outcome.image, path, overwrite=options.overwrite)
                outcomes.append(outcome)
                if options.json:
                    events.result(options, path, **outcome.values)
                elif not options.quiet:
                    print(f"{len(outcomes)}/{len(labels)} {outcome.label}", file=sys.stderr)
        except KeyboardInterrupt:
            raise Interrupted(f"{len(outcomes)} of {len(labels)} pictures are in {folder}.") from None
        finally:  # Also after a run that failed.
            if outcomes:
                _write_overview(folder, outcomes, len(next(reversed(vary.values()))), overwrite=options.overwrite)
    events.result(options, folder, pictures=len(labels))


def _write_overview(folder: Path, outcomes: list[Any], columns: int, *, overwrite: bool) -> None:
    """Writes grid.png, losses.png and losses.csv of the runs that are done."""
    from tfstyle import callbacks, plots, sweeps

    grid = sweeps.overview(outcomes, columns=columns)
    files.save_result(folder / "grid.png", images.encode(grid, "PNG"), overwrite=overwrite)
    curves = plots.draw_loss_curves({outcome.label: outcome.rows for outcome in outcomes})
    files.save_result(folder / "losses.png", curves, overwrite=overwrite)
    rows = [{"run": outcome.label} | dict(row) for outcome in outcomes for row in outcome.rows]
    callbacks.write_rows(folder / "losses.csv", rows, overwrite=overwrite)


def export(options: argparse.Namespace) -> None:
    """Runs `tfstyle export extractor`, or exports a trained network."""
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
    """Exports a network by its name or file."""
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
    """The one folder named."""
    if (options.directory is None) == (options.output is None):
        raise UsageError(f"name one folder to export into: tfstyle export {options.what} -o DIR.")
    return Path(options.directory if options.output is None else options.output)
