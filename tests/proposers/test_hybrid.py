"""A hybrid takes the method that pays, learns from every verdict, and never changes a token."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from fairdraft import LLM
from fairdraft.config import SamplingParams, SpeculativeConfig
from fairdraft.draft import Draft
from fairdraft.economics.autopilot.beliefs import Beliefs
from fairdraft.economics.autopilot.traced_drafts import ReplayClock
from fairdraft.engine import engine as engine_module
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.proposers import registry
from fairdraft.proposers.hybrid import HybridProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.testing import (
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    check_proposer,
    toy_config,
)

GREEDY = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)
GOOD = {"method": "toy", "accuracy": 0.9}
BAD = {"method": "toy", "accuracy": 0.1}


class Lookup(ToyProposer):
    """The toy drafter, at no cost."""

    is_lookup = True


class TreeLookup(ToyTreeProposer):
    """The toy's trees, at no cost."""

    is_lookup = True


class OneToken(Lookup):
    """Drafts one token, whatever the budget."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        return super().draft(request, 1, noise)


@pytest.fixture(autouse=True)
def _drafters(register: Callable[..., None]) -> None:
    register(toy=ToyProposer, lookup=Lookup, one=OneToken, tree_lookup=TreeLookup)


def run(proposer: HybridProposer, count: int = 12) -> Engine:
    engine = Engine(toy_config(max_num_seqs=4), ToyRunner(), proposer=proposer)
    for i in range(count):
        engine.add_request((i, 1, 2), GREEDY)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return engine


def taken(proposer: HybridProposer, method: str) -> int:
    """How often a method drafted."""
    decisions = proposer.autopilot.decisions
    return sum(count for (name, _), count in decisions.items() if name == method)


@pytest.mark.parametrize("methods", [[GOOD, BAD], [BAD, GOOD]])
def test_the_better_drafter_is_taken(methods: list[dict[str, Any]]) -> None:
    proposer = HybridProposer(4, methods)
    proposer.clock = lambda: 0.0  # both are free
    run(proposer, count=24)
    good, bad = (taken(proposer, name) for name in ("toy", "toy#2"))
    if methods[0] is BAD:
        good, bad = bad, good
    assert good > 8 * bad > 0


def test_beliefs_agree_with_the_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drafter's drafts are noted as they were verified, whatever was trimmed or preempted."""
    noted: list[tuple[int, int]] = []
    record = Beliefs.record

    def keep(self: Beliefs, name: str, kind: object, drafted: int, stood: int) -> None:
        noted.append((drafted, stood))
        record(self, name, kind, drafted, stood)

    monkeypatch.setattr(Beliefs, "record", keep)
    proposer = HybridProposer(4, [GOOD])
    engine = Engine(
        toy_config(num_gpu_blocks_override=24, max_num_batched_tokens=12),
        ToyRunner(),
        proposer=proposer,
    )
    for i in range(12):
        engine.add_request((i, 1, 2), GREEDY)
        engine.step()
    engine.abort("11")
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.scheduler.num_preemptions
    counters = engine.counters
    assert len(noted) == counters.num_drafts
    assert sum(drafted for drafted, _ in noted) == counters.num_draft_tokens
    assert sum(stood for _, stood in noted) == counters.num_accepted_tokens


class SlowToy(ToyProposer):
    """The toy drafter, at a cost on a clock."""

    clock: ReplayClock

    def __init__(self, num_speculative_tokens: int, accuracy: float, seconds: float) -> None:
        super().__init__(num_speculative_tokens, accuracy)
        self.seconds = seconds

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """Draft, and let the time pass that it takes."""
        self.clock.seconds += self.seconds
        return super().draft(request, budget, noise)


class SlowRunner(ToyRunner):
    """Runs in a second a request."""

    def __init__(self, clock: ReplayClock) -> None:
        super().__init__()
        self.clock = clock

    def run(self, batch: FlatBatch, layers: Collection[int] = ()) -> RunOutput:
        """Run, and let a second pass for each request."""
        self.clock.seconds += batch.num_requests
        return super().run(batch, layers)


