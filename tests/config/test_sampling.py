"""Sampling parameters: bad values are named with a remedy, good ones kept, the schema told."""

import copy
import dataclasses
import json
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fairdraft import SamplingParams
from fairdraft.errors import ConfigError

untimed = settings(deadline=None)
NAN, INF = float("nan"), float("inf")


def says(*parts: str) -> str:
    """A pattern for a message that holds these words in this order."""
    return ".*".join(re.escape(part) for part in parts)


@pytest.mark.parametrize(
    ("values", "named", "remedy"),
    [
        ({"n": 0}, "n is 0", "at least one completion"),
        ({"n": 1.5}, "n is 1.5", "at least one completion"),
        ({"n": True}, "n is True", "at least one completion"),
        ({"temperature": -0.1}, "temperature is -0.1", "0 is greedy"),
        ({"temperature": NAN}, "temperature is nan", "0 is greedy"),
        ({"temperature": INF}, "temperature is inf", "0 is greedy"),
        ({"temperature": "hot"}, "temperature is 'hot'", "0 is greedy"),
        ({"temperature": None}, "temperature is None", "0 is greedy"),
        ({"temperature": True}, "temperature is True", "0 is greedy"),
        ({"top_k": -2}, "top_k is -2", "0 or -1 keeps every token"),
        ({"top_k": 2.0}, "top_k is 2.0", "0 or -1 keeps every token"),
        ({"top_p": 0}, "top_p is 0", "1 keeps every token"),
        ({"top_p": 0.0}, "top_p is 0.0", "1 keeps every token"),
        ({"top_p": 1.5}, "top_p is 1.5", "1 keeps every token"),
        ({"top_p": -0.5}, "top_p is -0.5", "1 keeps every token"),
        ({"top_p": NAN}, "top_p is nan", "1 keeps every token"),
        ({"min_p": -0.01}, "min_p is -0.01", "0 keeps every token"),
        ({"min_p": 1.01}, "min_p is 1.01", "0 keeps every token"),
        ({"min_p": NAN}, "min_p is nan", "0 keeps every token"),
        ({"seed": -1}, "seed is -1", "None"),
        ({"seed": 0.5}, "seed is 0.5", "None"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0", "1 is off"),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0", "1 is off"),
        ({"repetition_penalty": NAN}, "repetition_penalty is nan", "1 is off"),
        ({"presence_penalty": INF}, "presence_penalty is inf", "0 is off"),
        ({"frequency_penalty": "1"}, "frequency_penalty is '1'", "0 is off"),
        ({"logit_bias": {-1: 0.0}}, "logit_bias is -1", "keys are token ids"),
        ({"logit_bias": {"the": 1.0}}, "logit_bias is 'the'", "keys are token ids"),
        ({"logit_bias": {3: -INF}}, "logit_bias[3] is -inf", "use -100"),
        ({"logit_bias": {3: None}}, "logit_bias[3] is None", "use -100"),
        ({"min_tokens": -1}, "min_tokens is -1", "0 is off"),
        ({"max_tokens": 0}, "max_tokens is 0", "None for no limit"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5", "None for no limit"),
        (
            {"min_tokens": 9, "max_tokens": 8},
            "min_tokens is 9, above max_tokens 8",
            "lower the first or raise the second",
        ),
        ({"min_tokens": 17}, "min_tokens is 17, above max_tokens 16", "raise the second"),
        ({"logprobs": -1}, "logprobs is -1", "None"),
        ({"stop": ""}, "stop is ''", "leave empty ones out"),
        ({"stop": ["end", ""]}, "stop is ['end', '']", "leave empty ones out"),
        ({"stop": [7]}, "stop is [7]", "non-empty strings"),
        ({"bad_words": ("fie", "")}, "bad_words is ('fie', '')", "leave empty ones out"),
        ({"stop_token_ids": [2, -3]}, "stop_token_ids is -3", "entries are token ids"),
        ({"stop_token_ids": ["</s>"]}, "stop_token_ids is '</s>'", "entries are token ids"),
    ],
)
def test_bad_sampling_values(values: dict[str, Any], named: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=says(named, remedy)):
        SamplingParams(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"logit_bias": [1, 2]},
        {"stop": 5},
        {"stop_token_ids": 5},
        {"bad_words": 5},
        {"stop": b"end"},
        {"bad_words": {"fie": 1}},
        {"stop": "\udfff"},
        {"bad_words": ["good", "\ud800"]},
        {"n": 16_385},
        {"n": 10**5_000},
        {"temperature": 10**400},
    ],
)
def test_values_of_a_wrong_shape(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=name):
        SamplingParams(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"temperature": 0.7, "top_k": -1},
        {"top_k": 10**6, "top_p": 1, "min_p": 1},
        {"top_p": 1e-9, "min_p": 0},
        {"min_tokens": 8, "max_tokens": 8},
        {"min_tokens": 100, "max_tokens": None},
        {"seed": 0, "n": 4, "logprobs": 0},
        {"logit_bias": {0: -100, 5: 2.5}},
        {"presence_penalty": -2.0, "frequency_penalty": 2, "repetition_penalty": 0.8},
        {"stop_token_ids": (1, 2), "ignore_eos": True},
    ],
)
def test_good_sampling_values_are_kept(values: dict[str, Any]) -> None:
    params = SamplingParams(**values)
    assert {name: getattr(params, name) for name in values} == values


