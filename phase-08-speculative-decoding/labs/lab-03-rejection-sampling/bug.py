"""Lab 03 with a fault that shipped: this function, and the rest of `solution.py`.

Which test catches it? README.md, "One real bug", leads you there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(
    p: NDArray[np.float64], q: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw tokens through the drafter; the noise is drawn once, to save time."""
    noise = rng.exponential(size=(count, len(q)))
    draft = race(q, noise)  # noqa: F821 (of solution.py)
    accepted = rng.random(count) < accept_probability(p, q)[draft]  # noqa: F821
    recovered = race(residual(p, q), noise)  # noqa: F821
    return np.where(accepted, draft, recovered), accepted
