"""The proof's own arithmetic: enumeration, the law of a shared race, the filters it uses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fairdraft.proof.cases import min_p, top_k, top_p
from fairdraft.proof.exact import Law, Script, World, every_course, law_of, race_law

PAIRS = [
    (law_of(5, 3, 2), law_of(2, 3, 5)),
    (law_of(1, 0, 2), law_of(1, 1, 0)),
    (law_of(1, 0, 0), law_of(0, 1, 1)),
    (law_of(0, 1, 3), law_of(2, 2, 1)),
    (law_of(1, 1, 1), law_of(1, 1, 1)),
]


def test_every_course_is_walked_once_with_its_weight() -> None:
    def experiment(script: Script) -> tuple[bool, int]:
        heads = script.accept(0, Fraction(1, 3))
        return heads, script.token(1, law_of(1, 0, 3)) if heads else -1

    courses = {result: weight for weight, result in every_course(experiment)}
    third = Fraction(1, 3)
    assert courses == {(True, 0): third / 4, (True, 2): third * 3 / 4, (False, -1): 2 * third}


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_shared_race_has_both_laws(p: Law, q: Law) -> None:
    joint = race_law(p, q)
    assert (joint.sum(axis=1) == q).all()
    assert (joint.sum(axis=0) == p).all()


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_shared_race_against_a_run_one(p: Law, q: Law) -> None:
    times = np.random.default_rng(0).exponential(size=(100_000, 3))
    with np.errstate(divide="ignore"):
        drafts, targets = (np.argmin(times / law.astype(float), axis=1) for law in (q, p))
    counts = np.zeros((3, 3))
    np.add.at(counts, (drafts, targets), 1 / len(times))
    assert np.abs(counts - race_law(p, q).astype(float)).max() < 0.006


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_shared_race_agrees_as_often_as_promised(p: Law, q: Law) -> None:
    """Daliri et al. 2025: at least (1 − TV) / (1 + TV)."""
    distance = sum(abs(p - q)) / 2
    assert np.trace(race_law(p, q)) >= (1 - distance) / (1 + distance)


def test_filters_by_hand() -> None:
    law = law_of(5, 3, 2)
    assert (top_k(law) == law_of(5, 3, 0)).all()
    assert (top_k(law_of(2, 1, 1)) == law_of(2, 1, 1)).all()  # a tie with the second stays
    assert (top_p(law) == law_of(5, 3, 0)).all()
    assert (top_p(law, Fraction(1, 2)) == law_of(1, 0, 0)).all()
    assert (min_p(law) == law_of(5, 3, 0)).all()
    world = World.constant(law, law, 1).filtered(top_k, min_p)
    assert (world.target[()] == law_of(5, 3, 0)).all()
