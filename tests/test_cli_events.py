"""--json: every line an event, whatever happens, and the last one says how it ended."""

import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import image

import tfstyle
from tfstyle import api, cli, images
from tfstyle.errors import DivergedError, Interrupted, OutputError

pytestmark = pytest.mark.usefixtures("mini_network")


def run(capsys, *words):
    """The exit code, the events, and standard error."""
    try:
        code = cli.main([*map(str, words), "--json"])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_stylize_tells_start_steps_and_result(pair, tmp_path, capsys):
    code, events, err = run(capsys, "stylize", *pair, "--seed", "3")
    assert (code, err) == (0, "")
    assert events[0] == {
        "event": "start",
        "command": "stylize",
        "version": tfstyle.__version__,
        "content": pair[0],
        "styles": [pair[1]],
        "recipe": "mini",
        "size": 48,
        "seed": 3,
        "precision": "float32",
    }
    assert [(event["event"], event["progress"]) for event in events[1:-1]] == [
        ("step", 0.3333),
        ("step", 0.6667),
        ("step", 1.0),
    ]
    output = str(tmp_path / "photo.painting.png")
    assert events[-1] == {"event": "result", "output": output, "width": 48, "height": 32}


def test_a_sweep_tells_steps_and_result_of_each_picture(pair, tmp_path, capsys):
    folder = tmp_path / "out"
    code, events, err = run(capsys, "sweep", *pair, "--vary", "style_weight=1,10", "-o", folder)
    assert (code, err) == (0, "")
    assert [event["event"] for event in events] == ["start", *["step", "step", "step", "result"] * 2, "result"]
    assert (events[0]["vary"], events[0]["pictures"]) == ({"style_weight": [1.0, 10.0]}, 2)
    first = {"event": "result", "output": str(folder / "style_weight=1.png"), "style_weight": 1.0}
    assert events[4] == first
    assert events[-1] == {"event": "result", "output": str(folder), "pictures": 2}


def test_features_tells_start_and_result(pair, tmp_path, capsys):
    folder = tmp_path / "seen"
    code, events, err = run(capsys, "features", pair[0], "--layers", "block1_conv1", "--size", "32", "-o", folder)
    assert (code, err) == (0, "")
    facts = {"image": pair[0], "layers": ["block1_conv1"], "size": 32}
    assert events == [
        {"event": "start", "command": "features", "version": tfstyle.__version__, **facts},
        {"event": "result", "output": str(folder)},
    ]


def test_a_folder_tells_a_result_or_a_reason_for_each_picture(pair, tmp_path, rng, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b\udce9", "c"):
        images.write(image(rng, 40, 50), folder / f"{name}.png")
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    words = ["batch", folder, "--styles", pair[1], "--fast", "-o", tmp_path / "out"]
    code, events, err = run(capsys, *words)
    assert code == 8
    assert [event["event"] for event in events] == ["start", "skipped", "result", "result", "error"]
    assert events[0]["pictures"] == 3
    assert events[1]["content"] == str(folder / "a.png")
    assert events[1]["message"] in err
    assert events[2]["content"] == str(folder / "b\udce9.png")
    assert all((tmp_path / "out").samefile(event["output"].rpartition("/")[0]) for event in events[2:4])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["stylize", "none.jpg", "none.jpg"], 3, "none.jpg: no such file"),
        (["stylize", "PHOTO", "PHOTO", "--style-weight", "x"], 2, "invalid float value: 'x'"),
        (["stylize", "PHOTO"], 2, "the following arguments are required: STYLE"),
        (["fast", "PHOTO"], 2, "give a style image, or a network with --model"),
        (["sweep", "PHOTO", "PHOTO", "--vary", "siez=1"], 2, "did you mean 'size'"),
        (["compare", "PHOTO", "PHOTO", "none.jpg"], 3, "none.jpg: no such file"),
    ],
)
def test_what_is_refused_is_one_event_and_one_line(words, code, message, pair, capsys):
    found, events, err = run(capsys, *(pair[0] if word == "PHOTO" else word for word in words))
    assert (found, [event["event"] for event in events]) == (code, ["error"])
    assert events[0]["exit_code"] == code
    assert message in events[0]["message"]
    assert err.count("\n") == 1
    assert message in err


def resource_exhausted(text="OOM when allocating tensor with shape[3,3,512,512]"):
    return tf.errors.ResourceExhaustedError(None, None, text)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DivergedError("at step 3; use a smaller `style_weight`."), 5, "at step 3; use a smaller --style-weight."),
        (OutputError("x.png: exists; use `overwrite`."), 4, "x.png: exists; use --overwrite."),
        (Interrupted("x.png: the image so far."), 130, "interrupted; x.png: the image so far."),
        (KeyboardInterrupt(), 130, "interrupted."),
        (MemoryError(), 6, "memory ran out"),
        (resource_exhausted(), 6, "memory ran out"),
        (
            RuntimeError("Exception encountered when calling VGG.call(). OOM when allocating tensor"),
            6,
            "memory ran out",
        ),
        (OSError(12, "Cannot allocate memory"), 6, "memory ran out"),
        (tfstyle.SetupError("libx.so: failed to map segment from shared object"), 6, "memory ran out"),
        (tfstyle.SetupError("TensorFlow cannot be imported"), 1, "TensorFlow cannot be imported"),
        (OSError(28, "No space left on device"), 4, "cannot be written (No space left on device)"),
        (resource_exhausted("x.data-00000; No space left on device"), 4, "cannot be written (No space left on device)"),
        (ValueError("Shapes (3,) and (4,) are incompatible"), 1, "ValueError: Shapes (3,) and (4,) are incompatible"),
    ],
)
def test_what_goes_wrong_in_a_run_has_its_code_a_line_and_a_last_event(error, code, message, pair, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(api, "stylize", fail)
    found, events, err = run(capsys, "stylize", *pair)
    assert (found, [event["event"] for event in events]) == (code, ["start", "error"])
    assert (events[-1]["exit_code"], err.count("\n")) == (code, 1)
    assert message in events[-1]["message"]
    assert message in err
    assert ("bug in tfstyle" in err) is (code == 1 and isinstance(error, ValueError))


def test_running_out_of_memory_inside_a_keras_layer_is_recognised(pair, monkeypatch, capsys):
    """Keras raises another class there, from the message alone."""

    class Greedy(tf.keras.layers.Layer):
        def call(self, inputs):
            raise resource_exhausted()

    monkeypatch.setattr(api, "stylize", lambda *a, **o: Greedy()(np.zeros([1, 2], "float32")))
    code, events, _ = run(capsys, "stylize", *pair)
    assert (code, events[-1]["exit_code"]) == (6, 6)


def test_fast_refuses_what_memory_cannot_hold_and_counts_no_picture_twice(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 10**6)
    code, events, err = run(capsys, "fast", *pair)
    assert (code, err.count("\n")) == (6, 1)
    assert "90x60 needs about 0.2 GB of memory and 0.0 GB are free; choose a smaller --tile or --size." in err
    assert events[-1]["exit_code"] == 6
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 10**9)
    assert run(capsys, "fast", *pair)[0] == 0
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 10**6)
    assert run(capsys, "fast", *pair, "-o", tmp_path / "two.png")[0] == 0  # In the memory of the first.
