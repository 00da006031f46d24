"""Lab 04 with a fault that ships: this function, and the rest of `solution.py`.

Which test catches it? README.md, "One real bug", leads you there.
"""

from __future__ import annotations


def alpha_from_counters(num_drafted: int, num_accepted: int, num_rejections: int) -> float:
    """Return α as dashboards show it."""
    return num_accepted / num_drafted if num_drafted else 0.0
