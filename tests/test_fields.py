"""Fields of a dataclass: what they take, what they refuse, and which are options."""

import dataclasses

import numpy as np
import pytest

from tfstyle.errors import UsageError
from tfstyle.fields import check_fields, field, option, parse_bytes
from tfstyle.recipes import Start


@dataclasses.dataclass(frozen=True)
class Sample:
    count: int = field(1, low=0, high=9)
    words: tuple[str, ...] = field(("a",), choices=("a", "b"))
    share: float = option(0.5, "a share", low=0.0)
    quick: bool = False

    __post_init__ = check_fields


# `from __future__ import annotations` leaves types as text, as tfstyle's own modules have them.
for item in dataclasses.fields(Sample):
    item.type = {"words": "tuple[str, ...]"}.get(item.name, getattr(item.type, "__name__", item.type))


def test_a_value_becomes_the_type_of_its_field():
    sample = Sample(np.uint8(3), ["b", "a"], np.float16(0.25), np.bool_(True))
    assert dataclasses.astuple(sample) == (3, ("b", "a"), 0.25, True)
    assert [type(value) for value in dataclasses.astuple(sample)] == [int, tuple, float, bool]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 10}, "`count` should be at most 9, not 10"),
        ({"count": True}, "`count` should be a finite int, not True"),
        ({"words": ("a", "c")}, "unknown words 'c'"),
        ({"words": (1,)}, "`words` should be text, not 1"),
        ({"words": 1}, "`words` should be a list of str, not 1"),
        ({"share": np.nan}, "`share` should be a finite float, not nan"),
        ({"quick": 1}, "`quick` should be True or False, not 1"),
    ],
)
def test_another_value_is_refused_in_one_line(values, message):
    with pytest.raises(UsageError, match=message):
        Sample(**values)


def test_a_long_value_is_shortened_to_one_line():
    with pytest.raises(UsageError, match=r"`init` should be text, not array\(\[\[.*\.\.\.\.$") as caught:
        Start(init=np.zeros((1, 40, 60, 3)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4GB", 4e9), ("1.5 GiB", 1.5 * 2**30), ("800m", 8e8), ("64 KiB", 65536), (".5T", 5e11), ("12", 12), (3000, 3000)],
)
def test_an_amount_of_memory_is_read(text, amount):
    assert parse_bytes("memory", text) == amount
