"""Lab 01 with a fault that shipped: this function, and the rest of `solution.py`.

Which test catches it? README.md, "One real bug", leads you there.
"""

from __future__ import annotations


def until_end(gained: list[int], eos: int | None) -> list[int]:
    """Keep a round's tokens; the caller sees that the text ended and stops."""
    return gained
