"""A hybrid takes the method that pays, keeps its books straight, and never changes a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fairdraft import LLM
from fairdraft.config import SamplingParams, SpeculativeConfig
from fairdraft.draft import Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.proposers import registry
from fairdraft.proposers.books import Book
from fairdraft.proposers.hybrid import HybridProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.testing import ToyProposer, ToyRunner, check_proposer, toy_config

GREEDY = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)
GOOD = {"method": "toy", "accuracy": 0.9}
BAD = {"method": "toy", "accuracy": 0.1}


class Lookup(ToyProposer):
    """The toy drafter, at no cost."""

    is_lookup = True


class OneToken(Lookup):
    """Drafts one token, whatever the budget."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        return super().draft(request, 1, noise)


@pytest.fixture(autouse=True)
def _drafters(register: Callable[..., None]) -> None:
    register(toy=ToyProposer, lookup=Lookup, one=OneToken)


def run(proposer: HybridProposer, count: int = 12) -> Engine:
    engine = Engine(toy_config(max_num_seqs=4), ToyRunner(), proposer=proposer)
    for i in range(count):
        engine.add_request((i, 1, 2), GREEDY)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return engine


@pytest.mark.parametrize("methods", [[GOOD, BAD], [BAD, GOOD]])
def test_the_better_drafter_is_taken(methods: list[dict[str, Any]]) -> None:
    proposer = HybridProposer(4, methods)
    for book in proposer.books.values():
        for _ in range(9):
            book.clock.add(0.0)
    run(proposer)
    good, bad = (proposer.books[name] for name in ("toy", "toy#2"))
    if methods[0] is BAD:
        good, bad = bad, good
    assert good.num_drafts > 8 * bad.num_drafts > 0


def test_books_agree_with_the_counters() -> None:
    """Whatever was trimmed, preempted or never verified."""
    proposer = HybridProposer(4, [GOOD, {"method": "lookup", "num_speculative_tokens": 2}])
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
    books, counters = proposer.books.values(), engine.counters
    assert sum(book.num_drafts for book in books) == counters.num_drafts
    assert sum(book.num_draft_tokens for book in books) == counters.num_draft_tokens
    assert sum(book.num_accepted_tokens for book in books) == counters.num_accepted_tokens
    assert all(book.num_draft_tokens <= 2 * book.num_drafts for book in [proposer.books["lookup"]])


def chosen(
    proposer: HybridProposer, step_seconds: float, seconds: Sequence[float], expected: Sequence[int]
) -> str:
    """Which method drafts when times and records are these: of 100 drafted tokens so many stood."""
    for _ in range(9):
        proposer.step_clock.add(step_seconds)
    for book, cost, accepted in zip(proposer.books.values(), seconds, expected, strict=True):
        for _ in range(25):
            book.record("before", 4, 4, accepted // 25)
        for _ in range(9):
            book.clock.add(cost)
    before = {name: book.idle for name, book in proposer.books.items()}
    request = Request("r", (1, 2, 3), GREEDY)
    proposer.start(request)
    proposer.propose([request], [4], [()], DraftNoise())
    return next(name for name in before if proposer.books[name].idle == 0)


def test_cost_counts() -> None:
    two = [BAD, GOOD]
    # (1 + 1) / (1 + 0.1) beats (1 + 3) / (1 + 2); with a cheap second one it is the other way.
    assert chosen(HybridProposer(4, two), 1.0, [0.1, 2.0], [25, 75]) == "toy"
    assert chosen(HybridProposer(4, two), 1.0, [0.1, 0.5], [25, 75]) == "toy#2"


def test_a_lookup_is_taken_by_what_it_found() -> None:
    assert chosen(HybridProposer(4, ["one", "lookup"]), 1.0, [0, 0], [50, 50]) == "lookup"
    # Nothing found: the drafter drafts.
    none = [{"method": "ngram"}, BAD]
    assert chosen(HybridProposer(4, none), 1.0, [0, 0.1], [75, 25]) == "toy"


def test_a_request_counts_for_itself_and_begins_like_the_others() -> None:
    book = Book()
    for _ in range(50):
        book.record("a", 4, 4, 3)
    assert book.expected("new", 4) == pytest.approx(3, abs=0.1)
    for _ in range(50):
        book.record("b", 4, 4, 0)
    assert book.expected("b", 4) < 0.2 < 1 < book.expected("new", 4) < book.expected("a", 4)
    book.forget("b")
    assert book.expected("b", 4) == book.expected("new", 4)


def test_a_drafter_that_stops_early_is_judged_by_what_was_asked() -> None:
    """Drafts of one token out of eight, half of them right: half a token is what it is worth."""
    book = Book()
    for i in range(100):
        book.record("a", 8, 1, i % 2)
    assert book.expected("new", 8) == pytest.approx(0.5, abs=0.1)
    for _ in range(300):
        book.record("a", 8, 0, 0)  # and where it declines altogether, nothing
    assert book.expected("new", 8) < 0.3


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
