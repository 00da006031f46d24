"""The compiled pass decides as `verification` does over `TargetRows`, whatever runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.verdicts import Verifier
from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling.batch import Memory, RoundBatch
from fairdraft.sampling.rounds import Way
from fairdraft.sampling.sampler import RoundDraws, TargetRows
from fairdraft.stats.goodness import distance
from fairdraft.verification import RULES, rule_named
from fairdraft.verification import block as block_function
from fairdraft.verification import standard as standard_function

V = 200
EOS = 1
Case = tuple[Request, Draft, torch.Tensor]
untimed = settings(deadline=None)


def case(rng: np.random.Generator, number: int, params: SamplingParams, shape: str) -> Case:
    """A request with a past, a draft and its rows; the drafter is near the target."""
    prompt = tuple(int(t) for t in rng.integers(V, size=5))
    request = Request(str(number), prompt, params, number, frozenset({EOS}), ((7, 3), (4,)))
    request.token_ids += [int(t) for t in rng.integers(V, size=rng.integers(4))]
    count = int(rng.integers(6))
    logits = torch.from_numpy(rng.normal(0, 2.5, (count + 1, V)).astype(np.float32))
    parents = None
    if shape == "tree":
        parents = tuple(int(rng.integers(-1, node)) for node in range(count))
    rows = [0 if parents is None else parents[node] + 1 for node in range(count)]
    rows = list(range(count)) if parents is None else rows
    nearby = logits[rows] + torch.from_numpy(rng.normal(0, 0.7, (count, V)).astype(np.float32))
    laws = torch.softmax(nearby, -1)
    tokens = [int(rng.choice(V, p=law / law.sum())) for law in laws.double().numpy()]
    if rng.random() < 0.5:  # what would be likely to stand
        tokens = logits[rows].argmax(-1).tolist()
    drawn = rng.random() < 0.7
    return request, Draft(tuple(tokens), parents, laws if drawn else None), logits


PARAMS: Sequence[dict[str, Any]] = (
    {},
    {"temperature": 0},
    {"top_p": 0.9},
    {"temperature": 0.7, "top_k": 20},
    {"min_p": 0.05, "top_p": 0.8, "top_k": 50},
    {"temperature": 0, "frequency_penalty": 0.8, "presence_penalty": -0.4},
    {"repetition_penalty": 1.4, "logit_bias": {3: 2.5, 9: -100.0}, "min_tokens": 5},
    {"top_p": 0.9, "presence_penalty": 1.0, "repetition_penalty": 0.8},
)


def cases(seed: int, rule: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    shape = "tree" if RULES[rule].takes_trees and rng.random() < 0.5 else "chain"
    chosen = [PARAMS[int(rng.integers(len(PARAMS)))] for _ in range(5)]
    made = [SamplingParams(max_tokens=None, **options) for options in chosen]
    return [case(rng, seed * 10 + i, params, shape) for i, params in enumerate(made)]


def decide(rule: str, made: Sequence[Case]) -> list[Verdict | None]:
    """What the engine decides of them, side by side."""
    spans, end = [], 0
    for _, draft, _ in made:
        spans.append(slice(end, end + 1 + len(draft)))
        end = spans[-1].stop
    entries = [
        (request, draft, span) for (request, draft, _), span in zip(made, spans, strict=True)
    ]
    verifier = Verifier(rule_named(rule, (0.9, 0.7, 0.5, 0.3, 0.1)))
    return verifier.decide(entries, torch.cat([logits for _, _, logits in made]))


def reference(rule: str, one: Case) -> Verdict | None:
    """What the rule decides of one, by the functions that the exact proof runs."""
    request, draft, logits = one
    found = rule_named(rule, (0.9, 0.7, 0.5, 0.3, 0.1))
    argmax = logits.argmax(-1).tolist()
    target = TargetRows(request, draft, logits, argmax, found.shares_noise)
    try:
        return found.verify(target, draft, RoundDraws(request), request.params.greedy)
    except RequestError:
        return None


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_verdicts_are_the_rules_own(rule: str, seed: int) -> None:
    made = cases(seed, rule)
    assert decide(rule, made) == [reference(rule, one) for one in made]


FAULTS = {
    "a residual without its clamp": ("positive_part", lambda difference: abs(difference)),
    "a residual that forgets the drafter": ("positive_part", lambda difference: difference * 0),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("function", [standard_function, block_function])
def test_another_rule_is_seen(function: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = FAULTS[fault]
    monkeypatch.setitem(function.__globals__, name, wrong)
    rule = function.__name__
    made = [one for seed in range(60) for one in cases(seed, rule)]
    assert decide(rule, made) != [reference(rule, one) for one in made]


@pytest.mark.parametrize(
    "wrong", [{"top_p": 0.89}, {"frequency_penalty": 0.1}, {"temperature": 0.97}, {"top_k": 8}]
)
def test_other_parameters_are_seen(wrong: dict[str, Any]) -> None:
    right = SamplingParams(top_p=0.9, max_tokens=None)
    rng = np.random.default_rng(2)
    made = [case(rng, i, right, "chain") for i in range(400)]
    told = decide("standard", made)
    other = SamplingParams(**{"top_p": 0.9, "max_tokens": None, **wrong})
    for request, _, _ in made:
        request.params = other
    assert told != decide("standard", made)


def test_penalties_see_the_path_of_their_own_row() -> None:
    """A tree whose branches say different tokens: each row is penalised for its own alone."""
    params = SamplingParams(temperature=0, frequency_penalty=2.0, max_tokens=None)
    request = Request("r", (0,), params)
    logits = torch.zeros(4, 8)
    logits[0, 2] = 3.0  # the second branch is followed
    logits[2, 2] = 1.5  # behind it 2 was said once: −0.5, and 1 is as free as any
    logits[2, 1] = 1.0
    draft = Draft((1, 2, 5), (-1, -1, 0))
    assert decide("standard", [(request, draft, logits)]) == [Verdict((1,), 1)]


@pytest.mark.parametrize("rule", RULES)
def test_a_verdict_does_not_depend_on_its_company(rule: str) -> None:
    """Alone, together, in another order, and split into other pieces."""
    made = [one for seed in range(12) for one in cases(seed, rule)]
    together = decide(rule, made)
    assert [decide(rule, [one])[0] for one in made] == together
    assert decide(rule, made[::-1]) == together[::-1]


def test_pieces_share_nothing() -> None:
    made = [one for seed in range(8) for one in cases(seed, "standard")]
    logits = torch.cat([logits for _, _, logits in made])
    told = []
    for pieces in (1, 3, 7, 1000):
        batch, row = RoundBatch(logits), 0
        for request, draft, _ in made:
            batch.add(request, replace(draft, probs=None), row, Way.DRAW)
            row += 1 + len(draft)
        told.append(batch.verdicts(Memory(), pieces=pieces))
    assert told == told[:1] * len(told)


def test_rows_in_bfloat16_are_read_as_they_are() -> None:
    request, draft, logits = cases(3, "standard")[0]
    rounded = logits.bfloat16()
    assert decide("standard", [(request, draft, rounded)]) == decide(
        "standard", [(request, draft, rounded.float())]
    )


def test_200_000_draws_follow_the_law() -> None:
    """First tokens through a clueless drafter: within 0.005 of the target's law."""
    count, size = 200_000, 8
    p = torch.tensor([0.42, 0.27, 0.15, 0.1, 0.05, 0.01, 0.0, 0.0])
    q = torch.full((1, size), 1 / size)
    logits = p.log().repeat(2 * 1000, 1)
    params = SamplingParams(max_tokens=None)
    drafted = np.random.default_rng(1).integers(size, size=count).tolist()
    counts, memory = np.zeros(size), Memory()
    accepted = 0
    for start in range(0, count, 1000):
        batch = RoundBatch(logits)
        for i, token in enumerate(drafted[start : start + 1000]):
            request = Request("r", (1,), params, start + i)
            batch.add(request, Draft((token,), probs=q), 2 * i, Way.STANDARD)
        for token, verdict in zip(
            drafted[start : start + 1000], batch.verdicts(memory), strict=True
        ):
            assert verdict is not None
            accepted += verdict.num_accepted
            counts[token if verdict.path else verdict.token] += 1
    assert distance(counts, p.numpy()) < 0.005
    assert accepted / count == pytest.approx(torch.minimum(p, q[0]).sum().item(), abs=0.005)


@pytest.mark.parametrize("params", [{}, {"temperature": 0}, {"top_p": 0.5}, {"top_k": 3}])
@pytest.mark.parametrize("rule", ["standard", "block", "coupled"])
def test_what_is_no_number_gives_no_verdict(params: dict[str, Any], rule: str) -> None:
    request = Request("r", (1,), SamplingParams(max_tokens=None, **params))
    nothing = torch.full((2, V), -torch.inf)
    for drawn in (None, torch.full((1, V), 1 / V)):
        assert decide(rule, [(request, Draft((3,), probs=drawn), nothing)]) == [None]
    broken = torch.zeros(2, V)
    broken[0, 5] = torch.nan
    if not request.params.greedy:
        assert decide(rule, [(request, Draft((3,)), broken)]) == [None]


def test_a_law_over_another_vocabulary_is_refused() -> None:
    request, _, logits = cases(0, "standard")[0]
    params = SamplingParams(max_tokens=None)
    request.params = params
    with pytest.raises(ValueError, match="has 200 tokens"):
        decide("standard", [(request, Draft((0,), probs=torch.ones(1, 7)), logits[[0, 0]])])
