"""The README's Python blocks, run one after the other in a folder with two pictures, at a small size."""

import re
import shutil

import pytest
from conftest import ROOT, SAMPLES

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def test_every_block_runs(tmp_path, monkeypatch):
    for name, sample in (("photo", "chelsea"), ("painting", "starry_night")):
        shutil.copy(SAMPLES / f"{sample}.jpg", tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 4
    names = {}
    for block in BLOCKS:
        smaller = block.replace("512", "64").replace("steps=60", "steps=3").replace("(60, 40)", "(3, 2)")
        exec(compile(smaller, "README.md", "exec"), names)
    assert (tmp_path / "result.png").exists()
    assert names["image"].shape == (1, 43, 64, 3)
    assert names["mine"].record()["loss"]["total_variation"].endswith("edges")


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda page: page.stem)
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
