"""Looking is paid from what looking brings; deciding nothing is decided seldom."""

from __future__ import annotations

from fairdraft.economics.autopilot.backoff import CREDIT, LONGEST_REST, Patience

PLAIN = 0.02  # seconds of a plain step


def looked(patience: Patience, steps: int, cost: float, brought: float = 0.0) -> int:
    """Steps of so many in which lookups were made."""
    count = 0
    for _ in range(steps):
        wants = patience.wants_lookup(cost)
        count += wants
        pays = brought > 0 and wants
        patience.decided(["a"], pays, pays, brought if wants else None, PLAIN)
    return count


def test_lookups_go_on_until_the_credit_is_gone_and_then_now_and_then() -> None:
    patience = Patience()
    assert looked(patience, 30, CREDIT / 30) == 30
    assert patience.credit < 1e-9
    patience.credit = 0.0
    assert looked(patience, 240, 0.036) == 240 / 12


def test_one_find_pays_for_many_that_find_nothing() -> None:
    patience = Patience()
    patience.credit = 0.0
    looked(patience, 12, 0.036)
    looked(patience, 12, 0.036, brought=2.0)
    assert patience.credit > CREDIT - 0.5
    assert looked(patience, 12, 0.036) == 12


def test_what_pauses_is_not_charged() -> None:
    patience = Patience()
    patience.credit = 0.5
    patience.wants_lookup(0.1)
    patience.decided(["a"], True, True, None, PLAIN)
    assert patience.credit == 0.5


def decisions(patience: Patience, names: list[str], steps: int) -> list[int]:
    """Steps in which something is decided: that nothing pays."""
    made = []
    for step in range(steps):
        if not patience.rests(names):
            made.append(step)
            patience.decided(names, False, False, None, PLAIN)
    return made


def test_rests_grow_to_what_deciding_costs() -> None:
    patience = Patience()
    patience.learn_deciding(1.0)  # one odd measurement among others does not count
    for _ in range(3):
        patience.learn_deciding(0.01 * PLAIN)
    assert decisions(patience, ["a"], 40) == [0, 2, 6, 14, 24, 34]


def test_no_rest_is_longer_than_the_longest() -> None:
    patience = Patience()
    for _ in range(5):
        patience.learn_deciding(PLAIN)
    made = decisions(patience, ["a"], 400)
    assert made[-1] - made[-2] == LONGEST_REST


def test_others_and_drafts_end_the_rest() -> None:
    patience = Patience()
    for _ in range(5):
        patience.learn_deciding(0.02 * PLAIN)
    decisions(patience, ["a"], 100)
    assert decisions(patience, ["a", "b"], 1) == [0]
    while patience.rests(["a", "b"]):
        pass
    patience.decided(["a", "b"], True, True, None, PLAIN)
    assert not patience.rests(["a", "b"])


def test_a_try_is_looked_after_and_then_the_rest_goes_on() -> None:
    patience = Patience()
    for _ in range(5):
        patience.learn_deciding(0.01 * PLAIN)
    decisions(patience, ["a"], 40)
    while patience.rests(["a"]):
        pass
    patience.decided(["a"], False, True, None, PLAIN)
    made = decisions(patience, ["a"], 30)
    assert made == [0, 10, 20]


def test_while_there_is_credit_there_is_no_rest() -> None:
    patience = Patience()
    for _ in range(5):
        patience.learn_deciding(0.02 * PLAIN)
    made = []
    for step in range(200):
        if not patience.rests(["a"]):
            made.append(step)
            patience.decided(["a"], False, False, 0.0, PLAIN)
    spent = round(CREDIT / 0.02)
    assert made[:spent] == list(range(spent))
    assert len(made) < spent + 20
