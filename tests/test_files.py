"""Checks of output paths, free names, and results whose path cannot be written."""

import os
import stat
import threading
from pathlib import Path

import pytest

from tfstyle import files
from tfstyle.errors import OutputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_appeared_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "p.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="appeared meanwhile"):
        files.save_atomically(tmp_path / "p.png", b"new", overwrite=False)
    assert (tmp_path / "p.png").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    path.write_bytes(b"precious")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        files.save_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_of_two_writers_of_one_name_one_gets_an_error(tmp_path):
    """Both have passed every check; in 40 races no file is lost silently."""
    for number in range(40):
        path, start, failed = tmp_path / f"{number}.png", threading.Barrier(2), []

        def write(data, path=path, start=start, failed=failed):
            start.wait()
            try:
                files.save_atomically(path, data, overwrite=False)
            except OutputError:
                failed.append(data)

        threads = [threading.Thread(target=write, args=[data]) for data in (b"one", b"two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 1
        assert path.read_bytes() == ({b"one", b"two"} - set(failed)).pop()


def test_a_result_whose_name_was_taken_is_saved_under_the_next(tmp_path):
    (tmp_path / "out.png").write_bytes(b"precious")
    (tmp_path / "out-2.png").symlink_to("nowhere")
    with pytest.raises(OutputError, match=r"out\.png: has appeared meanwhile .*; saved as .*out-3\.png\.$") as caught:
        files.save_result(tmp_path / "out.png", b"new")
    assert caught.value.saved == tmp_path / "out-3.png"
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    assert (tmp_path / "out-3.png").read_bytes() == b"new"
    assert names(tmp_path) == ["out-2.png", "out-3.png", "out.png"]
    assert files.save_result(tmp_path / "out.png", b"new", overwrite=True) == tmp_path / "out.png"


def test_a_result_whose_folder_is_gone_is_saved_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match=rf"No such file or directory.*; saved as {tmp_path}/here/out\.png\.$"):
        files.save_result(tmp_path / "gone" / "out.png", b"new")
    assert (tmp_path / "here" / "out.png").read_bytes() == b"new"
    assert not (tmp_path / "gone").exists()


def test_a_result_without_a_working_folder_is_saved_in_the_temporary_one(tmp_path, monkeypatch):
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    with pytest.raises(OutputError, match=rf"saved as {tmp_path}/temporary/out\.png\.$"):
        files.save_result("out.png", b"new")
    (tmp_path / "temporary" / "out.png").unlink()
    (tmp_path / "temporary").rmdir()
    with pytest.raises(OutputError, match="nor in the working or the temporary folder; the result is lost"):
        files.save_result("out.png", b"new")


def test_a_free_name_takes_the_next_number_when_it_is_written(tmp_path):
    output = files.FreeName(tmp_path / "p.png")
    assert Path(output) == tmp_path / "p.png"
    (tmp_path / "p.png").touch()  # By another run, meanwhile.
    assert files.save_result(output, b"new") == Path(output) == tmp_path / "p-2.png"
    assert (tmp_path / "p-2.png").read_bytes() == b"new"
    assert (tmp_path / "p.png").read_bytes() == b""


def test_a_free_name_may_need_another_beside_it(tmp_path):
    for name in ("p.png", "p-2-steps"):
        (tmp_path / name).touch()
    output = files.FreeName(tmp_path / "p.png", beside=lambda name: name.with_name(f"{name.stem}-steps"))
    assert Path(output) == tmp_path / "p-3.png"
    (tmp_path / "p-3-steps").mkdir()  # Its own.
    assert files.save_result(output, b"new") == tmp_path / "p-3.png"


def test_many_writers_of_one_default_name_lose_nothing(tmp_path):
    written = []
    outputs = [files.FreeName(tmp_path / "p.png") for _ in range(12)]
    threads = [
        threading.Thread(target=lambda n=n, o=o: written.append(files.save_result(o, bytes([n]))))
        for n, o in enumerate(outputs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == sorted(["p.png", *(f"p-{n}.png" for n in range(2, 13))])
    assert {path.read_bytes() for path in written} == {bytes([n]) for n in range(12)}


def test_words_become_names_that_windows_allows():
    found = files.make_distinct_names(["C:\\a*b", 'x="<y>|z?"'], ".png")
    assert found == ["C--a-b.png", "x=--y--z--.png"]


@pytest.mark.parametrize("letter", ["x", "ä", "絵"])
def test_names_are_shortened_to_what_file_systems_allow(letter):
    numbered = files.number_names(Path("folder", letter * 260 + ".png"))
    first, second = next(numbered), next(numbered)
    for path, ending in ((first, ".png"), (second, "-2.png")):
        assert 255 - len(letter.encode()) < len(os.fsencode(path.name)) <= 255
        assert path.name.endswith(letter + ending)


def test_words_become_names_that_are_all_different():
    stems = ["init=p/q.jpg", "init=p-q.jpg", "init=P-q.jpg", "plain", "init=p-q.jpg-2", "x" * 300, "x" * 301]
    found = files.make_distinct_names(stems, ".png")
    assert found[:5] == [
        "init=p-q.jpg.png",
        "init=p-q.jpg-2.png",
        "init=P-q.jpg-3.png",
        "plain.png",
        "init=p-q.jpg-2-2.png",
    ]
    assert (len(found[5]), found[6][-7:]) == (255, "x-2.png")
    assert len({name.casefold() for name in found}) == len(stems)


def test_a_folder_is_made_under_the_first_free_name(tmp_path):
    for expected in ("run", "run-2", "run-3"):
        assert files.make_free_folder(tmp_path / "run") == tmp_path / expected
        assert (tmp_path / expected).is_dir()
    with pytest.raises(OutputError, match=r"gone/run: cannot be made \(No such file"):
        files.make_free_folder(tmp_path / "gone" / "run")


def test_a_folder_that_was_made_stays_only_with_something_in_it(tmp_path):
    for leave in (False, True):
        with files.make_folder(tmp_path / "new"):
            assert (tmp_path / "new").is_dir()
            if leave:
                (tmp_path / "new" / "file").touch()
        assert (tmp_path / "new").is_dir() == leave
    (tmp_path / "empty").mkdir()
    with files.make_folder(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()  # It was there before.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/new", "there is no folder"),
        ("file", "cannot be made"),
        ("file/new", "there is no folder"),
        ("x" * 256, "name of more than 255 bytes"),
        (f"{'x' * 300}/new", "name of more than 255 bytes"),
        ("x/" * 2500, "path of more than 4000 bytes"),
    ],
)
def test_a_folder_that_cannot_be_made_is_refused(name, message, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=message), files.make_folder(tmp_path / name):
        pass
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_not_written_to(overwrite, tmp_path):
    os.mkfifo(tmp_path / "p.png")
    with pytest.raises(OutputError, match="is a pipe or device"):
        files.check_file(tmp_path / "p.png", [".png"], overwrite=overwrite)
    with pytest.raises(OutputError, match="was left alone"):
        files.save_atomically(tmp_path / "p.png", b"new", overwrite=overwrite)
    assert stat.S_ISFIFO((tmp_path / "p.png").stat().st_mode)


def test_a_link_is_checked_where_it_points_to(tmp_path):
    (tmp_path / "link.png").symlink_to("none/p.png")
    with pytest.raises(OutputError, match="exists; choose another name"):
        files.check_file(tmp_path / "link.png", [".png"])
    with pytest.raises(OutputError, match="there is no folder"):
        files.check_file(tmp_path / "link.png", [".png"], overwrite=True)
    (tmp_path / "none").mkdir()
    files.check_file(tmp_path / "link.png", [".png"], overwrite=True)


def test_a_circular_link_is_refused(tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    with pytest.raises(OutputError, match="symbolic link that leads back to itself"):
        files.check_file(tmp_path / "a.png", [".png"], overwrite=True)
