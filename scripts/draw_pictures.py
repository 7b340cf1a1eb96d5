"""Draws the sheets of the README and of the pages in docs/ from the samples.

    python scripts/draw_pictures.py row docs/pictures/row.jpg --size 512 --width 1200
    python scripts/draw_pictures.py mechanisms docs/pictures/mechanisms.jpg
    python scripts/draw_pictures.py colors docs/pictures/colors.jpg --width 240
    python scripts/draw_pictures.py paintings docs/pictures/paintings.jpg --width 240
    python scripts/draw_pictures.py masks docs/pictures/masks.jpg
    python scripts/draw_pictures.py strength docs/pictures/strength.jpg --width 240
    python scripts/draw_pictures.py strokes docs/pictures/strokes.jpg
    python scripts/draw_pictures.py batch docs/pictures/batch.jpg --width 200
    python scripts/draw_pictures.py print docs/pictures/print.jpg --width 400

Pictures are kept in --folder and not computed again.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tfstyle
from tfstyle import images, plots, regions, vgg
from tfstyle.pictures import encoding
from tfstyle.styles import parse_style

PHOTOGRAPHS = ("neuschwanstein", "colosseum", "chelsea")
PAINTINGS = ("starry_night", "night_cafe", "cafe_terrace", "harvest")

NO_OBJECTS = {"neighbor_weight": 0.0, "recurrence": 0.0, "content_weight": 0.0125, "palette": 0.0}
MECHANISMS = (
    ("colosseum", "night_cafe", ("distance of mean and covariance alone", NO_OBJECTS), ("the default", {})),
    ("neuschwanstein", "starry_night", ("without recurrence", {"recurrence": 0.0}), ("recurrence 1: the default", {})),
    (
        "colosseum",
        "cafe_terrace",
        ("one level, as many steps", {"scale_start": 0, "steps": 72}),
        ("coarse to fine: the default", {}),
    ),
    ("neuschwanstein", "harvest", ("without added detail", {"add_detail": False}), ("detail added: the default", {})),
    (
        "chelsea",
        "cafe_terrace",
        (
            "steps with peaks, no detail of the painting",
            {"add_style_detail": False, "warm_start": True, "max_step_peak": 0.0},
        ),
        ("peaks clipped, with its detail: the default", {}),
    ),
    ("colosseum", "harvest", ("start from noise", {"init": "noise"}), ("from the photograph: the default", {})),
    ("chelsea", "night_cafe", ("total variation 2", {"tv_weight": 2.0}), ("total variation 0.5: the default", {})),
    ("neuschwanstein", "night_cafe", ("palette 0", {"palette": 0.0}), ("palette 0.5: the default", {})),
    ("colosseum", "starry_night", ("style scale 1: the default", {}), ("style scale 2", {"style_scale": 2.0})),
    ("chelsea", "starry_night", ("regions none: the default", {}), ("regions 3", {"regions": "3"})),
)
"""Photograph, painting, and for either side a label and what differs from the default recipe."""

PAIRS = (("neuschwanstein", "starry_night"), ("colosseum", "harvest"))
COLORS = (
    ("the painting's: the default", {}),
    ("content", {"color": "content"}),
    ("content, strength 0.5", {"color": "content", "color_strength": 0.5}),
    ("match", {"color": "match"}),
    ("histogram", {"color": "histogram"}),
)
"""A label and what differs from the default recipe."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STROKES = (
    ("orientation none: the default", {}),
    ("orientation edges", {"orientation": "edges"}),
    ("style scale 2", {"style_scale": 2.0}),
    ("orientation 0", {"orientation": "0"}),
    ("orientation 45", {"orientation": "45"}),
    ("orientation 90", {"orientation": "90"}),
)
"""A label and what differs from the default recipe."""

