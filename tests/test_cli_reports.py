"""`tfstyle inspect`, `compare` and `doctor`."""

import json
import os
import re
from importlib import metadata

import numpy as np
from conftest import assert_one_line, image

from tfstyle import cli, images
from tfstyle.cli import reports
from tfstyle.pictures import checks


def test_inspect_tells_how_a_file_is_read(rng, tmp_path, capsys):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20), 99).save(tmp_path / "p.png", exif=exif)
    assert cli.main(["inspect", str(tmp_path / "p.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"file:        {tmp_path / 'p.png'}",
        "format:      PNG",
        "stored:      30x20, mode L",
        "size:        20x30",
        "profile:     none, taken as sRGB",
        "orientation: 6",
        "alpha:       no",
        "converted:   L converted to RGB",
        "converted:   turned upright (orientation 6)",
    ]


def test_inspect_reads_a_huge_picture_reduced_and_tells_its_whole_size(rng, tmp_path, capsys, monkeypatch):
    path = str(tmp_path / "p.png")
    images.write(image(rng, 60, 90), path, alpha=np.zeros([60, 90, 1], "float32"))
    monkeypatch.setattr(reports, "_INSPECTED_SIDE", 10)
    monkeypatch.setattr(checks, "memory_for_reading", lambda: 60 * 90 * 12)  # Whole: 20 a pixel.
    assert cli.main(["inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"size:        90x60", "alpha:       yes, 100% not opaque"} < set(lines)
    assert cli.main(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["file"], facts["width"], facts["height"], facts["not_opaque"]) == (path, 90, 60, 1.0)
    assert (facts["format"], facts["mode"], facts["orientation"], facts["warnings"]) == ("PNG", "RGBA", 1, [])


def test_doctor_shows_versions_devices_and_hashes(capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in (
        "tfstyle:",
        "tensorflow:",
        "device:      CPU:0",
        "vgg19-normalized b9c1f60e",
        "adain-decoder 7d86b8f3",
        "extra:       heif: ",
        f"processors:  {os.cpu_count()}",
        "setting:     oneDNN o",
    ):
        assert word in text
    assert "DAMAGED" not in text


def test_doctor_as_json(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tensorflow"] == metadata.version("tensorflow")
    assert facts["devices"] == {"CPU:0": ""}
    assert facts["weights"]["starry-night"][1] is True
    assert facts["extras"]["tensorboard"]["tensorboard"] == metadata.version("tensorboard")


def test_doctor_finds_damaged_weights(monkeypatch, tmp_path, capsys):
    for name in ("vgg19-normalized", "adain-decoder"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    monkeypatch.setattr("tfstyle.weights.FOLDER", tmp_path)
    assert cli.main(["doctor"]) == 7
    text = capsys.readouterr().out
    assert text.count("DAMAGED") == 4  # Each of the embedded files.
    assert "starry-night missing DAMAGED" in text


def test_compare_says_which_direction_is_better(pair, capsys):
    assert cli.main(["compare", *pair, pair[0]]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["gram", "moments", "sliced wasserstein", "colors", "content", "ssim", "grain", "matched share", "semantic"]
    assert re.split("  +", lines[0].strip()) == names
    path, *figures = lines[1].split()
    assert path == pair[0]
    assert figures[4:6] == ["0.000", "1.000"]
    assert len(figures) == len(names)
    assert len(lines[0]) == len(lines[1])
    legend = " ".join(lines[2:])
    assert "Distances from the style image, lower is better: between Gram matrices (gram)" in legend
    assert "Distance from the content image, lower is better: between the features (content)." in legend
    assert "Structural similarity to the content image, higher is better, 1 if equal: ssim." in legend
    assert "best about 0.5 to 1.1, engraved from 1.5: grain." in legend
    assert "whatever the result (matched share)" in legend
    assert "content image there, higher is better (semantic)." in legend


def test_compare_reads_content_and_style_no_larger_than_the_results_need(pair, tmp_path, rng, capsys, monkeypatch):
    huge = str(tmp_path / "huge.png")
    images.write(image(rng, 300, 400), huge)
    monkeypatch.setattr(checks, "memory_for_reading", lambda: 300 * 400 * 12)  # Whole: 20 a pixel.
    assert cli.main(["compare", huge, huge, *pair]) == 0
    assert capsys.readouterr().out.count("\n") == 3 + 8
    assert_one_line(capsys, cli.main(["compare", *pair, huge]), 3, "400x300 is more than the limit")
