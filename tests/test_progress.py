"""Reports of a training: a bar or lines of text, JSON events, and sample sheets."""

import io
import json

import pytest
from conftest import image
from trainers import make_trainer, run

from tfstyle import images, plots
from tfstyle.errors import OutputError
from tfstyle.training import progress, run_folder


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


class Closed(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError


def test_a_sheet_shows_content_images_above_stylized_ones(tmp_path, rng):
    trainer = make_trainer(eager=True)
    content_images = [image(rng, 33, 47), image(rng, 40, 30)]
    sheet = progress.SampleSheet(tmp_path, trainer.network, content_images, every=2)
    run(trainer, tmp_path, 3, callbacks=[sheet])
    sheets = sorted((tmp_path / run_folder.SHEETS).iterdir())
    assert [path.name for path in sheets] == ["000000.jpg", "000002.jpg"]
    height, width = images.read(sheets[0]).image.shape[1:3]
    assert height == 2 * (round(40 / 30 * (width - 4) / 2) + plots.LABEL_HEIGHT) + 4  # Two rows as high as the second.


def test_without_a_terminal_a_line_an_epoch_tells_step_and_losses(tmp_path, capsys):
    run(make_trainer(eager=True), tmp_path, 5, callbacks=[progress.Progress(5)])
    found = capsys.readouterr()
    assert found.out == ""
    first, second = found.err.splitlines()
    row = run_folder.read_losses(tmp_path)[0]
    assert first == "step 3 of 5: " + ", ".join(f"{name} {row[name]:.4g}" for name in ("loss", "content", "style"))
    assert second.startswith("step 5 of 5: loss ")


def test_on_a_terminal_there_is_one_bar_from_the_current_step(tmp_path, caplog):
    trainer, stream = make_trainer(eager=True), Terminal()
    run(trainer, tmp_path, 2)
    with caplog.at_level("INFO", logger="tfstyle"):
        run(trainer, tmp_path, 7, callbacks=[progress.Progress(7, stream)])
    assert "7/7" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert "step 7 of 7: loss" in caplog.text


class ClosedLater(Terminal):
    """A terminal that is closed after the first write."""

    def write(self, text):
        length = super().write(text)
        self.close()
        return length


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make", [Closed, closed, ClosedLater])
def test_a_stream_that_cannot_be_written_does_not_stop_a_training(make, tmp_path):
    trainer = make_trainer(eager=True)
    run(trainer, tmp_path, 4, callbacks=[progress.Progress(4, make())])
    assert trainer.step == 4


def test_without_standard_error_nothing_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    trainer = make_trainer(eager=True)
    run(trainer, tmp_path, 4, callbacks=[progress.Progress(4)])
    assert trainer.step == 4
    assert capsys.readouterr().out == ""


def test_an_event_an_epoch_is_one_json_object_with_the_losses(tmp_path):
    stream = io.StringIO()
    run(make_trainer(eager=True), tmp_path, 5, callbacks=[progress.JsonLines(5, stream)])
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    rows = run_folder.read_losses(tmp_path)
    assert [(event["event"], event["step"], event["steps"]) for event in events] == [("step", 3, 5), ("step", 5, 5)]
    for event, row in zip(events, rows, strict=True):
        assert event["losses"] == pytest.approx({name: row[name] for name in ("loss", "content", "style")})


def test_a_sheet_that_cannot_be_made_is_one_line(tmp_path, rng):
    (tmp_path / run_folder.SHEETS).touch()
    trainer = make_trainer(eager=True)
    sheet = progress.SampleSheet(tmp_path, trainer.network, [image(rng)], every=2)
    with pytest.raises(OutputError, match="samples: cannot be made"):
        run(trainer, tmp_path, 3, callbacks=[sheet])