BLENDS = (
    ("neuschwanstein", ("The Starry Night", "starry_night")),
    ("neuschwanstein", ("weights 3 and 1", "starry_night:weight=3 harvest")),
    ("neuschwanstein", ("equal weights", "starry_night harvest")),
    ("neuschwanstein", ("weights 1 and 3", "starry_night harvest:weight=3")),
    ("neuschwanstein", ("The Harvest", "harvest")),
    ("colosseum", ("The Night Cafe", "night_cafe")),
    ("colosseum", ("its colors, strokes of the other", "night_cafe:layers=block1 starry_night:layers=DEEP")),
    ("colosseum", ("equal weights", "night_cafe starry_night")),
    ("colosseum", ("its strokes, colors of the other", "starry_night:layers=block1 night_cafe:layers=DEEP")),
    ("colosseum", ("The Starry Night", "starry_night")),
)
"""Photograph, and a label and its paintings."""

MASKED = (
    ("the mask of the sky", ""),
    ("the sky alone", "starry_night:mask=SKY"),
    ("the sky, and another painting", "starry_night:mask=SKY harvest"),
    ("a ramp from left to right", "starry_night:mask=left cafe_terrace:mask=right"),
)
"""A label, and the paintings of one photograph; SKY is the file of a mask."""

DEEP = "block2+block3+block4+block5"


def stylize(photograph, paintings, method, overrides, options):
    """Returns an image, and the seconds that it took when it was computed."""
    name = "_".join([photograph, paintings, method, *(f"{key}-{value}" for key, value in sorted(overrides.items()))])
    name = name.translate(str.maketrans(": ", "-_"))
    path, seconds = options.folder / f"{name}-{options.size}.png", options.folder / f"{name}-{options.size}.json"
    if not seconds.exists():
        styles = map(parse_style, paintings.replace("DEEP", DEEP).replace("SKY", str(sky_mask(options))).split())
        styles = [dataclasses.replace(style, picture=images.SAMPLES / f"{style.picture}.jpg") for style in styles]
        pair = images.SAMPLES / f"{photograph}.jpg", styles
        began = time.perf_counter()
        if method == "fast":
            tfstyle.stylize_fast(*pair, size=options.size, output=path, overwrite=True)
        else:
            tfstyle.stylize(*pair, recipe=method, size=options.size, output=path, overwrite=True, **overrides)
        seconds.write_text(json.dumps(time.perf_counter() - began))
    return images.read(path).image, json.loads(seconds.read_text())


