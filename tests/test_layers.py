"""The plan of the modules: the table in docs/architecture.md, compared with every import."""

import ast
import re
from pathlib import Path

import pytest

import tfstyle

PACKAGE = Path(tfstyle.__file__).parent
PLAN = PACKAGE.parent / "docs" / "architecture.md"


def read_plan():
    """Module → its number in the table."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", PLAN.read_text(encoding="utf-8"), re.M)
    return {name: int(number) for number, cell in rows for name in re.findall(r"`([\w.]+)`", cell)}


RANK = read_plan()


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
            while inner and inner not in FILES:
                inner = inner.rpartition(".")[0]  # `errors.InputError` is in `errors`.
            if inner:  # Else the package itself: a version and lazy names.
                yield inner


NAMESPACES = {"tfstyle", "app", "cluster", "feedforward", "pictures", "training"}
"""Packages that hold no code of their own."""


def test_every_module_is_in_the_plan_and_nothing_else():
    assert set(FILES) - NAMESPACES == set(RANK)


@pytest.mark.parametrize("name", [name for name in FILES if name not in NAMESPACES])
def test_a_module_imports_from_smaller_numbers_only(name):
    above = {other for other in imported(FILES[name]) if RANK.get(other, -1) >= RANK[name]}
    assert not above, f"{name} may not import {sorted(above)}"


@pytest.mark.parametrize("name", sorted(NAMESPACES - {"tfstyle"}))
def test_a_package_without_code_holds_a_docstring_alone(name):
    (only,) = ast.parse(FILES[name].read_text(encoding="utf-8")).body
    assert isinstance(only.value.value, str)


@pytest.mark.parametrize("name", FILES)
def test_a_module_begins_with_what_it_does(name):
    first = ast.get_docstring(ast.parse(FILES[name].read_text(encoding="utf-8"))).splitlines()[0]
    assert len(first) > 20
