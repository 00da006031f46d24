"""Every form of a prompt that is meant to work does; everything else is refused with a reason."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.errors import FairdraftError, RequestError
from fairdraft.inputs import PromptInput, encode, parse_prompts

TOKENS = PromptInput(None, (3, 1, 2))


@pytest.mark.parametrize(
    "form",
    [
        [3, 1, 2],
        (3, 1, 2),
        deque([3, 1, 2]),
        (token for token in [3, 1, 2]),
        np.array([3, 1, 2]),
        np.array([3, 1, 2], np.uint8),
        list(np.array([3, 1, 2])),
        torch.tensor([3, 1, 2]),
        torch.tensor([3, 1, 2], dtype=torch.int32),
        list(torch.tensor([3, 1, 2])),
        {"prompt_token_ids": [3, 1, 2]},
        OrderedDict(prompt_token_ids=np.array([3, 1, 2])),
        {"prompt_token_ids": iter([3, 1, 2]), "prompt": None},
    ],
)
def test_token_ids_are_one_prompt(form: Any) -> None:
    assert parse_prompts(form) == [TOKENS]


def test_text_is_one_prompt() -> None:
    assert parse_prompts("abc") == [PromptInput("abc", None)]
    assert parse_prompts({"prompt": "abc"}) == [PromptInput("abc", None)]
    assert parse_prompts(np.str_("abc")) == [PromptInput("abc", None)]
    assert parse_prompts({"prompt": "abc", "prompt_token_ids": [7]}) == [PromptInput("abc", (7,))]
    salted = {"prompt": "abc", "cache_salt": "tenant"}
    assert parse_prompts(salted) == [PromptInput("abc", None, "tenant")]


@pytest.mark.parametrize("around", [list, tuple, iter, deque, lambda x: (each for each in x)])
def test_any_iterable_of_prompts(around: Any) -> None:
    forms = ["abc", {"prompt": "abc"}, [3, 1, 2], np.array([3, 1, 2]), torch.tensor([3, 1, 2])]
    assert parse_prompts(around(forms)) == [PromptInput("abc", None)] * 2 + [TOKENS] * 3


def test_a_generator_keeps_its_first_prompt() -> None:
    assert [p.text for p in parse_prompts(text for text in ["a", "b", "c"])] == ["a", "b", "c"]
    assert parse_prompts(np.array(["a", "b"])) == [PromptInput("a", None), PromptInput("b", None)]


@pytest.mark.parametrize("none", [[], (), iter([]), {}.values()])
def test_no_prompts_are_none(none: Any) -> None:
    assert parse_prompts(none) == []


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (None, "the prompt is None: give text, token ids"),
        (5, "the prompt is 5"),
        (True, "the prompt is True"),
        (b"abc", "b'abc', a bytes"),
        ({1, 2}, "{1, 2}, a set"),
        ([None], "holds None, but token ids are whole numbers"),
        ([1, 2.0], "holds 2.0"),
        ([1, True], "holds True"),
        ([1, np.bool_(True)], "holds True"),
        ([1, -2], "token id -2, but token ids are 0 or more"),
        ([1, 10**5000, -(10**5000)], "a very large integer"),
        (["a", 1], "prompt 1 is 1"),
        (["a", None], "prompt 1 is None"),
        (["a", b"a"], "prompt 1 is b'a', a bytes"),
        ([["a"]], "prompt 0 holds 'a'"),
        ([[[1]]], "prompt 0 holds [1]"),
        ([[1], []], "prompt 1 is empty: give at least one token"),
        (np.array([], int), "the prompt is empty"),
        (np.array([[1, 2]]), "array of 2 dimensions"),
        ([np.array([[1, 2]])], "prompt 0 is an array of 2 dimensions"),
        (np.array(5), "array of 0 dimensions"),
        (np.array([1.0]), "holds 1.0"),
        (np.array([True]), "holds True"),
        (np.array([b"a"]), "a bytes"),
        (torch.tensor([0.5]), "holds 0.5"),
        (torch.tensor([[1]]), "array of 2 dimensions"),
        (torch.empty(2, device="meta", dtype=torch.int64), "cannot be read"),
        ({}, "holds none"),
        ({"prompt": None}, "holds none"),
        ({"prompt": 5}, '"prompt": 5'),
        ({"prompt": ["a"]}, "it must be a text"),
        ({"prompt_token_ids": []}, "prompt_token_ids of the prompt is empty"),
        ({"prompt_token_ids": "abc"}, "'abc', a str"),
        ({"prompt_token_ids": 5}, "prompt_token_ids of the prompt is 5"),
        ({"promt": "abc"}, "the key 'promt' (did you mean 'prompt'?)"),
        ({"prompt": "a", "multi_modal_data": {}}, "'multi_modal_data'"),
        ({"prompt": "a", 5: 6}, "the key 5"),
        ({"prompt": "a", "cache_salt": ""}, "cache_salt is ''"),
        ({"prompt": "a", "cache_salt": 3}, "cache_salt is 3, but must be a non-empty text"),
        ({"prompt": "a", "cache_salt": "\ud800"}, "cache_salt is not valid Unicode"),
        ("a\ud800", "not valid Unicode text (it holds a lone surrogate)"),
        ([{"prompt": "a\ud800"}], "prompt 0 is not valid Unicode"),
    ],
)
def test_what_is_no_prompt_is_refused(prompts: Any, words: str) -> None:
    with pytest.raises(RequestError, match=re.escape(words)):
        parse_prompts(prompts)


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(RequestError) as caught:
        parse_prompts([{"prompt": ["x" * 10_000] * 10_000}])
    assert len(str(caught.value)) < 1_000


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything = st.recursive(
    scalars | st.from_type(type).flatmap(st.from_type),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(iter)
        | st.dictionaries(
            st.sampled_from(["prompt", "prompt_token_ids", "cache_salt"]) | st.text(), inner
        )
        | st.lists(st.integers(-3, 2**40), max_size=4).map(np.array)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(anything)
def test_whatever_comes_is_parsed_or_refused(value: Any) -> None:
    try:
        prompts = parse_prompts(value)
    except FairdraftError:
        return
    for prompt in prompts:
        assert prompt.text is not None or prompt.token_ids
        if prompt.text is not None:
            prompt.text.encode()
        assert all(type(token) is int and token >= 0 for token in prompt.token_ids or ())


class Letters:
    """A tokenizer of one token a letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_encoding_takes_given_ids_before_text() -> None:
    assert encode(Letters(), PromptInput("ab", None)) == [97, 98]
    assert encode(Letters(), PromptInput("ab", (5,))) == [5]
    with pytest.raises(RequestError, match="the prompt is empty"):
        encode(Letters(), PromptInput("", None))
