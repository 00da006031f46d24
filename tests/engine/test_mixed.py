"""A hundred requests of every kind in one engine: no leak, and each says what it says alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fairdraft.config import SamplingParams
from fairdraft.economics.autopilot.best_method import BestMethod
from fairdraft.economics.autopilot.decision import Offers
from fairdraft.economics.autopilot.pilot import Autopilot
from fairdraft.engine.engine import Engine
from fairdraft.proposers.hybrid import HybridProposer
from fairdraft.request import Request
from fairdraft.testing import ToyProposer, ToyRunner, ToyTreeProposer, toy_config

COUNT = 100
CHOSEN: list[Any] = [
    {"method": "ngram", "prompt_lookup_min": 1, "prompt_lookup_max": 3},
    "suffix",
    {"method": "suffix", "suffix_decoding_use_tree_spec": True, "num_speculative_tokens": 6},
    {"method": "toy", "accuracy": 0.6},
    "toy_tree",
]
DRAWN: list[Any] = [
    {"method": "toy", "accuracy": 0.6, "sampled": True},
    {"method": "toy_tree", "sampled": True},
]


class InTurn(BestMethod):
    """Every method in turn, whatever it is worth."""

    turns = 0

    def _choose(self, request_id: str, offers: Offers) -> str:
        self.turns += 1
        return self.methods[(5 * int(request_id) + self.turns) % len(self.methods)]


class Shuffled(HybridProposer):
    """A hybrid that takes every method in turn."""

    def bind(self, target: Any) -> None:
        super().bind(target)
        chooser = InTurn(list(self.proposers), self.lookups, self.num_speculative_tokens)
        self.autopilot = Autopilot(chooser, self.drafters)


class EveryLength:
    """Draft lengths from 0 to 8, another one for each request and place."""

    def draft_lengths(self, requests: Sequence[Request]) -> list[int]:
        return [(3 * int(r.request_id) + r.num_tokens) % 9 for r in requests]


def prompt(i: int) -> tuple[int, ...]:
    """A third begin alike, a third repeat themselves."""
    beginning = (range(12), [i % 32, 5, 6] * 4, [(7 * i + j * j) % 32 for j in range(3 + i % 9)])
    return (*beginning[i % 3], i % 32)


def params(i: int) -> SamplingParams:
    return SamplingParams(
        temperature=(0, 0, 0.7, 1.0, 1.5)[i % 5],
        top_p=(1.0, 0.9)[i % 2],
        top_k=(0, 12)[i // 2 % 2],
        frequency_penalty=(0, 0, 0.8)[i % 3],
        max_tokens=4 + i % 30,
        ignore_eos=True,
    )


def engine_of(rule: str, proposer: HybridProposer | None, **options: Any) -> Engine:
    config = toy_config(
        speculative_config={"method": "off", "rejection_sample_method": rule}, **options
    )
    lengths = EveryLength() if proposer else None
    return Engine(config, ToyRunner(), proposer=proposer, draft_lengths=lengths)


def alone(engine: Engine, i: int) -> list[int]:
    request = engine.add_request(prompt(i), params(i), str(i), seed=i)
    while engine.has_unfinished_requests:
        engine.step()
    return request.output_token_ids


@pytest.mark.parametrize(("rule", "methods"), [("standard", CHOSEN), ("coupled", CHOSEN + DRAWN)])
def test_a_hundred_requests_of_every_kind(
    rule: str, methods: list[Any], register: Callable[..., None]
) -> None:
    register(toy=ToyProposer, toy_tree=ToyTreeProposer)
    proposer = Shuffled(8, methods)
    stress = {"num_gpu_blocks_override": 40, "max_num_batched_tokens": 24, "max_num_seqs": 12}
    engine = engine_of(rule, proposer, **stress)
    requests = []
    for i in range(COUNT):
        requests.append(engine.add_request(prompt(i), params(i), str(i), seed=i))
        for _ in range(i % 3):
            engine.step()
            engine.scheduler.check_integrity()
        if i % 11 == 10:
            engine.abort(str(i - i % 4))
    while engine.has_unfinished_requests:
        engine.step()
        engine.scheduler.check_integrity()

    assert engine.scheduler.num_preemptions
    assert {name for name, _ in proposer.autopilot.decisions} == {*proposer.proposers, "off"}
    assert 0 < engine.counters.num_accepted_tokens < engine.counters.num_draft_tokens
    assert sum(request.finish_reason == "abort" for request in requests) > 2
    plain = engine_of(rule, None, max_num_seqs=1, enable_prefix_caching=False)
    for i, request in enumerate(requests):
        text = request.output_token_ids
        assert alone(plain, i)[: len(text)] == text
        assert request.finish_reason == "abort" or len(text) == params(i).max_tokens
