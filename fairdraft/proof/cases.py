"""Cases of the exact proof: every rule with every drafter, stopping rule and filter.

Each cell runs one of the engine's verification rules on one kind of drafter, one way to end a draft
and one filter, in several small worlds, and holds the largest total variation found: 0 in every
cell. Each mutant is the same verifier used wrongly, as published code has used it: above 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fairdraft.draft import Draft
from fairdraft.proof.exact import (
    ZERO,
    CoupledScript,
    Law,
    Round,
    Script,
    Text,
    V,
    World,
    expected_accepted,
    law_of,
    said,
    total_variation,
)
from fairdraft.verification import block, match, standard

K = 3  # draft length of chains; trees are two levels deep
HALF = Fraction(1, 2)

# --- filters: the proof starts behind them, with laws that have zeros; their code is tested apart


def top_k(law: Law, k: int = 2) -> Law:
    """Filter a law to its k likeliest tokens; ties with the k-th stay."""
    return law_of(*(w if w >= sorted(law)[-k] else ZERO for w in law))


def top_p(law: Law, share: Fraction = Fraction(7, 10)) -> Law:
    """Filter a law to the fewest likeliest tokens that reach the share; ties stay."""
    mass, edge = ZERO, ZERO
    for weight in sorted(law, reverse=True):
        mass, edge = mass + weight, weight
        if mass >= share:
            break
    return law_of(*(w if w >= edge else ZERO for w in law))


def min_p(law: Law, share: Fraction = HALF) -> Law:
    """Filter a law to tokens at least `share` times as likely as the likeliest."""
    return law_of(*(w if w >= share * max(law) else ZERO for w in law))


def unfiltered(law: Law) -> Law:
    """Return the law as it is."""
    return law


FILTERS: dict[str, tuple[Callable[[Law], Law], Callable[[Law], Law]]] = {
    "none": (unfiltered, unfiltered),
    "top-k": (top_k, unfiltered),
    "top-p": (top_p, unfiltered),
    "min-p": (min_p, unfiltered),
    "both top-k": (top_k, top_k),
}

# --- stopping rules: may look at the tokens before and at the law, never at the token itself


@dataclass(frozen=True)
class Stop:
    """A stopping rule: when a chain ends before its k tokens.

    Args:
        before: given the drafter's law of the next token.
        after: given the drafter's and the target's law of a token, and the token, which stays.
    """

    before: Callable[[Law], bool] = lambda _law: False
    after: Callable[[Law, Law, int], bool] = lambda _q, _p, _token: False


STOPS = {
    "at k": Stop(),
    "where unsure": Stop(before=lambda q: max(q) < Fraction(3, 5)),
    "after unlikely": Stop(after=lambda q, _p, token: q[token] < HALF),
    "after illegal": Stop(after=lambda _q, p, token: p[token] == 0),
}

# --- drafters

Token = Callable[[int, Law], int]


def chain(world: World, k: int, token: Token, stop: Stop) -> Draft:
    """Draft up to k tokens, each from `token(position, law)`, with the laws they come from."""
    text: Text = ()
    laws = []
    while len(text) < k and not stop.before(world.drafter[text]):
        law = world.drafter[text]
        drawn = token(len(text), law)
        ends = stop.after(law, world.target[text], drawn)
        text = (*text, drawn)
        laws.append(law)
        if ends:
            break
    return Draft(text, probs=laws)


def likeliest(_position: int, law: Law) -> int:
    """Return the drafter's argmax, ties to the first."""
    return int(np.argmax(law))


def chosen(draft: Draft) -> Draft:
    """Return the same draft as point masses: chosen tokens, not drawn ones."""
    return Draft(draft.token_ids, draft.parents)


def siblings(world: World, script: Script, replacement: bool, honest: bool = True) -> Draft:
    """Draft two siblings at the root, drawn with or without replacement, and a child each.

    Without replacement the younger sibling's law leaves the elder out; `honest` says so in
    `probs`, the mutant does not.
    """
    q = world.drafter[()]
    first = script.token(0, q)
    without = law_of(*(ZERO if t == first else q[t] for t in range(V))) if q[first] < 1 else None
    tokens, parents, laws = [first], [-1], [q]
    if replacement or without is not None:
        law = q if without is None or replacement else without
        tokens.append(script.token(1, law))
        parents.append(-1)
        laws.append(law if honest else q)
    for parent in range(len(tokens)):
        law = world.drafter[(tokens[parent],)]
        tokens.append(script.token(len(tokens), law))
        parents.append(parent)
        laws.append(law)
    return Draft(tuple(tokens), tuple(parents), laws)


