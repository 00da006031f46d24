"""Proof by exact fractions that verification leaves the target's law as it is.

A world has three tokens and, for every text up to k + 1 tokens, a law of the target and one of the
drafter. Every draft and every decision of a round is enumerated with its exact weight; where the
round leaves fewer than k + 1 tokens, the target itself goes on. The law of the first k + 1 tokens
must then be the target's, to the last digit. What is proved are the engine's own functions, called
with fractions for tensors. Mistakes known from public code must fail the same proof.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.draft import Draft, Verdict
from fairdraft.verification import Draws, match, standard

untimed = settings(deadline=None)
V = 3
Text = tuple[int, ...]
Law = Any  # [V] of fractions, as a numpy object array
Weighted = Iterator[tuple[Fraction, Any]]


def law_of(*weights: int) -> Law:
    return np.array([Fraction(weight, sum(weights)) for weight in weights], dtype=object)


class Script:
    """Answers a round's questions from a list of choices, and notes what else it could have said.

    Questions beyond the list are answered with the first possible choice.
    """

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = list(choices)
        self.given = len(choices)
        self.counts: list[int] = []
        self.weight = Fraction(1)

    def choose(self, options: Sequence[tuple[Any, Fraction]]) -> Any:
        possible = [(answer, weight) for answer, weight in options if weight > 0]
        assert sum(weight for _, weight in possible) == 1
        if len(self.counts) == len(self.choices):
            self.choices.append(0)
        answer, weight = possible[self.choices[len(self.counts)]]
        self.counts.append(len(possible))
        self.weight *= weight
        return answer

    def accept(self, index: int, probability: Fraction) -> bool:
        stands = min(Fraction(1), probability)
        answer: bool = self.choose([(True, stands), (False, 1 - stands)])
        return answer

    def token(self, index: int, law: Law) -> int:
        total = sum(law)
        assert total > 0
        answer: int = self.choose([(token, law[token] / total) for token in range(V)])
        return answer


def every_course(experiment: Callable[[Script], Any]) -> Weighted:
    """Every way an experiment can go: its exact weight and its result."""
    waiting: list[list[int]] = [[]]
    while waiting:
        script = Script(waiting.pop())
        result = experiment(script)
        yield script.weight, result
        for place in range(script.given, len(script.counts)):
            waiting.extend(
                [*script.choices[:place], other] for other in range(1, script.counts[place])
            )


@dataclass(frozen=True)
class World:
    """The target's and the drafter's law behind every text."""

    target: dict[Text, Law]
    drafter: dict[Text, Law]

    @classmethod
    def random(cls, seed: int, depth: int) -> World:
        rng = random.Random(seed)

        def some_law() -> Law:
            weights = [rng.choice((0, 0, 1, 1, 2, 3, 5)) for _ in range(V)]
            return law_of(*weights) if any(weights) else law_of(1, 1, 1)

        texts = [t for n in range(depth + 1) for t in itertools.product(range(V), repeat=n)]
        return cls({t: some_law() for t in texts}, {t: some_law() for t in texts})

    @classmethod
    def constant(cls, p: Law, q: Law, depth: int) -> World:
        texts = [t for n in range(depth + 1) for t in itertools.product(range(V), repeat=n)]
        return cls(dict.fromkeys(texts, p), dict.fromkeys(texts, q))

    def rows(self, draft: Text) -> list[Law]:
        return [self.target[draft[:i]] for i in range(len(draft) + 1)]

    def laws(self, draft: Text) -> Law:
        return [self.drafter[draft[:i]] for i in range(len(draft))]


Round = Callable[[World, int, Script], list[int]]


def law_of_output(world: World, k: int, play: Round) -> dict[Text, Fraction]:
    """The law of the first k + 1 tokens: those of one round, then the target's own."""

    def experiment(script: Script) -> Text:
        text = play(world, k, script)
        assert 1 <= len(text) <= k + 1
        while len(text) <= k:
            text.append(script.token(len(text), world.target[tuple(text)]))
        return tuple(text)

    law: dict[Text, Fraction] = defaultdict(Fraction)
    for weight, text in every_course(experiment):
        law[text] += weight
    assert sum(law.values()) == 1
    return law


def total_variation(world: World, k: int, play: Round) -> Fraction:
    """Distance between the output's law and the target's."""
    law = law_of_output(world, k, play)
    distance = Fraction(0)
    for text in itertools.product(range(V), repeat=k + 1):
        own = Fraction(1)
        for i, token in enumerate(text):
            own *= world.target[text[:i]][token]
        distance += abs(own - law[text])
    return distance / 2


def said(verdict: Verdict, draft: Text) -> list[int]:
    return [*(draft[i] for i in verdict.path), verdict.token]


def drawn(world: World, k: int, script: Script) -> Text:
    """A chain of k tokens from the drafter."""
    draft: Text = ()
    for i in range(k):
        draft = (*draft, script.token(i, world.drafter[draft]))
    return draft


def verified(world: World, draft: Text, draws: Draws) -> list[int]:
    """What `standard` says of a draft whose tokens are said to come from the drafter's laws."""
    return said(standard(world.rows(draft), Draft(draft, world.laws(draft)), draws), draft)


def rejection_round(world: World, k: int, script: Script) -> list[int]:
    return verified(world, drawn(world, k, script), script)


def likeliest(world: World, k: int) -> Text:
    draft: Text = ()
    for _ in range(k):
        draft = (*draft, int(np.argmax(world.drafter[draft])))
    return draft


def matched(world: World, draft: Text, script: Script) -> list[int]:
    return said(match(draft, lambda i: script.token(i, world.target[draft[:i]])), draft)


# --- the proof


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_rejection_sampling_is_exact(seed: int, k: int) -> None:
    assert total_variation(World.random(seed, k), k, rejection_round) == 0


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (law_of(1, 2, 3), law_of(1, 2, 3)),  # never a rejection
        (law_of(1, 0, 0), law_of(0, 1, 1)),  # nothing but rejections
        (law_of(1, 1, 0), law_of(0, 1, 1)),
        (law_of(0, 0, 1), law_of(1, 1, 98)),
        (law_of(1, 10**12, 1), law_of(10**12, 1, 1)),
    ],
)
def test_rejection_sampling_is_exact_at_the_edges(p: Law, q: Law) -> None:
    assert total_variation(World.constant(p, q, 2), 2, rejection_round) == 0


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_sample_and_match_is_exact_for_chosen_drafts(seed: int, k: int) -> None:
    world = World.random(seed, k)
    assert total_variation(world, k, lambda w, k, s: matched(w, likeliest(w, k), s)) == 0
    assert total_variation(world, k, lambda w, k, s: matched(w, (seed % V,) * k, s)) == 0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_sample_and_match_keeps_any_drawn_draft_exact_too(k: int) -> None:
    """It never asks how the draft came about, only that the target's draw knows nothing of it."""
    world = World.random(3, k)
    assert total_variation(world, k, lambda w, k, s: matched(w, drawn(w, k, s), s)) == 0


def test_an_empty_draft_is_plain_decoding() -> None:
    world = World.random(1, 2)
    for verify in (verified, matched):
        assert total_variation(world, 2, lambda w, _, s, verify=verify: verify(w, (), s)) == 0


@pytest.mark.parametrize("seed", range(6))
def test_stopping_after_an_unlikely_token_is_exact(seed: int) -> None:
    """How long a draft gets may depend on its tokens, as long as every drawn one is verified."""

    def play(world: World, k: int, script: Script) -> list[int]:
        draft: Text = ()
        while len(draft) < k:
            law = world.drafter[draft]
            draft = (*draft, script.token(len(draft), law))
            if law[draft[-1]] < Fraction(1, 2):
                break
        return verified(world, draft, script)

    assert total_variation(World.random(seed, 3), 3, play) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_length_chosen_from_what_stands_is_exact(seed: int) -> None:
    """As a controller does: it sees the first token of a text, not the draft behind it."""

    def play(world: World, k: int, script: Script) -> list[int]:
        first = script.token(0, world.target[()])
        length = min(first, k - 1)
        draft: Text = (first,)
        for i in range(length):
            draft = (*draft, script.token(i, world.drafter[draft]))
        laws = [world.drafter[draft[: i + 1]] for i in range(length)]
        verdict = standard(world.rows(draft)[1:], Draft(draft[1:], laws), script)
        return [first, *said(verdict, draft[1:])]

    assert total_variation(World.random(seed, 3), 3, play) == 0


# --- how much is accepted


def accepted_on_average(world: World, k: int) -> Fraction:
    def experiment(script: Script) -> int:
        draft = drawn(world, k, script)
        verdict = standard(world.rows(draft), Draft(draft, world.laws(draft)), script)
        assert verdict.path == tuple(range(verdict.num_accepted))
        return verdict.num_accepted

    return sum((weight * count for weight, count in every_course(experiment)), Fraction(0))


@pytest.mark.parametrize("seed", range(6))
def test_one_token_is_accepted_with_alpha(seed: int) -> None:
    world = World.random(seed, 1)
    p, q = world.target[()], world.drafter[()]
    assert accepted_on_average(world, 1) == sum(np.minimum(p, q))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_chain_is_accepted_geometrically(k: int) -> None:
    p, q = law_of(5, 3, 2), law_of(2, 3, 5)
    alpha = Fraction(7, 10)
    expected = sum(alpha**j for j in range(1, k + 1))
    assert accepted_on_average(World.constant(p, q, k), k) == expected


# --- the mutants


class Twisted:
    """A script whose questions are bent on the way: what a mistaken verifier would ask."""

    def __init__(
        self,
        script: Script,
        accept: Callable[[int, Fraction], Fraction] = lambda _, probability: probability,
        token: Callable[[int, Law], Law] = lambda _, law: law,
    ) -> None:
        self.script = script
        self.bend_accept = accept
        self.bend_token = token

    def accept(self, index: int, probability: Fraction) -> bool:
        return self.script.accept(index, self.bend_accept(index, probability))

    def token(self, index: int, law: Law) -> int:
        return self.script.token(index, self.bend_token(index, law))


def soft_q_for_a_greedy_draft(world: World, k: int, script: Script) -> list[int]:
    return verified(world, likeliest(world, k), script)


def nothing_subtracted(world: World, k: int, script: Script) -> list[int]:
    draft = drawn(world, k, script)
    rows = world.rows(draft)
    return verified(world, draft, Twisted(script, token=lambda i, _: rows[i]))


def accepted_with_p(world: World, k: int, script: Script) -> list[int]:
    draft = drawn(world, k, script)
    laws = world.laws(draft)
    twisted = Twisted(script, accept=lambda i, ratio: ratio * laws[i][draft[i]])
    return verified(world, draft, twisted)


def unlikely_token_dropped(world: World, k: int, script: Script) -> list[int]:
    draft: Text = ()
    while len(draft) < k:
        law = world.drafter[draft]
        token = script.token(len(draft), law)
        if law[token] < Fraction(1, 2):
            break
        draft = (*draft, token)
    return verified(world, draft, script)


def laws_one_row_late(world: World, k: int, script: Script) -> list[int]:
    draft = drawn(world, k, script)
    laws = [world.drafter[draft[: i + 1]] for i in range(k)]
    return said(standard(world.rows(draft), Draft(draft, laws), script), draft)


def mixed_world(seed: int, depth: int) -> World:
    """Mistakes may hide behind zeros and flat laws: nothing is impossible, something is likely."""
    rng = random.Random(seed)
    world = World.random(seed, depth)
    for laws in (world.target, world.drafter):
        for text in laws:
            laws[text] = law_of(*rng.sample((1, 2, 3, 4, 9, 9), V))
    world.drafter[()] = law_of(1, 8, 3)
    return world


@pytest.mark.parametrize(
    "mutant",
    [
        soft_q_for_a_greedy_draft,
        nothing_subtracted,
        accepted_with_p,
        unlikely_token_dropped,
        laws_one_row_late,
    ],
)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_mutants_are_caught(mutant: Round, k: int) -> None:
    world = mixed_world(5, k)
    assert total_variation(world, k, rejection_round) == 0
    assert total_variation(world, k, mutant) > Fraction(1, 100)


def test_dropping_an_unlikely_token_by_the_book() -> None:
    """p = [.9, .1], q = [.6, .4], threshold .5: the first token comes with .96 for .9."""
    world = World.constant(law_of(9, 1, 0), law_of(6, 4, 0), 1)
    law = law_of_output(world, 1, unlikely_token_dropped)
    assert sum(weight for text, weight in law.items() if text[0] == 0) == Fraction(96, 100)


@pytest.mark.parametrize(("keep", "share"), [(False, Fraction(7, 10)), (True, Fraction(8, 10))])
def test_cutting_before_an_illegal_token_by_the_book(keep: bool, share: Fraction) -> None:
    """p = [.8, .2, 0], q = [.1, .4, .5]: cut before the illegal token gives .7, after it .8."""

    def play(world: World, k: int, script: Script) -> list[int]:
        draft = drawn(world, k, script)
        return verified(world, draft if keep or draft != (2,) else (), script)

    world = World.constant(law_of(8, 2, 0), law_of(1, 4, 5), 1)
    law = law_of_output(world, 1, play)
    assert sum(weight for text, weight in law.items() if text[0] == 0) == share


# --- match, token for token


@untimed
@given(
    drafts=st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=6),
    salt=st.integers(0, 10**6),
)
def test_any_drafts_give_the_text_of_plain_decoding(drafts: list[list[int]], salt: int) -> None:
    def own(text: Sequence[int]) -> int:
        return random.Random(f"{salt} {text}").randrange(V)

    text: list[int] = []
    for draft in drafts:
        start = list(text)
        verdict = match(draft, lambda i, start=start, draft=draft: own([*start, *draft[:i]]))
        text.extend(said(verdict, tuple(draft)))
        assert len(text) > len(start)
    plain: list[int] = []
    while len(plain) < len(text):
        plain.append(own(plain))
    assert text == plain


@pytest.mark.parametrize(
    ("draft", "path", "token", "asked"),
    [
        ((), (), 7, [0]),
        ((7, 8, 9), (0, 1, 2), 10, [0, 1, 2, 3]),
        ((7, 0, 9), (0,), 8, [0, 1]),
        ((0, 8, 9), (), 7, [0]),
    ],
)
def test_no_row_behind_a_mismatch_is_asked_for(
    draft: Text, path: Text, token: int, asked: list[int]
) -> None:
    rows: list[int] = []

    def target(i: int) -> int:
        rows.append(i)
        return 7 + i

    assert match(draft, target) == Verdict(path, token)
    assert rows == asked


# --- tensors


class Fixed:
    """Rejects every token, or none, and notes the law that the last token comes from."""

    def __init__(self, stands: bool) -> None:
        self.stands = stands
        self.law: Any = None

    def accept(self, index: int, probability: Any) -> bool:
        return self.stands

    def token(self, index: int, law: Any) -> int:
        self.law = law
        return int(law.argmax())


def test_tensors_go_through_the_same_lines() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.2, 0.7])
    rejects, accepts = Fixed(False), Fixed(True)
    draft = Draft((2,), q[None])
    assert standard([p, p], draft, rejects) == Verdict((), 0)
    torch.testing.assert_close(rejects.law, torch.tensor([0.4, 0.1, 0.0]))
    assert standard([p, p], draft, accepts) == Verdict((0,), 0)
    assert torch.equal(accepts.law, p)


def test_a_rejection_by_rounding_leaves_a_law_to_draw_from() -> None:
    """p and q are one law, rounded apart: p <= q everywhere, p(0)/q(0) = 1 - 6e-8.

    A uniform draw with 53 bits lands above that once in 17 million tokens.
    """
    p = torch.tensor([1 - 2**-24, 0.0, 0.0])
    q = torch.tensor([1.0, 0.0, 0.0])
    draws = Fixed(False)
    standard([p, p], Draft((0,), q[None]), draws)
    assert float(draws.law.sum()) > 0
