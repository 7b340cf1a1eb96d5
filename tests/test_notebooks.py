"""Every notebook, executed from scratch at a small size."""

import nbclient
import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SMALL = {
    "00_the_loop": {"SIZE": 48, "STEPS": 6, "EVERY": 2},
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
    "01_quickstart",
    "05_export_and_serve",
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
def test_a_notebook_runs_from_scratch(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names = {line.split(" = ")[0] for line in cell.source.splitlines()}
    assert names == set(SMALL[path.stem])
    cell.source = "\n".join(f"{name} = {value}" for name, value in SMALL[path.stem].items())
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_pictures_and_tells_a_story(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(output.name == "stdout" for output in outputs if output.output_type == "stream")
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/jpeg") >= 2
    assert "image/png" not in kinds
    assert path.stat().st_size <= 400_000
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(text.split()) > 250
    assert "to try" in text.lower()
    assert "Short answers" in text


def test_the_loop_is_in_forty_lines():
    """What a reader has to understand: losses, targets, train step and loop, without blank lines."""
    code = [cell.source for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells if cell.cell_type == "code"]
    needed = ("def content_loss", "def gram_matrix", "def total_variation", "def train_step")
    method = [cell for cell in code if any(name in cell for name in needed)]
    lines = [
        line for cell in method for line in cell.splitlines() if line.strip() and not line.startswith(("print", "show"))
    ]
    assert len(lines) <= 50
    for name in ("tf.Variable", "tf.GradientTape", "@tf.function", "tf.einsum", "keras.optimizers.Adam"):
        assert name in "".join(method)
    assert "StyleContentModel" in "".join(code)


def test_every_notebook_has_its_small_parameters():
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)
