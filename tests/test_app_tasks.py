"""The tasks of the page and the API."""

import shlex
import shutil

import numpy as np
import pytest
from conftest import SAMPLES, image

from tfstyle import cli, images
from tfstyle.app import tasks
from tfstyle.app.tasks import Painting, Task
from tfstyle.cli.command_line import parse
from tfstyle.errors import InputError, UsageError
from tfstyle.recipes import catalog

TASK = Task(content="photo.jpg", paintings=(Painting(picture="harvest.jpg"),), fields={"size": 48})


@pytest.fixture
def folder(tmp_path, rng):
    """A folder with a photograph, two paintings and a mask."""
    images.write(image(rng, 60, 90), tmp_path / "photo.jpg")
    for name in ("harvest.jpg", "starry night.png"):
        images.write(image(rng, 50, 70), tmp_path / name)
    mask = np.zeros((1, 30, 45, 3), np.float32)
    mask[:, :, :20] = 1.0
    images.write(mask, tmp_path / "mask.png")
    return tmp_path


@pytest.fixture
def small_recipe(mini_network, monkeypatch):
    """The miniature under the name that a task has without another."""
    recipe = catalog.RECIPES["default"]
    monkeypatch.setattr(catalog, "RECIPES", {"default": recipe, "balanced": recipe})


EVERY_KIND = [
    {},
    {"fields": {"size": 64, "strength": 0.5, "seed": 3, "color": "content", "color_strength": 0.5}},
    {"protect": "mask.png"},
    {"protect": "left"},
    {"paintings": (Painting(picture="starry night.png", weight=2.0), Painting(picture="harvest.jpg", mask="mask.png"))},
    {"fast": True},
    {"fast": True, "fields": {"size": 40, "strength": 0.25, "color": "match"}, "protect": "mask.png"},
    {"fast": True, "paintings": (), "model": "starry-night"},
]


@pytest.mark.parametrize("changes", EVERY_KIND, ids=repr)
def test_the_command_line_makes_the_same_picture(changes, folder, small_recipe, monkeypatch, capsys):
    task = Task(**{**vars(TASK), **changes})
    task.check(folder, largest=512)
    height, width = task.make(folder)
    made = images.read(folder / task.result).image
    assert made.shape[1:3] == (height, width)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("photo.jpg", "harvest.jpg", "starry night.png", "mask.png"):
        shutil.copy(folder / name, elsewhere)
    monkeypatch.chdir(elsewhere)
    program, *words = shlex.split(task.command())
    assert program == "tfstyle"
    assert cli.main(words) == 0
    assert capsys.readouterr().out.strip() == task.result
    np.testing.assert_array_equal(images.read(elsewhere / task.result).image, made)


def test_a_run_that_was_stopped_goes_on_to_the_same_picture(folder, small_recipe):
    TASK.make(folder)
    whole = (folder / TASK.result).read_bytes()
    shutil.rmtree(folder / tasks.CHECKPOINT)
    TASK.make(folder, callbacks=[lambda step: step.index == 2])
    assert (folder / TASK.result).read_bytes() != whole
    steps = []
    TASK.make(folder, callbacks=[lambda step: steps.append(step.index)])
    assert steps == [2, 3]  # The last one before it stopped is shown again.
    assert (folder / TASK.result).read_bytes() == whole


def test_the_names_of_result_and_record_are_no_longer_than_a_file_system_allows():
    name = tasks.clean_name("夜" * 83 + ".png", "photo")
    task = Task(content=name, paintings=tuple(Painting(picture=f"{number}{name}") for number in range(5)))
    assert len(f"{task.result.removesuffix('.png')}.json".encode()) <= 255
    assert task.result not in (name, *(painting.picture for painting in task.paintings))


def test_the_command_holds_the_whole_weight():
    words = [Painting(picture="p.png", weight=weight).as_word() for weight in (0.123456789, 2.0, 1.0)]
    assert words == ["p.png:weight=0.123456789", "p.png:weight=2", "p.png"]


