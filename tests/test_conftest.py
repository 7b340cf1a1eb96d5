"""What every test relies on: warnings of tfstyle are errors, and no test leaves the log changed."""

import logging
import warnings

import pytest
from conftest import unchanged_log

from tfstyle import cli


@pytest.mark.parametrize("module", ["tfstyle", "tfstyle.made_up"])
@pytest.mark.parametrize("category", [DeprecationWarning, RuntimeWarning, UserWarning])
def test_a_warning_of_tfstyle_is_an_error(module, category):
    with pytest.raises(category, match="old"):
        exec("warnings.warn('old', category)", {"__name__": module, "warnings": warnings, "category": category})


def test_the_warning_of_another_library_is_none(recwarn):
    exec("warnings.warn('old')", {"__name__": "library", "warnings": warnings})
    assert [str(warning.message) for warning in recwarn] == ["old"]


def test_a_command_line_leaves_no_trace_in_the_log(capsys):
    logger = logging.getLogger("tfstyle")
    before = list(logger.handlers), logger.level, logger.propagate
    with unchanged_log():
        assert cli.main(["recipes", "--quiet"]) == 0
        assert (list(logger.handlers), logger.level, logger.propagate) != before
    assert (logger.handlers, logger.level, logger.propagate) == before
