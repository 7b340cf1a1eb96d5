"""README and documentation: every code block runs, commands exist, links lead somewhere, the reference is complete."""

import contextlib
import dataclasses
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from public_names import PUBLIC
from servers import serve_in_thread

import tfstyle
from tfstyle import cli, images
from tfstyle.app import server
from tfstyle.cli.command_line import parse
from tfstyle.cli.parser import make_parser
from tfstyle.recipes import catalog

README, DOCS = ROOT / "README.md", ROOT / "docs"
RECIPES = tuple(catalog.RECIPES)
PAGES = [README, *sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


def blocks(page, language):
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


SLOW = ("training",)
"""Pages whose commands take long."""


def with_blocks(language):
    """The pages that have code in a language, as parameters."""
    marks = dict.fromkeys(SLOW, pytest.mark.slow)
    return [
        pytest.param(page, id=page.stem, marks=marks.get(page.stem, ())) for page in PAGES if blocks(page, language)
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A working folder with the pictures that the pages name."""
    names = {"photo": "chelsea", "painting": "starry_night", "night": "starry_night", "waves": "harvest"}
    for name, sample in names.items():
        picture = images.fit(images.read(SAMPLES / f"{sample}.jpg").image, 96)
        images.write(picture, tmp_path / f"{name}.jpg")
    for name in ("photos", "paintings", "monet"):
        (tmp_path / name).mkdir()
        shutil.copy(tmp_path / "waves.jpg", tmp_path / name / "a.jpg")
    half = np.zeros((64, 96, 3), np.float32)
    half[:24] = 1.0
    for name in ("sky", "face", "stars"):
        images.write(half, tmp_path / f"{name}.png")
    for name in ("map", "night-map"):
        images.write(half * np.float32([1.0, 0.0, 0.0]), tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text("content,style\nphoto.jpg,night.jpg\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", with_blocks("python"))
def test_every_python_block_runs(page, folder):
    names = {}
    for block in blocks(page, "python"):
        smaller = block.replace("512", "64").replace("steps=60", "steps=3").replace("(60, 40)", "(3, 2)")
        with serve_in_thread(folder / "paintings") if "7860" in block else contextlib.nullcontext() as served:
            if served:
                smaller = smaller.replace("http://127.0.0.1:7860", str(served[0].base_url))
            exec(compile(smaller, str(page), "exec"), names)
    if page == README:
        assert names["image"].shape == (1, 43, 64, 3)
        assert (folder / "result.png").exists()


def commands(text):
    """The lines of shell code, without comments."""
    return [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]


SMALLER = {
    "train": "--steps 2 --size 32 --batch 2",
    "train gan": "--pretraining-steps 1",
    "export": "",
    "doctor": "",
    "inspect": "",
    "enlarge": "--size 60",
    "rerun": "",
    "recipes": "",
    "regions": "",
    "compare": "",
    "app": "--port 0 --no-browser",
}
"""Command → what is added in the tests; "--size 48" if it is not here."""


OTHERS = (".", "python3", "pre-commit", "curl", "TFSTYLE_TOKEN=something-long")
"""The first words of other commands that pages name."""


@pytest.mark.usefixtures("mini_network")
@pytest.mark.parametrize("page", with_blocks("bash"))
def test_every_command_of_a_block_runs(page, folder, monkeypatch, capsys):
    """With small recipes on the miniature network, in place of those that a command names."""
    recipe = catalog.RECIPES["default"]
    names = ("default", *RECIPES)
    monkeypatch.setattr(catalog, "RECIPES", {name: dataclasses.replace(recipe, name=name) for name in names})
    monkeypatch.setattr(server, "serve", lambda listener, folder, **options: listener.close())
    for line in commands("\n".join(blocks(page, "bash"))):
        words = shlex.split(re.sub(r" --size \d+", "", line))
        if words[0] != "tfstyle":
            scripts = [word for word in words if word.startswith("scripts/")]
            is_ours = words[:2] == ["pip", "install"] and words[2][0] == "."
            assert is_ours or words[0] in OTHERS or scripts, line
            assert all((ROOT / script).is_file() for script in scripts), line
            continue
        added = SMALLER.get(words[1], "--size 48")
        added += " " + SMALLER.get(" ".join(words[1:3]), "") if words[1] == "train" else ""
        code = cli.main([*words[1:], *added.split()])
        assert code == 0, f"{line}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_within_a_text_exist(page):
    """Those that name a picture are parsed as well."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for command in re.findall(r"`tfstyle ([a-z][^`]*)`", text):
        words = shlex.split(command)
        assert words[0] in make_parser().commands, command
        if ".jpg" in command and "…" not in command:
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    made = ("reference/", "../reference/")  # By docs/generate.py.
    missing = [link for link in links if "://" not in link and not link.startswith(made)]
    assert [link for link in missing if not (page.parent / link).exists()] == []


def test_the_readme_fits_on_a_few_screens():
    assert README.stat().st_size <= 7000


def test_the_site_is_built_without_a_warning_and_its_reference_is_complete(tmp_path):
    from sphinx.util.inventory import InventoryFile

    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees", DOCS]
    built = subprocess.run([*command, tmp_path / "html"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, [line for line in built.stderr.splitlines() if "WARNING" in line]
    with (tmp_path / "html" / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", "/".join)
    described = {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}
    wanted = {
        f"tfstyle.{place}"
        for place, (value, _) in PUBLIC.items()
        if not place.startswith("cli.") and value.__doc__ and not place.endswith("._asdict")
    }
    assert wanted - described == set()
    page = (tmp_path / "html" / "notebooks" / "00_the_loop.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "<img" in page
    for path in (tmp_path / "html").rglob("*.html"):  # Nothing is loaded from elsewhere.
        loaded = re.findall(
            r'<(?:script|img|link)[^>]+(?:src|href)="(https?://[^"]+)"', path.read_text(encoding="utf-8")
        )
        assert loaded == [], path


def test_the_gallery_has_a_picture_for_each_of_its_commands():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    found = re.findall(r"!\[(.+?)\]\((pictures/gallery/.+?)\)<br>`tfstyle (.+?)`<br>(\d+) s", text)
    assert len(found) > 40
    for label, picture, command, _ in found:
        assert label == command
        assert (DOCS / picture).is_file()
        parse(shlex.split(command))


def test_every_place_has_the_same_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[\d.]*)\]", changes, re.M)[0] == tfstyle.__version__
    assert f"version: {tfstyle.__version__}\n" in citation
