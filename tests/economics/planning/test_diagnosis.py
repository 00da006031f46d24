"""What is said of runs whose trouble is known."""

from __future__ import annotations

from typing import Any

import pytest

from fairdraft.economics.planning import losses
from fairdraft.economics.planning.diagnosis import PAYS, Diagnosis, caveats, diagnose
from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading

ROUNDS = 2000


def judge(
    step: float,
    length: float,
    k: float,
    survivals: tuple[float, ...] = (),
    draft_share: float = 1.0,
    baseline: float = 1.0,
    rounds: float = ROUNDS,
    **others: Any,
) -> Diagnosis:
    """Diagnose figures of measured steps, with so many rounds behind them."""
    on = Reading(
        "on",
        rounds,
        k * rounds,
        (length - 1) * rounds,
        tuple(each * rounds for each in survivals),
        step_seconds=step,
        steps=rounds / draft_share,
        stated_k=k,
        **{"requests": 1.0, **others},
    )
    return diagnose(on, Reading("off", step_seconds=baseline, requests=on.requests))


def names(found: Diagnosis) -> list[str]:
    return [each.name for each in found.findings]


@pytest.mark.parametrize(
    ("case", "says", "winnable"),
    [
        ({"step": 5.3, "length": 1.97, "k": 1, "survivals": (0.97,)}, "can write 2 tokens", False),
        ({"step": 1.2, "length": 2.4, "k": 4, "survivals": (0.75, 0.65)}, "it pays", True),
        ({"step": 1.3, "length": 1.05, "k": 4, "survivals": (0.05, 0.003)}, "does not fit", True),
        ({"step": 1.3, "length": 1.1, "k": 4}, "does not fit", True),
        ({"step": 2.5, "length": 2.0, "k": 4, "survivals": (0.6, 0.4)}, "step cost", True),
        (
            {"step": 1.5, "length": 1.38, "k": 4, "survivals": (0.37, 0.01)},
            "acceptance is low",
            True,
        ),
        (
            {"step": 1.4, "length": 1.3, "k": 4, "survivals": (0.12, 0.1, 0.08)},
            "position-1 collapse: the first token stands in 12%",
            True,
        ),
        (
            {"step": 1.2, "length": 2.5, "k": 4, "survivals": (0.7, 0.5), "draft_share": 0.05},
            "workload: 5% of the steps have a draft",
            True,
        ),
        (
            {"step": 3.0, "length": 2.5, "k": 4, "survivals": (0.6, 0.45), "requests": 64.0},
            "saturation: 64 requests make 320 rows",
            True,
        ),
        (
            {
                "step": 3.0,
                "length": 2.4,
                "k": 4,
                "survivals": (0.7, 0.5),
                "draft_seconds": 1.7,
            },
            "drafting cost: drafting takes 1700.00 ms",
            True,
        ),
    ],
)
def test_the_cause(case: dict[str, Any], says: str, winnable: bool) -> None:
    found = judge(**case)
    assert says in found.cause
    assert found.winnable == winnable
    assert found.speedup == pytest.approx(found.length / found.break_even)
    assert found.gain.low < found.speedup < found.gain.high


def test_the_public_case() -> None:
    """FACTS.md, section 3: 96.6% accepted, and no drafter could win."""
    case: dict[str, Any] = {"baseline": 2.93, "step": 15.4, "length": 1.97, "k": 1}
    found = judge(**case, survivals=(0.97,))
    assert found.break_even == pytest.approx(5.26, abs=0.01)
    assert found.ceiling == 2
    assert "no k = 1 drafter can win" in found.advice
    assert "no arithmetic explains" in found.advice  # 4.3 plain steps for one token more
    assert found.confidence == "high"
    assert names(found) == [losses.STEP]


def test_shares_add_up_and_hold_their_intervals() -> None:
    found = judge(2.0, 1.2, 3, (0.1, 0.05, 0.05), requests=8.0)
    assert sum(each.share.value for each in found.causes) == pytest.approx(1.0, abs=0.1)
    assert all(each.share.low <= each.share.value <= each.share.high for each in found.causes)
    assert [each.share.value for each in found.causes] == sorted(
        (each.share.value for each in found.causes), reverse=True
    )


def test_two_causes_within_each_other_s_intervals_are_both_named() -> None:
    """Rows of eight requests: a slow path on a large machine, or a small machine that is full."""
    found = judge(2.2, 2.0, 3, (0.6, 0.3, 0.1), requests=10.0)
    assert {each.name for each in found.named} == {losses.STEP, losses.SATURATION}
    assert found.confidence != "high"
    alone = judge(2.2, 2.0, 3, (0.6, 0.3, 0.1), requests=1.0)
    assert [each.name for each in alone.named] == [losses.STEP]


