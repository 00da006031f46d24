"""Lab 02 with a fault that ships: this function, and the rest of `solution.py`.

Which test catches it? README.md, "One real bug", leads you there.
"""

from __future__ import annotations

from collections.abc import Sequence


def survivals(steps: Sequence[tuple[int, int]]) -> list[float]:
    """Return per position the share of rounds in which the draft stood there."""
    deepest = max((drafted for drafted, _ in steps), default=0)
    return [
        sum(accepted >= place for _, accepted in steps) / len(steps)
        for place in range(1, deepest + 1)
    ]
