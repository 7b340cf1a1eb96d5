"""Enlarging a picture with detail from the scan of the painting."""

import json

import numpy as np
import pytest
from conftest import SAMPLES

import tfstyle
from tfstyle import enlarging, environment, images
from tfstyle.enlarging import enlarge
from tfstyle.errors import InputError, MemoryLimitError, OutputError, UsageError


@pytest.fixture(scope="module")
def scan():
    """A part of a painting, 120x180 pixels."""
    return images.read(SAMPLES / "starry_night.jpg").image[:, 200:320, 100:280]


def error(a, b):
    return float(np.sqrt(np.mean(np.square(np.asarray(a) - np.asarray(b)))))


@pytest.mark.parametrize(("size", "expected"), [(0, (120, 180)), (150, (100, 150)), (200, (133, 200))])
def test_the_size_is_what_was_asked_for_or_that_of_the_scan(size, expected, scan, caplog):
    assert enlarge(images.resize(scan, 60, 90), scan, size=size).shape[1:3] == expected
    assert [record.message for record in caplog.records] == (
        ["the painting has detail for 180 pixels; it is only interpolated beyond."] if size == 200 else []
    )


def test_without_a_size_it_is_at_most_four_times_as_large(scan):
    assert enlarge(images.resize(scan, 16, 20), scan).shape == (1, 64, 80, 3)


def test_the_size_of_the_strokes_is_taken_from_the_record(scan, tmp_path, monkeypatch):
    used, paths = [], [tmp_path / "photo.png", tmp_path / "plain.png"]
    find = enlarging.find_detail
    monkeypatch.setattr(
        enlarging, "find_detail", lambda *a, **options: used.append(options["used"]) or find(*a, **options)
    )
    tfstyle.write(scan, tmp_path / "scan.png")
    photo = images.resize(scan, 40, 60)
    tfstyle.stylize(
        photo, tmp_path / "scan.png", recipe="tensorflow-tutorial", steps=1, size=60, style_scale=2.0, output=paths[0]
    )
    tfstyle.write(photo, paths[1])
    for path in paths:
        enlarge(path, tmp_path / "scan.png", size=80)
    enlarge(paths[1], tmp_path / "scan.png", size=80, style_scale=1.5)
    assert used == [120, 60, 90]


@pytest.mark.parametrize("side", [1, 16])
def test_small_and_gray_pictures_stay_in_range(side, scan):
    gray = np.full((side, side + 1, 3), 0.5, np.float32)
    found = enlarge(gray, np.repeat(np.asarray(scan)[0, :, :, :1], 3, axis=-1), size=3 * (side + 1)).numpy()
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert np.ptp(found, axis=-1).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"size": -1}, UsageError, "`size` should be at least 0, not -1."),
        ({"size": 90}, UsageError, "`size` should be above 90, the long side of the picture, not 90."),
        (
            {"size": 40000},
            UsageError,
            "40000x26667 is more than the limit of 200 million pixels; choose a smaller `size`.",
        ),
        ({"style_scale": 0.0}, UsageError, "`style_scale` should be above 0 and at most 10, not 0.0."),
        (
            {"style_scale": 2.0},
            InputError,
            "the painting has 180 pixels on its long side and no more detail than this picture; give a scan of 198 or",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(options, kind, message, scan):
    with pytest.raises(kind) as caught:
        enlarge(images.resize(scan, 60, 90), scan, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_one_line(scan, monkeypatch):
    monkeypatch.setattr(environment, "free_memory", lambda: 1_000_000)
    with pytest.raises(MemoryLimitError, match=r"180x120 needs about .* GB are free; choose a smaller `size`"):
        enlarge(images.resize(scan, 60, 90), scan)


def test_a_file_is_written_and_not_replaced(scan, tmp_path):
    path = tmp_path / "large.png"
    found = enlarge(images.resize(scan, 60, 90), scan, output=path)
    assert error(images.read(path).image, found) < 0.003
    with pytest.raises(OutputError, match="exists"):
        enlarge(images.resize(scan, 60, 90), scan, output=path)


def test_the_command_prints_the_path_and_names_its_options(scan, tmp_path, capsys):
    picture, painting = tmp_path / "photo.painting.png", tmp_path / "painting.png"
    tfstyle.write(images.resize(scan, 60, 90), picture)
    tfstyle.write(scan, painting)
    assert tfstyle_main("enlarge", picture, painting, "--size", "150") == 0
    made = tmp_path / "photo.painting.large.png"
    assert capsys.readouterr().out.strip() == str(made)
    assert images.read(made).image.shape == (1, 100, 150, 3)
    assert tfstyle_main("enlarge", picture, painting, "--size", "150", "-o", made) == 4
    assert tfstyle_main("enlarge", picture, painting, "--size", "80") == 2
    assert "--size should be above 90" in capsys.readouterr().err
    assert tfstyle_main("enlarge", picture, painting, "--style-scale", "3") == 3
    assert tfstyle_main("enlarge", picture, tmp_path / "none.png") == 3
    capsys.readouterr()
    assert tfstyle_main("enlarge", picture, painting, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "result"]


def tfstyle_main(*words):
    from tfstyle.cli import main

    return main(list(map(str, words)))
