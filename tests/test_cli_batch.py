"""`tfstyle batch`."""

import csv
import os

import numpy as np
import pytest
from conftest import assert_one_line, image

import tfstyle
from tfstyle import api, cli, images, one_pass

pytestmark = pytest.mark.usefixtures("mini_network")


@pytest.fixture
def night(tmp_path, rng):
    """A folder of photographs, and paintings; returns the words of a command."""
    for name in ("photos/a.png", "photos/c.png", "photos/trip/d.png", "x.png", "y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(image(rng, 40, 50), tmp_path / name)
    paintings = [str(tmp_path / name) for name in ("x.png", "y.png")]
    return ["batch", str(tmp_path / "photos"), "--styles", *paintings, "-o", str(tmp_path / "out")]


def table(tmp_path, name="results.csv"):
    return list(csv.DictReader((tmp_path / "out" / name).open(newline="")))


def test_every_photograph_in_every_style_as_single_runs_make_them(night, tmp_path, capsys):
    assert cli.main([*night, "--size", "48"]) == 0
    out, err = capsys.readouterr()
    names = [f"{name}.{style}.png" for name in ("a", "c", "trip/d") for style in "xy"]
    assert out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert "6/6" in err
    assert [row["status"] for row in table(tmp_path)] == ["done"] * 6
    alone = tmp_path / "alone.png"
    tfstyle.stylize(tmp_path / "photos" / "trip" / "d.png", tmp_path / "y.png", size=48, output=alone)
    assert (tmp_path / "out" / "trip" / "d.y.png").read_bytes() == alone.read_bytes()
    assert (tmp_path / "out" / "index.html").read_text().count("<img") == 6
    assert_one_line(capsys, cli.main([*night, "--size", "48"]), 4, "exists, and 5 more; use --skip-existing")


def test_a_batch_goes_on_where_it_was_stopped(night, tmp_path, capsys, monkeypatch):
    stylize, made = api.stylize, []

    def stopped(content, style, **options):
        made.append(options["output"].name.replace(".unfinished", ""))
        return stylize(content, style, callbacks=[interrupt] if len(made) == 3 else [], **options)

    def interrupt(step):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "stylize", stopped)
    assert cli.main([*night, "-q"]) == 130
    assert capsys.readouterr().err.endswith(
        "2 of 6 pictures are in " + str(tmp_path / "out") + "; --skip-existing goes on.\n"
    )
    assert [row["status"] for row in table(tmp_path)] == ["done"] * 2
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == ["a.x.png", "a.y.png", "c.x.unfinished.png"]
    assert cli.main([*night, "-q", "--skip-existing"]) == 0
    assert made[3:] == ["c.x.png", "c.y.png", "d.x.png", "d.y.png"]
    assert [row["status"] for row in table(tmp_path)] == ["skipped"] * 2 + ["done"] * 4
    assert not list((tmp_path / "out").glob("*unfinished*"))


def test_a_file_that_appears_during_the_run_is_left_alone(night, tmp_path, capsys, monkeypatch):
    stylize, theirs = api.stylize, tmp_path / "out" / "a.x.png"

    def disturbed(*given, **options):
        theirs.write_bytes(b"precious")
        return stylize(*given, **options)

    monkeypatch.setattr(api, "stylize", disturbed)
    assert_one_line(capsys, cli.main([*night, "-q"]), 4, "a.x.png: has appeared meanwhile and was left alone; saved as")
    assert theirs.read_bytes() == b"precious"
    assert images.read(tmp_path / "out" / "a.x-2.png").image.std() > 0.0


def test_a_result_is_written_through_a_link(night, tmp_path):
    (tmp_path / "out").mkdir()
    target, link = tmp_path / "target.png", tmp_path / "out" / "a.x.png"
    target.write_bytes(b"old")
    link.symlink_to(target)
    assert cli.main([*night, "-q", "--overwrite"]) == 0
    assert link.is_symlink()
    assert images.read(target).image.std() > 0.0


@pytest.mark.parametrize("fast", [(), ("--fast", "--size", "40")])
def test_results_that_could_not_be_written_are_found_before_the_first(fast, night, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tfstyle.cli.batch.quiet_tensorflow", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trip").write_text("no folder")
    assert_one_line(capsys, cli.main([*night, *fast]), 4, "trip: is no folder, but results would be in it")
    (tmp_path / "out" / "trip").unlink()
    (tmp_path / "out" / "a.x.png").mkdir()
    assert_one_line(capsys, cli.main([*night, *fast, "--overwrite"]), 4, "a.x.png: is a folder")
    (tmp_path / "out" / "a.x.png").rmdir()
    (tmp_path / "out" / "index.html").write_text("<h1>my home page</h1>")
    assert_one_line(capsys, cli.main([*night, *fast]), 4, "index.html: exists, and is not from a batch")


