"""Runs the notebooks and keeps their pictures in them, as JPEG.

    python scripts/run_notebooks.py                 # all
    python scripts/run_notebooks.py 00_the_loop     # one

A notebook that fails is left as it was.
"""

import argparse
import base64
import io
import tempfile
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
LARGEST = 400_000
"""Size of a notebook in bytes, at most."""

WIDEST = 900
"""Width of a picture in pixels, at most."""

QUALITIES = (85, 80, 75, 70)


def run(path: Path) -> None:
    """Runs a notebook from scratch and writes it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:  # For the files that a notebook writes.
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # The time of day, different in each run.
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for quality in QUALITIES:
        text = nbformat.writes(with_jpegs(notebook, quality))
        if len(text.encode()) <= LARGEST:
            path.write_text(text + "\n", encoding="utf-8")
            print(f"{path.name}: {len(text.encode()) // 1000} kB, quality {quality}", flush=True)
            return
    raise SystemExit(f"{path.name}: more than {LARGEST // 1000} kB; make its pictures smaller.")


def with_jpegs(notebook: nbformat.NotebookNode, quality: int) -> nbformat.NotebookNode:
    """Returns a copy whose PNG pictures are JPEGs."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).pop("image/png", None)
            if png is not None:
                stream = io.BytesIO()
                picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
                picture.thumbnail((WIDEST, 4 * WIDEST))
                picture.save(stream, "JPEG", quality=quality, optimize=True)
                output["data"]["image/jpeg"] = base64.b64encode(stream.getvalue()).decode()
    return notebook


def main() -> None:
    """Runs the named notebooks, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names without .ipynb [all]")
    options = parser.parse_args()
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not options.names or path.stem in options.names:
            run(path)


if __name__ == "__main__":
    main()