def test_confidence_follows_counts() -> None:
    few = judge(1.15, 1.11, 2, (0.1, 0.01), rounds=20)
    many = judge(1.15, 1.11, 2, (0.1, 0.01), rounds=4000)
    assert few.findings[0].chance < many.findings[0].chance
    assert many.confidence == "high"
    assert many.findings[0].name == losses.MISMATCH
    width = [each.causes[0].share.high - each.causes[0].share.low for each in (few, many)]
    assert width[0] > width[1]


@pytest.mark.parametrize(
    ("changed", "hidden"),
    [
        ({}, ("drafting cost",)),
        ({"draft_seconds": 0.1}, ()),
        ({"draft_seconds": 0.1, "requests": None}, ("saturation",)),
    ],
)
def test_what_looks_the_same_is_said(changed: dict[str, Any], hidden: tuple[str, ...]) -> None:
    found = judge(3.0, 2.4, 3, (0.7, 0.5, 0.2), **changed)
    assert found.findings[0].name == losses.STEP
    assert found.findings[0].hides == hidden
    assert set(hidden) <= set(found.unknown)


def test_without_positions_a_collapse_looks_like_a_mismatch() -> None:
    found = judge(1.2, 1.1, 3)
    assert found.findings[0].hides == ("position-1 collapse", "workload")
    assert "position-1 collapse or workload would look the same" in found.cause


def test_preempted_requests_are_a_loss_that_steps_do_not_show() -> None:
    counts: dict[str, Any] = {"rounds": ROUNDS, "drafted": 2 * ROUNDS, "accepted": ROUNDS}
    on = Reading(
        "on",
        **counts,
        accepted_per_position=(0.6 * ROUNDS, 0.4 * ROUNDS),
        steps=ROUNDS,
        step_seconds=0.022,
        tokens_per_second=300.0,
        requests=4.0,
        draft_seconds=0.0004,
        preemptions=120,
    )
    off = Reading("off", step_seconds=0.02, tokens_per_second=580.0, requests=12.0, steps=9000)
    found = diagnose(on, off)
    assert (found.findings[0].name, found.confidence) == (losses.PREEMPTION, "high")
    assert found.gain.high < 1 < found.speedup


def test_waiting_without_a_count_of_preemptions_is_unknown() -> None:
    on = Reading(
        "on",
        ROUNDS,
        2 * ROUNDS,
        ROUNDS,
        (0.6 * ROUNDS, 0.4 * ROUNDS),
        tokens_per_second=300.0,
        requests=4.0,
        steps=ROUNDS,
        waiting=9.0,
        kv_usage=0.95,
    )
    off = Reading("off", tokens_per_second=580.0, requests=12.0, waiting=0.0, kv_usage=0.7)
    found = diagnose(on, off)
    assert found.findings[0].name == losses.UNKNOWN
    assert "num_preemptions" in found.advice


def test_what_may_pay_names_what_holds_it_back() -> None:
    surely = judge(1.2, 2.4, 4, (0.7, 0.4))
    assert (names(surely)[0], surely.confidence) == (PAYS, "high")
    assert [each.name for each in surely.named] == [PAYS]
    near = judge(1.2, 1.17, 4, (0.12, 0.05))
    assert PAYS not in names(near)
    assert near.is_open
    assert not surely.is_open
    assert near.gain.low < 1 < near.gain.high


def test_steps_without_a_draft_lower_what_can_be_reached() -> None:
    found = judge(1.5, 3.0, 4, draft_share=0.5)
    assert (found.length, found.ceiling, found.speedup) == (2.0, 3.0, pytest.approx(2 / 1.5))


def test_a_verdict_is_the_same_each_time() -> None:
    case: dict[str, Any] = {"step": 1.6, "length": 1.5, "k": 3, "requests": 9.0}
    assert judge(**case) == judge(**case)


def test_runs_that_cannot_be_compared() -> None:
    off = Reading("off", step_seconds=1.0)
    with pytest.raises(ReadingError, match="drafted nothing"):
        diagnose(off, off)
    on = Reading("on", 10, 20, 5, step_seconds=1.0)
    with pytest.raises(ReadingError, match="speculates too"):
        diagnose(on, on)
    with pytest.raises(ReadingError, match="step time"):
        diagnose(on, Reading("off"))


def test_a_step_that_drafts_made_faster_is_another_run_s() -> None:
    """Nothing stood, and yet 2.5 times the speed: no gain of speculation's."""
    found = judge(0.4, 1.0, 3, (0.0, 0.0, 0.0))
    assert PAYS not in names(found)
    assert names(found)[0] == losses.MISMATCH
    off = Reading("off", step_seconds=1.0)
    for step, said in ((0.4, True), (0.95, False), (1.2, False)):
        on = Reading("on", 10, 20, 5, step_seconds=step)
        assert any("drafts can but add to it" in each for each in caveats(on, off)) is said
