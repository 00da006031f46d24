"""The best draft length of several, and the one rule by which ties are broken."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE = 1e-9  # relative; far above rounding, far below any difference worth a longer draft


def best_k(gains: ArrayLike, ks: ArrayLike | None = None) -> NDArray[np.int64]:
    """Return the draft length of the highest gain, the shortest of those that tie with it.

    Gains tie within a relative 1e-9 of the highest.

    Args:
        gains: [..., n] speedups, their logarithms or tokens a second: whatever is to be highest.
        ks: [n] rising draft lengths; by default 0 … n − 1. 0 means: do not speculate.

    Returns:
        [...]; `int()` of it where there is one row of gains.
    """
    found = np.asarray(gains, dtype=np.float64)
    most = found.max(axis=-1, keepdims=True)
    places = (found >= most - TIE * np.abs(most)).argmax(axis=-1)
    return np.asarray(places if ks is None else np.asarray(ks)[places], dtype=np.int64)
