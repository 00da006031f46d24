"""The Python API under anything at all: what is wrong is refused by an error of ours, by name.

`make test` runs a short form; FAIRDRAFT_FUZZ_CASES=2000 a long one.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairdraft import LLM, SamplingParams, SpeculativeConfig
from fairdraft.config import EngineConfig
from fairdraft.errors import FairdraftError, ProcessError
from fairdraft.proposers import build_proposer

CASES = int(os.environ.get("FAIRDRAFT_FUZZ_CASES", "150"))
fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.one_of(
    st.integers(-3, 400),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from([np.int32(7), np.int64(2**40), np.float32(0.5), 10**30, -(10**18)]),
)
words = st.text(max_size=6) | st.sampled_from(["", "\ud800", "user", "prompt", "ngram", "self"])
arrays = st.sampled_from(
    [np.arange(3), np.arange(4).reshape(2, 2), np.array([1.5, 2]), np.array(["a"]), np.array(5)]
)
leaves = st.none() | numbers | words | st.binary(max_size=4) | arrays
anything: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(words, inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["prompt", "prompt_token_ids", "cache_salt", "role", "content", "type", "text"]
            ),
            inner,
            max_size=3,
        ),
        st.lists(inner, max_size=3).map(iter),
    ),
    max_leaves=8,
)
PARAMS = sorted(SamplingParams.__dataclass_fields__)
params = st.dictionaries(st.sampled_from([*PARAMS, "typo", "self"]), anything, max_size=3)
KEYS = [
    "method",
    "num_speculative_tokens",
    "model",
    "rejection_sample_method",
    "synthetic_acceptance_rates",
    "synthetic_acceptance_length",
    "num_speculative_tokens_per_batch_size",
    "prompt_lookup_max",
    "prompt_lookup_min",
    "suffix_decoding_max_tree_depth",
    "suffix_decoding_index",
    "methods",
    "profile",
    "max_model_len",
    "disable_by_batch_size",
    "draft_tensor_parallel_size",
    "draft_tree_depth",
    "self",
    "options",
]
METHODS = ["ngram", "suffix", "hybrid", "auto", "off", "eagle3", "medusa", "draft_model", "mtp"]


@pytest.fixture(scope="module")
def llm(tiny: Callable[[str], Path]) -> Iterator[LLM]:
    with LLM(
        str(tiny("llama")),
        dtype="float32",
        max_model_len=48,
        speculative_config={"method": "ngram", "num_speculative_tokens": 3},
    ) as loaded:
        yield loaded


def refused_or_right(act: Callable[[], Any]) -> Any:
    """Run it; only errors of ours may come out, and they say something."""
    try:
        return act()
    except FairdraftError as error:
        assert len(str(error)) > 20  # noqa: PT017
        return None


@fuzzed
@given(prompts=anything, given_params=st.none() | params | anything)
def test_generate_takes_anything(llm: LLM, prompts: Any, given_params: Any) -> None:
    outputs = refused_or_right(lambda: llm.generate(prompts, given_params))
    for output in outputs or ():
        assert output.finished
        assert all(0 <= token < 320 for token in output.prompt_token_ids)


@fuzzed
@given(messages=anything)
def test_chat_takes_anything(llm: LLM, messages: Any) -> None:
    refused_or_right(lambda: llm.chat(messages, SamplingParams(max_tokens=2)))


@fuzzed
@given(prompt=anything, given_params=params)
def test_stream_takes_anything(llm: LLM, prompt: Any, given_params: Any) -> None:
    refused_or_right(lambda: list(llm.stream(prompt, given_params)))


def test_nothing_of_all_that_is_left_behind(llm: LLM) -> None:
    good = llm.generate([5, 6, 7], SamplingParams(temperature=0, max_tokens=6, ignore_eos=True))
    assert len(good[0].outputs[0].token_ids) == 6
    llm.engine.scheduler.check_integrity()


@fuzzed
@given(
    config=st.dictionaries(st.sampled_from(KEYS), anything, max_size=4)
    | st.fixed_dictionaries(
        {"method": st.sampled_from(METHODS)},
        optional={key: anything for key in KEYS if key != "method"},
    )
    | anything
)
def test_speculative_config_takes_anything(config: Any) -> None:
    def act() -> None:
        made = SpeculativeConfig.of(config)
        if made is not None and made.model is None:
            build_proposer(made)

    refused_or_right(act)


@fuzzed
@given(
    options=st.dictionaries(
        st.sampled_from([*EngineConfig.__dataclass_fields__, "typo"]), anything, max_size=3
    )
)
def test_engine_config_takes_anything(options: Any) -> None:
    options.pop("model", None)
    speculative = options.pop("speculative_config", None)
    refused_or_right(lambda: EngineConfig.of("toy", speculative, **options))


def test_a_generator_keeps_its_first_prompt(llm: LLM) -> None:
    prompts = [[5, 6, i] for i in range(3)]
    outputs = llm.generate((prompt for prompt in prompts), SamplingParams(max_tokens=1))
    assert [output.prompt_token_ids for output in outputs] == prompts


@pytest.mark.parametrize(
    "prompt", [np.array([5, 6, 7]), [np.int64(5), np.int32(6), 7], (5, 6, 7), iter([5, 6, 7])]
)
def test_token_ids_in_every_form(llm: LLM, prompt: Any) -> None:
    (output,) = llm.generate(prompt, SamplingParams(max_tokens=1))
    assert output.prompt_token_ids == [5, 6, 7]


def test_log_probabilities_beyond_the_vocabulary_cost_only_the_one_who_asks(llm: LLM) -> None:
    with pytest.raises(FairdraftError, match="logprobs"):
        llm.generate([5, 6, 7], SamplingParams(logprobs=10_000))


def test_a_loaded_model_is_not_pickled(llm: LLM) -> None:
    with pytest.raises(ProcessError, match="pickled"):
        pickle.dumps(llm)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_after_loading_is_told(llm: LLM) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            llm.generate([5, 6, 7])
            os.write(writing, b"served")
        except ProcessError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    told = b""
    while part := os.read(reading, 4096):
        told += part
    os.waitpid(child, 0)
    assert b"fork" in told
