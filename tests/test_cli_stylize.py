"""`tfstyle stylize` and `tfstyle demo`: names of the results, options, and files about the run."""

import json
import os
import shutil

import numpy as np
import pytest
from conftest import SAMPLES, assert_one_line, command

from tfstyle import api, cli, images, plots

FAST = ["--size", "64", "--steps", "2"]


def test_the_path_alone_goes_to_standard_output(pair, tmp_path):
    result = command("stylize", *pair, *FAST)
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'photo.painting.png'}\n")
    lines = result.stderr.splitlines()
    assert [line.rpartition(",")[0] for line in lines] == [
        "level 1 of 1, 64x43: step 1 of 2",
        "level 1 of 1, 64x43: step 2 of 2",
    ]
    assert images.read(result.stdout.strip()).image.shape == (1, 43, 64, 3)


def test_a_default_name_takes_the_next_number(pair, tmp_path, mini_network, capsys):
    for expected in ("photo.painting.png", "photo.painting-2.png", "photo.painting-3.png"):
        assert cli.main(["stylize", *pair]) == 0
        assert capsys.readouterr().out == f"{tmp_path / expected}\n"


def test_an_output_folder_gets_the_default_name(pair, tmp_path, mini_network, capsys):
    (tmp_path / "out").mkdir()
    assert cli.main(["stylize", *pair, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'photo.painting.png'}\n"


def test_a_missing_folder_is_made_and_does_not_stay_without_a_result(pair, tmp_path, mini_network, capsys, monkeypatch):
    output, history = tmp_path / "new" / "out.png", tmp_path / "new" / "log" / "h.csv"
    words = ["stylize", *pair, "-o", str(output), "--history", str(history)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert images.read(output).image.shape == (1, 32, 48, 3)
    assert len(history.read_text().splitlines()) == 4
    shutil.rmtree(tmp_path / "new")
    monkeypatch.setattr("tfstyle.environment._reusable", 0)
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 1000)
    assert_one_line(capsys, cli.main(words), 6, "needs about")
    assert not (tmp_path / "new").exists()


def test_a_result_that_cannot_take_its_name_is_saved_elsewhere_and_the_exit_code_says_so(
    pair, tmp_path, mini_network, capsys, monkeypatch
):
    stylize = api.stylize

    def meddled(*arguments, **options):
        meddle = lambda step: (tmp_path / "race.png").touch()  # noqa: E731
        return stylize(*arguments, **(options | {"callbacks": [meddle]}))

    monkeypatch.setattr(api, "stylize", meddled)
    code = cli.main(["stylize", *pair, "-o", str(tmp_path / "race.png")])
    assert_one_line(capsys, code, 4, f"was left alone; saved as {tmp_path / 'race-2.png'}.")
    assert images.read(tmp_path / "race-2.png").image.shape == (1, 32, 48, 3)


def test_a_default_name_that_was_taken_meanwhile_is_no_error(pair, tmp_path, mini_network, capsys, monkeypatch):
    stylize = api.stylize

    def meddled(*arguments, **options):
        (tmp_path / "photo.painting.png").touch()  # Before the library's check, and again during the run.
        meddle = lambda step: (tmp_path / "photo.painting-2.png").touch()  # noqa: E731
        return stylize(*arguments, **(options | {"callbacks": [meddle]}))

    monkeypatch.setattr(api, "stylize", meddled)
    assert cli.main(["stylize", *pair, "-q"]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'photo.painting-3.png'}\n", "")


@pytest.mark.parametrize("folder", [images.SAMPLES, images.SAMPLES.parent / "samples" / ".." / "samples"])
def test_default_results_of_the_embedded_pictures_go_into_the_working_folder(
    folder, tmp_path, mini_network, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["stylize", str(folder / "chelsea.jpg"), str(folder / "starry_night.jpg"), "-q"]) == 0
    assert capsys.readouterr().out == "chelsea.starry_night.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["chelsea.starry_night.png"]


def test_a_default_name_is_cut_to_what_file_systems_hold(pair, tmp_path, mini_network, capsys):
    long = tmp_path / f"{'x' * 246}.jpg"
    shutil.copy(pair[0], long)
    for ending in ("x.pain.png", "x.pa-2.png"):
        assert cli.main(["stylize", str(long), pair[1]]) == 0
        path = capsys.readouterr().out.strip()
        assert path.endswith(ending)
        assert len(os.path.basename(path)) == 255


def test_a_named_output_is_overwritten_only_when_asked(pair, tmp_path, mini_network, capsys):
    output = tmp_path / "out.png"
    output.write_bytes(b"precious")
    assert_one_line(capsys, cli.main(["stylize", *pair, "-o", str(output)]), 4, "exists; choose another name")
    assert output.read_bytes() == b"precious"
    assert cli.main(["stylize", *pair, "-o", str(output), "--overwrite"]) == 0
    assert images.read(output).format == "PNG"


def test_json_has_one_object_a_step_and_one_at_the_end(pair, tmp_path, mini_network, capsys):
    assert cli.main(["stylize", *pair, "--json", "--steps", "2"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["event"] for record in records] == ["start", "step", "step", "result"]
    assert records[-1] == {
        "event": "result",
        "output": str(tmp_path / "photo.painting.png"),
        "width": 48,
        "height": 32,
    }


def test_saved_steps_lie_beside_the_result(pair, tmp_path, mini_network, capsys):
    arguments = ["stylize", *pair, "-o", str(tmp_path / "out.webp"), "--steps", "5", "--save-every", "2"]
    assert cli.main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out-steps").iterdir()) == ["0002.webp", "0004.webp"]
    (tmp_path / "out.webp").unlink()
    capsys.readouterr()
    assert_one_line(capsys, cli.main(arguments), 4, "out-steps: exists")


def test_the_picture_written_and_the_last_step_have_the_colors_of_the_palette(pair, tmp_path, mini_network, capsys):
    plain, recolored = (str(tmp_path / name) for name in ("plain.png", "recolored.png"))
    assert cli.main(["stylize", *pair, "-o", plain]) == 0
    assert cli.main(["stylize", *pair, "-o", recolored, "--palette", "1", "--save-every", "3"]) == 0
    first, second = (images.read(path).image for path in (plain, recolored))
    assert np.abs(first - second).mean() > 0.01
    np.testing.assert_array_equal(images.read(tmp_path / "recolored-steps" / "0003.png").image, second)
    capsys.readouterr()
    code = cli.main(["stylize", *pair, "--palette", "1.5"])
    assert_one_line(capsys, code, 2, "--palette should be at most 1, not 1.5")


def test_options_reach_the_recipe(pair, mini_network, monkeypatch):
    seen = {}

    def stylize(content, style, **options):
        seen.update(options)
        return np.zeros((1, 3, 5, 3))

    monkeypatch.setattr(api, "stylize", stylize)
    arguments = ["--style-weight", "7", "--seed", "3", "--pooling", "average", "--quality", "80", "--background", "red"]
    assert cli.main(["stylize", *pair, *arguments]) == 0
    recipe = seen["recipe"]
    assert (recipe.term_weights.style_weight, recipe.start.seed, recipe.network.pooling) == (7.0, 3, "average")
    assert (seen["quality"], seen["background"]) == (80, "red")
    assert "size" not in seen  # Not typed: a small photograph is not enlarged.
    cli.main(["stylize", *pair, "--size", "99"])
    assert seen["size"] == 99


def test_records_of_a_run_are_written_beside_it(pair, tmp_path, mini_network, capsys):
    names = {
        "--history": "h.json",
        "--plot-losses": "l.png",
        "--strip": "s.jpg",
        "--gif": "g.gif",
        "--tensorboard": "tb",
    }
    words = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    assert cli.main(["stylize", *pair, "-o", str(tmp_path / "out.png"), *words]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"out.png", *names.values()}
    assert len(json.loads((tmp_path / "h.json").read_text())) == 3
    capsys.readouterr()
    code = cli.main(["stylize", *pair, "-o", str(tmp_path / "two.png"), "--strip", str(tmp_path / "s.jpg")])
    assert_one_line(capsys, code, 4, "s.jpg: exists")
    assert not (tmp_path / "two.png").exists()


def test_a_record_that_cannot_be_written_costs_no_picture(pair, tmp_path, mini_network, capsys, monkeypatch):
    """A strip of many pictures is wider than WebP allows."""
    monkeypatch.setattr(plots, "draw_grid", lambda *_, columns: np.zeros([2, 17000, 3], np.uint8))
    code = cli.main(["stylize", *pair, "-o", str(tmp_path / "out.png"), "--strip", str(tmp_path / "s.webp"), "-q"])
    assert_one_line(capsys, code, 4, "17000x2 pixels cannot be written as WEBP")
    assert images.read(tmp_path / "out.png").image.shape == (1, 32, 48, 3)
    assert not (tmp_path / "s.webp").exists()


def test_demo_stylizes_the_built_in_pictures(tmp_path):
    result = command("demo", "--size", "48", "--steps", "1", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "neuschwanstein.starry_night.png\n")
    assert (tmp_path / "neuschwanstein.starry_night.png").is_file()


def test_samples_are_embedded():
    assert (SAMPLES / "neuschwanstein.jpg").is_file()
    assert (SAMPLES / "SOURCES.md").is_file()
    assert os.access(SAMPLES / "starry_night.jpg", os.R_OK)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "a", "--resume", "b"], "--checkpoint to start a run or --resume to go on with one, not both"),
        (["--checkpoint-every", "3"], "--checkpoint-every needs a folder: give --checkpoint DIR"),
        (["--checkpoint", "a", "--checkpoint-every", "0"], "--checkpoint-every should be at least 1 step, not 0"),
    ],
)
def test_options_about_checkpoints_that_disagree_are_refused(words, message, pair, capsys):
    assert_one_line(capsys, cli.main(["stylize", *pair, *words]), 2, message)
