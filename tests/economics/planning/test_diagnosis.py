"""What is said of runs whose trouble is known."""

from __future__ import annotations

from typing import Any

import pytest

from fairdraft.economics.planning.diagnosis import diagnose
from fairdraft.errors import ConfigError

PUBLIC: dict[str, Any] = {"baseline": 2.93, "step": 15.4, "length": 1.97, "k": 1}


@pytest.mark.parametrize(
    ("case", "says", "winnable"),
    [
        ({"step": 5.3, "length": 1.97, "k": 1, "survivals": [0.97]}, "can write 2 tokens", False),
        ({"step": 1.2, "length": 2.4, "k": 4, "survivals": [0.7, 0.4]}, "it pays", True),
        ({"step": 1.3, "length": 1.05, "k": 4, "survivals": [0.05]}, "does not fit", True),
        ({"step": 1.3, "length": 1.1, "k": 4}, "does not fit", True),
        ({"step": 2.5, "length": 2.2, "k": 4, "survivals": [0.6, 0.4]}, "step cost", True),
        ({"step": 1.4, "length": 1.3, "k": 4, "survivals": [0.4, 0.1]}, "are needed", True),
        (
            {"step": 1.4, "length": 1.3, "k": 4, "survivals": [0.12, 0.1, 0.08]},
            "position-1 collapse: the first token stands in 12%",
            True,
        ),
        (
            {"step": 1.1, "length": 2.5, "k": 4, "survivals": [0.7, 0.5], "draft_share": 0.05},
            "workload: 5% of the steps have a draft",
            True,
        ),
        (
            {"step": 3.0, "length": 2.5, "k": 4, "survivals": [0.6, 0.45], "requests": 64},
            "saturation: 64 requests make 320 rows",
            True,
        ),
    ],
)
def test_the_cause(case: dict[str, Any], says: str, winnable: bool) -> None:
    found = diagnose(baseline=1.0, **case)
    assert says in found.cause
    assert found.winnable == winnable
    assert found.speedup == pytest.approx(found.length / found.break_even)


def test_the_public_case() -> None:
    """FACTS.md, section 3: 96.6% accepted, and no drafter could win."""
    found = diagnose(**PUBLIC, survivals=[0.97], measured=False, requests=1)
    assert found.break_even == pytest.approx(5.26, abs=0.01)
    assert found.ceiling == 2
    assert "no k = 1 drafter can win" in found.advice
    assert "no arithmetic explains" in found.advice  # 4.3 plain steps for one token more
    assert found.confidence == "high"
    assert [finding.cause.split(":")[0] for finding in found.findings] == ["step cost"]


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"requests": 2}, "saturation"),  # too few rows
        ({"requests": None}, "saturation"),  # not known
        ({"step": 1.7, "length": 1.5}, "saturation"),  # rows cost little
        ({"survivals": [0.6, 0.5]}, "mismatch"),
        ({"survivals": [0.3, 0.1]}, "collapse"),  # what follows does not stand either
        ({"survivals": [0.45, 0.3]}, "collapse"),  # it stands little oftener
        ({"step": 12.0}, "saturation"),  # each row costs more than a plain step
        ({"survivals": [0.3]}, "collapse"),  # what follows is not known
        ({"survivals": [0.3, 0.27]}, "mismatch"),  # that is a collapse
        ({"draft_share": 0.6}, "workload"),
    ],
)
def test_a_cause_that_the_figures_do_not_show(changed: dict[str, Any], gone: str) -> None:
    case: dict[str, Any] = {"step": 3.0, "length": 1.6, "k": 4, "requests": 64} | changed
    found = diagnose(baseline=1.0, **case)
    assert not any(gone in finding.cause for finding in found.findings)


def test_several_causes_come_with_the_surest_first() -> None:
    found = diagnose(
        baseline=1.0, step=2.0, length=1.2, k=3, survivals=[0.1, 0.05, 0.05], requests=8
    )
    assert [finding.cause.split(":")[0] for finding in found.findings] == [
        "drafter mismatch",
        "saturation",
        "step cost",
    ]
    assert [finding.confidence for finding in found.findings] == ["high", "medium", "medium"]


def test_what_no_drafter_can_mend_comes_before_the_drafter() -> None:
    found = diagnose(baseline=1.0, step=6.0, length=1.05, k=3, survivals=[0.05, 0.0])
    assert [finding.cause.split(":")[0] for finding in found.findings] == [
        "step cost",
        "drafter mismatch",
    ]


def test_steps_without_a_draft_lower_what_can_be_reached() -> None:
    found = diagnose(baseline=1.0, step=1.5, length=3.0, k=4, draft_share=0.5)
    assert (found.length, found.ceiling, found.speedup) == (2.0, 3.0, pytest.approx(2 / 1.5))


def test_estimates_lower_the_confidence() -> None:
    case: dict[str, Any] = {"baseline": 1.0, "step": 1.2, "length": 2.0, "k": 3}
    assert diagnose(**case).confidence == "high"
    assert diagnose(**case, measured=False).confidence == "medium"
    assert diagnose(**case | {"length": 1.22}).confidence == "medium"  # noise could do that
    near: dict[str, Any] = PUBLIC | {"step": 2.93 * 2.1}
    assert diagnose(**near).confidence == "high"
    assert diagnose(**near, measured=False).confidence == "medium"


@pytest.mark.parametrize("wrong", [{"k": 0}, {"draft_share": 0.0}, {"draft_share": 1.5}])
def test_a_run_without_drafts(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="drafts nothing"):
        diagnose(**PUBLIC | wrong)
