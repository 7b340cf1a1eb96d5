"""Checkpoints of a run: it goes on to the last bit, whatever step it stopped at; every folder that is refused."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import NOT_THE_FILES_FAULT, LeapAt, image, mini_recipe

import tfstyle
from tfstyle import api, checkpoint, images, planning, states
from tfstyle.callbacks import History
from tfstyle.errors import OutputError, UsageError, WeightsError
from tfstyle.recipes import LBFGS, SGD, Adam, get_recipe
from tfstyle.reruns import rerun
from tfstyle.styles import Style

LEVELS = {"scale_start": 40, "scale_steps": (3, 2)}
RECIPES = {
    "adam": {"optimizer": Adam()},
    "adam, averaged": {"optimizer": Adam(), "ema_decay": 0.9, "warm_start": True},
    "sgd": {"optimizer": SGD(), "learning_rate": 1e-3},
    "lbfgs": {"optimizer": LBFGS(), "warm_start": True, "add_detail": True},
    "lbfgs in bytes, from noise": {
        "optimizer": LBFGS(learning_rate=0.3),
        "space": "caffe",
        "clip": False,
        "init": "noise",
    },
    "neighbors": {"optimizer": LBFGS(), "neighbor_layers": {"block3_conv1": 1.0}, "neighbor_weight": 0.5},
    "palette": {"optimizer": LBFGS(), "palette": 0.5},
    "strokes along edges": {"optimizer": LBFGS(), "orientation": "edges"},
    "pairs in bfloat16": {"optimizer": LBFGS(history_precision="bfloat16"), "warm_start": True},
    "a step too long": {"optimizer": LeapAt(2, 1e14), "clip": False},
}


def saved_and_restored(step, painter, folder, fixed=None):
    """The snapshot of a step, by way of a file."""
    saving = checkpoint.Checkpoints(folder, fixed=fixed or {}, every=1)
    saving(step)
    return checkpoint.restore(folder, painter.state_specs, fixed=fixed or {}, settings=painter.settings).snapshot


@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES)
def test_a_run_goes_on_to_the_last_bit_from_every_step(options, mini_transfer, rng, tmp_path):
    recipe = mini_recipe(**LEVELS, **options)
    painter, pictures = mini_transfer(recipe), (image(rng, 68, 90), image(rng, 70, 95))
    whole = list(painter.steps(*pictures))
    assert len(whole) == 5
    for stopped in whole:
        snapshot = saved_and_restored(stopped, painter, tmp_path / str(stopped.index))
        rest = list(painter.steps(*pictures, resume=snapshot))
        assert [step.index for step in rest] == [step.index for step in whole[stopped.index - 1 :]]
        for again, once in zip(rest, whole[stopped.index - 1 :], strict=True):
            np.testing.assert_array_equal(again.image, once.image)
            assert (again.losses, again.level, again.progress) == (once.losses, once.level, once.progress)
            assert again.seconds >= stopped.seconds


def test_a_snapshot_of_another_run_is_refused(mini_transfer, rng):
    content, style = image(rng, 68, 90), image(rng, 70, 95)
    recipe = mini_recipe(**LEVELS)
    painter = mini_transfer(recipe)
    last = list(painter.steps(content, style))[-1].snapshot
    shorter = mini_recipe(**LEVELS | {"scale_steps": (1, 1)})
    for options in ({"recipe": shorter}, {"recipe": mini_recipe()}):
        with pytest.raises(UsageError, match="`resume` is the snapshot of a run of another recipe"):
            next(painter.steps(content, style, resume=last, **options))
    with pytest.raises(UsageError, match="another size"):
        next(painter.steps(content[:, 2:], style, resume=last))


class CrashError(Exception):
    """Stops a run."""


def crash_at(index):
    def callback(step):
        if step.index == index:
            raise CrashError

    return callback


@pytest.mark.usefixtures("mini_network")
def test_stylize_goes_on_with_its_history(pair, tmp_path):
    whole, parts = History(), History()
    expected = tfstyle.stylize(*pair, callbacks=[whole])
    with pytest.raises(CrashError):
        tfstyle.stylize(*pair, checkpoint=tmp_path / "c", callbacks=[crash_at(2)])
    result = tfstyle.stylize(*pair, checkpoint=tmp_path / "c", resume=True, callbacks=[parts])
    np.testing.assert_array_equal(result, expected)
    assert [row["total"] for row in parts.rows] == [row["total"] for row in whole.rows]
    assert [row["step"] for row in parts.rows] == [1, 2, 3]
    again = tfstyle.stylize(*pair, checkpoint=tmp_path / "c", resume=True)  # A run that has ended.
    np.testing.assert_array_equal(again, expected)


@pytest.mark.usefixtures("mini_network")
def test_a_run_that_saved_memory_goes_on_so_where_more_is_free(pair, tmp_path, monkeypatch):
    def needed(recipe, *sizes, tile=None, bands=1):
        return 1000 if recipe.optimizer.history_precision == "bfloat16" else 3000

    for module in (api, planning):
        monkeypatch.setattr(module, "memory_needed", needed)
    recipe = get_recipe("default", optimizer=LBFGS(history=12))
    options = {"recipe": recipe, "checkpoint": tmp_path / "c"}
    expected = tfstyle.stylize(*pair, recipe=recipe, memory=2000)
    with pytest.raises(CrashError):
        tfstyle.stylize(*pair, memory=2000, callbacks=[crash_at(2)], **options)
    result = tfstyle.stylize(*pair, memory=10_000, resume=True, **options)
    np.testing.assert_array_equal(result, expected)
    other = get_recipe("default", optimizer=LBFGS(history=7))
    with pytest.raises(UsageError, match=r"was made with history 12, not 7; resume with history 12"):
        tfstyle.stylize(*pair, recipe=other, checkpoint=tmp_path / "c", resume=True)


CONTROLS = {
    "a color of a map": lambda painting, sheet: ([Style(painting, mask=sheet, mask_color="red")], {}),
    "a part that stays": lambda painting, sheet: ([painting], {"protect": sheet}),
    "less and less from the left": lambda painting, sheet: ([painting], {"protect": "left"}),
    "strokes of one direction": lambda painting, sheet: ([painting], {"orientation": 45}),
    "two paintings, fainter": lambda painting, sheet: (
        [Style(painting, mask="left"), Style(painting, scale=0.5)],
        {"strength": 0.5, "color": "content"},
    ),
}


@pytest.mark.usefixtures("mini_network")
@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_controls_are_resumed_and_made_again(control, pair, tmp_path):
    sheet, made, whole = (tmp_path / f"{name}.png" for name in ("map", "made", "whole"))
    areas = np.zeros((40, 60, 3), np.float32)
    areas[:, :35, 0] = areas[:, 35:, 2] = 1.0
    images.write(areas, sheet)
    styles, options = control(pair[1], sheet)
    tfstyle.stylize(pair[0], styles, output=whole, **options)
    resumable = options | {"checkpoint": tmp_path / "c", "output": made}
    with pytest.raises(CrashError):
        tfstyle.stylize(pair[0], styles, callbacks=[crash_at(2)], **resumable)
    tfstyle.stylize(pair[0], styles, resume=True, overwrite=True, **resumable)
    np.testing.assert_array_equal(images.read(made).image, images.read(whole).image)
    assert rerun(made).same
    with pytest.raises(UsageError, match="made with"):
        tfstyle.stylize(*pair, resume=True, checkpoint=tmp_path / "c")


@pytest.mark.usefixtures("mini_network")
def test_what_differs_is_named(pair, rng, tmp_path):
    folder = tmp_path / "c"
    tfstyle.stylize(*pair, checkpoint=folder)
    resume = {"checkpoint": folder, "resume": True}
    for options, message in (
        ({"style_weight": 3.0}, r"made with style_weight 1.0, not 3.0; resume with style_weight 1.0\.$"),
        ({"size": 40}, "made with size 48, not 40"),
        ({"steps": 5}, "made with steps 0, not 5"),
    ):
        with pytest.raises(UsageError, match=message):
            tfstyle.stylize(*pair, **resume, **options)
    with pytest.raises(UsageError, match="made with another style image; resume with the same pictures"):
        tfstyle.stylize(pair[0], image(rng, 50, 70)[0], **resume)
    with pytest.raises(UsageError, match="made with another content image"):
        tfstyle.stylize(image(rng, 60, 90)[0], pair[1], **resume)


@pytest.mark.usefixtures("mini_network")
def test_a_damaged_checkpoint_falls_back_to_the_one_before(pair, tmp_path, caplog):
    folder, expected = tmp_path / "c", tfstyle.stylize(*pair)
    tfstyle.stylize(*pair, checkpoint=folder, checkpoint_every=1)
    newest = folder / checkpoint.NEWEST
    for content in (newest.read_bytes()[:-300], newest.read_bytes()[:3000] + b"x" + newest.read_bytes()[3001:], b""):
        newest.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tfstyle"):
            history = History()
            result = tfstyle.stylize(*pair, checkpoint=folder, resume=True, callbacks=[history])
        assert [record.message for record in caplog.records if "damaged" in record.message]
        assert [row["step"] for row in history.rows] == [1, 2, 3]
        np.testing.assert_array_equal(result, expected)
        assert (folder / checkpoint.DAMAGED).read_bytes() == content


@pytest.mark.usefixtures("mini_network")
def test_between_two_renames_the_one_before_is_used_without_a_word(pair, tmp_path, caplog):
    tfstyle.stylize(*pair, checkpoint=tmp_path / "c", checkpoint_every=1)
    (tmp_path / "c" / checkpoint.NEWEST).unlink()
    with caplog.at_level(logging.WARNING, "tfstyle"):
        tfstyle.stylize(*pair, checkpoint=tmp_path / "c", resume=True)
    assert not caplog.records


@pytest.mark.usefixtures("mini_network")
def test_folders_that_cannot_be_used_are_refused_before_the_run(pair, tmp_path):
    folder, file = tmp_path / "c", tmp_path / "file"
    file.write_text("mine")
    for options, message in (
        ({"checkpoint": folder, "resume": True}, "holds no checkpoint to resume"),
        ({"checkpoint": file}, "is a file; name a folder"),
        ({"checkpoint": tmp_path / "no" / "c"}, "no"),
    ):
        with pytest.raises(OutputError, match=message):
            tfstyle.stylize(*pair, **options)
    with pytest.raises(UsageError, match="`resume` needs the folder"):
        tfstyle.stylize(*pair, resume=True)
    with pytest.raises(UsageError, match="`checkpoint_every` should be at least 1 step, not 0"):
        tfstyle.stylize(*pair, checkpoint=folder, checkpoint_every=0)
    tfstyle.stylize(*pair, checkpoint=folder)
    with pytest.raises(OutputError, match="holds the checkpoint of another run; resume it, or name another folder"):
        tfstyle.stylize(*pair, checkpoint=folder)
    for name in (checkpoint.NEWEST, checkpoint.BEFORE):
        (folder / name).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"no checkpoint can be read \(checkpoint.npz: BadZipFile; before.npz"):
        tfstyle.stylize(*pair, checkpoint=folder, resume=True)
    assert file.read_text() == "mine"


@pytest.mark.usefixtures("mini_network")
def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(pair, tmp_path, monkeypatch, caplog):
    def full(*args, **options):
        raise OutputError("disk full.")

    monkeypatch.setattr(states, "write", full)
    with caplog.at_level(logging.WARNING, "tfstyle"):
        result = tfstyle.stylize(*pair, checkpoint=tmp_path / "c", checkpoint_every=2)
    assert result.shape == (1, 32, 48, 3)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'c'}: no checkpoint of step {index} was written (disk full.)" for index in (2, 3)
    ]


def test_one_is_saved_when_the_time_has_come(mini_transfer, rng, tmp_path, monkeypatch):
    now, saved = [100.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(states, "write", lambda path, arrays, facts: saved.append(facts["step"]["index"]))
    saving = checkpoint.Checkpoints(tmp_path / "c", fixed={})
    for step in mini_transfer(mini_recipe(scale_steps=(6,))).steps(image(rng), image(rng)):
        now[0] += 12.0
        saving(step)
    saving.close()
    assert saved == [3, 6]


@pytest.mark.parametrize(("raised", "expected", "message"), NOT_THE_FILES_FAULT)
def test_what_is_no_fault_of_the_file_is_no_reason_to_fall_back(
    raised, expected, message, mini_transfer, rng, tmp_path, monkeypatch
):
    def fail(*args, **options):
        raise raised

    painter = mini_transfer(mini_recipe())
    saved_and_restored(next(painter.steps(image(rng), image(rng))), painter, tmp_path)
    monkeypatch.setattr(states, "read", fail)
    with pytest.raises(expected, match=rf"checkpoint\.npz: {message}"):
        checkpoint.restore(tmp_path, painter.state_specs, fixed={}, settings=painter.settings)


def test_a_checkpoint_of_another_optimizer_is_refused(mini_transfer, rng, tmp_path):
    adam, lbfgs = (mini_transfer(mini_recipe(optimizer=kind)) for kind in (Adam(), LBFGS()))
    saved_and_restored(next(adam.steps(image(rng), image(rng))), adam, tmp_path)
    with pytest.raises(WeightsError, match="other tensors than this run"):
        checkpoint.restore(tmp_path, lbfgs.state_specs, fixed={}, settings=lbfgs.settings)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signals here")
def test_a_killed_command_goes_on_to_the_same_picture(pair, tmp_path):
    arguments = [sys.executable, "-m", "tfstyle", "stylize", *pair, "--size", "96", "--steps", "12"]
    process = subprocess.Popen([*arguments, "--checkpoint", tmp_path / "c", "--checkpoint-every", "1"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "c" / checkpoint.BEFORE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole, resumed = tmp_path / "whole.png", tmp_path / "resumed.png"
    subprocess.run([*arguments, "-q", "-o", whole], check=True)
    subprocess.run([*arguments, "-q", "-o", resumed, "--resume", tmp_path / "c"], check=True)
    np.testing.assert_array_equal(images.read(whole).image, images.read(resumed).image)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [checkpoint.BEFORE, checkpoint.NEWEST]


@pytest.mark.slow
def test_twenty_kills_at_any_time_change_nothing(pair, tmp_path):
    moments = np.random.default_rng(5)
    arguments = [sys.executable, "-m", "tfstyle", "stylize", *pair, "-q", "--size", "128", "--steps", "60"]
    subprocess.run([*arguments, "-o", tmp_path / "whole.png"], check=True)
    whole = images.read(tmp_path / "whole.png").image
    kills = finished = 0
    while kills < 20 or not finished:
        folder, result = tmp_path / f"c{finished}", tmp_path / f"{finished}.png"
        begun = (folder / checkpoint.NEWEST).exists() or (folder / checkpoint.BEFORE).exists()
        options = ["--resume", folder] if begun else ["--checkpoint", folder, "--checkpoint-every", "1"]
        process = subprocess.Popen([*arguments, "-o", result, *options])
        try:
            assert process.wait(moments.uniform(0.0, 14.0) if kills < 20 else None) == 0
            np.testing.assert_array_equal(images.read(result).image, whole)
            finished += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    made = {"whole.png", *(f"{index}.png" for index in range(finished)), *(f"c{index}" for index in range(finished))}
    assert {path.name for path in tmp_path.iterdir()} - {f"c{finished}"} == made | {Path(path).name for path in pair}


def test_the_description_tells_pictures_of_other_pixels_or_sizes_apart(rng):
    recipe, one = mini_recipe(), tf.constant(image(rng))
    described = [
        checkpoint.describe(recipe, {"content": each}, [])["pictures"]
        for each in (one, one + 1e-6, tf.reshape(one, [1, 47, 33, 3]), None)
    ]
    assert described[0] == checkpoint.describe(recipe, {"content": one}, [])["pictures"]
    assert len({each["content"] for each in described}) == 4
