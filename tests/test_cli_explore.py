"""`tfstyle recipes`, `features`, `sweep` and `export`."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest
from conftest import assert_one_line

from tfstyle import api, cli, images, sweeps
from tfstyle.errors import DivergedError
from tfstyle.recipes import RECIPES
from tfstyle.recipes.recipe import PARTS


def test_recipes_are_listed_one_line_each(capsys):
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_shows_all_its_values(name, capsys):
    assert cli.main(["recipes", name]) == 0
    text = capsys.readouterr().out
    assert cli.main(["recipes", name, "--json"]) == 0
    record, recipe = json.loads(capsys.readouterr().out), RECIPES[name]
    assert record == recipe.record()
    assert {part: kind(**record[part]) for part, kind in PARTS.items()} == {
        part: getattr(recipe, part) for part in PARTS
    }
    for part in ("network", "pyramid", "optimizer"):
        for field, value in record[part].items():
            assert f"  {field}" in text
            assert isinstance(value, (dict, list)) or re.search(rf"^  {field} +{re.escape(str(value))}$", text, re.M)


def test_recipes_as_json_and_an_unknown_one(capsys):
    assert cli.main(["recipes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(RECIPES)
    assert_one_line(capsys, cli.main(["recipes", "zzz"]), 2, "unknown recipe 'zzz'; known: default, balanced")


def test_features_saves_a_map_and_a_sheet_for_each_layer(pair, tmp_path, capsys):
    folder = tmp_path / "seen"
    words = ["features", pair[0], "--layers", "block1_conv1,block2_conv1", "--size", "64", "-o", str(folder)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    expected = [f"{layer}{end}.png" for layer in ("block1_conv1", "block2_conv1") for end in ("-channels", "")]
    assert sorted(path.name for path in folder.iterdir()) == expected
    assert images.read(folder / "block2_conv1.png").image.shape == (1, 21, 32, 3)
    assert_one_line(capsys, cli.main(words), 4, "is not empty")


def test_regions_draws_both_pictures_and_their_regions(pair, tmp_path, capsys):
    output = tmp_path / "seen.png"
    words = ["regions", *pair, "--regions", "2", "-o", str(output)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert images.read(output).image.shape[2] > 2 * 100
    assert_one_line(capsys, cli.main(words), 4, "exists")
    assert cli.main([*words, "--overwrite", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "result"]


def test_regions_are_proposed_as_masks(pair, tmp_path, capsys):
    words = ["regions", *pair, "--regions", "2", "--masks", str(tmp_path / "masks"), "-o", str(tmp_path / "seen.png")]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "seen.png"), str(tmp_path / "masks")]
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["painting-1.png", "painting-2.png", "photo-1.png", "photo-2.png"]
    found = [images.read(tmp_path / "masks" / f"photo-{number}.png").image for number in (1, 2)]
    photo = images.read(pair[0]).image
    assert {part.shape for part in found} == {photo.shape}
    np.testing.assert_allclose(sum(found), 1.0, atol=0.03)


def test_variations_draws_ten_looks_and_their_commands(pair, tmp_path, mini_network, capsys):
    assert cli.main(["variations", *pair, "--size", "48"]) == 0
    out, err = capsys.readouterr()
    sheet = tmp_path / "photo.painting.variations.png"
    assert out == f"{sheet}\n"
    commands = [line.partition(" ")[2] for line in err.splitlines()]
    assert len(commands) == 10
    assert commands[0] == shlex.join(["tfstyle", "stylize", *map(str, pair)])
    width, height = images.read(sheet).size
    assert width > 5 * 48
    assert height > 2 * 32
    words = [*shlex.split(commands[7])[1:], "--size", "48", "-o", str(tmp_path / "one.png")]
    assert words[3:7] == ["--color", "content", "--style-scale", "2"]
    assert cli.main(words) == 0  # The command makes that picture.
    look = list(sweeps.variations(*pair, size=48))[7]
    np.testing.assert_allclose(images.read(tmp_path / "one.png").image, look.image, atol=0.6 / 255)
    capsys.readouterr()
    typed = ["--style-weight", "2", "--color", "match"]
    assert cli.main(["variations", *pair, *typed, "--size", "40", "-o", str(tmp_path / "two.png")]) == 0
    commands = [line.partition(f"{pair[1]} ")[2] for line in capsys.readouterr().err.splitlines()]
    assert commands[0] == "--style-weight 2 --color match"
    assert sweeps.list_options({"init": "my start.png"}) == ["--init", "my start.png"]
    assert commands[7] == "--style-weight 2 --color content --style-scale 2"


def test_sweep_makes_a_picture_for_each_value_a_grid_and_curves(pair, tmp_path, mini_network, capsys):
    folder = tmp_path / "grid"
    words = ["--vary", "style_weight=1,10", "--vary", "init=content,noise", "-o", str(folder), "-q"]
    assert cli.main(["sweep", *pair, *words]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    names = {f"style_weight={w}_init={i}.png" for w in (1, 10) for i in ("content", "noise")}
    assert {path.name for path in folder.iterdir()} == names | {"grid.png", "losses.png", "losses.csv"}
    assert len((folder / "losses.csv").read_text().splitlines()) == 1 + 4 * 3


@pytest.mark.parametrize(("error", "code"), [(DivergedError("at step 1."), 5), (KeyboardInterrupt(), 130)])
def test_a_sweep_that_breaks_off_sums_up_the_runs_before(
    error, code, pair, tmp_path, mini_network, capsys, monkeypatch
):
    stylize = api.stylize

    def broken(*arguments, **options):
        if options["style_weight"] == 10:
            raise error
        return stylize(*arguments, **options)

    monkeypatch.setattr(api, "stylize", broken)
    folder = tmp_path / "grid"
    words = ["sweep", *pair, "--vary", "style_weight=1,10,100", "-o", str(folder), "-q"]
    assert cli.main(words) == code
    names = {"style_weight=1.png", "grid.png", "losses.png", "losses.csv"}
    assert {path.name for path in folder.iterdir()} == names
    assert len((folder / "losses.csv").read_text().splitlines()) == 1 + 3
    words[words.index(str(folder))] = str(tmp_path / "none")
    words[4] = "style_weight=10,1"
    assert cli.main(words) == code
    assert not (tmp_path / "none").exists()  # There was nothing to sum up.


def test_sweep_gives_every_picture_a_name_of_its_own(pair, tmp_path, mini_network, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = tmp_path / ("y" * 200)
    for folder in (tmp_path / "p", long):
        folder.mkdir()
    for name in ("p/q.jpg", "p-q.jpg", f"{long.name}/{'z' * 200}.jpg"):
        shutil.copy(pair[0], name)
    words = ["--vary", f"init=p/q.jpg,p-q.jpg,{long.name}/{'z' * 200}.jpg", "-o", "grid", "-q"]
    assert cli.main(["sweep", *pair, *words]) == 0
    names = {path.name for path in (tmp_path / "grid").iterdir()} - {"grid.png", "losses.png", "losses.csv"}
    assert {"init=p-q.jpg.png", "init=p-q.jpg-2.png"} < names
    assert sorted(map(len, names)) == [16, 18, 255]


def test_export_writes_a_serving_folder_once(tmp_path, capsys):
    folder = tmp_path / "extractor"
    layers = ["--style-layers", "block1_conv1,block1_conv2", "--content-layers", "block1_conv2"]
    assert cli.main(["export", "extractor", "-o", str(folder), *layers]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "NOTICE", "signature.json"]
    assert_one_line(capsys, cli.main(["export", "extractor", str(folder), *layers]), 4, "exists; choose another folder")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["features", "PHOTO", "--layers", "blok1_conv1"], 2, "did you mean 'block1_conv1'"),
        (["features", "none.jpg"], 3, "no such file"),
        (["features", "PHOTO", "--size", "0"], 2, "--size should be at least 1, not 0"),
        (["features", "PHOTO", "-o", "none/seen"], 4, "there is no folder"),
        (["features", "PHOTO", "--size", "12", "-o", "OUT"], 3, "needs 16 pixels"),
        (["regions", "PHOTO", "none.jpg"], 3, "no such file"),
        (["regions", "PHOTO", "PHOTO", "--regions", "9"], 2, "--regions should be 2 to 8, not 9"),
        (["regions", "PHOTO", "PHOTO", "-o", "none/seen.png"], 4, "there is no folder"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "stile_weight=1"], 2, "did you mean 'style_weight'"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "style_layers=a,b"], 2, "style_layers cannot be varied, only"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "style_weight=a,b"], 2, "expected style_weight=A,B with float values"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "pooling=max,avg", "-o", "OUT"], 2, "unknown pooling 'avg'"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "init=noise,none.png", "-o", "OUT"], 3, "none.png: no such file"),
        (
            ["sweep", "PHOTO", "PHOTO", "--vary", "steps=5,5", "-o", "OUT"],
            2,
            "--steps is to be varied to the same value twice",
        ),
        (["export", "extractor", "-o", ""], 4, "exists; choose another folder"),
        (["export", "extractor"], 2, "name one folder to export into"),
        (["export", "extractor", "OUT", "--style-layers", "block9_conv1"], 2, "unknown layer 'block9_conv1'"),
        (["export", "extractor", "none/out"], 4, "there is no folder"),
    ],
)
def test_exploring_refuses_in_one_line_and_writes_nothing(words, code, message, pair, tmp_path, capsys):
    places = {"PHOTO": pair[0], "OUT": str(tmp_path / "out")}
    before = sorted(tmp_path.iterdir())
    assert_one_line(capsys, cli.main([places.get(word, word) for word in words]), code, message)
    assert sorted(tmp_path.iterdir()) == before
