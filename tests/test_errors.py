"""Error classes with their exit codes, and messages for unknown names."""

import pytest

from tfstyle import errors

KINDS = [
    (errors.SetupError, ImportError, 1),
    (errors.UsageError, ValueError, 2),
    (errors.InputError, ValueError, 3),
    (errors.OutputError, OSError, 4),
    (errors.DivergedError, ArithmeticError, 5),
    (errors.MemoryLimitError, MemoryError, 6),
    (errors.WeightsError, ValueError, 7),
    (errors.WorkerError, ConnectionError, 9),
]


@pytest.mark.parametrize(("kind", "builtin", "code"), KINDS)
def test_each_kind_has_its_code_and_its_builtin_base(kind, builtin, code):
    error = kind("one line")
    assert isinstance(error, (errors.TfstyleError, builtin))
    assert (str(error), error.exit_code) == ("one line", code)


def test_interrupted_is_not_caught_as_an_error():
    assert not isinstance(errors.Interrupted(), Exception)


def test_lookup_returns_the_entry_or_says_what_is_known():
    assert errors.lookup("form", "one", {"one": 1}) == 1
    for name in ("two", ["one"], None):
        with pytest.raises(errors.UsageError, match=r"unknown form .* [Kk]nown: one"):
            errors.lookup("form", name, {"one": 1})


def test_an_unknown_name_gets_the_nearest():
    message = errors.unknown_name("layer", "blok1_conv1", ["block1_conv1", "block5_conv4"])
    assert message == ("unknown layer 'blok1_conv1'; did you mean 'block1_conv1'? Known: block1_conv1, block5_conv4.")


def test_a_name_near_nothing_gets_the_list():
    assert errors.unknown_name("recipe", "zzz", iter(["default"])) == "unknown recipe 'zzz'; known: default."