def draw_row(options):
    """Draws photograph + painting = result, of the demo."""
    found = [images.read(images.SAMPLES / f"{name}.jpg").image for name in PAIRS[0]]
    found.append(stylize(*PAIRS[0], "balanced", {}, options)[0])
    ratio = sum(image.shape[2] / image.shape[1] for image in found)
    gap = options.width // 24
    height = round((options.width - 2 * gap) / ratio)
    row = Image.new("RGB", (options.width, height), "white")
    draw, font, left = ImageDraw.Draw(row), ImageFont.load_default(0.8 * gap), 0
    for image, sign in zip(found, "+= ", strict=True):
        width = min(round(height * image.shape[2] / image.shape[1]), options.width - left)
        row.paste(Image.fromarray(encoding.to_uint8(images.resize(image, height, width).numpy()[0])), (left, 0))
        left += width + gap
        draw.text((left - gap // 2, height // 2), sign, fill="black", font=font, anchor="mm")
    return np.asarray(row)


def draw_mechanisms(options):
    """Draws the picture without and with each mechanism."""
    found, labels = [], []
    for photograph, painting, *sides in MECHANISMS:
        for label, overrides in sides:
            found.append(images.fit(stylize(photograph, painting, "balanced", overrides, options)[0], options.width))
            labels.append(label)
    return plots.draw_grid(found, labels, columns=2)


def draw_colors(options):
    """Draws two pairs with each choice of colors."""
    found = [stylize(*pair, "balanced", overrides, options)[0] for pair in PAIRS for _, overrides in COLORS]
    labels = [label for _ in PAIRS for label, _ in COLORS]
    return plots.draw_grid([images.fit(image, options.width) for image in found], labels, columns=len(COLORS))


def draw_paintings(options):
    """Draws two photographs, each with five combinations of two paintings."""
    found = [stylize(photograph, paintings, "balanced", {}, options)[0] for photograph, (_, paintings) in BLENDS]
    labels = [label for _, (label, _) in BLENDS]
    return plots.draw_grid([images.fit(image, options.width) for image in found], labels, columns=len(BLENDS) // 2)


def sky_mask(options):
    """Finds the sky of a photograph; returns the file of its mask."""
    path = options.folder / "sky.png"
    if not path.exists():
        network = vgg.load_vgg(regions.LAYERS)
        pair = [images.fit(images.read(images.SAMPLES / f"{name}.jpg").image, 512) for name in PAIRS[0]]
        found = regions.find_regions(network, *pair, count=3).content
        top = int(np.argmax(np.mean(found[0, :10], axis=(0, 1))))
        images.write(np.repeat(found[..., top : top + 1], 3, axis=-1), path)
    return path


def draw_masks(options):
    """Draws a mask, and pictures made with masks."""
    photograph = PAIRS[0][0]
    found = [stylize(photograph, paintings, "balanced", {}, options)[0] for _, paintings in MASKED[1:]]
    sheet = [images.fit(image, options.width) for image in (images.read(sky_mask(options)).image, *found)]
    return plots.draw_grid(sheet, [label for label, _ in MASKED], columns=2)


def draw_strength(options):
    """Draws a pair at several strengths."""
    found = [stylize(*PAIRS[0], "balanced", {"strength": strength}, options)[0] for strength in STRENGTHS]
    labels = [f"strength {strength:g}" for strength in STRENGTHS]
    return plots.draw_grid([images.fit(image, options.width) for image in found], labels, columns=len(STRENGTHS))


def draw_strokes(options):
    """Draws a pair with strokes of several directions and sizes."""
    found = [stylize("colosseum", "starry_night", "balanced", overrides, options)[0] for _, overrides in STROKES]
    return plots.draw_grid(
        [images.fit(image, options.width) for image in found], [label for label, _ in STROKES], columns=3
    )


def draw_batch(options):
    """Draws three photographs in four styles, in one pass each."""
    jobs = [(photograph, painting) for photograph in PHOTOGRAPHS for painting in PAINTINGS]
    found = [images.fit(stylize(*job, "fast", {}, options)[0], options.width) for job in jobs]
    return plots.draw_grid(found, [".".join(job) for job in jobs], columns=len(PAINTINGS))


def draw_print(options):
    """Draws the middle of two pictures, enlarged without and with the detail of the painting."""
    found = []
    for photograph, painting in PAIRS:
        image = stylize(photograph, painting, "balanced", {}, options)[0]
        detailed = tfstyle.enlarge(image, images.SAMPLES / f"{painting}.jpg")
        _, height, width, _ = detailed.shape
        top, left = (max(0, side - of) // 2 for side, of in ((height, options.width * 2 // 3), (width, options.width)))
        for large in (images.resize(image, height, width), detailed):
            found.append(large[:, top : height - top, left : width - left])
    return plots.draw_grid(found, ["enlarged", "tfstyle enlarge"] * len(PAIRS), columns=2)


SHEETS = {
    "row": draw_row,
    "mechanisms": draw_mechanisms,
    "colors": draw_colors,
    "paintings": draw_paintings,
    "masks": draw_masks,
    "strength": draw_strength,
    "strokes": draw_strokes,
    "batch": draw_batch,
    "print": draw_print,
}


def main():
    """Draws one sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", choices=SHEETS)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=320, help="long side of the pictures")
    parser.add_argument("--width", type=int, default=300, help="long side of the pictures on the sheet")
    parser.add_argument("--folder", type=Path, default=Path("out/pictures"), help="where pictures are kept")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sheet = SHEETS[options.sheet](options)
    images.write_result(np.float32(sheet / 255.0), options.output, quality=85, overwrite=True)


if __name__ == "__main__":
    main()
