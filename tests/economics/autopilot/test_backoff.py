"""Looking is paid from what looking brings; deciding nothing is decided seldom."""

from __future__ import annotations

from fairdraft.economics.autopilot.backoff import CREDIT, LONGEST_REST, Backoff

PLAIN = 0.02  # seconds of a plain step


def looked(backoff: Backoff, steps: int, cost: float, brought: float = 0.0) -> int:
    """Steps of so many in which lookups were made."""
    count = 0
    for _ in range(steps):
        wants = backoff.wants_lookup(cost)
        count += wants
        pays = brought > 0 and wants
        backoff.decided(["a"], pays, pays, brought if wants else None, PLAIN)
    return count


def test_lookups_go_on_until_the_credit_is_gone_and_then_now_and_then() -> None:
    backoff = Backoff()
    assert looked(backoff, 30, CREDIT / 30) == 30
    assert backoff.credit < 1e-9
    backoff.credit = 0.0
    assert looked(backoff, 240, 0.036) == 240 / 12


def test_one_find_pays_for_many_that_find_nothing() -> None:
    backoff = Backoff()
    backoff.credit = 0.0
    looked(backoff, 12, 0.036)
    looked(backoff, 12, 0.036, brought=2.0)
    assert backoff.credit > CREDIT - 0.5
    assert looked(backoff, 12, 0.036) == 12


def test_what_pauses_is_not_charged() -> None:
    backoff = Backoff()
    backoff.credit = 0.5
    backoff.wants_lookup(0.1)
    backoff.decided(["a"], True, True, None, PLAIN)
    assert backoff.credit == 0.5


def decisions(backoff: Backoff, names: list[str], steps: int) -> list[int]:
    """Steps in which something is decided: that nothing pays."""
    made = []
    for step in range(steps):
        if not backoff.rests(names):
            made.append(step)
            backoff.decided(names, False, False, None, PLAIN)
    return made


def test_rests_grow_to_what_deciding_costs() -> None:
    backoff = Backoff()
    backoff.learn_deciding(1.0)  # one odd measurement among others does not count
    for _ in range(3):
        backoff.learn_deciding(0.01 * PLAIN)
    assert decisions(backoff, ["a"], 40) == [0, 2, 6, 14, 24, 34]


def test_no_rest_is_longer_than_the_longest() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.learn_deciding(PLAIN)
    made = decisions(backoff, ["a"], 400)
    assert made[-1] - made[-2] == LONGEST_REST


def test_others_and_drafts_end_the_rest() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.learn_deciding(0.02 * PLAIN)
    decisions(backoff, ["a"], 100)
    assert decisions(backoff, ["a", "b"], 1) == [0]
    while backoff.rests(["a", "b"]):
        pass
    backoff.decided(["a", "b"], True, True, None, PLAIN)
    assert not backoff.rests(["a", "b"])


def test_a_try_is_looked_after_and_then_the_rest_goes_on() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.learn_deciding(0.01 * PLAIN)
    decisions(backoff, ["a"], 40)
    while backoff.rests(["a"]):
        pass
    backoff.decided(["a"], False, True, None, PLAIN)
    made = decisions(backoff, ["a"], 30)
    assert made == [0, 10, 20]


def test_while_there_is_credit_there_is_no_rest() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.learn_deciding(0.02 * PLAIN)
    made = []
    for step in range(200):
        if not backoff.rests(["a"]):
            made.append(step)
            backoff.decided(["a"], False, False, 0.0, PLAIN)
    spent = round(CREDIT / 0.02)
    assert made[:spent] == list(range(spent))
    assert len(made) < spent + 20