def top_tree(world: World) -> Draft:
    """Draft the two likeliest tokens, and the two likeliest behind each, as point masses."""

    def best(text: Text) -> list[int]:
        return [int(t) for t in np.argsort(-world.drafter[text].astype(float), kind="stable")[:2]]

    tokens, parents = best(()), [-1, -1]
    for parent in (0, 1):
        for token in best((tokens[parent],)):
            tokens.append(token)
            parents.append(parent)
    return Draft(tuple(tokens), tuple(parents))


# --- rounds


def matched(world: World, draft: Draft, script: Script) -> Text:
    """Verify a draft by sample and match, with fresh draws from the target."""
    rows = world.rows(draft)
    return said(match(draft, lambda row: script.token(row, rows[row])), draft)


def drawn_round(rule: Callable[..., object], stop: Stop) -> Round:
    """Return the round that draws a chain and verifies it."""

    def play(world: World, k: int, script: Script) -> Text:
        draft = chain(world, k, script.token, stop)
        verdict = rule(world.rows(draft), draft, script)
        return said(verdict, draft)  # type: ignore[arg-type]

    return play


def chosen_round(stop: Stop) -> Round:
    """Return the round that chooses a chain and matches it."""
    return lambda world, k, script: matched(world, chosen(chain(world, k, likeliest, stop)), script)


def tree_round(replacement: bool) -> Round:
    """Return the round that draws a tree and verifies it by rejection over siblings."""

    def play(world: World, _k: int, script: Script) -> Text:
        draft = siblings(world, script, replacement)
        return said(standard(world.rows(draft), draft, script), draft)

    return play


def top_tree_round(world: World, _k: int, script: Script) -> Text:
    """Choose a tree, match it."""
    return matched(world, top_tree(world), script)


def coupled_round(stop: Stop) -> Round:
    """Return the round that drafts by shared noise and matches; the text goes on under it."""

    def play(world: World, k: int, script: Script) -> Text:
        noise = CoupledScript(script)
        draft = chain(world, k, noise.draft, stop)
        rows = world.rows(draft)
        verdict = match(draft, lambda row: noise.target(draft.depths[row], rows[row]))
        text = said(verdict, draft)
        while len(text) <= k:
            text = (*text, noise.target(len(text), world.target[text]))
        return text

    return play


@dataclass(frozen=True)
class Case:
    """A row of the proof: a rule, a drafter and a way to end a draft.

    Args:
        rule: as in `rejection_sample_method`.
        drafter: where drafts come from.
        stopping: how they end.
        play: the round.
        depth: k, the longest path.
    """

    rule: str
    drafter: str
    stopping: str
    play: Round
    depth: int = K


def cases() -> Iterator[Case]:
    """Return every rule with every drafter and stopping rule that it takes."""
    for name, stop in STOPS.items():
        yield Case("standard", "drawn chain", name, drawn_round(standard, stop))
    for name, stop in STOPS.items():
        yield Case("block", "drawn chain", name, drawn_round(block, stop))
    for name, stop in STOPS.items():
        yield Case("coupled", "drawn chain", name, coupled_round(stop), depth=2)
    for name, stop in STOPS.items():
        yield Case("any", "chosen chain", name, chosen_round(stop))
    yield Case("any", "chosen tree", "at k", top_tree_round, depth=2)
    yield Case("standard", "siblings, replaced", "at k", tree_round(True), depth=2)
    yield Case("standard", "siblings, not replaced", "at k", tree_round(False), depth=2)


def largest(play: Round, depth: int, filter_name: str, seeds: Iterable[int]) -> Fraction:
    """Return the largest total variation over some worlds."""
    target, drafter = FILTERS[filter_name]
    worlds = (World.random(seed, depth).filtered(target, drafter) for seed in seeds)
    return max(total_variation(world, depth, play) for world in worlds)


def block_gain(seed: int, k: int) -> tuple[Fraction, Fraction]:
    """Return mean accepted tokens in one world, under the standard and the block rule."""
    world = World.random(seed, k)
    stop = STOPS["at k"]
    return (
        expected_accepted(world, k, drawn_round(standard, stop)),
        expected_accepted(world, k, drawn_round(block, stop)),
    )
