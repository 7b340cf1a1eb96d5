"""Every notebook, executed from scratch at a small size."""

import nbclient
import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SMALL = {
    "01_quickstart": {"SIZE": 64, "STEPS": 8},
    "02_what_vgg_sees": {"SIZE": 48, "STEPS": 4},
    "03_recipes_side_by_side": {"SIZE": 48, "SHARE": 0.01, "MOST": 6},
    "04_weights_and_starts": {"SIZE": 48, "STEPS": 8},
    "05_export_and_serve": {"SIZE": 48, "DEEPEST": 2},
    "06_fast_styles": {"SIZE": 48, "STEPS": 2, "CROP": 32},
    "07_adversarial_painter": {"SIZE": 48, "STEPS": 4, "PRETRAINING": 2, "CROP": 32},
    "08_control": {"SIZE": 96, "RECIPE": '"draft"'},
}
"""What stands in each notebook's cell of parameters, for the tests."""


LONG = (
    "02_what_vgg_sees",
    "03_recipes_side_by_side",
    "04_weights_and_starts",
    "06_fast_styles",
    "07_adversarial_painter",
    "08_control",
)
"""Notebooks that take half a minute and more."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else (), id=path.stem) for path in NOTEBOOKS],
)
def test_a_notebook_runs_from_scratch(path):
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names = {line.split(" = ")[0] for line in cell.source.splitlines()}
    assert names == set(SMALL[path.stem])
    cell.source = "\n".join(f"{name} = {value}" for name, value in SMALL[path.stem].items())
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_tells_a_story(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words > 250


def test_every_notebook_has_its_small_parameters():
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)
