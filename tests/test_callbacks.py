"""What happens during a run, seen from outside."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from conftest import image, mini_recipe, miniature

from tfstyle import callbacks, images, train_step
from tfstyle.errors import OutputError
from tfstyle.steps import Step
from tfstyle.transfer import Transfer


def steps(rng, count=5):
    for index in range(1, count + 1):
        terms = {"total": 3.0 / index, "content": 1.0 / index, "style": 2.0 / index, "style/block1_conv1": 2.0 / index}
        yield Step(index, count, 1, 2, tf.constant(image(rng, 9, 14)), terms, 0.25 * index, index / count)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_every_step_is_shown_to_every_callback_in_order(rng):
    seen = []
    observers = [lambda step: seen.append(("a", step.index)), lambda step: seen.append(("b", step.index))]
    passed = [step.index for step in callbacks.observe(steps(rng, 2), observers)]
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
        list(callbacks.observe(steps(rng), [broken, whole]))
    list(callbacks.observe(steps(rng, 1), [whole]))
    assert (broken.closed, whole.closed) == (1, 2)


def test_the_bar_shows_size_losses_and_ends_full(rng):
    stream = Terminal()
    list(callbacks.observe(steps(rng), [callbacks.Progress(stream)]))
    text = stream.getvalue()
    assert "14x9" in text
    assert "5/5" in text
    assert "style=" in text


def log_of(rows):
    """What is logged of steps at (level of 2, step of 9, seconds)."""
    stream = io.StringIO()
    observer = callbacks.Progress(stream)
    for level, index, seconds in rows:
        observer(Step(index, 9, level, 2, tf.zeros((1, 6 * level, 8 * level, 3)), {"total": 1.0}, seconds, index / 9))
    observer.close()
    return stream.getvalue().splitlines()


def test_without_a_terminal_there_is_a_line_a_level_a_minute_and_at_the_end():
    rows = [(1, 1, 2.4), (1, 2, 9.0), (1, 3, 61.0), (1, 4, 62.0), (1, 5, 122.4), (2, 6, 130.0), (2, 7, 140.0)]
    assert log_of([*rows, (2, 9, 150.2)]) == [
        "level 1 of 2, 8x6: step 1 of 9, 2 s",
        "level 1 of 2, 8x6: step 5 of 9, 122 s",
        "level 2 of 2, 16x12: step 6 of 9, 130 s",
        "level 2 of 2, 16x12: step 9 of 9, 150 s",
    ]


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_the_same_progress_shows_one_run_after_another(kind, rng):
    stream = kind()
    observer = callbacks.Progress(stream)
    for _ in range(2):
        list(callbacks.observe(steps(rng, 3), [observer]))
    shown = stream.getvalue()
    assert shown.count("step 3 of 3" if kind is io.StringIO else "step 3/3") >= 2


class Full(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal

    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_that_is_full_stops_no_run(terminal, rng):
    assert len(list(callbacks.observe(steps(rng), [callbacks.Progress(Full(terminal))]))) == 5


def test_the_bar_counts_pixels_not_steps(rng):
    """Of 3 steps at 14 pixels and 1 at 28, each of which costs four times as much, 3/7 are done after the third."""
    stream = Terminal()
    observer = callbacks.Progress(stream)
    observer(Step(3, 4, 1, 2, tf.zeros((1, 9, 14, 3)), {"total": 1.0}, 3.0, 3 / 7))
    observer.close()
    assert "14x9 step 3/4  43%" in stream.getvalue()


def test_the_progress_of_a_run_weighs_steps_by_pixels(rng, monkeypatch):
    monkeypatch.setattr(train_step, "build_model", lambda network, loss: miniature())
    recipe = mini_recipe(scale_start=32, scale_steps=(3, 1), size=64)
    pictures = [tf.constant(image(rng, 64, 64)) for _ in range(2)]
    done = [step.progress for step in Transfer(recipe).steps(*pictures)]
    np.testing.assert_allclose(done, [1 / 7, 2 / 7, 3 / 7, 1.0], rtol=1e-12)


def test_images_are_saved_when_it_is_their_turn(rng, tmp_path):
    seen = list(callbacks.observe(steps(rng), [callbacks.SaveImages(tmp_path / "run", 2)]))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["0002.png", "0004.png"]
    saved = images.read(tmp_path / "run" / "0004.png").image
    np.testing.assert_allclose(saved, seen[3].image, atol=0.51 / 255)


def test_images_of_an_earlier_run_are_left_alone_unless_they_are_to_be_overwritten(rng, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "0002.png").write_bytes(b"precious")
    list(callbacks.observe(steps(rng), [callbacks.SaveImages(tmp_path / "run", 2)]))
    assert (tmp_path / "run" / "0002.png").read_bytes() == b"precious"
    assert sorted(path.name for path in (tmp_path / "run-2").iterdir()) == ["0002.png", "0004.png"]
    list(callbacks.observe(steps(rng), [callbacks.SaveImages(tmp_path / "run", 2, overwrite=True)]))
    assert images.read(tmp_path / "run" / "0002.png").image.shape == (1, 9, 14, 3)


def test_a_folder_that_cannot_be_made_is_one_line(rng, tmp_path):
    with pytest.raises(OutputError, match="cannot be made"):
        list(callbacks.observe(steps(rng), [callbacks.SaveImages(tmp_path / "gone" / "run", 1)]))


def test_saving_every_0_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        callbacks.SaveImages(tmp_path, 0)


def test_json_has_one_object_a_step(rng):
    stream = io.StringIO()
    list(callbacks.observe(steps(rng, 2), [callbacks.JsonLines(stream)]))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "event": "step",
        "step": 1,
        "steps": 2,
        "progress": 0.5,
        "level": 1,
        "levels": 2,
        "width": 14,
        "height": 9,
        "losses": {"total": 3.0, "content": 1.0, "style": 2.0, "style/block1_conv1": 2.0},
        "seconds": 0.25,
        "settings": {},
    }
    assert second["step"] == 2


ROW = {"step": 2, "level": 1, "width": 14, "height": 9, "seconds": 0.5}
TERMS = {"total": 1.5, "content": 0.5, "style": 1.0, "style/block1_conv1": 1.0}


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_history_holds_every_term_of_every_step(suffix, rng, tmp_path):
    path = tmp_path / f"h{suffix}"
    history = callbacks.History(path)
    list(callbacks.observe(steps(rng), [history]))
    assert history.rows[1] == ROW | TERMS
    if suffix == ".json":
        assert json.loads(path.read_text()) == history.rows
    else:
        lines = path.read_text().splitlines()
        assert lines[0] == "step,level,width,height,seconds,total,content,style,style/block1_conv1"
        assert lines[2] == "2,1,14,9,0.5,1.5,0.5,1.0,1.0"
        assert len(lines) == 6


def test_records_are_written_even_when_a_run_breaks_off(rng, tmp_path):
    observers = [
        callbacks.History(tmp_path / "h.csv"),
        callbacks.LossCurves(tmp_path / "l.svg"),
        callbacks.Strip(tmp_path / "s.png", every=1),
        callbacks.Animation(tmp_path / "g.gif", every=1),
        Closing(),
    ]
    with pytest.raises(RuntimeError):
        list(callbacks.observe(steps(rng), observers))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.gif", "h.csv", "l.svg", "s.png"]


def test_nothing_is_written_of_a_run_without_steps(tmp_path):
    observers = [callbacks.History(tmp_path / "h.csv"), callbacks.Strip(tmp_path / "s.png")]
    list(callbacks.observe([], observers))
    assert not list(tmp_path.iterdir())


def test_a_record_that_exists_is_left_alone_and_the_new_one_saved_beside_it(rng, tmp_path):
    for kind, name in ((callbacks.History, "h.csv"), (callbacks.LossCurves, "l.png"), (callbacks.Strip, "s.png")):
        (tmp_path / name).write_text("precious")
        other = name.replace(".", "-2.")
        with pytest.raises(OutputError, match=rf"left alone; saved as .*{other}\.$"):
            list(callbacks.observe(steps(rng), [kind(tmp_path / name)]))
        assert (tmp_path / name).read_text() == "precious"
        assert (tmp_path / other).stat().st_size > 100


@pytest.mark.parametrize(("every", "expected"), [(2, 3), (None, 5)])
def test_a_strip_shows_the_image_every_few_steps_and_the_last(every, expected, rng, tmp_path):
    list(callbacks.observe(steps(rng), [callbacks.Strip(tmp_path / "s.png", every=every)]))
    picture = images.read(tmp_path / "s.png").image
    cell = (picture.shape[2] + 4) / expected - 4
    assert cell == int(cell)
    assert picture.shape[1] == 18 + round(cell * 9 / 14)


def test_an_animation_shows_about_forty_images(rng, tmp_path):
    from PIL import Image

    list(callbacks.observe(steps(rng, 100), [callbacks.Animation(tmp_path / "g.gif")]))
    with Image.open(tmp_path / "g.gif") as file:
        assert file.n_frames == 34  # Every third of 100, and the last.


def test_large_images_are_reduced_in_a_strip(rng, tmp_path):
    large = Step(1, 1, 1, 1, tf.zeros((1, 20, 1300, 3)), {"total": 1.0}, 0.1, 1.0)
    list(callbacks.observe([large], [callbacks.Strip(tmp_path / "s.png")]))
    assert images.read(tmp_path / "s.png").image.shape == (1, 28, 640, 3)


def test_tensorboard_gets_losses_and_images(rng, tmp_path):
    list(callbacks.observe(steps(rng), [callbacks.TensorBoard(tmp_path / "log", every=2)]))
    tags = []
    for path in (tmp_path / "log").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags += [(event.step, value.tag) for value in event.summary.value]
    assert tags.count((3, "loss/style/block1_conv1")) == 1
    assert [step for step, tag in tags if tag == "image"] == [2, 4, 5]


def test_rows_with_different_terms_are_one_table(tmp_path):
    callbacks.write_rows(tmp_path / "x.csv", [{"step": 1, "style": 2.0}, {"step": 1, "style": 3.0, "content": 4.0}])
    assert (tmp_path / "x.csv").read_text() == "step,style,content\n1,2.0,\n1,3.0,4.0\n"


def test_a_stream_that_is_closed_or_missing_does_not_stop_a_run(rng, monkeypatch):
    stream = io.StringIO()
    stream.close()
    assert len(list(callbacks.observe(steps(rng), [callbacks.Progress(stream)]))) == 5
    monkeypatch.setattr(callbacks.sys, "stderr", None)
    assert len(list(callbacks.observe(steps(rng), [callbacks.Progress()]))) == 5
