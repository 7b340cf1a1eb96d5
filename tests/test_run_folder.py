"""The folder of a training: when it may be used, and the losses in it."""

from pathlib import Path

import pytest

from tfstyle.errors import OutputError
from tfstyle.training import run_folder


@pytest.fixture
def folders(tmp_path):
    for name, file in (
        ("trained", run_folder.STATE),
        ("failed", run_folder.LOSSES),
        ("mine", "precious.txt"),
        ("empty", None),
    ):
        (tmp_path / name).mkdir()
        if file:
            (tmp_path / name / file).write_text("x")
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("trained", "", "holds a training; continue it with `resume`, or start again with `overwrite`"),
        ("failed", "", "holds files of a failed training; start again with `overwrite`"),
        ("failed", "resume", "holds no training to resume"),
        ("mine", "", "is not empty and holds no training"),
        ("mine", "overwrite", "is not empty and holds no training"),
        ("mine", "resume", "holds no training to resume"),
        ("new", "resume", "holds no training to resume"),
        ("file", "", "is a file"),
        ("none/new", "", "there is no folder"),
    ],
)
def test_a_folder_of_something_else_is_refused(folders, name, flags, message):
    with pytest.raises(OutputError, match=message):
        run_folder.check(folders / name, resume="resume" in flags, overwrite="overwrite" in flags)


@pytest.mark.parametrize(
    ("name", "flag"),
    [("new", ""), ("empty", ""), ("trained", "resume"), ("trained", "overwrite"), ("failed", "overwrite")],
)
def test_a_folder_that_may_be_used_is_left_as_it_is(folders, name, flag):
    run_folder.check(folders / name, resume=flag == "resume", overwrite=flag == "overwrite")
    assert not (folders / "new").exists()


def test_resume_and_overwrite_exclude_each_other(folders):
    with pytest.raises(ValueError, match="not both"):
        run_folder.check(folders / "trained", resume=True, overwrite=True)


def test_clearing_leaves_what_a_training_did_not_make(folders):
    folder = folders / "trained"
    (folder / "mine.txt").touch()
    (folder / run_folder.SHEETS).mkdir()
    for name in ("000200.jpg", "holiday.jpg"):
        (folder / run_folder.SHEETS / name).touch()
    run_folder.clear(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", run_folder.SHEETS]
    assert [path.name for path in (folder / run_folder.SHEETS).iterdir()] == ["holiday.jpg"]
    run_folder.clear(folders / "new")
    assert (folders / "new").is_dir()


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
@pytest.mark.parametrize("name", [run_folder.NETWORK, run_folder.LOSSES, run_folder.CURVES, run_folder.SHEETS])
def test_a_folder_in_place_of_a_file_or_a_file_of_a_folder_is_refused(folders, name, flag):
    place = folders / "trained" / name
    place.touch() if name == run_folder.SHEETS else place.mkdir()
    kind = "file where the training makes a folder" if name == run_folder.SHEETS else "folder where the training writes"
    with pytest.raises(OutputError, match=f"{name}: is a {kind}"):
        run_folder.check(folders / "trained", resume=flag == "resume", overwrite=flag == "overwrite")


def test_damaged_losses_are_found_before_a_training_is_resumed_and_may_be_discarded(folders):
    (folders / "trained" / run_folder.LOSSES).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match=r"losses.csv: is damaged or no file of losses; move it away to continue"):
        run_folder.check(folders / "trained", resume=True, overwrite=False)
    run_folder.check(folders / "trained", resume=False, overwrite=True)


def test_temporary_files_of_a_killed_training_are_ignored(folders):
    """Killed at its first state, a training leaves a temporary file and nothing to resume."""
    (folders / "empty" / ".tfstyle.ab12").touch()
    run_folder.check(folders / "empty", resume=False, overwrite=False)
    folder = folders / "trained"
    (folder / run_folder.SHEETS).mkdir()
    for path in (folder / ".tfstyle.ab12", folder / run_folder.SHEETS / ".tfstyle.cd34"):
        path.touch()
        Path(f"{path}.d").mkdir()
    run_folder.check(folder, resume=False, overwrite=True)
    run_folder.clear(folder)  # Whether they belong to a live process, `atomic` asks when it writes there.
    assert len(list(folder.rglob(".tfstyle.*"))) == 4
    assert not (folder / run_folder.STATE).exists()


def test_a_folder_that_cannot_be_made_or_read_is_one_line(folders, monkeypatch):
    with pytest.raises(OutputError, match="file/x: cannot be made"):
        run_folder.make(folders / "file" / "x")

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folders), "iterdir", refused)
    with pytest.raises(OutputError, match=r"trained: cannot be read \(Permission denied\)"):
        run_folder.check(folders / "trained", resume=True, overwrite=False)


def test_losses_are_written_and_read_as_they_are(tmp_path):
    rows = [{"step": 5, "loss": 1 / 3, "style": 1e-9}, {"step": 8, "loss": 0.1, "style": 2.0, "real": 0.5}]
    run_folder.write_losses(tmp_path, rows)
    assert run_folder.read_losses(tmp_path) == rows
    first = (tmp_path / run_folder.LOSSES).read_text()
    assert first.startswith("step,loss,style,real\n5,0.3333333333333333,1e-09,NA\n")
    run_folder.write_losses(tmp_path, run_folder.read_losses(tmp_path))
    assert (tmp_path / run_folder.LOSSES).read_text() == first
    run_folder.write_losses(tmp_path, [])
    assert run_folder.read_losses(tmp_path) == []


def test_there_are_no_losses_before_the_first_line(tmp_path):
    assert run_folder.read_losses(tmp_path) == []
    (tmp_path / run_folder.LOSSES).touch()
    assert run_folder.read_losses(tmp_path) == []


def test_losses_are_read_and_drawn(tmp_path):
    lines = ["epoch,content,loss,step,style,val_loss", "0,0.5,1.5,3.0,1.0,NA", "1,0.25,1.0,6.0,0.75,NA"]
    (tmp_path / run_folder.LOSSES).write_text("\n".join(lines))
    rows = run_folder.read_losses(tmp_path)
    assert rows[1] == {"epoch": 1.0, "content": 0.25, "loss": 1.0, "step": 6.0, "style": 0.75}
    run_folder.draw_curves(tmp_path, rows)
    assert (tmp_path / run_folder.CURVES).read_bytes().startswith(b"\x89PNG")


def test_damaged_losses_are_one_line(tmp_path):
    (tmp_path / run_folder.LOSSES).write_text("epoch,loss\n0,what")
    with pytest.raises(OutputError, match="is damaged or no file of losses"):
        run_folder.read_losses(tmp_path)
