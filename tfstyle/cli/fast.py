"""Options → pictures in one pass: `tfstyle fast`, for one photograph or a folder of them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfstyle import decoding, files, images
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import check_quality, result_path
from tfstyle.errors import InputError, Interrupted, OutputError, UsageError

_log = logging.getLogger("tfstyle")


def run(options: argparse.Namespace) -> None:
    """Paints every photograph; the paths of the results go to standard output, one a line."""
    content, styles = Path(options.content), [Path(style) for style in options.styles]
    images.parse_color(options.background)
    check_quality(options.quality)
    blend = _blend(options.blend)
    if not styles and not options.model:
        raise UsageError("give a painting, or a network with --model NAME.")
    for style in styles:
        decoding.probe(style)
    manner = Path(styles[0] if styles else options.model)
    jobs = list(_jobs(options, content, manner))
    facts = {"model": options.model, "size": options.size, "seed": options.seed, "pictures": len(jobs)}
    events.start(options, content=str(content), styles=options.styles, **facts)
    with quiet_tensorflow(options.debug):
        from tfstyle import environment
        from tfstyle.feedforward import saved
    environment.grow_gpu_memory()
    network = saved.load(options.model) if options.model else None
    done: list[Path] = []
    try:
        for photograph, output in jobs:
            try:
                _paint(options, photograph, styles, network, blend, output)
            except InputError as error:
                if not done and output == jobs[-1][1]:  # The last, or the only one.
                    raise
                _log.warning("passed over %s: %s", photograph, error)
                events.skipped(options, photograph, str(error))
            else:
                done.append(output)
                events.result(options, output, content=str(photograph))
    except KeyboardInterrupt:
        if not done:
            raise
        raise Interrupted(f"{len(done)} of {len(jobs)} pictures are in {done[0].parent}.") from None


def _paint(
    options: argparse.Namespace,
    photograph: Path,
    styles: list[Path],
    network: Any,
    blend: list[float] | None,
    output: Path,
) -> None:
    """One photograph; a folder made for it does not stay if nothing came of it."""
    from tfstyle import api

    made = not output.parent.exists()
    output.parent.mkdir(exist_ok=True)
    try:
        api.fast(
            photograph,
            styles,
            model=network,
            blend=blend,
            alpha=options.alpha,
            seed=options.seed,
            preserve_color=options.preserve_color,
            size=options.size,
            tile=options.tile,
            output=output,
            background=options.background,
            quality=options.quality,
            overwrite=options.overwrite,
        )
    finally:
        if made and not any(output.parent.iterdir()):
            output.parent.rmdir()


def _blend(text: str | None) -> list[float] | None:
    """Weights of the styles, separated by commas."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"blend should be numbers separated by commas, one a style, not {text!r}.") from None


def _jobs(options: argparse.Namespace, content: Path, manner: Path) -> Iterator[tuple[Path, Path]]:
    """Each photograph with the file its painting goes to, checked before any work is done."""
    if not content.is_dir():
        decoding.probe(content)
        output = result_path(options, content, manner)
        images.check_output(output, overwrite=options.overwrite)
        yield content, output
        return
    whole = content if content.name else content.resolve()  # "." has no name.
    folder = Path(options.output) if options.output else whole.with_name(f"{whole.name}-{manner.stem}")
    files.check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder with -o for the results of a folder.")
    photographs = [path for path, _ in images.readable(content)]
    if not photographs:
        raise InputError(f"{content}: holds no picture that can be read.")
    unique = len({photograph.stem for photograph in photographs}) == len(photographs)
    for photograph in photographs:
        output = folder / f"{photograph.stem if unique else photograph.name}.{manner.stem}.png"
        if folder.is_dir():
            images.check_output(output, overwrite=options.overwrite)
        yield photograph, output
