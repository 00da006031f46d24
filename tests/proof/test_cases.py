"""Proof by exact fractions that verification leaves the target's law as it is; mistakes fail it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from fairdraft.proof.cases import (
    FILTERS,
    STOPS,
    Case,
    block_gain,
    cases,
    chain,
    drawn_round,
    largest,
)
from fairdraft.proof.exact import (
    Law,
    Script,
    Text,
    World,
    expected_accepted,
    law_of,
    law_of_output,
    said,
    total_variation,
)
from fairdraft.proof.mutants import Mutant, mutants, unlikely_token_dropped
from fairdraft.verification import block, standard

CASES = list(cases())
EDGES = [
    (law_of(1, 2, 3), law_of(1, 2, 3)),  # never a rejection
    (law_of(1, 0, 0), law_of(0, 1, 1)),  # nothing but rejections
    (law_of(1, 1, 0), law_of(0, 1, 1)),
    (law_of(0, 0, 1), law_of(1, 1, 98)),
    (law_of(1, 10**12, 1), law_of(10**12, 1, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.rule}, {c.drafter}, {c.stopping}")
@pytest.mark.parametrize("name", FILTERS)
def test_every_cell_is_lossless(case: Case, name: str) -> None:
    assert largest(case.play, case.depth, name, range(6)) == 0


@pytest.mark.parametrize("rule", [standard, block])
@pytest.mark.parametrize(("p", "q"), EDGES)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_lossless_at_the_edges(rule: object, p: Law, q: Law, k: int) -> None:
    play = drawn_round(rule, STOPS["at k"])  # type: ignore[arg-type]
    assert total_variation(World.constant(p, q, k), k, play) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_length_chosen_from_what_stands_is_lossless(seed: int) -> None:
    """As a controller does: it sees the first token of a text, not the draft behind it."""

    def play(world: World, k: int, script: Script) -> Text:
        first = script.token(0, world.target[()])
        behind = {t[1:]: law for t, law in world.target.items() if t[:1] == (first,)}
        drafter = {t[1:]: law for t, law in world.drafter.items() if t[:1] == (first,)}
        rest = World(behind, drafter)
        draft = chain(rest, min(first, k - 1), script.token, STOPS["at k"])
        return (first, *said(standard(rest.rows(draft), draft, script), draft))

    assert total_variation(World.random(seed, 3), 3, play) == 0


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.name)
def test_mutants_are_caught(mutant: Mutant) -> None:
    assert mutant.total_variation() > Fraction(1, 100)


def test_dropping_an_unlikely_token_by_the_book() -> None:
    """p = [.9, .1], q = [.6, .4], threshold .5: the first token comes with .96 for .9."""
    world = World.constant(law_of(9, 1, 0), law_of(6, 4, 0), 1)
    law = law_of_output(world, 1, unlikely_token_dropped)
    assert sum(weight for text, weight in law.items() if text[0] == 0) == Fraction(96, 100)


@pytest.mark.parametrize("seed", range(6))
def test_one_token_is_accepted_with_alpha(seed: int) -> None:
    """α = Σ min(p, q)."""
    world = World.random(seed, 1)
    p, q = world.target[()], world.drafter[()]
    play = drawn_round(standard, STOPS["at k"])
    assert expected_accepted(world, 1, play) == sum(map(min, p, q))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_chain_is_accepted_geometrically(k: int) -> None:
    world = World.constant(law_of(5, 3, 2), law_of(2, 3, 5), k)
    play = drawn_round(standard, STOPS["at k"])
    assert expected_accepted(world, k, play) == sum(Fraction(7, 10) ** j for j in range(1, k + 1))


def test_block_never_accepts_less_and_mostly_more() -> None:
    gains = [block_gain(seed, k) for seed in range(40) for k in (1, 2, 3)]
    assert all(more >= less for less, more in gains)
    assert sum(more > less for less, more in gains) > 10
