"""`tfstyle fast`: one content image, or a folder of them."""

import os
import shutil

import numpy as np
import pytest
from conftest import assert_one_line, image

from tfstyle import cli, images, one_pass
from tfstyle.feedforward.adain import AdaIN
from tfstyle.pictures import checks, decoding


def test_fast_stylizes_one_content_image(pair, tmp_path, capsys):
    assert cli.main(["fast", *pair, "--alpha", "0.8", "--color", "content"]) == 0
    output = tmp_path / "photo.painting.png"
    assert capsys.readouterr().out == f"{output}\n"
    assert images.read(output).image.shape == (1, 60, 90, 3)


def test_fast_passes_transform_precision_and_alpha_on(pair, tmp_path):
    output = str(tmp_path / "out.png")
    words = ["--transform", "monge", "--precision", "float32", "--alpha", "0.7", "--tile", "64", "-o", output]
    assert cli.main(["fast", *pair, *words]) == 0
    expected = one_pass.stylize_fast(*pair, transform="monge", precision="float32", alpha=0.7, tile=64)
    np.testing.assert_allclose(images.read(output).image, expected, atol=0.6 / 255)


def test_fast_stylizes_a_folder_and_skips_what_it_cannot_read(pair, tmp_path, rng, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "c"):
        images.write(image(rng, 40, 50), folder / f"{name}.jpg")
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no picture")
    words = ["fast", str(folder), f"{pair[1]}:weight=3", pair[0], "--size", "48", "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / f"{name}.painting+photo.png") for name in ("a", "c")]
    assert err.count("passed over") == 2
    assert "notes.txt: is not a picture." in err
    assert "b.jpg" in err
    assert images.read(tmp_path / "out" / "a.painting+photo.png").image.shape == (1, 38, 48, 3)
    assert cli.main([*words, "-q"]) == 4  # They are there now.


def test_the_default_name_of_a_blend_holds_every_style_image(pair, tmp_path, capsys):
    assert cli.main(["fast", pair[0], pair[1], pair[0], "--size", "32"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'photo.painting+photo.png'}\n"


def test_fast_does_not_take_its_earlier_results_for_content_images(pair, tmp_path, rng, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    results = ["a.painting.png", "a.painting-2.webp", "b.jpg.painting.png"]
    inputs = ["a.webp", "a.monet.png", "b.jpg", "c.painting.png", "painting.png"]
    for name in results + inputs:
        images.write(image(rng, 24, 30), folder / name)
    assert cli.main(["fast", str(folder), pair[1], "--size", "16"]) == 0
    out, err = capsys.readouterr()
    painted = {line.removeprefix(f"{tmp_path / 'photos-painting'}/") for line in out.splitlines()}
    assert painted == {f"{name.rpartition('.')[0]}.painting.png" for name in inputs}
    assert "passed over earlier results named PHOTO.painting: 3, as " in err
    assert err.count("\n") == 1


def test_fast_in_a_folder_takes_the_next_name_if_one_is_taken_meanwhile(pair, tmp_path, rng, capsys, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        images.write(image(rng, 24, 30), tmp_path / "photos" / f"{name}.jpg")
    fast = one_pass.stylize_fast

    def meddled(*arguments, **options):
        (tmp_path / "out" / "b.painting.png").touch()
        return fast(*arguments, **options)

    monkeypatch.setattr(one_pass, "stylize_fast", meddled)
    assert cli.main(["fast", str(tmp_path / "photos"), pair[1], "--size", "16", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "out" / name) for name in ("a.painting.png", "b.painting-2.png")
    ]


def test_fast_keeps_content_images_of_one_stem_apart_in_the_folder_it_is_called_from(
    pair, tmp_path, rng, capsys, monkeypatch
):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("p.jpg", "p.png", "p.jpg.jpg"):
        images.write(image(rng, 40, 50), folder / name)
    monkeypatch.chdir(folder)
    assert cli.main(["fast", ".", pair[1]]) == 0
    names = [f"{name}.painting.png" for name in ("p.jpg", "p.jpg.jpg", "p.png")]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "photos-painting" / name) for name in names]


def test_fast_stopped_in_a_folder_says_how_many_pictures_are_there(pair, tmp_path, rng, capsys, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        images.write(image(rng, 40, 50), folder / f"{name}.png")
    write = images.write_result

    def stopped(picture, output, **options):
        if os.path.basename(output).startswith("b"):
            raise KeyboardInterrupt
        return write(picture, output, **options)

    monkeypatch.setattr(images, "write_result", stopped)
    assert cli.main(["fast", str(folder), pair[1], "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == f"interrupted; 1 of 3 pictures are in {tmp_path / 'out'}.\n"


def test_fast_skips_content_images_too_large_for_memory_or_for_one_pass(pair, tmp_path, rng, capsys, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a", (40, 50)), ("b", (24, 30)), ("c", (25, 30))):
        images.write(image(rng, *size), folder / f"{name}.png")
    monkeypatch.setattr(one_pass, "MAX_PIXELS", 1000)

    monkeypatch.setattr(AdaIN, "memory_needed", lambda network, content, *styles, options: content[0])
    monkeypatch.setattr("tfstyle.environment.check_free_memory", lambda needed: 0 if needed == 25 else None)
    words = ["fast", str(folder), pair[1], "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'b.painting.png'}\n"
    assert f"passed over {folder / 'a.png'}: the content image's own size 50x40 is more than the limit" in err
    assert f"passed over {folder / 'c.png'}: 30x25 needs about 0.0 GB" in err
    code = cli.main(["fast", str(folder / "a.png"), pair[1]])
    assert_one_line(capsys, code, 3, "50x40 is more than the limit of 0.001 million pixels; choose a smaller --size")
    code = cli.main([*words[:-1], str(tmp_path / "two"), "--size", "60"])
    assert_one_line(capsys, code, 2, "60x48 is more than the limit")


def test_fast_reads_a_style_image_once_for_a_folder(pair, tmp_path, capsys, monkeypatch):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(pair[0], folder / f"{name}.jpg")
    Image.new("L", (30, 20), 99).save(tmp_path / "grey.png")
    decode, read = decoding.decode, []
    monkeypatch.setattr(decoding, "decode", lambda path, **rest: read.append(path.name) or decode(path, **rest))
    assert cli.main(["fast", str(folder), str(tmp_path / "grey.png"), "--size", "32", "-v"]) == 0
    assert read == ["grey.png", "a.jpg", "b.jpg"]
    assert capsys.readouterr().err == f"tfstyle: {tmp_path / 'grey.png'}: L converted to RGB.\n"


def test_fast_refuses_a_huge_style_image_before_it_reads_anything(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checks, "MAX_PICTURE_MEMORY", 50 * 70 * 12)  # Whole, it would take 20 bytes a pixel.
    monkeypatch.setattr(images, "read_and_log", lambda *a, **o: pytest.fail("read"))
    assert_one_line(capsys, cli.main(["fast", *pair]), 3, "painting.png: 70x50 is more than the limit")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.jpg", "PHOTO"], 3, "no such file"),
        (["PHOTO", "none.jpg"], 3, "no such file"),
        (["EMPTY", "PHOTO"], 3, "holds no picture that can be read"),
        (["PHOTO", "PHOTO", "--alpha", "2"], 2, "alpha should be at most 1, not 2"),
        (["PHOTO", "STYLE:weight=x"], 2, "weight should be a number, not 'x'"),
        (["PHOTO", "--model", "starry-night", "--transform", "monge"], 2, "--transform and --precision are for AdaIN"),
        (["PHOTO", "PHOTO", "--quality", "500"], 2, "--quality should be from 1 to 100"),
        (["PHOTO", "STYLE:weight=0"], 2, "no style image has a positive weight"),
        (["PHOTO", "STYLE:layers=block1"], 2, "choose terms of a loss"),
        (["PHOTO", "PHOTO", "-o", "none/in/x.png"], 4, "there is no folder"),
        (["PHOTO", "PHOTO", "-o", f"{'x' * 300}/x.png"], 4, "has a name of more than 255 bytes"),
        (["PHOTOS", "PHOTO", "-o", f"{'x/' * 2500}"], 4, "is a path of more than 4000 bytes"),
        (["PHOTO", "PHOTO", "--size", "1000000"], 2, "more than the limit of 50 million pixels"),
        (["PHOTOS", "PHOTO", "--alpha", "3"], 2, "alpha should be at most 1, not 3"),
        (["PHOTO", "PHOTO", "--size", "6"], 3, "the content image is 6x4"),
    ],
)
def test_fast_refuses_in_one_line_and_writes_nothing(words, code, message, pair, tmp_path, capsys):
    for name in ("empty", "photos"):
        (tmp_path / name).mkdir()
    shutil.copy(pair[0], tmp_path / "photos")
    places = {"PHOTO": pair[0], "STYLE": pair[1], "EMPTY": str(tmp_path / "empty"), "PHOTOS": str(tmp_path / "photos")}
    before = sorted(tmp_path.iterdir())
    split = [word.partition(":") for word in words]
    typed = ["".join((places.get(name, name), *rest)) for name, *rest in split]
    assert_one_line(capsys, cli.main(["fast", *typed]), code, message)
    assert sorted(tmp_path.iterdir()) == before
