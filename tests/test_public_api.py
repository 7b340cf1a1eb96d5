"""Every public name of every module: its parameters, its docstring, and how the package offers it."""

import ast
import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest
from public_names import PUBLIC

import tfstyle

TESTS = Path(__file__).parent

MOST_POSITIONAL = 3
"""Parameters without a name at the call, besides `self`."""

MORE_POSITIONAL = {
    "metrics.compare": "content, style, result: three images in the order of the road",
    "targets.make_targets": "content and style in the order they have everywhere",
    "pictures.decoding.Picture": "a record, made by the decoder alone",
    "pictures.pixels.Pixels16": "a record, made by the decoder alone",
    "sweeps.SweepRun": "a record, made by `sweep` alone",
    "training.gan_losses.gradient_penalty": "one signature for all, called through a table",
    "training.gan_losses.r1_penalty": "one signature for all, called through a table",
    "steps.Snapshot": "a record, made by `Transfer.steps` and `checkpoint.restore` alone",
    "steps.Step": "a record, made by `Transfer.steps` alone",
}
"""What takes more, and why."""


def parameters(place):
    """Name → parameter of a function or of the making of an object, without `self` and `cls`."""
    value, owner = PUBLIC[place]
    if not inspect.isclass(value):
        found = list(inspect.signature(value).parameters.values())
        found = found[1:] if owner and found[0].name in ("self", "cls") else found
    else:
        ours = [kind for kind in value.__mro__ if kind.__module__.startswith("tfstyle")]
        makers = [vars(kind)[name] for kind in ours for name in ("__init__", "__new__") if name in vars(kind)]
        found = list(inspect.signature(makers[0]).parameters.values())[1:] if makers else []
    return {parameter.name: parameter for parameter in found}


def positional(place):
    """The names of parameters that a call may give without a name."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [name for name, parameter in parameters(place).items() if parameter.kind in kinds]


def test_all_kinds_of_public_names_are_looked_at():
    assert {"vgg.VGG", "vgg.VGG.build", "vgg.VGG.smallest_side", "vgg.load_vgg", "recipes.loss.Loss"} < set(PUBLIC)
    assert positional("vgg.VGG") == ["layers"]
    assert positional("vgg.VGG.check_size") == ["image", "what"]
    assert len(positional("training.gan_losses.GANLoss")) == 5


def test_after_three_parameters_the_others_are_given_by_name():
    """Named tuples aside, which are tuples."""
    functions = [p for p, (value, _) in PUBLIC.items() if not (inspect.isclass(value) and issubclass(value, tuple))]
    found = {place for place in functions if len(positional(place)) > MOST_POSITIONAL}
    assert found == set(MORE_POSITIONAL)


def test_a_docstring_begins_with_a_sentence():
    first = {place: inspect.cleandoc(value.__doc__ or "").partition("\n")[0] for place, (value, _) in PUBLIC.items()}
    assert not {place: line for place, line in first.items() if not (line[:1].isupper() and line.endswith("."))}


def section(docstring, title):
    """The names that begin the entries of a section of a docstring in Google's style; None without the section."""
    found = re.search(rf"^{title}:\n((?: +.*\n|\n)+)", inspect.cleandoc(docstring) + "\n", re.M)
    if not found:
        return None
    entries = re.findall(r"^    (?! )(.*)$", found[1], re.M)
    heads = [re.fullmatch(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): .+", entry) for entry in entries]
    assert all(heads), entries
    return [name.strip("*") for head in heads for name in head[1].split(", ")]


def test_a_section_worked_by_hand():
    docstring = """Adds.

    Args:
        a, b: numbers,
            of one type: int.

        **options: others.

    Returns:
        c: a sum.
    """
    assert section(docstring, "Args") == ["a", "b", "options"]
    assert section(docstring, "Attributes") is None


def test_the_arguments_of_a_docstring_are_those_of_the_signature():
    named = {place: section(value.__doc__, "Args") for place, (value, _) in PUBLIC.items()}
    assert len([place for place in named if named[place]]) > 100
    for place, names in named.items():
        assert names is None or sorted(names) == sorted(parameters(place)), place


def test_the_attributes_of_a_record_are_its_fields():
    for place, (kind, _) in PUBLIC.items():
        named = section(kind.__doc__, "Attributes")
        fields = getattr(kind, "_fields", None) or getattr(kind, "__dataclass_fields__", None)
        assert named is None or not fields or set(named) >= set(fields), place


def constants(module):
    """The names of a module's constants that a string below them explains."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in itertools.pairwise(body):
        target = getattr(statement, "target", None) or getattr(statement, "targets", [None])[0]
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield target.id


def test_a_name_of_the_package_is_found_and_documented():
    assert tfstyle.__all__ == ["__version__", *tfstyle._HOMES]
    for name, place in tfstyle._HOMES.items():
        home = importlib.import_module(f"tfstyle.{place}")
        assert getattr(tfstyle, name) is getattr(home, name)
        assert f"{place}.{name}" in PUBLIC or name in constants(home), name


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_test_module_imports_from_no_other(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if (TESTS / f"{name}.py").is_file() and name.startswith("test_")]
