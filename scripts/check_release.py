"""Builds a release from the committed files, and tries it as a stranger would.

    python scripts/check_release.py                          # wheel and sdist in dist/, tried with every Python here
    python scripts/check_release.py --tests                  # the tests as well, from the sdist
    python scripts/check_release.py --url https://host/name  # links of the README lead to that repository

The wheel is installed in a clean environment of each Python from 3.10 to 3.13 that is found; there the demo paints and
one pass runs. From the unpacked sdist the commands of the README run. A package index shows the README without the
files beside it, so its pictures and links need the address of a repository.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

UNWANTED = re.compile(r"\.py[co]$|__pycache__|\.venv|\.git/|(^|/)(out|build)/")


def run(*words: object, cwd: Path | None = None) -> str:
    """Runs a program; returns what it prints, and ends this one if it fails."""
    print("$", *words, flush=True)
    done = subprocess.run(list(map(str, words)), cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(map(str, words))}")
    return done.stdout


def is_there(program: str) -> bool:
    """Returns whether a program can be run; a version manager may offer names of what is not installed."""
    return bool(shutil.which(program)) and not subprocess.run([program, "--version"], capture_output=True).returncode


def absolute_links(text: str, url: str) -> str:
    """Returns a README whose links and pictures lead to a repository."""
    pictures = re.sub(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)", rf"![\1]({url}/raw/HEAD/\2)", text)
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)]+)\)", rf"[\1]({url}/blob/HEAD/\2)", pictures)


def build(folder: Path, url: str | None) -> list[Path]:
    """Builds wheel and sdist of the committed files; returns their paths."""
    source, tools = folder / "source", folder / "tools"
    source.mkdir()
    archive = folder / "source.tar"
    run("git", "archive", "-o", archive, "HEAD", cwd=ROOT)
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    if url:
        readme = source / "README.md"
        readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), url.rstrip("/")), encoding="utf-8")
    venv.create(tools, with_pip=True)
    run(tools / "bin" / "pip", "install", "-q", "build", "twine")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(tools / "bin" / "python", "-m", "build", "-o", ROOT / "dist", source)
    built = sorted((ROOT / "dist").iterdir())
    run(tools / "bin" / "twine", "check", "--strict", *built)
    return built


def list_files(path: Path) -> list[str]:
    """Lists the files of a wheel or an sdist, and ends the program if one does not belong there."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
    else:
        with tarfile.open(path) as tar:
            names = [member.name for member in tar.getmembers() if member.isfile()]
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(names)} files", *sorted(names), sep="\n  ")
    if unwanted := [name for name in names if UNWANTED.search(name)]:
        raise SystemExit(f"{path.name} holds {', '.join(unwanted[:3])}")
    return names


def try_wheel(wheel: Path, python: str, folder: Path) -> None:
    """Installs the wheel in a clean environment and makes pictures with it."""
    home = folder / f"python{python}"
    run(f"python{python}", "-m", "venv", home)
    run(home / "bin" / "pip", "install", "-q", wheel)
    command = home / "bin" / "tfstyle"
    run(command, "doctor")
    for name, words in {"demo": ("demo", "--recipe", "draft"), "fast": ("fast", "demo.png", "demo.png")}.items():
        run(command, *words, "--size", "128", "-o", f"{name}.png", "-q", "--overwrite", cwd=home)
        print(f"Python {python}: {home / name}.png has {(home / f'{name}.png').stat().st_size} bytes", flush=True)


def try_sdist(sdist: Path, folder: Path, *, tests: bool) -> None:
    """Runs the commands of the README from the unpacked sdist."""
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.name.startswith("tfstyle-"))
    run("bash", "scripts/quickstart.sh", "--size", "128", "-o", "castle.png", cwd=unpacked)
    if tests:
        run("bash", "scripts/test.sh", cwd=unpacked)


def main() -> None:
    """Builds, lists and tries a release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="address of the repository, for the links of the README on a package index")
    parser.add_argument("--tests", action="store_true", help="run the tests from the sdist as well")
    options = parser.parse_args()
    found = [python for python in PYTHONS if is_there(f"python{python}")]
    if not found:
        sys.exit(f"none of Python {', '.join(PYTHONS)} was found")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = build(folder, options.url)
        for path in built:
            list_files(path)
        (wheel,), (sdist,) = ([path for path in built if path.name.endswith(end)] for end in (".whl", ".tar.gz"))
        for python in found:
            try_wheel(wheel, python, folder)
        try_sdist(sdist, folder, tests=options.tests)
    print(f"Python {', '.join(found)}: {', '.join(str(path) for path in built)}")


if __name__ == "__main__":
    main()
