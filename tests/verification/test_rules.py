"""Every rule by its name: what it takes, and which of the pure functions it runs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fairdraft.draft import Draft, Verdict
from fairdraft.verification import RULES, STANDARD, block, match, rule_named, standard, synthetic

LAWS = np.array([[Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]] * 3)
DRAWN = Draft((1, 2), probs=np.array([[Fraction(1, 3)] * 3] * 2))
CHOSEN = Draft((0, 1))


class Target:
    """Two fair rows: the target's own token is the row's index."""

    def __getitem__(self, row: int) -> object:
        return LAWS[row]

    def token(self, row: int) -> int:
        return row


class Draws:
    """Accepts what is at least as likely as a threshold; says the last token of a support."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def accept(self, node: int, probability: Fraction) -> bool:
        return probability > self.threshold

    def token(self, row: int, law: np.ndarray) -> int:  # type: ignore[type-arg]
        return int(np.nonzero(law)[0][-1])

    def uniform(self) -> float:
        return self.threshold


def verdict(name: str, draft: Draft, threshold: float = 0.5, greedy: bool = False) -> Verdict:
    rule = rule_named(name, (0.9, 0.4))
    return rule.verify(Target(), draft, Draws(threshold), greedy)


def test_names_and_properties() -> None:
    assert list(RULES) == ["standard", "block", "coupled", "synthetic"]
    assert all(rule.name == name for name, rule in RULES.items())
    assert STANDARD is RULES["standard"]
    assert [n for n, rule in RULES.items() if not rule.takes_trees] == ["block"]
    assert [n for n, rule in RULES.items() if rule.shares_noise] == ["coupled"]
    assert [n for n, rule in RULES.items() if not rule.lossless] == ["synthetic"]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8])
def test_drawn_drafts_go_to_the_rules_own_function(threshold: float) -> None:
    draws = Draws(threshold)
    assert verdict("standard", DRAWN, threshold) == standard(Target(), DRAWN, draws)
    assert verdict("block", DRAWN, threshold) == block(Target(), DRAWN, draws)
    assert verdict("coupled", DRAWN, threshold) == match(DRAWN, Target().token)


def test_the_rules_functions_can_be_told_apart() -> None:
    assert verdict("standard", DRAWN, 0.6) != verdict("block", DRAWN, 0.6)
    assert verdict("standard", DRAWN, 0.4) != verdict("coupled", DRAWN, 0.4)


@pytest.mark.parametrize("name", ["standard", "block", "coupled"])
def test_chosen_drafts_and_greedy_requests_are_matched(name: str) -> None:
    assert verdict(name, CHOSEN) == Verdict((0, 1), 2)
    assert verdict(name, DRAWN, greedy=True) == match(DRAWN, Target().token)


@pytest.mark.parametrize(("threshold", "accepted"), [(0.95, 0), (0.5, 1), (0.1, 2)])
def test_acceptance_by_given_rates(threshold: float, accepted: int) -> None:
    for draft in (CHOSEN, DRAWN):
        found = verdict("synthetic", draft, threshold)
        assert found.num_accepted == accepted
        assert found == synthetic(draft, (0.9, 0.4), threshold, Target().token)
