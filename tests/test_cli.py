"""What every command refuses, its exit codes, and the help."""

import json
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, assert_one_line

from tfstyle import api, cli, images

FAST = ["--size", "64", "--steps", "2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["stylize", "none.jpg", "STYLE"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "none.jpg"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "STYLE", "--init", "none.jpg"], 3, "none.jpg: no such file"),
        (["inspect", "none.jpg"], 3, "none.jpg: no such file"),
        (["stylize", "CONTENT", "STYLE", "-o", "none/in/out.png"], 4, "there is no folder 'none'"),
        (["stylize", "CONTENT", "STYLE", "-o", "none/out.gif"], 4, "cannot be written as '.gif'"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x' * 300}/out.png"], 4, "has a name of more than 255 bytes"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x/' * 2500}out.png"], 4, "is a path of more than 4000 bytes"),
        (["stylize", "CONTENT", "STYLE", "--history", "a/b/h.csv"], 4, "there is no folder 'a'"),
        (["stylize", "CONTENT", "STYLE", "-o", "out.gif"], 4, "cannot be written as '.gif'"),
        (
            ["stylize", "CONTENT", "STYLE", "-o", "x.png", "--strip", "./x.png"],
            4,
            "two files of this run would have this name",
        ),
        (["stylize", "CONTENT", "STYLE", "--gif", "a.gif", "--tensorboard", "CONTENT"], 4, "is a file; name a folder"),
        (["stylize", "CONTENT", "STYLE", "-o", f"{'x' * 252}.png"], 4, "has a name of more than 255 bytes"),
        (["stylize", "CONTENT", "STYLE", "--seed", "2147483648"], 2, "seed should be at most 2147483647"),
        (["stylize", "CONTENT", "STYLE", "--style-scale", "1e308"], 2, "--style-scale should be at most 10"),
        (["stylize", "CONTENT", "STYLE", "-o", "out.jpg", "--keep-alpha"], 4, "JPEG holds no alpha"),
        (["stylize", "CONTENT", "STYLE", "--weights", "none.pth"], 7, "none.pth: no such weights file"),
        (["stylize", "CONTENT", "STYLE", "--recipe", "defualt"], 2, "did you mean 'default'"),
        (["stylize", "CONTENT", "STYLE", "--size", "-3"], 2, "size should be at least 0"),
        (["stylize", "CONTENT", "STYLE", "--steps", "0"], 2, "--steps should be at least 1"),
        (["stylize", "CONTENT", "STYLE", "--save-every", "0"], 2, "--save-every should be at least 1"),
        (["stylize", "CONTENT", "STYLE", "--quality", "101"], 2, "--quality should be from 1 to 100"),
        (["stylize", "CONTENT", "STYLE", "--background", "blanc"], 2, "--background should be a color"),
        (["stylize", "", "STYLE"], 3, ".: is a folder; give a picture, tfstyle batch takes folders"),
        (["demo", "CONTENT", ""], 3, ".: is a folder"),
        (["demo", "CONTENT"], 2, "give both CONTENT and STYLE"),
    ],
)
def test_what_cannot_work_is_one_line_before_tensorflow_is_loaded(arguments, code, message, pair, tmp_path):
    words = [{"CONTENT": pair[0], "STYLE": pair[1]}.get(word, word) for word in arguments]
    program = (
        "import sys; from tfstyle.cli import main; code = main(sys.argv[1:]); "
        "print('TENSORFLOW' * ('tensorflow' in sys.modules), end=''); raise SystemExit(code)"
    )
    before = sorted(tmp_path.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_picture_and_damaged_weights_have_their_codes(pair, tmp_path, capsys, rng):
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:700])
    assert_one_line(capsys, cli.main(["stylize", str(tmp_path / "cut.jpg"), pair[1], *FAST]), 3, "cut short")
    (tmp_path / "w.safetensors").write_bytes(b"\x10")
    arguments = ["stylize", *pair, *FAST, "--weights", str(tmp_path / "w.safetensors")]
    assert_one_line(capsys, cli.main(arguments), 7, "cannot be read as .safetensors")


def test_a_diverging_run_has_its_code_and_writes_nothing(pair, tmp_path, mini_network, capsys):
    """With the largest weight that float32 holds any style loss above 1 overflows, here at the first step."""
    code = cli.main(["stylize", *pair, "-o", str(tmp_path / "out.png"), "--style-weight", "3.4e38"])
    assert_one_line(capsys, code, 5, "no longer a finite number at step 1")
    assert not (tmp_path / "out.png").exists()


def test_a_run_that_does_not_fit_has_its_code(pair, mini_network, monkeypatch, capsys):
    monkeypatch.setattr("tfstyle.environment.available_memory", lambda: 1000)
    assert_one_line(capsys, cli.main(["stylize", *pair]), 6, "no --size fits")
    monkeypatch.setattr(api, "stylize", lambda *a, **o: (_ for _ in ()).throw(MemoryError()))
    assert_one_line(capsys, cli.main(["stylize", *pair]), 6, "memory ran out")


def test_a_bug_of_our_own_is_one_line_and_a_traceback_with_debug(pair, mini_network, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("surprise\nwith more")

    monkeypatch.setattr(api, "stylize", fail)
    assert_one_line(capsys, cli.main(["stylize", *pair]), 1, "RuntimeError: surprise with more (this is a bug")
    assert cli.main(["stylize", *pair, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no signals here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_the_image_so_far(number, pair, tmp_path):
    output, state = tmp_path / "out.png", tmp_path / "state"
    arguments = ["stylize", *pair, "--size", "128", "--steps", "4000", "--json", "-o", output, "--checkpoint", state]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfstyle", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline())["event"] == "start"
    assert json.loads(process.stdout.readline())["step"] == 1
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    message = f"interrupted; {output}: the image so far. --resume {state} goes on."
    assert json.loads(out.splitlines()[-1]) == {"event": "error", "exit_code": 128 + number, "message": message}
    assert err == f"{message}\n"
    assert images.read(output).image.shape == (1, 85, 128, 3)


def test_the_training_script_is_the_same_command(pair, tmp_path):
    script = ROOT / "scripts" / "train.py"
    result = subprocess.run(
        [sys.executable, script, *pair, *FAST, "-o", tmp_path / "t.png"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 't.png'}\n")


def test_a_closed_pipe_is_no_traceback(pair):
    line = f"{sys.executable} -m tfstyle stylize {' '.join(pair)} --size 32 --steps 400 --json | head -n 1"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert json.loads(result.stdout)["event"] == "start"
    assert "Traceback" not in result.stderr


def test_nothing_is_searched_for_garbage_when_a_command_exits():
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0))  # Called after what `main` registers.
from tfstyle.cli import main
main(["recipes"])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "True"
