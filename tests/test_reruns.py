"""Results made again from their records."""

import json
import shutil

import numpy as np
import pytest
from conftest import image, mini_recipe

import tfstyle
from tfstyle import cli, images, records
from tfstyle.errors import InputError, UsageError
from tfstyle.reruns import rerun

pytestmark = pytest.mark.usefixtures("mini_network")


@pytest.fixture
def made(pair, tmp_path):
    """The path of a result with a record of its own."""
    path = tmp_path / "out.png"
    tfstyle.stylize(*pair, output=path, record=tmp_path / "out.json", style_weight=2.0)
    return path


def test_a_result_is_made_again_to_the_last_bit(made, tmp_path):
    for source in (made, tmp_path / "out.json"):
        again = rerun(source, output=tmp_path / "again.png", overwrite=True)
        assert again.same
        assert made.read_bytes() == (tmp_path / "again.png").read_bytes()


def test_so_is_one_of_any_size_alpha_start_and_color(rng, pair, tmp_path):
    rgba = np.concatenate([image(rng, 40, 60)[0], np.linspace(0, 1, 2400).reshape(40, 60, 1)], axis=-1)
    images.write(rgba[..., :3], tmp_path / "clear.png", alpha=rgba[..., 3:])
    for number, options in enumerate(
        ({"size": 90}, {"keep_alpha": True, "background": "red"}, {"init": pair[1]}, {"init": "noise", "palette": 1.0})
    ):
        path = tmp_path / f"{number}.png"
        tfstyle.stylize(tmp_path / "clear.png", pair[1], output=path, **options)
        assert rerun(path, output=tmp_path / f"{number}b.png").same
        assert path.read_bytes() == (tmp_path / f"{number}b.png").read_bytes()


def test_a_broken_off_result_is_made_as_far_as_it_came(pair, tmp_path):
    def fail(step):
        if step.index == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tfstyle.stylize(*pair, output=tmp_path / "out.png", callbacks=[fail])
    assert records.read(tmp_path / "out.png")["step"] == 2
    assert rerun(tmp_path / "out.png").same


def test_the_pictures_are_looked_for_or_given(made, pair, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(made, moved)
    with pytest.raises(InputError, match=r"the content of .*out.png was photo.jpg, which is not beside it; give"):
        rerun(moved / "out.png")
    assert rerun(moved / "out.png", content=pair[0], style=pair[1]).same
    with pytest.raises(InputError, match=r"painting.png: is not the content of .*, or has changed since"):
        rerun(moved / "out.png", content=pair[1], style=pair[1])
    monkeypatch.chdir(tmp_path)
    assert rerun(moved / "out.png").same


def test_pixels_cannot_be_found(rng, pair, tmp_path):
    tfstyle.stylize(image(rng)[0], pair[1], output=tmp_path / "out.png")
    with pytest.raises(InputError, match=r"the content of .* was not read from a file; save it"):
        rerun(tmp_path / "out.png")


def changed(path, **values):
    record = records.read(path)
    path.with_suffix(".json").write_text(json.dumps(record | values))
    return path.with_suffix(".json")


def test_a_record_that_was_changed_is_refused_in_one_line(made):
    recipe, inputs, options = (records.read(made)[part] for part in ("recipe", "inputs", "options"))
    for values, error, message in (
        ({"inputs": {}}, InputError, "record is incomplete"),
        ({"inputs": {"content": 3, "style": 3}}, InputError, "record is incomplete"),
        ({"recipe": {}}, UsageError, "describes no recipe of this version"),
        ({"recipe": recipe | {"optimizer": {"class": "os.system"}}}, UsageError, "optimizer or terms of your own"),
        ({"recipe": recipe | {"loss": recipe["loss"] | {"statistic": "os.system"}}}, UsageError, "statistic"),
        ({"options": {}}, InputError, "record is incomplete"),
        ({"options": options | {"feather": "x"}}, UsageError, "`feather` should be 0 to 0.5, not 'x'"),
        ({"options": options | {"protect": "/etc/passwd"}}, InputError, "as protect that is not among its inputs"),
        (
            {"options": options | {"styles": [{"mask": "/etc/passwd"}]}},
            InputError,
            "as mask that is not among its inputs",
        ),
        (
            {
                "options": options | {"styles": [{"mask": "/etc/passwd"}]},
                "inputs": inputs | {"mask": inputs["content"]},
            },
            InputError,
            "as mask that is not among its inputs",
        ),
        ({"inputs": inputs | {"content": {"name": "x" * 5000, "sha256": ""}}}, InputError, "which is not beside it"),
        (
            {"recipe": recipe | {"start": recipe["start"] | {"init": "/etc/passwd.png"}}},
            InputError,
            "as init that is not among its inputs",
        ),
        ({"recipe": recipe | {"pyramid": recipe["pyramid"] | {"size": -3}}}, UsageError, "size"),
    ):
        with pytest.raises(error, match=message) as caught:
            rerun(changed(made, **values))
        assert "\n" not in str(caught.value)


def test_another_version_of_the_pixels_is_told(made, tmp_path, capsys):
    source = changed(made, pixels="0", tensorflow="1.0")
    assert cli.main(["rerun", str(source)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out.rerun.png'}\n"
    assert "the pixels differ from those of" in err
    assert "it was made with tensorflow 1.0, here 2." in err
    assert cli.main(["rerun", str(made), "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["same"], last["output"]) == ("result", True, str(tmp_path / "out.rerun-2.png"))


def test_more_paintings_than_the_record_has_are_refused(made, pair, capsys):
    assert cli.main(["rerun", str(made), str(pair[0]), str(pair[1]), str(pair[1])]) == 2
    assert "its record has no style 2; give the style images and masks that it has." in capsys.readouterr().err


def test_one_picture_alone_is_refused(made, capsys):
    assert cli.main(["rerun", str(made), "photo.jpg"]) == 2
    assert "give both CONTENT and STYLE" in capsys.readouterr().err


def test_an_own_statistic_cannot_be_made_again(pair, tmp_path):
    recipe = mini_recipe(statistic=tfstyle.statistics.gram, size=48)
    tfstyle.stylize(*pair, recipe=recipe, output=tmp_path / "out.png")
    with pytest.raises(UsageError, match="statistic"):
        rerun(tmp_path / "out.png")
