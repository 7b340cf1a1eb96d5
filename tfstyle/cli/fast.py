"""The command `tfstyle fast`: stylizes one picture or a folder of pictures in one pass."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
from pathlib import Path
from typing import Any

from tfstyle import files, images
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import default_folder, join_names, result_path
from tfstyle.errors import InputError, Interrupted, MemoryLimitError, UsageError
from tfstyle.pictures import decoding, encoding
from tfstyle.recipes.parts import ColorTransfer
from tfstyle.styles import Style, as_styles, name_pictures, parse_style

_Job = tuple[Path, Path | files.FreeName]
"""A content image and the file of its result."""

_log = logging.getLogger("tfstyle")


def run(options: argparse.Namespace) -> None:
    """Stylizes every content image; prints the path of each result."""
    content, named = Path(options.content), list(map(parse_style, options.styles))
    styles = as_styles(named) if named else []
    images.parse_color(options.background)
    encoding.check_quality(options.quality)
    ColorTransfer(color=options.color, color_strength=options.color_strength)  # Refused before TensorFlow is loaded.
    if not styles and not options.model:
        raise UsageError("give a style image, or a network with --model NAME.")
    for path in (*name_pictures(styles).values(), *([options.protect] if options.protect else [])):
        decoding.probe(Path(path))
    style_name = join_names(named) or Path(options.model).stem
    folder, jobs = _jobs(options, content, style_name)
    facts = {"model": options.model, "size": options.size, "seed": options.seed, "pictures": len(jobs)}
    events.start(options, content=str(content), styles=options.styles, **facts)
    with files.make_folder(folder):
        for _, output in jobs:
            images.check_output(output, overwrite=options.overwrite)
        with quiet_tensorflow(options.debug):
            from tfstyle import environment
            from tfstyle.feedforward import serialization
        environment.grow_gpu_memory()
        network = serialization.load(options.model) if options.model else None
        logged = [_read(style, background=options.background) for style in styles]
        _stylize_all(options, jobs, logged, network)


def _read(style: Style, *, background: str) -> Style:
    """Reads a style image; what was converted is logged once, not for each job."""
    picture = images.read_and_log(style.picture, background=background)
    return dataclasses.replace(style, picture=dataclasses.replace(picture, notes=(), warnings=()))


def _stylize_all(options: argparse.Namespace, jobs: list[_Job], styles: list[Style], network: Any) -> None:
    """Stylizes every content image; skips a failing one with a warning, unless all fail."""
    done: list[Path] = []
    try:
        for content, output in jobs:
            try:
                _stylize(options, content, styles, network, output)
            except (InputError, MemoryLimitError) as error:
                if not done and content == jobs[-1][0]:  # The last image, or the only one.
                    raise
                _log.warning("passed over %s: %s", content, error)
                events.skipped(options, content, str(error))
            else:
                done.append(Path(output))
                events.result(options, done[-1], content=str(content))
    except KeyboardInterrupt:
        if not done:
            raise
        raise Interrupted(f"{len(done)} of {len(jobs)} pictures are in {done[0].parent}.") from None


def _stylize(
    options: argparse.Namespace,
    content: Path,
    styles: list[Style],
    network: Any,
    output: Path | files.FreeName,
) -> None:
    """Stylizes one content image."""
    from tfstyle import one_pass

    one_pass.stylize_fast(
        content,
        styles,
        model=network,
        alpha=options.alpha,
        seed=options.seed,
        transform=options.transform,
        precision=options.precision,
        color=options.color,
        color_strength=options.color_strength,
        protect=options.protect,
        feather=options.feather,
        size=options.size,
        tile=options.tile,
        output=output,
        background=options.background,
        quality=options.quality,
        overwrite=options.overwrite,
    )


def _jobs(options: argparse.Namespace, content: Path, style_name: str) -> tuple[Path, list[_Job]]:
    """Returns the folder of the results, and each content image with the file of its result.

    If a name in that folder is taken during the run, the result is named NAME-2.
    """
    if not os.path.isdir(content):
        decoding.probe(content, long_side=1)
        output = result_path(options, content, style_name)
        return Path(output).parent, [(content, output)]
    whole = content if content.name else content.resolve()  # "." has no name.
    folder = Path(options.output or default_folder(whole) / files.shorten_name(f"{whole.name}-{style_name}"))
    contents = _list_contents(content, style_name)
    unique = len({path.stem for path in contents}) == len(contents)
    jobs: list[_Job] = []
    for path in contents:
        name = files.shorten_name(f"{path.stem if unique else path.name}.{style_name}", ".png")
        if os.path.isdir(folder):
            images.check_output(folder / name, overwrite=options.overwrite)
        jobs.append((path, folder / name if options.overwrite else files.FreeName(folder / name)))
    return folder, jobs


def _list_contents(folder: Path, style_name: str) -> list[Path]:
    """Lists the pictures in a folder, except results of earlier runs: PHOTO.STYLE.png, numbered or not, beside a PHOTO.

    Raises:
        InputError: if there are none.
    """
    pictures = [path for path, _ in images.find_pictures(folder)]
    names = {name for path in pictures for name in (path.stem, path.name)}
    ending = re.compile(rf"\.{re.escape(style_name)}(-\d+)?$")
    results = [path for path in pictures if ending.search(path.stem) and ending.sub("", path.stem) in names]
    if results:
        _log.warning("passed over earlier results named PHOTO.%s: %d, as %s", style_name, len(results), results[0])
    contents = [path for path in pictures if path not in results]
    if not contents:
        raise InputError(f"{folder}: holds no picture that can be read.")
    return contents
