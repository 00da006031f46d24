"""Values in messages are short, whatever they are; limits are in words."""

import logging
from typing import Any

import numpy as np
import pytest

from fairdraft.config import (
    plain,
    require_bool,
    require_int,
    require_number,
    shown,
    tell_once,
    unknown,
)
from fairdraft.errors import ConfigError


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


LARGE = [10**10_000, "x" * 10_000, [[[0] * 99] * 99] * 99, Broken(), {i: i for i in range(99)}]


@pytest.mark.parametrize("value", LARGE)
def test_any_value_is_shown_short(value: Any) -> None:
    assert 0 < len(shown(value)) < 1_000


def test_small_values_are_shown_whole() -> None:
    for value in (0, -1, "abc", [1, 2], {"a": 1}, None, 2.5, True):
        assert shown(value) == repr(value)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(value: Any) -> None:
    require_int("x", value, 3, "", 3)
    require_number("x", value, 0, 3, "")


@pytest.mark.parametrize("value", [2, 5, True, 3.0, "3", None, np.bool_(True), [3]])
def test_what_is_no_such_whole_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"x is .*, but must be a whole number from 3 to 4: hm"):
        require_int("x", value, 3, "hm", 4)


@pytest.mark.parametrize("value", [-1, 2, float("nan"), True, "1", None, 1j, 10**400])
def test_what_is_no_such_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"x is .*, but must be a number from 0 to 1: hm"):
        require_number("x", value, 0, 1, "hm")


def test_what_is_neither_true_nor_false() -> None:
    require_bool("x", True)
    with pytest.raises(ConfigError, match="x is 1, but must be True or False"):
        require_bool("x", 1)


def test_numbers_of_others_become_plain() -> None:
    assert [type(plain(v)) for v in (np.float32(1), np.int8(1), np.bool_(0))] == [float, int, bool]
    array = np.array([1])
    assert plain(array) is array


def test_unknown_names_are_answered_with_those_that_resemble() -> None:
    told = unknown("key", "modle", ["model", "method"], "there are")
    assert told == "unknown key 'modle' (did you mean 'model'?): there are model, method"
    assert "did you mean" not in unknown("key", "zzz", ["model"], "there is")


def test_a_warning_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fairdraft"):
        for _ in range(3):
            tell_once("a warning of this test")
    assert [record.message for record in caplog.records] == ["a warning of this test"]