@pytest.mark.parametrize(("seconds", "dearer_is_better"), [(4.0, False), (0.2, True)])
def test_cost_counts(
    seconds: float,
    dearer_is_better: bool,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """(1 + 1) / (1 + 0.1) beats (1 + 3.4) / (1 + 4); at a fifth of a second it does not."""
    clock = ReplayClock()
    monkeypatch.setattr(engine_module, "perf_counter", clock)
    monkeypatch.setattr(SlowToy, "clock", clock, raising=False)
    register(slow=SlowToy)
    cheap, dear = (
        {"method": "slow", "accuracy": accuracy, "seconds": cost}
        for accuracy, cost in ((0.5, 0.1), (0.9, seconds))
    )
    proposer = HybridProposer(4, [cheap, dear])
    proposer.clock = clock
    engine = Engine(toy_config(max_num_seqs=4), SlowRunner(clock), proposer=proposer)
    for i in range(12):
        engine.add_request((i, 1, 2), GREEDY)
    while engine.has_unfinished_requests:
        engine.step()
    share = taken(proposer, "slow#2") / (taken(proposer, "slow") + taken(proposer, "slow#2"))
    assert share > 0.8 if dearer_is_better else share < 0.2


def test_a_lookup_is_taken_by_what_it_found() -> None:
    proposer = HybridProposer(4, ["one", {"method": "lookup", "accuracy": 0.9}])
    run(proposer)
    assert taken(proposer, "lookup") > 8 * taken(proposer, "one")
    proposer = HybridProposer(4, ["ngram", GOOD])  # the toy's text hardly repeats itself
    proposer.clock = lambda: 0.0
    run(proposer)
    assert taken(proposer, "toy") > 8 * taken(proposer, "ngram")


def test_lookups_of_trees_are_judged_by_the_text() -> None:
    """Half of the likeliest tokens come second: a path through the tree is what the text confirms.

    Nobody verifies them beside a drafter that is always right, and still they are known.
    """
    right = {"method": "toy", "accuracy": 1.0}
    proposer = HybridProposer(6, [right, "tree_lookup"])
    proposer.clock = lambda: 0.0
    run(proposer)
    assert taken(proposer, "toy") > 8 * taken(proposer, "tree_lookup")
    beliefs = proposer.autopilot.beliefs["tree_lookup"]
    assert min(beliefs.rates((0, 2, True))[:2]) > 0.9  # two levels, each with the likeliest token


def test_it_passes_the_suite() -> None:
    methods = ["suffix", "ngram", {"method": "toy", "accuracy": 0.5}]
    assert check_proposer(HybridProposer, methods=methods).deterministic


def test_drawn_drafts_pass_the_suite() -> None:
    """Two drafters that draw, and a lookup that may be looked at first."""
    drawn = [{"method": "toy", "accuracy": a, "sampled": True} for a in (0.2, 0.6)]
    report = check_proposer(HybridProposer, methods=["ngram", *drawn])
    assert not report.deterministic


def test_by_default_it_looks_up() -> None:
    proposer = registry.build_proposer(SpeculativeConfig("hybrid"))
    assert isinstance(proposer, HybridProposer)
    assert list(proposer.proposers) == ["suffix", "ngram"]
    assert proposer.is_lookup


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([], "a list of method names"),
        ("ngram", "a list of method names"),
        ([3], "name a method"),
        (["hybrid"], "cannot be one of several methods"),
        (["off"], "cannot be one of several methods"),
        (["nonsense"], "method 'nonsense' is unknown"),
        ([{"method": "ngram", "num_speculative_tokens": 9}], "above the whole's 4"),
        ([{"method": "ngram", "rejection_sample_method": "block"}], "belongs beside methods"),
        ([{"method": "ngram", "colour": 1}], "unknown key 'colour'"),
    ],
)
def test_bad_methods(methods: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LLM("demo", speculative_config={"method": "hybrid", "methods": methods})
