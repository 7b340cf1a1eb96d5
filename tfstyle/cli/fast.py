"""The commands `tfstyle fast`, which stylizes a picture in one pass, and `enlarge`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfstyle import files, images
from tfstyle.cli import events
from tfstyle.cli.streams import quiet_tensorflow
from tfstyle.cli.stylize import join_names, result_path
from tfstyle.errors import InputError, UsageError
from tfstyle.faces import check_protect, name_protected
from tfstyle.pictures import decoding, encoding
from tfstyle.recipes.parts import ColorTransfer
from tfstyle.styles import as_styles, name_pictures, parse_style


def run(options: argparse.Namespace) -> None:
    """Stylizes the content image; prints the path of the result."""
    content, styles = Path(options.content), list(map(parse_style, options.styles))
    images.parse_color(options.background)
    encoding.check_quality(options.quality)
    ColorTransfer(color=options.color, color_strength=options.color_strength)  # Refused before TensorFlow is loaded.
    if not styles and not options.model:
        raise UsageError("give a style image, or a network with --model NAME.")
    if content.is_dir():
        raise InputError(f"{content}: is a folder; give a picture, tfstyle batch --fast takes folders.")
    check_protect(options.protect)
    decoding.probe(content, long_side=1)
    pictures = name_pictures(as_styles(styles)) | name_protected(options.protect)
    for path in pictures.values():  # Read at their own size.
        decoding.probe(Path(path))
    output = result_path(options, content, join_names(styles) or Path(options.model).stem)
    facts = {"model": options.model, "size": options.size, "seed": options.seed}
    events.start(options, content=str(content), styles=options.styles, **facts)
    with files.make_folder(Path(output).parent):
        images.check_output(output, overwrite=options.overwrite)
        with quiet_tensorflow(options.debug):
            from tfstyle import one_pass
        one_pass.stylize_fast(
            content,
            styles,
            model=options.model,
            strength=options.strength,
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
    events.result(options, Path(output), content=str(content))


def enlarge(options: argparse.Namespace) -> None:
    """Enlarges a painted picture with detail from the painting; prints the path of the result."""
    picture, painting = Path(options.picture), Path(options.painting)
    images.parse_color(options.background)
    encoding.check_quality(options.quality)
    for path in (picture, painting):
        decoding.probe(path, long_side=1)
    output = result_path(options, picture, "large")
    events.start(options, picture=str(picture), painting=str(painting), size=options.size)
    with files.make_folder(Path(output).parent):
        images.check_output(output, overwrite=options.overwrite)
        with quiet_tensorflow(options.debug):
            from tfstyle import enlarging
        enlarging.enlarge(
            picture,
            painting,
            size=options.size,
            style_scale=options.style_scale,
            output=output,
            background=options.background,
            quality=options.quality,
            overwrite=options.overwrite,
        )
    events.result(options, Path(output), picture=str(picture))
