"""The labs' solutions and the library say the same."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft
from fairdraft.economics.equations.acceptance import TwoState
from fairdraft.economics.equations.estimators import censored_alpha
from fairdraft.economics.equations.estimators import survivals as library_survivals
from fairdraft.economics.equations.speedup import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.peers.metrics import counters
from fairdraft.proposers.ngram import NgramProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import SpecCounters
from fairdraft.verification.match import match
from fairdraft.verification.standard import standard

Load = Callable[[str], ModuleType]
TEXTS = st.lists(st.integers(0, 3), min_size=1, max_size=40)
SHARES = st.floats(0, 1, allow_subnormal=False)
WEIGHTS = st.integers(2, 5).flatmap(
    lambda size: st.tuples(
        *[st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any)] * 2
    )
)


@given(text=TEXTS, k=st.integers(1, 6), lengths=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_ngram_proposers(load_lab: Load, text: list[int], k: int, lengths: tuple[int, int]) -> None:
    """The lab copies up to the end of the text; the library goes on in its own copy."""
    n_min, n_max = sorted(lengths)
    ours = load_lab("lab-01").propose_ngram(text, k, n_max, n_min)
    proposer = NgramProposer(k, prompt_lookup_max=n_max, prompt_lookup_min=n_min)
    request = Request("0", tuple(text), SamplingParams())
    (draft,) = proposer.propose([request], [k], [[]], DraftNoise())
    assert list(draft.token_ids[: len(ours)]) == ours
    assert bool(ours) == bool(draft)


@given(draft=st.lists(st.integers(0, 2), max_size=6), data=st.data())
def test_greedy_verification(load_lab: Load, draft: list[int], data: st.DataObject) -> None:
    argmax = data.draw(
        st.lists(st.integers(0, 2), min_size=len(draft) + 1, max_size=len(draft) + 1)
    )
    verdict = match(Draft(tuple(draft)), argmax.__getitem__)
    expected = (verdict.num_accepted, verdict.token)
    assert load_lab("lab-01").verify_greedy(draft, argmax) == expected


class Asked:
    """Decides one round, and remembers what it was asked."""

    def __init__(self, accept: bool) -> None:
        self.answer = accept
        self.probability = Fraction(0)
        self.law = np.zeros(0)

    def accept(self, node: int, probability: Fraction) -> bool:
        self.probability = min(Fraction(1), probability)
        return self.answer

    def token(self, row: int, law: np.ndarray) -> int:
        self.law = law
        return 0


@given(weights=WEIGHTS, data=st.data())
def test_rejection_sampling(
    load_lab: Load, weights: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    """The library on exact fractions, the lab on floats: the same chance, the same residual."""
    lab = load_lab("lab-03")
    p, q = (np.array([Fraction(w, sum(law)) for w in law]) for law in weights)
    token = data.draw(st.sampled_from([i for i, share in enumerate(q) if share > 0]))
    draws = Asked(accept=False)
    standard([p, p], Draft((token,), None, [q]), draws)
    floats = p.astype(float), q.astype(float)
    assert lab.accept_probability(*floats)[token] == pytest.approx(float(draws.probability))
    assert lab.residual(*floats) == pytest.approx(draws.law.astype(float))
    overlap = float(sum(np.minimum(p, q)))
    assert lab.acceptance_rate(*floats) == pytest.approx(overlap)


@given(alpha=SHARES, c=st.floats(0, 2), k=st.integers(0, 16))
def test_speedup_model(load_lab: Load, alpha: float, c: float, k: int) -> None:
    lab = load_lab("lab-04")
    expected = expected_tokens_per_verify(alpha, k)
    assert lab.expected_tokens_per_verify(alpha, k) == pytest.approx(expected, rel=1e-6)
    assert lab.speedup(alpha, c, k) == pytest.approx(speedup(alpha, k, c), rel=1e-6)
    best = lab.speedup(alpha, c, lab.optimal_k(alpha, c))
    assert best == pytest.approx(speedup(alpha, optimal_k(alpha, c, 16), c), rel=1e-6)


@given(accepted=st.integers(0, 1000), rejections=st.integers(0, 1000))
def test_alpha_from_counters(load_lab: Load, accepted: int, rejections: int) -> None:
    found = load_lab("lab-04").alpha_from_counters(accepted + 5 * rejections, accepted, rejections)
    assert found == pytest.approx(censored_alpha(accepted, rejections).value if accepted else 0)


@given(
    rates=st.tuples(SHARES, SHARES),
    stay=st.tuples(SHARES, SHARES),
    start=SHARES,
    k=st.integers(1, 9),
)
def test_two_states(
    load_lab: Load,
    rates: tuple[float, float],
    stay: tuple[float, float],
    start: float,
    k: int,
) -> None:
    model = TwoState(rates, stay, start)
    law = load_lab("lab-04").length_law(
        np.array(rates), model.transition, np.array([start, 1 - start]), k
    )
    lengths = np.arange(1, k + 2)
    mean, variance = model.moments(k)
    assert law.sum() == pytest.approx(1)
    assert law @ lengths == pytest.approx(mean)
    assert law @ lengths**2 - mean**2 == pytest.approx(variance, abs=1e-9)


@given(
    steps=st.lists(
        st.integers(1, 5).flatmap(lambda k: st.tuples(st.just(k), st.integers(0, k))), min_size=1
    )
)
@settings(max_examples=60)
def test_counters(load_lab: Load, steps: list[tuple[int, int]]) -> None:
    lab, counted = load_lab("lab-02"), SpecCounters()
    for drafted, accepted in steps:
        counted.record(drafted, accepted, accepted + 1)
    read = lab.Counters(
        counted.num_drafts,
        counted.num_draft_tokens,
        counted.num_accepted_tokens,
        tuple(counted.accepted_per_pos),
    )
    assert lab.acceptance_rate(read) == counted.acceptance_rate
    assert lab.acceptance_length(read, bonus=True) == counted.mean_acceptance_length
    estimates = library_survivals(counted.drafted_per_pos, counted.accepted_per_pos)
    assert lab.survivals(steps) == pytest.approx([estimate.value for estimate in estimates])


@pytest.mark.parametrize("name", ["humaneval", "mt_bench"])
def test_captured_metrics(load_lab: Load, name: str) -> None:
    lab = load_lab("lab-02")
    text = (Path(lab.CAPTURED) / f"metrics-{name}.txt").read_text()
    _, figures = counters(text)
    read = lab.read_counters(text)
    assert read.num_drafts == figures["spec_decode_num_drafts"]
    assert read.num_draft_tokens == figures["spec_decode_num_draft_tokens"]
    assert read.num_accepted_tokens == figures["spec_decode_num_accepted_tokens"]


def test_the_heads_card_is_what_lab_02_predicts_from(load_lab: Load) -> None:
    import fairdraft

    card = (Path(fairdraft.__file__).parent / "data/heads/eagle3/card.md").read_text()
    lab = load_lab("lab-02")
    for place, survival in enumerate(lab.CARD_SURVIVALS, 1):
        assert f"| {place} | {survival:.3f} |" in card
    assert f"c by bytes: {lab.CARD_COST:.3f}" in card