def test_one_stop_string_is_a_list_of_one() -> None:
    assert SamplingParams(stop="end").stop_strings == ("end",)
    assert SamplingParams(stop=["a", "b"]).stop_strings == ("a", "b")
    assert tuple(SamplingParams(bad_words="fie").bad_words) == ("fie",)
    assert SamplingParams().stop_strings == ()


@pytest.mark.parametrize("name", ["stop", "stop_token_ids", "bad_words"])
def test_none_leaves_a_list_empty_as_in_vllm(name: str) -> None:
    assert tuple(getattr(SamplingParams(**{name: None}), name)) == ()


@pytest.mark.parametrize(("temperature", "greedy"), [(0, True), (0.0, True), (1e-3, False)])
def test_temperature_zero_is_greedy(temperature: float, greedy: bool) -> None:
    assert SamplingParams(temperature=temperature).greedy is greedy


@untimed
@given(name=st.sampled_from(["top_p", "min_p"]), value=st.floats())
def test_shares_pass_exactly_within_their_bounds(name: str, value: float) -> None:
    least_ok = value > 0 if name == "top_p" else value >= 0
    if least_ok and value <= 1:
        assert getattr(SamplingParams(**{name: value}), name) == value  # type: ignore[arg-type]
    else:
        with pytest.raises(ConfigError, match=f"{name} is {re.escape(repr(value))}.*keeps"):
            SamplingParams(**{name: value})  # type: ignore[arg-type]


def test_numbers_of_numpy_are_pythons_own() -> None:
    params = SamplingParams(
        n=np.int64(2),
        temperature=np.float32(0.5),
        ignore_eos=np.bool_(True),
        stop_token_ids=np.array([1, 2]),
        logit_bias={np.int32(3): np.float64(1)},
    )
    plain = SamplingParams(2, 0.5, ignore_eos=True, stop_token_ids=[1, 2], logit_bias={3: 1.0})
    assert params == plain
    assert [type(value) for value in (params.n, params.temperature)] == [int, float]
    assert [type(token) for token in (*params.stop_token_ids, *params.logit_bias)] == [int] * 3


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: SamplingParams(temprature=1), "'temprature' (did you mean 'temperature'?)"),
        (lambda: SamplingParams.of({"temprature": 1}), "'temprature' (did you mean"),
        (lambda: SamplingParams.of({5: 1}), "unknown sampling parameter 5"),
        (lambda: SamplingParams(1, n=2), "n is given twice"),
        (lambda: SamplingParams(*[1] * 20), "SamplingParams takes 19 values"),
    ],
)
def test_names_that_are_not_known(call: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        call()


def test_a_mapping_and_copies_are_the_same() -> None:
    params = SamplingParams(n=2, stop=["a"], logit_bias={3: 1.0})
    assert SamplingParams.of({"n": 2, "stop": "a", "logit_bias": {3: 1.0}}) == params
    assert copy.deepcopy(params) == params == pickle.loads(pickle.dumps(params))
    assert dataclasses.replace(params, n=3).n == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.n = 3  # type: ignore[misc]


def test_the_json_schema_describes_every_field() -> None:
    schema = TypeAdapter(SamplingParams).json_schema()
    fields = {field.name for field in dataclasses.fields(SamplingParams)}
    assert set(schema["properties"]) == fields
    assert all(entry["description"] for entry in schema["properties"].values())
    assert schema["properties"]["min_p"].items() >= {"minimum": 0, "maximum": 1}.items()
    assert schema["additionalProperties"] is False
    assert json.loads(json.dumps(schema)) == schema


def test_pydantic_validates_by_the_same_limits() -> None:
    adapter = TypeAdapter(SamplingParams)
    assert adapter.validate_json('{"n": 2, "stop": ["a"]}') == SamplingParams(n=2, stop="a")
    for bad in ('{"n": 0}', '{"stop": [""]}', '{"min_tokens": 17}', '{"temprature": 1}'):
        with pytest.raises(ValidationError):
            adapter.validate_json(bad)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
shapes = values | st.lists(values) | st.dictionaries(values, values) | st.binary(max_size=3)


names = st.sampled_from([f.name for f in dataclasses.fields(SamplingParams)])


@untimed
@given(st.dictionaries(names, shapes))
def test_whatever_comes_is_kept_or_refused(values: dict[str, Any]) -> None:
    try:
        params = SamplingParams(**values)
    except ConfigError as error:
        refused = str(error)
    else:
        refused = ""
        assert params == dataclasses.replace(params)
    assert not refused or any(name in refused for name in values)
