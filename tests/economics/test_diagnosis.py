"""What is said of runs whose trouble is known."""

from __future__ import annotations

from typing import Any

import pytest

from fairdraft.economics.diagnosis import diagnose


@pytest.mark.parametrize(
    ("case", "says", "winnable"),
    [
        ({"step": 15.4, "length": 1.97, "k": 1, "survivals": [0.97]}, "can write 2 tokens", False),
        ({"step": 1.2, "length": 2.4, "k": 4, "survivals": [0.7, 0.4]}, "it pays", True),
        ({"step": 1.3, "length": 1.05, "k": 4, "survivals": [0.05]}, "does not fit", True),
        ({"step": 2.5, "length": 2.2, "k": 4, "survivals": [0.6, 0.4]}, "step cost", True),
        ({"step": 1.4, "length": 1.3, "k": 4, "survivals": [0.4, 0.1]}, "are needed", True),
    ],
)
def test_the_cause(case: dict[str, Any], says: str, winnable: bool) -> None:
    found = diagnose(baseline=2.93 if case["step"] > 10 else 1.0, **case)
    assert says in found.cause
    assert found.winnable == winnable
    assert found.speedup == pytest.approx(found.length / found.break_even)


def test_estimates_lower_the_confidence() -> None:
    case: dict[str, Any] = {"baseline": 1.0, "step": 1.2, "length": 2.0, "k": 3}
    assert diagnose(**case).confidence == "high"
    assert diagnose(**case, measured=False).confidence == "medium"
