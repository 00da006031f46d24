"""Sampling parameters in every form: one for all, one each, mappings, iterators."""

from __future__ import annotations

import re
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.errors import ConfigError, FairdraftError
from fairdraft.inputs import parse_params

GREEDY = SamplingParams(temperature=0)


@pytest.mark.parametrize("one", [GREEDY, {"temperature": 0}])
def test_one_for_all(one: Any) -> None:
    assert parse_params(one, 3) == [GREEDY] * 3
    assert parse_params(one, 0) == []


def test_none_takes_the_defaults() -> None:
    assert parse_params(None, 2) == [SamplingParams()] * 2
    assert parse_params([None, GREEDY], 2) == [SamplingParams(), GREEDY]


@pytest.mark.parametrize("around", [list, tuple, iter, lambda x: (each for each in x)])
def test_one_each(around: Any) -> None:
    forms = [GREEDY, {"n": 2}]
    assert parse_params(around(forms), 2) == [GREEDY, SamplingParams(n=2)]


@pytest.mark.parametrize(
    ("params", "count", "words"),
    [
        (5, 1, "sampling_params is 5, but must be SamplingParams(…)"),
        ("greedy", 6, "sampling_params is 'greedy'"),
        ([5], 1, "the entry 5"),
        ([GREEDY, GREEDY], 1, "there are 2 sampling_params for 1 prompts"),
        (iter([GREEDY]), 2, "there are 1 sampling_params for 2 prompts"),
        (repeat(GREEDY), 2, "there are more than 2 sampling_params for 2 prompts"),
        ({"temprature": 1}, 1, "'temprature' (did you mean 'temperature'?)"),
        ({5: 1}, 1, "unknown sampling parameter 5"),
        ({"n": 0}, 1, "n is 0"),
    ],
)
def test_what_does_not_fit_is_refused(params: Any, count: int, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_params(params, count)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
names = st.sampled_from(list(SamplingParams.__dataclass_fields__)) | st.text(max_size=3)
mapping = st.dictionaries(names, values | st.lists(values) | st.dictionaries(values, values))


@settings(deadline=None, max_examples=300)
@given(mapping | values | st.lists(mapping | values, max_size=3))
def test_whatever_comes_is_parsed_or_refused(params: Any) -> None:
    try:
        parsed = parse_params(params, 2)
    except FairdraftError:
        return
    assert len(parsed) == 2
    assert all(isinstance(each, SamplingParams) for each in parsed)
