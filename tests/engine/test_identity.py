"""Output with speculation equals output without, under every schedule, on the path-hashing toy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fairdraft.config import SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.proposers import Proposer
from fairdraft.proposers.ngram import NgramProposer
from fairdraft.request import Request
from fairdraft.sampling.filters import probabilities
from fairdraft.testing import (
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    toy_config,
    toy_continuation,
)
from fairdraft.testing.toy import toy_logits

GREEDY = SamplingParams(temperature=0, max_tokens=24)
PARAMS = {
    "greedy": GREEDY,
    "sampled": SamplingParams(max_tokens=24, seed=5),
    "filtered": SamplingParams(temperature=0.7, top_k=12, top_p=0.9, min_p=0.02, max_tokens=24),
    "penalties": SamplingParams(
        temperature=0.8,
        repetition_penalty=1.3,
        presence_penalty=0.4,
        frequency_penalty=0.3,
        logit_bias={3: 2.0, 4: -2.0},
        max_tokens=24,
        seed=9,
    ),
    "greedy penalties": SamplingParams(
        temperature=0, repetition_penalty=1.5, frequency_penalty=0.5, min_tokens=10, max_tokens=24
    ),
}
PROMPTS = [tuple((7 * i + j * j) % 32 for j in range(3 + 5 * i)) for i in range(6)]
# Prompts that begin alike, so that blocks are shared.
PROMPTS += [(*PROMPTS[5][:20], i) for i in range(4)]


def run(engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams) -> list[Request]:
    requests = [engine.add_request(prompt, params) for prompt in prompts]
    for _ in range(5_000):
        if not engine.has_unfinished_requests:
            return requests
        engine.step()
    raise AssertionError("the engine does not come to an end")


def expected(requests: Sequence[Request]) -> list[list[int]]:
    return [toy_continuation(request, 24) for request in requests]


SCHEDULES = {
    "roomy": {},
    "one at a time": {"max_num_seqs": 1},
    "chunked prefill": {"max_num_batched_tokens": 9, "max_num_seqs": 4},
    "no prefix reuse": {"enable_prefix_caching": False},
    "preempting": {"num_gpu_blocks_override": 15},
    "preempting, chunked": {
        "num_gpu_blocks_override": 14,
        "max_num_batched_tokens": 8,
        "block_size": 4,
    },
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("k", [0, 1, 4, 8])
def test_output_equals_plain_decoding(schedule: str, name: str, k: int) -> None:
    proposer: Proposer | None = ToyProposer(k) if k else None
    engine = Engine(
        toy_config(**SCHEDULES[schedule]),
        ToyRunner(),
        eos_token_ids=frozenset({1}),
        proposer=proposer,
    )
    requests = run(engine, PROMPTS, PARAMS[name])
    assert [r.output_token_ids for r in requests] == expected(requests)
    if schedule.startswith("preempting"):
        assert engine.scheduler.num_preemptions > 0
    if k and name == "greedy":
        assert 0 < engine.counters.num_accepted_tokens < engine.counters.num_draft_tokens


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("nodes", [2, 7])
def test_trees_change_nothing(schedule: str, name: str, nodes: int) -> None:
    engine = Engine(
        toy_config(**SCHEDULES[schedule]),
        ToyRunner(),
        eos_token_ids=frozenset({1}),
        proposer=ToyTreeProposer(nodes),
    )
    requests = run(engine, PROMPTS, PARAMS[name])
    assert [r.output_token_ids for r in requests] == expected(requests)
    assert engine.counters.num_accepted_tokens > 0


@settings(max_examples=60, deadline=None)
@given(
    prompts=st.lists(st.lists(st.integers(0, 31), min_size=1, max_size=30), min_size=1, max_size=6),
    blocks=st.integers(16, 40),
    budget=st.integers(8, 40),
    seats=st.integers(1, 8),
    k=st.integers(1, 9),
    accuracy=st.floats(0, 1),
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_any_schedule_any_drafter(
    prompts: list[list[int]],
    blocks: int,
    budget: int,
    seats: int,
    k: int,
    accuracy: float,
    temperature: float,
) -> None:
    config = toy_config(
        num_gpu_blocks_override=blocks, max_num_batched_tokens=budget, max_num_seqs=seats
    )
    engine = Engine(config, ToyRunner(), proposer=ToyProposer(k, accuracy))
    requests = run(engine, prompts, SamplingParams(temperature=temperature, max_tokens=24))
    assert [r.output_token_ids for r in requests] == expected(requests)


@pytest.mark.parametrize("match", ["latest", "earliest"])
def test_ngram_on_text_that_repeats(match: str) -> None:
    engine = Engine(
        toy_config(),
        ToyRunner(),
        proposer=NgramProposer(4, 2, 1, match),
    )
    requests = run(engine, PROMPTS, GREEDY)
    assert [r.output_token_ids for r in requests] == expected(requests)
    assert engine.counters.num_drafts > 0


def test_perfect_and_useless_drafters() -> None:
    perfect = Engine(toy_config(), ToyRunner(), proposer=ToyProposer(3, accuracy=1.0))
    run(perfect, PROMPTS, SamplingParams(temperature=0, max_tokens=25))  # 1 + 6 rounds of k + 1
    assert perfect.counters.mean_acceptance_length == 4
    assert perfect.counters.alpha == 1

    class Wrong(ToyProposer):
        def propose(self, requests, budgets, slots, noise):  # type: ignore[no-untyped-def]
            drafts = super().propose(requests, budgets, slots, noise)
            return [type(d)(tuple((t + 1) % 32 for t in d.token_ids)) for d in drafts]

    wrong = Engine(toy_config(), ToyRunner(), proposer=Wrong(3, accuracy=1.0))
    requests = run(wrong, PROMPTS, GREEDY)
    assert wrong.counters.mean_acceptance_length == 1
    assert [r.output_token_ids for r in requests] == expected(requests)


def joint_law(
    prompt: tuple[int, ...], params: SamplingParams, count: int
) -> dict[tuple[int, ...], float]:
    """The exact law of the next `count` tokens."""
    if count == 0:
        return {(): 1.0}
    law = probabilities(toy_logits([(t, i) for i, t in enumerate(prompt)]), params)
    return {
        (token, *rest): float(law[token]) * mass
        for token in law.nonzero().flatten().tolist()
        for rest, mass in joint_law((*prompt, token), params, count - 1).items()
    }


def test_sampled_drafts_follow_the_target_law() -> None:
    """Three tokens over many seeds against the exact joint law of 27 cells."""
    params = SamplingParams(max_tokens=3, top_k=3)
    prompt = (3, 1, 4)
    draws = 6_000
    engine = Engine(
        toy_config(max_num_seqs=64, max_num_batched_tokens=512),
        ToyRunner(),
        proposer=ToyProposer(3, accuracy=0.3, sampled=True),
    )
    requests = [engine.add_request(prompt, params, seed=seed) for seed in range(draws)]
    while engine.has_unfinished_requests:
        engine.step()
    counts = Counter(tuple(request.output_token_ids) for request in requests)
    law = joint_law(prompt, params, 3)
    assert engine.counters.num_rejections > 1_000
    assert set(counts) <= set(law)
    cells = sorted(law)
    mass = sum(law.values())
    test = chisquare([counts[c] for c in cells], [law[c] / mass * draws for c in cells])
    assert test.pvalue > 1e-3


def test_abort_at_any_moment() -> None:
    engine = Engine(toy_config(num_gpu_blocks_override=20), ToyRunner(), proposer=ToyProposer(4))
    requests = [engine.add_request(prompt, GREEDY) for prompt in PROMPTS]
    for step, victim in enumerate(requests[::2]):
        for _ in range(step):
            engine.step()
        engine.abort(victim.request_id)
        engine.scheduler.check_integrity()
    while engine.has_unfinished_requests:
        engine.step()
    survivors = requests[1::2]
    assert [r.output_token_ids for r in survivors] == expected(survivors)
    assert [r.finish_reason for r in requests[:1]] == ["abort"]
    engine.abort("never heard of")
