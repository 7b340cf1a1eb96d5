"""Faces are found and protected."""

import sys

import numpy as np
import pytest
from conftest import assert_one_line, image
from skimage import data

import tfstyle
from tfstyle import cli, faces, images, records
from tfstyle.errors import InputError, SetupError
from tfstyle.reruns import rerun


@pytest.fixture(scope="module")
def portrait():
    """An astronaut; her face is in rows 62 to 170 and columns 170 to 278."""
    return np.float32(data.astronaut()[None, :, :400]) / 255.0


def test_a_face_is_found_and_nothing_else(portrait):
    mask = faces.find_faces(portrait)
    assert mask.shape == (512, 400)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert mask[75:160, 190:260].all()
    mask[30:210, 150:300] = 0.0
    assert not mask.any()


def test_a_large_photograph_is_searched_reduced(portrait):
    mask = faces.find_faces(images.resize(portrait, 1024, 800).numpy())
    assert mask.shape == (640, 500)
    assert mask[94:200, 240:325].all()


def test_a_picture_without_a_face_is_refused():
    with pytest.raises(InputError, match="no face was found in the content image"):
        faces.find_faces(np.zeros((1, 60, 80, 3), "float32"))


def test_masks_are_left_as_they_are():
    assert faces.find_protected("face.png", None) == "face.png"
    assert faces.find_protected(None, None) is None
    assert [faces.name_protected(given) for given in (None, "faces", "left", "a.png")] == [
        {},
        {},
        {},
        {"protect": "a.png"},
    ]


def test_without_scikit_image_one_line_says_what_to_install(tmp_path, rng, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SetupError, match=r"pip install tfstyle\[faces\]"):
        faces.check_protect("faces")
    faces.check_protect("face.png")
    monkeypatch.setattr("tfstyle.cli.stylize.quiet_tensorflow", None)
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in paths:
        images.write(image(rng, 40, 50), path)
    for command in ("stylize", "fast"):
        assert_one_line(
            capsys, cli.main([command, *paths, "--protect", "faces"]), 1, "finding faces needs scikit-image"
        )


@pytest.mark.usefixtures("mini_network")
def test_a_face_stays_and_the_record_says_so(portrait, tmp_path, rng):
    photo, painting, output = (tmp_path / f"{name}.png" for name in ("photo", "painting", "out"))
    images.write(portrait, photo)
    images.write(image(rng, 60, 80), painting)
    results = [
        tfstyle.stylize(photo, painting, size=256, protect="faces", output=output, feather=0.005),
        tfstyle.stylize_fast(photo, painting, size=256, protect="faces", feather=0.005),
    ]
    small = images.resize(images.read(photo).image, 256, 200)
    for result in results:
        change = np.abs(result - small)
        assert change[:, 42:75, 97:127].max() < 0.01
        assert change[:, 150:].mean() > 0.02
    assert records.read(output)["options"]["protect"] == "faces"
    assert rerun(output).same
