"""Holm's correction for several hypotheses that are tested at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float], level: float = 0.01) -> list[bool]:
    """Return which hypotheses are rejected, with a family-wise error of at most `level`.

    Holm 1979: the p-values in rising order against level / n, level / (n − 1), …; the first that
    is not below its bound ends it.

    Args:
        p_values: [n], one a hypothesis.
        level: probability of at least one false rejection.
    """
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected
