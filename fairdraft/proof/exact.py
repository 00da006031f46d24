"""Exact arithmetic on small worlds: every way a round can go, with its weight as a fraction.

A world has three tokens and, behind every text of up to k tokens, a law of the target and one of
the drafter. What runs in it are the engine's own verifiers, called with fractions for tensors. Two
laws are compared: that of the first k + 1 tokens which a round gives, the target going on where the
round ends sooner, and the target's own. Their total variation is 0 to the last digit, or the
verifier is wrong.
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

from fairdraft.draft import Draft, Verdict

V = 3
Text = tuple[int, ...]
Law = Any  # [V] of fractions, as a numpy object array

ZERO, ONE = Fraction(0), Fraction(1)


def law_of(*weights: int | Fraction) -> Law:
    """Return the law in proportion to whole weights: [V] fractions."""
    return np.array([Fraction(weight) / sum(weights) for weight in weights], dtype=object)


class Script:
    """Answers a round's questions from a list of choices, and notes what else it could have said.

    It is the `Draws` of a verifier. Questions beyond the list get the first possible answer.

    Args:
        choices: which of the possible answers each question gets.
    """

    def __init__(self, choices: Sequence[int] = ()) -> None:
        self.choices = list(choices)
        self.given = len(choices)
        self.counts: list[int] = []
        self.weight = ONE

    def choose(self, options: Sequence[tuple[Any, Fraction]]) -> Any:
        """Return one of (answer, weight) pairs, whose weights sum to 1."""
        possible = [(answer, weight) for answer, weight in options if weight > 0]
        assert sum(weight for _, weight in possible) == 1, options
        if len(self.counts) == len(self.choices):
            self.choices.append(0)
        answer, weight = possible[self.choices[len(self.counts)]]
        self.counts.append(len(possible))
        self.weight *= weight
        return answer

    def accept(self, node: int, probability: Fraction) -> bool:
        """Answer that a draft token stands, or not, each with its weight."""
        stands = min(ONE, probability)
        answer: bool = self.choose([(True, stands), (False, 1 - stands)])
        return answer

    def token(self, row: int, law: Law) -> int:
        """Return every token in turn, weighted by `law`, which need not be normalised."""
        total = sum(law)
        assert total > 0
        answer: int = self.choose([(token, law[token] / total) for token in range(len(law))])
        return answer


def every_course(experiment: Callable[[Script], Any]) -> Iterator[tuple[Fraction, Any]]:
    """Return every way an experiment can go: its exact weight and its result."""
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
    """The target's and the drafter's law behind every text.

    Args:
        target: text → law p, filters already applied.
        drafter: text → law q.
    """

    target: dict[Text, Law]
    drafter: dict[Text, Law]

    @classmethod
    def random(cls, seed: int, depth: int, zeros: bool = True) -> World:
        """Draw a world; with `zeros`, many tokens are impossible in one law or the other."""
        rng = random.Random(seed)
        weights = (0, 0, 1, 1, 2, 3, 5) if zeros else (1, 2, 3, 4, 9, 9)

        def some_law() -> Law:
            drawn = [rng.choice(weights) for _ in range(V)]
            return law_of(*drawn) if any(drawn) else law_of(1, 1, 1)

        texts = [t for n in range(depth + 1) for t in itertools.product(range(V), repeat=n)]
        return cls({t: some_law() for t in texts}, {t: some_law() for t in texts})

    @classmethod
    def constant(cls, p: Law, q: Law, depth: int) -> World:
        """Return the world with the same two laws behind every text."""
        texts = [t for n in range(depth + 1) for t in itertools.product(range(V), repeat=n)]
        return cls(dict.fromkeys(texts, p), dict.fromkeys(texts, q))

    def filtered(self, target: Callable[[Law], Law], drafter: Callable[[Law], Law]) -> World:
        """Return this world with a filter on the target's laws and one on the drafter's."""
        return World(
            {text: target(law) for text, law in self.target.items()},
            {text: drafter(law) for text, law in self.drafter.items()},
        )

    def rows(self, draft: Draft) -> list[Law]:
        """Return the target's law at each row of a draft."""
        return [self.target[draft.tokens_before(row)] for row in range(len(draft) + 1)]


# play(world, k, script) → the tokens that one round gives: 1 to k + 1 of them.
Round = Callable[[World, int, Script], Sequence[int]]


def said(verdict: Verdict, draft: Draft) -> Text:
    """Return the tokens of a round: the accepted path and the one after it."""
    return (*(draft.token_ids[node] for node in verdict.path), verdict.token)


def law_of_output(world: World, k: int, play: Round) -> dict[Text, Fraction]:
    """Return the law of the first k + 1 tokens: those of one round, then the target's own."""
    rounds: dict[Text, Fraction] = defaultdict(Fraction)
    for weight, text in every_course(lambda script: tuple(play(world, k, script))):
        rounds[text] += weight
    law: dict[Text, Fraction] = defaultdict(Fraction)
    for text, weight in rounds.items():
        assert 1 <= len(text) <= k + 1
        going_on = [(text, weight)]
        for _ in range(k + 1 - len(text)):
            going_on = [
                ((*said_so_far, token), share * world.target[said_so_far][token])
                for said_so_far, share in going_on
                for token in range(V)
            ]
        for whole, share in going_on:
            law[whole] += share
    assert sum(law.values()) == 1
    return law


def total_variation(world: World, k: int, play: Round) -> Fraction:
    """Return total variation between the output's law and the target's; 0 is lossless."""
    law = law_of_output(world, k, play)
    distance = ZERO
    for text in itertools.product(range(V), repeat=k + 1):
        own = ONE
        for i, token in enumerate(text):
            own *= world.target[text[:i]][token]
        distance += abs(own - law[text])
    return distance / 2


def expected_accepted(world: World, k: int, play: Round) -> Fraction:
    """Return the mean number of draft tokens that a round accepts."""
    courses = every_course(lambda script: len(play(world, k, script)) - 1)
    return sum((weight * count for weight, count in courses), ZERO)


def race_law(p: Law, q: Law) -> Any:
    """Return the joint law of the winners of one exponential race at rates q and p: [V, V].

    The tokens' times E are exponential and shared; x = argmin E/q, y = argmin E/p. With s = E(x)
    and t = E(y) / E(x) the event is r₁ ≤ t ≤ r₂ and E(z) ≥ s · max(q(z)/q(x), t · p(z)/p(y)) for
    all others; integrating s leaves ∫ dt / (A + B t)² over pieces, which is a fraction.
    """
    joint = np.full((len(p), len(p)), ZERO, dtype=object)
    for x, y in itertools.product(range(len(p)), repeat=2):
        if q[x] == 0 or p[y] == 0:
            continue
        if x == y:
            joint[x, y] = 1 / sum(max(p[z] / p[x], q[z] / q[x]) for z in range(len(p)))
        else:
            last = p[y] / p[x] if p[x] > 0 else None  # a token that p forbids never comes first
            joint[x, y] = _piecewise(p, q, x, y, q[y] / q[x], last)
    return joint


def _piecewise(p: Law, q: Law, x: int, y: int, low: Fraction, high: Fraction | None) -> Fraction:
    """Integrate 1 / (1 + t + Σ_z max(q(z)/q(x), t·p(z)/p(y)))² over t; None is infinity."""
    others = [(q[z] / q[x], p[z] / p[y]) for z in range(len(p)) if z not in (x, y)]
    if high is not None and high <= low:
        return ZERO
    bends = sorted({c / d for c, d in others if d > 0 and c / d > low})
    edges = [low, *(b for b in bends if high is None or b < high)]
    total = ZERO
    for i, start in enumerate(edges):
        end = edges[i + 1] if i + 1 < len(edges) else high
        middle = start + 1 if end is None else (start + end) / 2
        fixed = 1 + sum((c for c, d in others if c >= d * middle), ZERO)
        slope = 1 + sum((d for c, d in others if c < d * middle), ZERO)
        if end is None:
            total += 1 / (slope * (fixed + slope * start))
        else:
            total += (end - start) / ((fixed + slope * start) * (fixed + slope * end))
    return total


class CoupledScript:
    """The noise of Gumbel coupling: one race a position, run at q by the drafter and at p later.

    Args:
        script: where the choices come from.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.drafted: dict[int, tuple[int, Law]] = {}

    def draft(self, position: int, q: Law) -> int:
        """Return the drafter's token at a position."""
        token = self.script.token(position, q)
        self.drafted[position] = (token, q)
        return token

    def target(self, position: int, p: Law) -> int:
        """Return the target's token at a position, given what the drafter drew from its noise."""
        if position not in self.drafted:
            return self.script.token(position, p)
        token, q = self.drafted[position]
        return self.script.token(position, race_law(p, q)[token])
