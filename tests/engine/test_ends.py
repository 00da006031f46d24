"""A text that ends inside an accepted stretch counts what was given, whatever method drafts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairdraft import LLM, SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.proposers import Proposer
from fairdraft.proposers.hybrid import HybridProposer
from fairdraft.telemetry import SpecCounters
from fairdraft.testing import ToyProposer, ToyRunner, ToyTreeProposer, toy_config

METHODS: dict[str, dict[str, Any]] = {
    "ngram": {"method": "ngram", "prompt_lookup_min": 1, "prompt_lookup_max": 3},
    "suffix": {"method": "suffix", "suffix_decoding_max_spec_factor": 8.0},
    "suffix trees": {"method": "suffix", "suffix_decoding_use_tree_spec": True},
    "hybrid": {"method": "hybrid", "methods": ["suffix", "ngram"]},
    "auto": {"method": "auto", "methods": ["suffix", "ngram"]},
    "draft_model": {"method": "draft_model", "num_draft_layers": 3},
}
PROMPT = [9, 10, 11] * 8
K = 8


def balances(counters: SpecCounters, given: int) -> None:
    """Accepted tokens and the target's own are the tokens given, position by position too."""
    own = counters.num_steps - counters.num_cut_rounds
    assert counters.num_emitted_tokens == given
    assert counters.num_accepted_tokens + own == given
    assert sum(counters.accepted_per_pos) == counters.num_accepted_tokens
    assert counters.num_accepted_tokens <= counters.num_draft_tokens
    assert counters.tokens_per_step * counters.num_steps == pytest.approx(given)


@pytest.fixture(scope="module", params=METHODS)
def llm(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[LLM]:
    config = METHODS[request.param] | {"num_speculative_tokens": K}
    with LLM(
        str(tiny("llama")), dtype="float32", max_model_len=128, speculative_config=config
    ) as loaded:
        yield loaded


# "(" is one token here; a bias makes the target say nothing else, so that whole drafts stand.
SAYS_ONE = {"logit_bias": {9: 1e3}, "temperature": 0}
ENDS: dict[str, dict[str, Any]] = {
    "stop string": SAYS_ONE | {"stop": ["(" * 29], "max_tokens": 60},
    "stop string kept": SAYS_ONE
    | {"stop": ["(" * 31], "include_stop_str_in_output": True, "max_tokens": 60},
    "length": SAYS_ONE | {"max_tokens": 30},
    "model length": SAYS_ONE | {"max_tokens": None},
}


@pytest.mark.parametrize("end", ENDS)
def test_a_text_that_ends_anywhere_counts_what_was_given(llm: LLM, end: str) -> None:
    params = SamplingParams(ignore_eos=True, **ENDS[end])
    before = SpecCounters()
    before.merge(llm.counters)
    events = list(llm.stream(PROMPT, params))
    output = events[-1].output.outputs[0]
    given = sum(len(event.token_ids) for event in events)
    assert len(output.token_ids) == given
    assert all(event.num_accepted <= len(event.token_ids) for event in events)
    accepted = sum(event.num_accepted for event in events)
    assert accepted == output.spec.num_accepted_tokens
    balances(output.spec, given)
    total = llm.counters
    assert total.num_accepted_tokens - before.num_accepted_tokens == accepted
    assert total.num_emitted_tokens - before.num_emitted_tokens == given


def test_stop_strings_do_end_inside_accepted_stretches(tiny: Callable[[str], Path]) -> None:
    """What the tests above rely on: some of their ends cut a round."""
    config = METHODS["ngram"] | {"num_speculative_tokens": K}
    llm = LLM(str(tiny("llama")), dtype="float32", max_model_len=128, speculative_config=config)
    cuts = 0
    for length in range(20, 29):
        params = SamplingParams(**SAYS_ONE, ignore_eos=True, stop=["(" * length], max_tokens=60)
        spec = llm.generate(PROMPT, params)[0].spec
        balances(spec, length)
        cuts += spec.num_cut_rounds
    assert cuts >= 6


PROPOSERS: dict[str, Callable[[], Proposer]] = {
    "chains": lambda: ToyProposer(K, accuracy=1.0),
    "drawn chains": lambda: ToyProposer(K, accuracy=0.9, sampled=True),
    "trees": lambda: ToyTreeProposer(K),
    "drawn trees": lambda: ToyTreeProposer(K, sampled=True),
    "hybrid": lambda: HybridProposer(K, ["suffix", "ngram"]),
}


@pytest.mark.parametrize("rule", ["standard", "block", "coupled"])
@pytest.mark.parametrize("name", PROPOSERS)
def test_stop_tokens_and_eos_for_drawn_drafts_and_trees(name: str, rule: str) -> None:
    proposer = PROPOSERS[name]()
    if rule == "block" and proposer.drafts_trees:
        pytest.skip("block takes chains")
    config = toy_config(
        max_model_len=64,
        speculative_config={"method": "off", "rejection_sample_method": rule},
    )
    engine = Engine(config, ToyRunner(), None, frozenset({3, 7}), proposer)
    requests = [
        engine.add_request(
            [1, 2, i % 32, i // 3],
            SamplingParams(
                temperature=(0, 1)[i % 2], seed=i, stop_token_ids=[11, 12, 13], max_tokens=None
            ),
        )
        for i in range(40)
    ]
    given = 0
    while engine.has_unfinished_requests:
        for output in engine.step():
            assert len(output.path) <= len(output.token_ids)
            given += len(output.token_ids)
    for request in requests:
        balances(request.counters, request.num_output_tokens)
    balances(engine.counters, given)
    assert {request.finish_reason for request in requests} >= {"stop"}
    if name in ("chains", "drawn chains", "trees"):
        assert engine.counters.num_cut_rounds
