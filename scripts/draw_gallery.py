"""Makes docs/gallery.md and its pictures from the samples; below each picture is the command that made it.

    python scripts/draw_gallery.py                  # what is missing
    python scripts/draw_gallery.py --again recipes  # one part anew

The commands run in a folder that holds the samples. A command whose picture is there is not run again.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tfstyle import images

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "pictures" / "gallery"

PHOTOGRAPHS = ("neuschwanstein", "colosseum", "chelsea")
PAINTINGS = ("starry_night", "night_cafe", "cafe_terrace", "harvest")
CASTLE, RUIN = "stylize neuschwanstein.jpg starry_night.jpg", "stylize colosseum.jpg harvest.jpg"
PUBLISHED = (
    "tensorflow-tutorial",
    "pytorch-lbfgs",
    "avgpool-noise",
    "d2l",
    "johnson",
    "gatys",
    "anish --steps 300",
    "keras-io --steps 300",
    "crowson --steps 300",
)

PARTS = {
    "pairs": (
        "Twelve pairs",
        "The default recipe, with nothing but a size.",
        [f"stylize {photo}.jpg {painting}.jpg --size 320" for painting in PAINTINGS for photo in PHOTOGRAPHS],
    ),
    "presets": (
        "Our recipes",
        "",
        [
            f"{pair} --size 320 --recipe {name}"
            for pair in (CASTLE, RUIN)
            for name in ("draft", "best", "nnst", "wasserstein")
        ],
    ),
    "recipes": (
        "Published recipes",
        "On the embedded network, each with its published number of steps where the command names none.",
        [f"{CASTLE} --size 256 --recipe {name}" for name in PUBLISHED],
    ),
    "controls": (
        "Controls",
        "",
        [
            *(f"{CASTLE} --size 320 --strength {strength}" for strength in (0.25, 0.5, 0.75)),
            f"{CASTLE} --size 320 --style-weight 4",
            *(f"{RUIN} --size 320 --color {color}" for color in ("content", "match", "histogram")),
            f"{RUIN} --size 320 --palette 1",
            *(f"{CASTLE} --size 320 --style-scale {scale}" for scale in (0.5, 2)),
            *(f"stylize colosseum.jpg starry_night.jpg --size 320 --orientation {way}" for way in ("edges", "45")),
            f"{CASTLE} harvest.jpg --size 320",
            f"{CASTLE}:mask=left cafe_terrace.jpg:mask=right --size 320",
            f"{CASTLE} --size 320 --protect bottom",
            f"{CASTLE} --size 320 --regions 3",
            f"{RUIN} --size 320 --init noise",
            "stylize chelsea.jpg night_cafe.jpg --size 320 --content-weight 0.08",
        ],
    ),
    "networks": (
        "Networks of one pass",
        "",
        [
            *(f"fast {photo}.jpg --model starry-night --size 320" for photo in PHOTOGRAPHS),
            *(
                f"fast neuschwanstein.jpg cafe_terrace.jpg --transform {transform} --size 320"
                for transform in ("adain", "monge", "attention", "decorate")
            ),
            "fast colosseum.jpg harvest.jpg starry_night.jpg --size 320",
            "fast chelsea.jpg night_cafe.jpg --color content --size 320",
            "fast chelsea.jpg night_cafe.jpg --strength 0.5 --size 320",
        ],
    ),
}
"""A title, a sentence, and the commands of each part."""

COLUMNS = 3


def picture_name(command: str) -> str:
    """Returns the name of a command's picture, such as "stylize-chelsea-harvest-size-320"."""
    return re.sub(r"[^a-z0-9._]+", "-", command.replace(".jpg", "").replace(".png", ""))


def make(command: str, folder: Path) -> float:
    """Runs a command and keeps its picture as JPEG; returns the seconds that it took."""
    path = PICTURES / f"{picture_name(command)}.jpg"
    began = time.perf_counter()
    words = [sys.executable, "-m", "tfstyle", *shlex.split(command), "-q", "--overwrite", "-o", "result.png"]
    subprocess.run(words, cwd=folder, check=True)
    seconds = time.perf_counter() - began
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_result(images.read(folder / "result.png").image, path, quality=85, overwrite=True)
    return seconds


def write_page(made: dict[str, float]) -> None:
    """Writes the page with all pictures that there are."""
    lines = [
        "# Gallery",
        "",
        "Made by `python scripts/draw_gallery.py` from the embedded samples. Below each picture are the command, to be",
        "run in the folder of the samples (`python -c 'import tfstyle; print(tfstyle.SAMPLES)'`), and the seconds that",
        "it took from start to end on two CPU cores, beside other work.",
    ]
    for title, sentence, commands in PARTS.values():
        lines += ["", f"## {title}", "", *([sentence, ""] if sentence else [])]
        lines += ["|" + " |" * COLUMNS, "|" + "---|" * COLUMNS]
        cells = [_cell(command, made[command]) for command in commands if command in made]
        for start in range(0, len(cells), COLUMNS):
            row = cells[start : start + COLUMNS]
            lines.append("| " + " | ".join(row + [""] * (COLUMNS - len(row))) + " |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(command: str, seconds: float) -> str:
    picture = f"![{command}](pictures/gallery/{picture_name(command)}.jpg)"
    return f"{picture}<br>`tfstyle {command}`<br>{seconds:.0f} s"


def main() -> None:
    """Makes the pictures that are missing, and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", choices=PARTS, action="append", default=[], help="make a part anew")
    parser.add_argument("--folder", type=Path, default=Path("out/gallery"), help="where the commands run")
    options = parser.parse_args()
    shutil.copytree(images.SAMPLES, options.folder, dirs_exist_ok=True)
    notes = PICTURES / "seconds.json"
    made = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    for part, (_, _, commands) in sorted(PARTS.items(), key=lambda part: part[0] == "recipes"):  # Those take longest.
        for command in commands:
            if part in options.again or command not in made:
                made[command] = round(make(command, options.folder), 1)
                notes.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
                write_page(made)
    write_page(made)


if __name__ == "__main__":
    main()
