"""`economics.autopilot.allocate`, compiled: it runs between any two steps that may draft."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.autopilot.allocate import TIE

FloatArray = NDArray[np.float64]


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def allocate_compiled(
    gains: FloatArray,
    own: FloatArray,
    plain: FloatArray,
    costs: FloatArray,
    behind: float,
    longest: int,
    rate: float,
) -> tuple[float, float, NDArray[np.int64], NDArray[np.bool_]]:
    """Return what `allocate` returns, to the bit; arguments as there."""
    count, k = gains.shape
    best_worth, best_tokens, best_seconds = -np.inf, 0.0, 0.0
    best_lengths = np.zeros(count, np.int64)
    best_takes = np.zeros(count, np.bool_)
    for cap in range(longest + 1):
        takes = np.zeros(count, np.bool_)
        for i in range(count):
            takes[i] = own[i, :cap].sum() > gains[i].sum()
        if cap > 0 and not takes.any():
            continue
        lengths = np.zeros(count, np.int64)
        tokens, deepest, asked = float(count), 0, 0
        for extra in range(plain.size):
            seconds = plain[extra] + costs[asked, deepest] + (behind if asked else 0.0)
            if tokens - rate * seconds > best_worth + TIE:
                best_worth = tokens - rate * seconds
                best_tokens, best_seconds = tokens, seconds
                best_lengths[:] = lengths
                best_takes[:] = takes
            most, row = 0.0, -1
            for i in range(count):
                depth = lengths[i]
                if takes[i]:
                    chance = own[i, depth] if depth < cap else 0.0
                else:
                    chance = gains[i, depth] if depth < k else 0.0
                if chance > most:
                    most, row = chance, i
            if row < 0:
                break
            if takes[row]:
                asked += lengths[row] == 0
                deepest = max(deepest, lengths[row] + 1)
            lengths[row] += 1
            tokens += most
    for i in range(count):
        best_takes[i] = best_takes[i] and best_lengths[i] > 0
    return best_tokens, best_seconds, best_lengths, best_takes
