"""`tfstyle fast`."""

import numpy as np
import pytest
from conftest import assert_one_line

from tfstyle import cli, images, one_pass
from tfstyle.pictures import checks


def test_fast_stylizes_one_content_image(pair, tmp_path, capsys):
    assert cli.main(["fast", *pair, "--strength", "0.8", "--color", "content"]) == 0
    output = tmp_path / "photo.painting.png"
    assert capsys.readouterr().out == f"{output}\n"
    assert images.read(output).image.shape == (1, 60, 90, 3)


def test_fast_passes_transform_precision_and_strength_on(pair, tmp_path):
    output = str(tmp_path / "out.png")
    words = ["--transform", "monge", "--precision", "float32", "--strength", "0.7", "--tile", "64", "-o", output]
    assert cli.main(["fast", *pair, *words]) == 0
    expected = one_pass.stylize_fast(*pair, transform="monge", precision="float32", strength=0.7, tile=64)
    np.testing.assert_allclose(images.read(output).image, expected, atol=0.6 / 255)


def test_the_default_name_of_a_blend_holds_every_style_image(pair, tmp_path, capsys):
    assert cli.main(["fast", pair[0], pair[1], pair[0], "--size", "32"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'photo.painting+photo.png'}\n"


def test_fast_refuses_a_huge_style_image_before_it_reads_anything(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checks, "memory_for_reading", lambda: 50 * 70 * 12)  # Whole: 20 a pixel.
    monkeypatch.setattr(images, "read_and_log", lambda *a, **o: pytest.fail("read"))
    assert_one_line(capsys, cli.main(["fast", *pair]), 3, "painting.png: 70x50 is more than the limit")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.jpg", "PHOTO"], 3, "no such file"),
        (["PHOTO", "none.jpg"], 3, "no such file"),
        (["PHOTOS", "PHOTO"], 3, "is a folder; give a picture, tfstyle batch --fast takes folders"),
        (["PHOTO", "PHOTO", "--strength", "2"], 2, "strength should be at most 1, not 2"),
        (["PHOTO", "STYLE:weight=x"], 2, "weight should be a number, not 'x'"),
        (["PHOTO", "--model", "starry-night", "--transform", "monge"], 2, "--transform and --precision are for AdaIN"),
        (["PHOTO", "PHOTO", "--quality", "500"], 2, "--quality should be from 1 to 100"),
        (["PHOTO", "STYLE:weight=0"], 2, "no style image has a positive weight"),
        (["PHOTO", "STYLE:layers=block1"], 2, "one pass has no loss"),
        (["PHOTO", "PHOTO", "-o", "none/in/x.png"], 4, "there is no folder"),
        (["PHOTO", "PHOTO", "-o", f"{'x' * 300}/x.png"], 4, "has a name of more than 255 bytes"),
        (["PHOTO", "PHOTO", "--size", "1000000"], 2, "more than the limit of 200 million pixels"),
        (["PHOTO", "PHOTO", "--size", "6"], 3, "the content image is 6x4"),
    ],
)
def test_fast_refuses_in_one_line_and_writes_nothing(words, code, message, pair, tmp_path, capsys):
    places = {"PHOTO": pair[0], "STYLE": pair[1], "PHOTOS": str(tmp_path)}
    before = sorted(tmp_path.iterdir())
    split = [word.partition(":") for word in words]
    typed = ["".join((places.get(name, name), *rest)) for name, *rest in split]
    assert_one_line(capsys, cli.main(["fast", *typed]), code, message)
    assert sorted(tmp_path.iterdir()) == before
