"""The method with the best rate drafts, judged by what its drafts came to."""

from __future__ import annotations

from fairdraft.economics.autopilot.best_method import TURN_AFTER, BestMethod
from fairdraft.economics.autopilot.decision import Offer

K, CONTEXT = 4, 100.0
ASKED = {"good": Offer(K), "bad": Offer(K)}


def chooser_of(good_seconds: float = 0.0, bad_seconds: float = 0.0) -> BestMethod:
    """Two drafters and a lookup, each with a record, beside steps of a second a request."""
    found = BestMethod(["bad", "good", "lookup"], ["lookup"], K)
    for _ in range(60):
        found.beliefs["good"].record("before", None, K, 3)
        found.beliefs["bad"].record("before", None, K, 1)
        found.beliefs["lookup"].record("before", "far", K, K)
        found.beliefs["lookup"].record("before", "near", 1, 0)
    for _ in range(5):
        found.costs.learn_step(2, 0, CONTEXT, 2.0)
        found.costs.learn_draft("good", 2, K, CONTEXT, 2 * good_seconds)
        found.costs.learn_draft("bad", 2, K, CONTEXT, 2 * bad_seconds)
    found.forget("before")
    return found


def chosen(chooser: BestMethod, lookup: Offer | None = None) -> tuple[str | None, int]:
    """Who drafts how much for one request."""
    found = {"lookup": lookup} if lookup else {}
    made = chooser.decide(["new"], [found], [ASKED], CONTEXT)
    return made.methods[0], made.lengths[0]


def test_cost_counts() -> None:
    """(1 + 1) / (1 + 0.1) beats (1 + 3) / (1 + 2), and loses to (1 + 3) / (1 + 0.2)."""
    assert chosen(chooser_of(good_seconds=2.0, bad_seconds=0.1)) == ("bad", K)
    assert chosen(chooser_of(good_seconds=0.2, bad_seconds=0.1)) == ("good", K)


def test_a_lookup_is_taken_by_what_it_found() -> None:
    chooser = chooser_of(good_seconds=0.5, bad_seconds=0.5)
    assert chosen(chooser, Offer(K, "far")) == ("lookup", K)
    assert chosen(chooser, Offer(1, "near")) == ("good", K)


def test_where_drafting_is_dear_and_nothing_was_found_nothing_is_drafted() -> None:
    assert chosen(chooser_of(good_seconds=9.0, bad_seconds=9.0)) == (None, 0)


def test_a_tree_is_taken_whole() -> None:
    assert chosen(chooser_of(9.0, 9.0), Offer(2, "far", nodes=6)) == ("lookup", 6)


def test_a_drafter_left_out_for_long_gets_a_turn_dear_ones_later() -> None:
    for seconds in (0.0, 0.5):
        chooser = chooser_of(bad_seconds=seconds)
        made = [chosen(chooser)[0] for _ in range(2 * TURN_AFTER)]
        waits = int(TURN_AFTER * (1 + seconds)) + 1
        assert made.index("bad") == waits
        assert made.count("bad") == 1  # and only that