@pytest.mark.parametrize("fast", [(), ("--fast", "--size", "40")])
def test_what_fails_is_named_and_the_exit_code_is_8(fast, night, tmp_path, capsys):
    damaged = tmp_path / "photos" / "c.png"
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert cli.main([*night, *fast]) == 8
    err = capsys.readouterr().err
    assert f"passed over {damaged}: {damaged}: " in err
    assert f"2 of 6 pictures failed; {tmp_path / 'out' / 'results.csv'} says why." in err
    failed = [row for row in table(tmp_path) if row["status"] == "failed"]
    assert [row["content"] for row in failed] == [str(damaged)] * 2
    assert all("damaged" in row["message"] for row in failed)


def test_one_pass_of_many_pictures(night, tmp_path, capsys):
    assert cli.main([*night, "--fast", "--size", "40", "--shard", "2/2", "--format", "jpg", "--quality", "80"]) == 0
    names = [os.path.relpath(line, tmp_path / "out") for line in capsys.readouterr().out.splitlines()]
    assert names == ["a.y.jpg", "c.y.jpg", "trip/d.y.jpg"]
    assert len(table(tmp_path, "results-2-of-2.csv")) == 3
    found = images.read(tmp_path / "out" / "c.y.jpg").image
    alone = one_pass.stylize_fast(tmp_path / "photos" / "c.png", tmp_path / "y.png", size=40)
    assert np.abs(found - alone).mean() < 0.03


def test_one_pass_of_a_large_photograph_is_that_of_a_single_run(night, tmp_path, rng):
    """Both read it reduced."""
    (tmp_path / "large").mkdir()
    images.write(image(rng, 480, 640), tmp_path / "large" / "p.jpg")
    style = night[3]
    words = ["batch", str(tmp_path / "large"), "--styles", style, "--fast", "--size", "40", "-o", str(tmp_path / "out")]
    assert cli.main([*words, "-q"]) == 0
    alone = tmp_path / "alone.png"
    assert cli.main(["fast", str(tmp_path / "large" / "p.jpg"), style, "--size", "40", "-o", str(alone), "-q"]) == 0
    assert (tmp_path / "out" / "p.x.png").read_bytes() == alone.read_bytes()


def test_pairs_and_a_network_of_one_style(night, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("content,style\nphotos/a.png,y.png\nphotos/trip/d.png,x.png\n")
    words = ["batch", "--pairs", str(tmp_path / "pairs.csv"), "-o", str(tmp_path / "out"), "-q"]
    assert cli.main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count('"event": "result"') == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.y.png", "d.x.png"]
    words = ["batch", str(tmp_path / "photos" / "a.png"), "--model", "starry-night", "-o", str(tmp_path / "two"), "-q"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'two' / 'a.starry-night.png'}\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["PHOTOS"], 2, "give CONTENT and --styles, or --pairs FILE"),
        (["PHOTOS", "--styles", "none.jpg"], 3, "no such file"),
        (["EMPTY", "--styles", "x.png"], 3, "no picture; give pictures or folders"),
        (["PHOTOS", "--pairs", "p.csv"], 2, "give --pairs, or CONTENT and --styles, not both"),
        (["--pairs", "p.csv"], 3, "p.csv: is no CSV file"),
        (["PHOTOS", "--styles", "X", "--shard", "3/2"], 2, "--shard should be I/N"),
        (["PHOTOS", "--styles", "X", "--fast", "--steps", "3"], 2, "--steps is for a recipe's runs, not for one pass"),
        (["PHOTOS", "--styles", "X:layers=block1", "--fast"], 2, "one pass has no loss"),
        (["PHOTOS", "--styles", "X:mask=none.png"], 3, "no such file"),
        (["PHOTOS", "--styles", "X", "--memory", "much"], 2, "--memory should be an amount"),
        (["PHOTOS", "--styles", "X", "-o", "PHOTOS"], 2, "is the folder of the pictures"),
    ],
)
def test_refused_in_one_line_before_anything_is_made(words, code, message, night, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tfstyle.cli.batch.quiet_tensorflow", None)
    (tmp_path / "empty").mkdir()
    places = {"PHOTOS": tmp_path / "photos", "EMPTY": tmp_path / "empty", "X": tmp_path / "x.png"}
    typed = [str(places.get(word, word)).replace("X:", f"{places['X']}:") for word in words]
    before = sorted(tmp_path.rglob("*"))
    assert_one_line(capsys, cli.main(["batch", "-o", str(tmp_path / "out"), *typed]), code, message)
    assert sorted(tmp_path.rglob("*")) == before
