"""Files and folders are written completely or not at all, whatever exists and whichever process is killed."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from tfstyle import atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_dangling_link_is_not_replaced_unasked(tmp_path):
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(FileExistsError):
        atomic.write(tmp_path / "link", b"new", overwrite=False)
    assert names(tmp_path) == ["link"]


@pytest.mark.parametrize("there", [False, True])
def test_overwriting_a_link_writes_the_file_it_points_to(there, tmp_path):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target"
    if there:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("far/target")
    atomic.write(tmp_path / "link", b"new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path / "far") == ["target"]


def test_a_replaced_file_keeps_its_permissions_and_a_new_one_has_the_usual(tmp_path):
    before = os.umask(0o027)
    try:
        for name, mode in (("private", 0o600), ("shared", 0o664)):
            (tmp_path / name).touch()
            (tmp_path / name).chmod(mode)
            atomic.write(tmp_path / name, b"new", overwrite=True)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        for overwrite in (False, True):
            atomic.write(tmp_path / f"new-{overwrite}", b"new", overwrite=overwrite)
            assert stat.S_IMODE((tmp_path / f"new-{overwrite}").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_nothing_is_lost_on_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    atomic.write(tmp_path / "p", b"one", overwrite=False)
    with pytest.raises(FileExistsError):
        atomic.write(tmp_path / "p", b"two", overwrite=False)
    assert (tmp_path / "p").read_bytes() == b"one"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(tmp_path / "q", b"two", overwrite=False)
    assert names(tmp_path) == ["p"]


@pytest.mark.parametrize("locks", [False, None])
def test_without_locks_files_are_written_and_nothing_is_cleared(locks, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    if locks is None:  # As on Windows.
        monkeypatch.setattr(atomic, "fcntl", None)
    else:
        monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    left = tmp_path / f"{atomic._OURS}0123"
    left.touch()
    atomic.write(tmp_path / "p", b"new", overwrite=False)
    assert names(tmp_path) == [left.name, "p"]


def test_what_another_machine_left_is_removed_after_a_day(tmp_path):
    """A lock of another machine may not be visible here."""
    for name, age in ((".tfstyle.0123", 0), (".tfstyle.4567", 86_000), (".tfstyle.89ab", 87_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / f"{atomic._OURS}cdef").touch()
    atomic.write(tmp_path / "p", b"new", overwrite=False)
    assert names(tmp_path) == [".tfstyle.0123", ".tfstyle.4567", "p"]


HANG = """
import os, signal, sys
from pathlib import Path
from tfstyle import atomic
os.fsync = lambda _: (print("written", flush=True), signal.pause())
if sys.argv[2] == "file":
    atomic.write(Path(sys.argv[1], "p.png"), b"half", overwrite=False)
with atomic.make_temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "file").touch()
    os.fsync(0)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_by_the_next_and_a_live_ones_work_is_not(kind, tmp_path):
    with subprocess.Popen([sys.executable, "-c", HANG, tmp_path, kind], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        unfinished = names(tmp_path)
        atomic.write(tmp_path / "one.png", b"whole", overwrite=False)
        assert names(tmp_path) == [*unfinished, "one.png"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == [*unfinished, "one.png"]
    assert len(unfinished) == (1 if kind == "file" else 2)
    for name in (".tfstyle.folder", ".tfstyle", "tfstyle.x"):  # Not ours.
        (tmp_path / name).mkdir()
    (tmp_path / ".tfstyle.link").symlink_to("one.png")
    atomic.write(tmp_path / "two.png", b"whole", overwrite=False)
    assert names(tmp_path) == sorted(
        [".tfstyle", ".tfstyle.folder", ".tfstyle.link", "one.png", "tfstyle.x", "two.png"]
    )


def test_a_folder_is_replaced_whole_and_stays_if_that_fails(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(OSError, match="none"):
        atomic.replace_folder(tmp_path / "none", tmp_path / "old", aside=tmp_path / "aside")
    assert (names(tmp_path), names(tmp_path / "old")) == (["new", "old"], ["old"])
    atomic.replace_folder(tmp_path / "new", tmp_path / "old", aside=tmp_path / "aside")
    assert (names(tmp_path), names(tmp_path / "old")) == (["old"], ["new"])


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_while_a_folder_is_replaced_leaves_one_whole(renames, tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    program = f"""
import os, sys
from pathlib import Path
from tfstyle import atomic
rename, made = Path.rename, []
def stop(self, target):
    made.append(rename(self, target))
    if len(made) == {renames}:
        os._exit(9)
Path.rename = stop
folder = Path(sys.argv[1])
atomic.replace_folder(folder / "new", folder / "old", aside=folder / "aside")
"""
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == 9
    assert names(tmp_path / "aside") == ["old"]
    assert names(tmp_path / ("new" if renames == 1 else "old")) == ["new"]
