"""The house plan: a module imports only from layers below its own."""

import ast
from pathlib import Path

import pytest

import tfstyle

PACKAGE = Path(tfstyle.__file__).parent

LAYERS = [
    {"atomic", "errors", "limits", "registration"},
    {"environment", "fields", "files", "containers", "opening", "profiles", "samples", "pixels"},
    {"recipe", "torchfile"},
    {"recipes", "decoding", "weights", "moments", "optimizers", "color"},
    {"images", "vgg", "losses", "magnitudes"},
    {"model", "metrics"},
    {"objective"},
    {"feedforward"},
    {"feedforward.options", "feedforward.dataset", "feedforward.networks"},
    {"feedforward.transformer", "feedforward.adversarial"},
    {"feedforward.players"},
    {"feedforward.inference", "feedforward.saved", "feedforward.checkpoint"},
    {"transfer"},
    {"plots"},
    {"feedforward.records"},
    {"feedforward.progress", "feedforward.fitting"},
    {"feedforward.training"},
    {"feedforward.gan"},
    {"callbacks", "one_pass"},
    {"api"},
    {"sweeps"},
    {"serving"},
    {"serving.export"},
    {"cli.streams", "cli.events"},
    {"cli.parser"},
    {"cli.stylize"},
    {"cli.explore", "cli.fast", "cli.reports", "cli.train"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
RANK["tfstyle"] = -1  # The package itself: a version and lazy names.


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "tfstyle"


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path):
    """Modules of tfstyle that a file imports anywhere in it, even late."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] != "tfstyle":
                continue
            inner = name.removeprefix("tfstyle").strip(".")
            while inner and inner not in RANK:
                inner = inner.rpartition(".")[0]  # `errors.InputError` is in `errors`.
            yield inner or "tfstyle"


def test_every_module_is_in_the_plan():
    assert set(FILES) == set(RANK)


@pytest.mark.parametrize("name", [name for name in FILES if name != "tfstyle"])
def test_imports_point_down(name):
    above = {other for other in imported(FILES[name]) if RANK[other] >= RANK[name]}
    assert not above, f"{name} may not import {sorted(above)}"


@pytest.mark.parametrize("name", FILES)
def test_a_module_begins_with_what_it_does(name):
    first = ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8"))).splitlines()[0]
    assert len(first) > 20


def test_the_readme_shows_the_plan():
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        if name not in ("tfstyle", "__main__"):
            assert f"`{name.split('.')[0]}" in readme, name
