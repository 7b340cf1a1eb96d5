"""A training's folder: when it may be used, and what is read from it."""

import pytest

from tfstyle.errors import OutputError
from tfstyle.feedforward import records


@pytest.fixture
def folders(tmp_path):
    for name, file in (
        ("trained", records.STATE),
        ("failed", records.LOSSES),
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
        ("trained", "", "holds a training; go on with --resume, or begin anew with --overwrite"),
        ("failed", "", "holds what a failed training left; begin anew with --overwrite"),
        ("failed", "resume", "holds no training to go on with"),
        ("mine", "", "is not empty and no training"),
        ("mine", "overwrite", "is not empty and no training"),
        ("mine", "resume", "holds no training to go on with"),
        ("new", "resume", "holds no training to go on with"),
        ("file", "", "is a file"),
        ("none/new", "", "there is no folder"),
    ],
)
def test_a_folder_of_something_else_is_refused(folders, name, flags, message):
    with pytest.raises(OutputError, match=message):
        records.check(folders / name, resume="resume" in flags, overwrite="overwrite" in flags)


@pytest.mark.parametrize(
    ("name", "flag"),
    [("new", ""), ("empty", ""), ("trained", "resume"), ("trained", "overwrite"), ("failed", "overwrite")],
)
def test_a_folder_that_may_be_used_is_left_as_it_is(folders, name, flag):
    records.check(folders / name, resume=flag == "resume", overwrite=flag == "overwrite")
    assert not (folders / "new").exists()


def test_going_on_and_beginning_anew_exclude_each_other(folders):
    with pytest.raises(ValueError, match="not both"):
        records.check(folders / "trained", resume=True, overwrite=True)


def test_clearing_leaves_what_a_training_did_not_make(folders):
    folder = folders / "trained"
    (folder / "mine.txt").touch()
    (folder / records.SHEETS).mkdir()
    for name in ("000200.jpg", "holiday.jpg"):
        (folder / records.SHEETS / name).touch()
    records.clear(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", records.SHEETS]
    assert [path.name for path in (folder / records.SHEETS).iterdir()] == ["holiday.jpg"]
    records.clear(folders / "new")
    assert (folders / "new").is_dir()


def test_losses_are_read_and_drawn(tmp_path):
    lines = ["epoch,content,loss,step,style,val_loss", "0,0.5,1.5,3.0,1.0,NA", "1,0.25,1.0,6.0,0.75,NA"]
    (tmp_path / records.LOSSES).write_text("\n".join(lines))
    rows = records.read_losses(tmp_path)
    assert rows[1] == {"epoch": 1.0, "content": 0.25, "loss": 1.0, "step": 6.0, "style": 0.75}
    records.draw_curves(tmp_path)
    assert (tmp_path / records.CURVES).read_bytes().startswith(b"\x89PNG")


def test_damaged_losses_are_one_line(tmp_path):
    (tmp_path / records.LOSSES).write_text("epoch,loss\n0,what")
    with pytest.raises(OutputError, match="the curves are not drawn"):
        records.read_losses(tmp_path)
