"""The command as people run it: what goes where, what is refused, and with which exit code."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, image, mini_recipe, miniature

from tfstyle import api, cli, images, one_pass, plots, transfer
from tfstyle.cli import reports
from tfstyle.cli.parser import make_parser
from tfstyle.errors import DivergedError
from tfstyle.fields import option_fields
from tfstyle.pictures import checks, decoding
from tfstyle.recipes import published
from tfstyle.recipes.recipe import Recipe

FAST = ["--size", "64", "--steps", "2"]


@pytest.fixture
def pair(rng, tmp_path):
    paths = tmp_path / "photo.jpg", tmp_path / "painting.png"
    for path, size in zip(paths, ((60, 90), (50, 70)), strict=True):
        images.write(image(rng, *size), path)
    return [str(path) for path in paths]


@pytest.fixture
def mini_network(monkeypatch):
    """The commands on the miniature network, in this process."""
    monkeypatch.setattr(transfer, "model_for", lambda recipe: miniature())
    recipe = mini_recipe(name="default", scale_steps=(3,), size=48)
    monkeypatch.setattr(published, "RECIPES", {"default": recipe})
    api._cached_transfer.cache_clear()
    yield
    api._cached_transfer.cache_clear()


def command(*arguments, **options):
    """Runs `python -m tfstyle` as a program."""
    return subprocess.run(
        [sys.executable, "-m", "tfstyle", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def assert_one_line(capsys, code, expected_code, message):
    out, err = capsys.readouterr()
    assert (code, out) == (expected_code, "")
    assert err.startswith("tfstyle")
    assert message in err
    assert err.count("\n") == 1


def test_the_path_alone_goes_to_standard_output(pair, tmp_path):
    result = command("stylize", *pair, *FAST)
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'photo.painting.png'}\n")
    lines = result.stderr.splitlines()
    assert [line.rpartition(",")[0] for line in lines] == [
        "scale 1 of 1, 64x43: step 1 of 2",
        "scale 1 of 1, 64x43: step 2 of 2",
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


def test_options_reach_the_recipe(pair, mini_network, monkeypatch):
    seen = {}

    def stylize(content, style, **options):
        seen.update(options)
        return np.zeros((1, 3, 5, 3))

    monkeypatch.setattr(api, "stylize", stylize)
    arguments = ["--style-weight", "7", "--seed", "3", "--pooling", "average", "--quality", "80", "--background", "red"]
    assert cli.main(["stylize", *pair, *arguments]) == 0
    recipe = seen["recipe"]
    assert (recipe.style_weight, recipe.seed, recipe.pooling) == (7.0, 3, "average")
    assert (seen["quality"], seen["background"]) == (80, "red")
    assert "size" not in seen  # Not typed: a small photograph is not enlarged.
    cli.main(["stylize", *pair, "--size", "99"])
    assert seen["size"] == 99


def test_every_option_field_of_a_recipe_is_an_option():
    options = make_parser().parse_args(["stylize", "a", "b"])
    assert not set(vars(options)) & {item.name for item in option_fields(Recipe)}
    for item in option_fields(Recipe):
        word = str(item.metadata["choices"][0] if item.metadata["choices"] else item.default)
        typed = make_parser().parse_args(["stylize", "a", "b", f"--{item.name.replace('_', '-')}", word])
        assert getattr(typed, item.name) == item.metadata["kind"](word)
    assert {item.name for item in option_fields(Recipe)} < {f.name for f in dataclasses.fields(Recipe)}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["stylize", "none.jpg", "STYLE"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "none.jpg"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "STYLE", "--init", "none.jpg"], 3, "none.jpg: no such file"),
        (["inspect", "none.jpg"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "STYLE", "-o", "none/in/out.png"], 4, "there is no folder 'none'"),
        (["stylize", "CONTENT", "STYLE", "-o", "none/out.gif"], 4, "cannot be written as '.gif'"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x' * 300}/out.png"], 4, "has a name of more than 255 bytes"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x/' * 2500}out.png"], 4, "is a path of more than 4000 bytes"),
        (["stylize", "CONTENT", "STYLE", "--history", "a/b/h.csv"], 4, "there is no folder 'a'"),
        (["stylize", "CONTENT", "STYLE", "-o", "out.gif"], 4, "cannot be written as '.gif'"),
        (["stylize", "CONTENT", "STYLE", "-o", "x.png", "--strip", "./x.png"], 4, "is named for two files of this run"),
        (["stylize", "CONTENT", "STYLE", "--gif", "a.gif", "--tensorboard", "CONTENT"], 4, "is a file; name a folder"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x' * 252}.png"], 4, "has a name of more than 255 bytes"),
        (["stylize", "CONTENT", "STYLE", "--seed", "2147483648"], 2, "seed should be at most 2147483647"),
        (["stylize", "CONTENT", "STYLE", "--style-scale", "1e308"], 2, "--style-scale should be at most 10"),
        (["stylize", "CONTENT", "STYLE", "-o", "out.jpg", "--keep-alpha"], 4, "JPEG holds no alpha"),
        (["stylize", "CONTENT", "STYLE", "--weights", "none.pth"], 7, "none.pth: no such weights file"),
        (["stylize", "CONTENT", "STYLE", "--recipe", "defualt"], 2, "did you mean 'default'"),
        (["stylize", "CONTENT", "STYLE", "--size", "-3"], 2, "size should be at least 0"),
        (["stylize", "CONTENT", "STYLE", "--steps", "0"], 2, "--steps should be at least 1"),
        (["stylize", "CONTENT", "STYLE", "--save-every", "0"], 2, "--save-every should be at least 1"),
        (["stylize", "CONTENT", "STYLE", "--quality", "101"], 2, "--quality should be from 1 to 100"),
        (["stylize", "CONTENT", "STYLE", "--background", "blanc"], 2, "--background should be a color"),
        (["stylize", "", "STYLE"], 3, ".: is a folder; give a picture, or let tfstyle fast paint"),
        (["demo", "CONTENT", ""], 3, ".: is a folder"),
        (["demo", "CONTENT"], 2, "give both a photograph and a painting"),
    ],
)
def test_what_cannot_work_is_one_line_before_tensorflow_is_loaded(arguments, code, message, pair, tmp_path):
    words = [{"CONTENT": pair[0], "STYLE": pair[1]}.get(word, word) for word in arguments]
    program = (
        "import sys; from tfstyle.cli import main; code = main(sys.argv[1:]); "
        "print('TENSORFLOW' * ('tensorflow' in sys.modules), end=''); raise SystemExit(code)"
    )
    before = sorted(tmp_path.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["stilize"], "unknown command 'stilize'; did you mean 'stylize'?"),
        (["my photo.jpg", "b.jpg", "-q"], "is not a command; did you mean tfstyle stylize 'my photo.jpg' b.jpg -q?"),
        (["stylize", "a.jpg"], "the following arguments are required: STYLE"),
        (["stylize", "a.jpg", "b.jpg", "--steps", "many"], "invalid int value: 'many'"),
        (["stylize", "a.jpg", "b.jpg", "--pooling", "avg"], "invalid choice: 'avg'"),
        (["stylize", "a.jpg", "b.jpg", "--stile-weight", "3"], "--stile-weight 3; did you mean --style-weight?"),
        (["train", "adain", "--photos", "p", "--styles", "s", "-o", "o", "--bach", "3"], "did you mean --batch?"),
        (["stylize", "a.jpg", "b.jpg", "c.jpg"], "unrecognized arguments: c.jpg (see tfstyle stylize --help)"),
        (["stylize", "a.jpg", "b.jpg", "--lr", "3"], "unrecognized arguments: --lr 3"),
    ],
)
def test_a_usage_error_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert_one_line(capsys, caught.value.code, 2, message)


def test_help_loads_nothing_heavy_and_names_the_exit_codes():
    for arguments in (["--help"], ["stylize", "--help"], ["--version"]):
        program = (
            f"import sys; sys.argv = ['tfstyle', *{arguments!r}]; from tfstyle.cli import main\n"
            "try: main()\n"
            "finally: print('HEAVY' * any(m in sys.modules for m in ('tensorflow', 'numpy', 'PIL')))"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.returncode == 0
        assert "HEAVY" not in result.stdout
        if arguments != ["--version"]:
            assert "7 network weights, 130 interrupted" in " ".join(result.stdout.split())


def test_a_truncated_picture_and_damaged_weights_have_their_codes(pair, tmp_path, capsys, rng):
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:700])
    assert_one_line(capsys, cli.main(["stylize", str(tmp_path / "cut.jpg"), pair[1], *FAST]), 3, "cut short")
    (tmp_path / "w.safetensors").write_bytes(b"\x10")
    arguments = ["stylize", *pair, *FAST, "--weights", str(tmp_path / "w.safetensors")]
    assert_one_line(capsys, cli.main(arguments), 7, "cannot be read as .safetensors")


def test_a_diverging_run_has_its_code_and_writes_nothing(pair, tmp_path, mini_network, capsys):
    code = cli.main(["stylize", *pair, "-o", str(tmp_path / "out.png"), "--style-weight", "1e38", "--seed", "1"])
    if code == 0:  # The miniature's losses can be too small to overflow at once.
        code = cli.main(["stylize", *pair, "-o", str(tmp_path / "two.png"), "--style-weight", "3.4e38"])
    assert_one_line(capsys, code, 5, "no longer a finite number")
    assert not (tmp_path / "out.png").exists()


def test_a_run_that_does_not_fit_has_its_code(pair, mini_network, monkeypatch, capsys):
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 1000)
    assert_one_line(capsys, cli.main(["stylize", *pair]), 6, "choose a --size")
    monkeypatch.setattr(api, "stylize", lambda *a, **o: (_ for _ in ()).throw(MemoryError()))
    assert_one_line(capsys, cli.main(["stylize", *pair]), 6, "memory ran out")


def test_a_fault_of_our_own_is_one_line_and_a_traceback_with_debug(pair, mini_network, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("surprise\nwith more")

    monkeypatch.setattr(api, "stylize", fail)
    assert_one_line(capsys, cli.main(["stylize", *pair]), 1, "RuntimeError: surprise with more (this is a fault")
    assert cli.main(["stylize", *pair, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="no signals here")
def test_ctrl_c_writes_the_image_so_far(pair, tmp_path):
    output = tmp_path / "out.png"
    arguments = ["stylize", *pair, "--size", "128", "--steps", "4000", "--json", "-o", output]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfstyle", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline())["event"] == "start"
    assert json.loads(process.stdout.readline())["step"] == 1
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = {"event": "error", "exit_code": 130, "message": f"interrupted; {output}: the image so far."}
    assert json.loads(out.splitlines()[-1]) == last
    assert err == f"interrupted; {output}: the image so far.\n"
    assert images.read(output).image.shape == (1, 85, 128, 3)


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
    monkeypatch.setattr(checks, "MAX_PICTURE_MEMORY", 60 * 90 * 12)  # Whole, it would take 20 bytes a pixel.
    assert cli.main(["inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"size:        90x60", "alpha:       yes, 100% not opaque"} < set(lines)
    assert cli.main(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["file"], facts["width"], facts["height"], facts["not_opaque"]) == (path, 90, 60, 1.0)
    assert (facts["format"], facts["mode"], facts["orientation"], facts["warnings"]) == ("PNG", "RGBA", 1, [])


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


def test_recipes_are_listed_one_line_each(capsys):
    assert cli.main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(published.RECIPES)


@pytest.mark.parametrize("name", published.RECIPES)
def test_a_recipe_shows_all_its_values(name, capsys):
    assert cli.main(["recipes", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [item.name for item in dataclasses.fields(Recipe)]
    assert cli.main(["recipes", name, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    recipe = published.get_recipe(name)
    assert Recipe(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}) == recipe


def test_recipes_as_json_and_an_unknown_one(capsys):
    assert cli.main(["recipes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(published.RECIPES)
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
        (["sweep", "PHOTO", "PHOTO", "--vary", "stile_weight=1"], 2, "did you mean 'style_weight'"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "style_layers=a,b"], 2, "style_layers cannot be varied, only"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "style_weight=a,b"], 2, "expected style_weight=A,B with float values"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "pooling=max,avg", "-o", "OUT"], 2, "unknown pooling 'avg'"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "init=noise,none.png", "-o", "OUT"], 3, "none.png: no such file"),
        (
            ["sweep", "PHOTO", "PHOTO", "--vary", "steps=5,5", "-o", "OUT"],
            2,
            "--steps is to be varied to one value twice",
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


def test_fast_paints_one_photograph(pair, tmp_path, capsys):
    assert cli.main(["fast", *pair, "--alpha", "0.8", "--preserve-color"]) == 0
    output = tmp_path / "photo.painting.png"
    assert capsys.readouterr().out == f"{output}\n"
    assert images.read(output).image.shape == (1, 60, 90, 3)


def test_fast_paints_a_folder_and_passes_over_what_it_cannot_read(pair, tmp_path, rng, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "c"):
        images.write(image(rng, 40, 50), folder / f"{name}.jpg")
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no picture")
    words = ["fast", str(folder), pair[1], pair[0], "--blend", "3,1", "--size", "48", "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / f"{name}.painting+photo.png") for name in ("a", "c")]
    assert err.count("passed over") == 2
    assert "notes.txt: is not a picture." in err
    assert "b.jpg" in err
    assert images.read(tmp_path / "out" / "a.painting+photo.png").image.shape == (1, 38, 48, 3)
    assert cli.main([*words, "-q"]) == 4  # They are there now.


def test_fast_names_every_painting_of_a_blend(pair, tmp_path, capsys):
    assert cli.main(["fast", pair[0], pair[1], pair[0], "--size", "32"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'photo.painting+photo.png'}\n"


def test_fast_does_not_take_its_earlier_results_for_photographs(pair, tmp_path, rng, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    results = ["a.painting.png", "a.painting-2.webp", "b.jpg.painting.png"]
    photographs = ["a.webp", "a.monet.png", "b.jpg", "c.painting.png", "painting.png"]
    for name in results + photographs:
        images.write(image(rng, 24, 30), folder / name)
    assert cli.main(["fast", str(folder), pair[1], "--size", "16"]) == 0
    out, err = capsys.readouterr()
    painted = {line.removeprefix(f"{tmp_path / 'photos-painting'}/") for line in out.splitlines()}
    assert painted == {f"{name.rpartition('.')[0]}.painting.png" for name in photographs}
    assert "passed over earlier results named PHOTO.painting: 3, as " in err
    assert err.count("\n") == 1


def test_fast_in_a_folder_takes_the_next_name_if_one_is_taken_meanwhile(pair, tmp_path, rng, capsys, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        images.write(image(rng, 24, 30), tmp_path / "photos" / f"{name}.jpg")
    fast = one_pass.fast

    def meddled(*arguments, **options):
        (tmp_path / "out" / "b.painting.png").touch()
        return fast(*arguments, **options)

    monkeypatch.setattr(one_pass, "fast", meddled)
    assert cli.main(["fast", str(tmp_path / "photos"), pair[1], "--size", "16", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "out" / name) for name in ("a.painting.png", "b.painting-2.png")
    ]


def test_fast_keeps_photographs_of_one_stem_apart_in_the_folder_it_is_called_from(
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


def test_fast_passes_over_photographs_too_large_for_memory_or_for_one_pass(pair, tmp_path, rng, capsys, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a", (40, 50)), ("b", (24, 30)), ("c", (25, 30))):
        images.write(image(rng, *size), folder / f"{name}.png")
    monkeypatch.setattr(one_pass, "MAX_PIXELS", 1000)

    monkeypatch.setattr(one_pass.inference, "memory_needed", lambda painter, *sizes, tile: sizes[0][0])
    monkeypatch.setattr("tfstyle.environment.check_free_memory", lambda needed: 0 if needed == 25 else None)
    words = ["fast", str(folder), pair[1], "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'b.painting.png'}\n"
    assert f"passed over {folder / 'a.png'}: the photograph's own 50x40 is more than the limit" in err
    assert f"passed over {folder / 'c.png'}: 30x25 needs about 0.0 GB" in err
    code = cli.main(["fast", str(folder / "a.png"), pair[1]])
    assert_one_line(capsys, code, 3, "50x40 is more than the limit of 0.001 million pixels; choose a smaller --size")
    code = cli.main([*words[:-1], str(tmp_path / "two"), "--size", "60"])
    assert_one_line(capsys, code, 2, "60x48 is more than the limit")


def test_fast_reads_a_painting_once_for_a_folder(pair, tmp_path, capsys, monkeypatch):
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


def test_fast_refuses_a_huge_painting_before_it_reads_anything(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checks, "MAX_PICTURE_MEMORY", 50 * 70 * 12)  # Whole, it would take 20 bytes a pixel.
    monkeypatch.setattr(images, "read_and_log", lambda *a, **o: pytest.fail("read"))
    assert_one_line(capsys, cli.main(["fast", *pair]), 3, "painting.png: 70x50 is more than the limit")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.jpg", "PHOTO"], 3, "no such file"),
        (["PHOTO", "none.jpg"], 3, "no such file"),
        (["EMPTY", "PHOTO"], 3, "holds no picture that can be read"),
        (["PHOTO", "PHOTO", "--alpha", "2"], 2, "alpha should be from 0 to 1"),
        (["PHOTO", "PHOTO", "--blend", "1,x"], 2, "--blend should be numbers"),
        (["PHOTO", "PHOTO", "--quality", "500"], 2, "--quality should be from 1 to 100"),
        (["PHOTO", "PHOTO", "--blend", "1,2"], 2, "one weight of 0 or more for each of 1 styles"),
        (["PHOTO", "PHOTO", "-o", "none/in/x.png"], 4, "there is no folder"),
        (["PHOTO", "PHOTO", "-o", f"{'x' * 300}/x.png"], 4, "has a name of more than 255 bytes"),
        (["PHOTOS", "PHOTO", "-o", f"{'x/' * 2500}"], 4, "is a path of more than 4000 bytes"),
        (["PHOTO", "PHOTO", "--size", "1000000"], 2, "more than the limit of 50 million pixels"),
        (["PHOTOS", "PHOTO", "--alpha", "3"], 2, "alpha should be from 0 to 1"),
        (["PHOTO", "PHOTO", "--size", "6"], 3, "the photograph is 6x4"),
    ],
)
def test_fast_refuses_in_one_line_and_writes_nothing(words, code, message, pair, tmp_path, capsys):
    for name in ("empty", "photos"):
        (tmp_path / name).mkdir()
    shutil.copy(pair[0], tmp_path / "photos")
    places = {"PHOTO": pair[0], "EMPTY": str(tmp_path / "empty"), "PHOTOS": str(tmp_path / "photos")}
    before = sorted(tmp_path.iterdir())
    assert_one_line(capsys, cli.main(["fast", *(places.get(word, word) for word in words)]), code, message)
    assert sorted(tmp_path.iterdir()) == before


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
    assert lines[0].split() == ["gram", "moments", "sliced", "wasserstein", "colors", "content", "ssim"]
    assert lines[1].startswith(pair[0])
    assert lines[1].endswith("0.000               1.000")
    assert "Lower is better.\nssim: structural similarity to the photograph. Higher is better" in "\n".join(lines[2:])


def test_compare_reads_photograph_and_painting_no_larger_than_the_results_need(
    pair, tmp_path, rng, capsys, monkeypatch
):
    huge = str(tmp_path / "huge.png")
    images.write(image(rng, 300, 400), huge)
    monkeypatch.setattr(checks, "MAX_PICTURE_MEMORY", 300 * 400 * 12)  # Whole, it would take 20 bytes a pixel.
    assert cli.main(["compare", huge, huge, *pair]) == 0
    assert capsys.readouterr().out.count("\n") == 3 + 4
    assert_one_line(capsys, cli.main(["compare", *pair, huge]), 3, "400x300 is more than the limit")


def test_demo_paints_the_embedded_pictures(tmp_path):
    result = command("demo", "--size", "48", "--steps", "1", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "neuschwanstein.starry_night.png\n")
    assert (tmp_path / "neuschwanstein.starry_night.png").is_file()


def test_the_training_script_is_the_same_door(pair, tmp_path):
    script = ROOT / "scripts" / "train.py"
    assert script.read_text().startswith('"""Trains the image, not a network')
    result = subprocess.run(
        [sys.executable, script, *pair, *FAST, "-o", tmp_path / "t.png"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 't.png'}\n")


def test_a_closed_pipe_is_no_traceback(pair):
    line = f"{sys.executable} -m tfstyle stylize {' '.join(pair)} --size 32 --steps 400 --json | head -n 1"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert json.loads(result.stdout)["event"] == "start"
    assert "Traceback" not in result.stderr


def test_samples_are_embedded():
    assert (SAMPLES / "neuschwanstein.jpg").is_file()
    assert (SAMPLES / "SOURCES.md").is_file()
    assert os.access(SAMPLES / "starry_night.jpg", os.R_OK)
