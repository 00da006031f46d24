"""What the loaded model cannot serve is refused before it is queued."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fairdraft import SamplingParams
from fairdraft.errors import RequestError
from fairdraft.inputs import check_against_model

MODEL: dict[str, Any] = {"vocab_size": 100, "tokenizer": None, "max_model_len": 8}


@pytest.mark.parametrize(
    ("prompt_ids", "values", "words"),
    [
        ([], {}, "the prompt is empty"),
        ([1] * 8, {}, "the prompt has 8 tokens, but max_model_len=8 leaves no room"),
        ([5, 100], {}, "token id 100 is outside the vocabulary of 100"),
        ([10**5000], {}, "a very large integer is outside the vocabulary"),
        ([5, -1], {}, "token id -1 is outside the vocabulary"),
        ([5], {"logit_bias": {100: 1.0}}, "token id 100 in logit_bias"),
        ([5], {"stop_token_ids": [3, 100]}, "token id 100 in stop_token_ids"),
        ([5], {"logprobs": 101}, "logprobs is 101, above the vocabulary of 100: lower it"),
        ([5], {"stop": "x"}, "need a tokenizer"),
        ([5], {"bad_words": ["x"]}, "need a tokenizer"),
    ],
)
def test_what_the_model_cannot_serve(prompt_ids: Any, values: Any, words: str) -> None:
    with pytest.raises(RequestError, match=re.escape(words)):
        check_against_model(prompt_ids, SamplingParams(**values), **MODEL)


@pytest.mark.parametrize(
    ("prompt_ids", "values"),
    [
        ([0] * 7, {}),
        ([99], {"logit_bias": {99: 1.0}, "stop_token_ids": [99], "logprobs": 100}),
        ([5], {"stop": None, "bad_words": None}),
    ],
)
def test_what_it_can(prompt_ids: list[int], values: dict[str, Any]) -> None:
    check_against_model(prompt_ids, SamplingParams(**values), **MODEL)