def test_the_command_names_what_differs_from_the_usual():
    task = Task(content="a b.jpg", paintings=(Painting(picture="p.png"),), recipe="draft", fields={"style_scale": 2.0})
    assert task.command() == "tfstyle stylize 'a b.jpg' p.png --recipe draft --style-scale 2.0"
    assert vars(parse(shlex.split(task.command())[1:]))["style_scale"] == 2.0


@pytest.mark.parametrize("changes", EVERY_KIND, ids=repr)
def test_a_task_is_the_same_after_it_was_recorded(changes):
    task = Task(**{**vars(TASK), **changes})
    assert Task.from_record(task.record()) == task


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"fields": {"weights": "/etc/passwd"}}, UsageError, "`weights` is no option of a recipe"),
        ({"fields": {"init": "/etc/passwd"}}, UsageError, "`init` is no option of a recipe"),
        ({"fields": {"size": 513}}, UsageError, "`size` should be at most 512 here, not 513"),
        (
            {"fields": {"size": 400, "style_scale": 3.0}},
            UsageError,
            "`style_scale` should be at most 2.56 at",
        ),
        ({"fields": {"size": 48, "steps": 10**9}}, UsageError, "`steps` should be at most 10000 here, not 1000000000"),
        ({"fields": {"size": 0}, "fast": True}, UsageError, "at most 64 here, not 90"),
        ({"fields": {"style_weight": 2.0}, "fast": True}, UsageError, "`style_weight` is no option of one pass"),
        ({"fields": {"strength": 2.0}, "fast": True}, UsageError, "`strength` should be"),
        ({"fields": {"color": "blue"}, "fast": True}, UsageError, "color"),
        ({"fields": {"size": 48, "strength": 1.5}}, UsageError, "`strength` should be"),
        ({"recipe": "nonsense"}, UsageError, "unknown recipe"),
        ({"fast": True, "model": "starry-night"}, UsageError, "not both"),
        ({"fast": True, "paintings": ()}, UsageError, "needs a painting"),
        ({"fast": True, "paintings": (), "model": "../x.keras"}, UsageError, "`model` should be starry-night"),
        ({"paintings": ()}, UsageError, "no style image"),
        ({"content": "mask.txt"}, InputError, "mask.txt"),
        ({"protect": "mask.txt"}, InputError, "mask.txt"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_made_is_refused_before_it_begins(changes, error, message, folder):
    (folder / "mask.txt").write_text("no picture")
    largest = 64 if changes.get("fields") == {"size": 0} else 512
    with pytest.raises(error, match=message):
        Task(**{**vars(TASK), **changes}).check(folder, largest=largest)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("photo.JPG", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\my photo.png", "my photo.png"),
        ("a:weight=2.png", "a_weight_2.png"),
        ("--help.png", "help.png"),
        ("..", "photo"),
        ("", "photo"),
        (None, "photo"),
        (".hidden", "hidden"),
        ("\x00\n\x1b[31m.png", "31m.png"),
        ("夜.png", "夜.png"),
        ("x" * 500 + ".jpeg", "x" * 100 + ".jpeg"),
        ("夜" * 83 + "ab.png", "夜" * 33 + ".png"),
        ("夜" * 50, "夜" * 33),
        ("a.png/", "photo"),
    ],
)
def test_names_of_uploads_are_harmless(given, kept, tmp_path):
    name = tasks.clean_name(given, "photo")
    assert name == kept
    (tmp_path / name).touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_samples_are_those_of_the_package_and_of_a_gallery(tmp_path, rng):
    images.write(image(rng), tmp_path / "own.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = tasks.find_samples(tmp_path)
    assert set(found) == {path.name for path in SAMPLES.glob("*.jpg")} | {"own.png"}
    assert set(tasks.PHOTOGRAPHS) < set(found)
