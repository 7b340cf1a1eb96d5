"""Standard streams of any kind: encodings, closed, full, and TensorFlow's own lines."""

import io
import os
import subprocess
import sys

import pytest

from tfstyle import cli
from tfstyle.cli import streams
from tfstyle.errors import InputError, SetupError


@pytest.fixture(autouse=True)
def same_stdout():
    """The tests' own standard output keeps its error handler."""
    errors = getattr(sys.stdout, "errors", None)
    yield
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=errors)


def shell(line, **variables):
    """Runs a line of the shell in which `tfstyle` stands for this one's command."""
    line = line.replace("tfstyle", f"{sys.executable} -m tfstyle")
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False, env=os.environ | variables)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8:strict", b"caf\xe9 \xc3\xa9\xe7\xa5\x9e"),
        ("ascii:strict", b"caf\xe9 \\xe9\\u795e"),
        ("latin-1:strict", b"caf\xe9 \xe9\\u795e"),
    ],
)
def test_any_name_is_printed_in_any_encoding(encoding, expected):
    """A byte that is not UTF-8, as file names may hold, and characters that an encoding may lack."""
    code = "from tfstyle.cli import streams; streams.prepare(); print('caf\\udce9 \\xe9\\u795e')"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected + b"\n", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")
@pytest.mark.parametrize("command", ["recipes", "recipes crowson --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_4(command, unbuffered):
    result = shell(f"tfstyle {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    line = b"tfstyle: error: a result or standard output cannot be written (No space left on device).\n"
    assert (result.returncode, result.stderr) == (4, line)


def test_errors_that_cannot_be_printed_keep_their_exit_code():
    assert shell("tfstyle recipes zzz 2> /dev/full").returncode == 2
    assert shell("tfstyle inspect none.jpg 2>&-").returncode == 3


def test_closed_streams_do_no_harm(tmp_path):
    """With TensorFlow loaded, whose messages are held back on the closed descriptor."""
    from PIL import Image

    Image.new("I;16", (30, 20), 999).save(tmp_path / "p.png")
    result = shell(f"tfstyle inspect {tmp_path}/p.png <&- 2>&-")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"size:        30x20\n" in result.stdout
    assert shell("tfstyle recipes >&-").returncode == 0


def test_a_reader_that_has_gone_ends_it_quietly():
    result = shell("(sleep 0.5; tfstyle recipes; echo $? >&2) | true")
    assert result.stderr == b"1\n"


def load(error=None, debug=False):
    """A loading of TensorFlow that writes to the descriptor and may fail."""
    with streams.quiet_tensorflow(debug):
        os.write(2, b"from the loader\n")
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [ImportError("libx.so"), SetupError("TensorFlow cannot be imported"), OSError()])
def test_what_was_held_back_is_printed_if_loading_fails(error, capfd):
    with pytest.raises(type(error)):
        load(error)
    assert capfd.readouterr().err == "from the loader\n"


def test_what_was_held_back_is_dropped_otherwise(capfd):
    load()
    for error in (InputError("p.png: is damaged"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            load(error)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_nothing_is_held_back_for_debugging_or_where_there_is_no_place_for_it(capfd, monkeypatch):
    load(debug=True)
    monkeypatch.setattr(streams.tempfile, "TemporaryFile", lambda: (_ for _ in ()).throw(FileNotFoundError()))
    load()
    assert capfd.readouterr().err == "from the loader\n" * 2


def test_an_import_of_tensorflow_that_fails_prints_what_it_wrote_and_one_line(tmp_path):
    code = "import os; os.write(2, b'CPU lacks AVX\\n'); raise ImportError('libtensorflow.so')"
    (tmp_path / "tensorflow.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = shell("tfstyle doctor", PYTHONPATH=path)
    held, line = result.stderr.decode().splitlines()
    assert (result.returncode, held) == (1, "CPU lacks AVX")
    assert line.startswith("tfstyle: error: ")
    assert "libtensorflow.so" in line


def test_a_process_that_ends_while_loading_says_where():
    code = "import os; from tfstyle.cli import streams\nwith streams.quiet_tensorflow(False): os.abort()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode < 0
    assert "Fatal Python error: Aborted" in result.stderr
    assert 'File "<string>", line 2' in result.stderr


def test_the_line_of_an_error_is_one_line_in_any_encoding(capsys):
    assert cli.main(["inspect", "a\nb\udce9.jpg"]) == 3
    assert capsys.readouterr().err == "tfstyle: error: 'a\\nb\\udce9.jpg': no such file; give a picture file.\n"
