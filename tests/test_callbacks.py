"""What happens during a run, seen from outside."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import image

from tfstyle import callbacks, images
from tfstyle.errors import OutputError
from tfstyle.transfer import Step


def steps(rng, count=5):
    for index in range(1, count + 1):
        terms = {"total": 3.0 / index, "content": 1.0 / index, "style": 2.0 / index, "style/block1_conv1": 2.0 / index}
        yield Step(index, count, 1, 2, tf.constant(image(rng, 9, 14)), terms, 0.25 * index)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_every_step_is_shown_to_every_callback_in_order(rng):
    seen = []
    observers = [lambda step: seen.append(("a", step.index)), lambda step: seen.append(("b", step.index))]
    passed = [step.index for step in callbacks.observed(steps(rng, 2), observers)]
    assert passed == [1, 2]
    assert seen == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


class Closing:
    closed = 0

    def __call__(self, step):
        if step.index == 2:
            raise RuntimeError("in the middle")

    def close(self):
        self.closed += 1


def test_callbacks_are_closed_however_the_run_ends(rng):
    broken, whole = Closing(), Closing()
    with pytest.raises(RuntimeError, match="in the middle"):
        list(callbacks.observed(steps(rng), [broken, whole]))
    list(callbacks.observed(steps(rng, 1), [whole]))
    assert (broken.closed, whole.closed) == (1, 2)


def test_the_bar_shows_size_losses_and_ends_full(rng):
    stream = Terminal()
    list(callbacks.observed(steps(rng), [callbacks.Progress(stream)]))
    text = stream.getvalue()
    assert "14x9" in text
    assert "5/5" in text
    assert "style=" in text


def test_there_is_no_bar_without_a_terminal(rng):
    stream = io.StringIO()
    list(callbacks.observed(steps(rng), [callbacks.Progress(stream)]))
    assert stream.getvalue() == ""


def test_images_are_saved_when_it_is_their_turn(rng, tmp_path):
    seen = list(callbacks.observed(steps(rng), [callbacks.SaveImages(tmp_path / "run", 2)]))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["0002.png", "0004.png"]
    saved = images.read(tmp_path / "run" / "0004.png").image
    np.testing.assert_allclose(saved, seen[3].image, atol=0.51 / 255)


def test_a_folder_that_cannot_be_made_is_one_line(rng, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        list(callbacks.observed(steps(rng), [callbacks.SaveImages(tmp_path / "run", 1)]))


def test_saving_every_0_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        callbacks.SaveImages(tmp_path, 0)


def test_json_has_one_object_a_step(rng):
    stream = io.StringIO()
    list(callbacks.observed(steps(rng, 2), [callbacks.JsonLines(stream)]))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "event": "step",
        "step": 1,
        "steps": 2,
        "scale": 1,
        "scales": 2,
        "width": 14,
        "height": 9,
        "losses": {"total": 3.0, "content": 1.0, "style": 2.0, "style/block1_conv1": 2.0},
        "seconds": 0.25,
    }
    assert second["step"] == 2
