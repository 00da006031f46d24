"""Draft lengths of the highest worth: draft tokens are added while they pay at the rate achieved.

`allocate` is the definition. What a proposer hands in instead may be compiled, but must return the
same (`proposers/allocate_compiled.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Allocation = tuple[float, float, NDArray[np.int64], NDArray[np.bool_]]
Allocate = Callable[[FloatArray, FloatArray, FloatArray, FloatArray, float, int, float], Allocation]

PACE_MEMORY = 0.95  # of what steps came to
TIE = 1e-9  # tokens; of equal plans the one with shorter drafts is taken


class Pace:
    """What steps came to of late, in plain steps: the rate that a step's time is worth.

    Attributes:
        speedup: tokens a second over those of plain steps, 1 at least; any number of requests.
    """

    def __init__(self) -> None:
        self.speedup = self._tokens = self._seconds = 1.0

    def add(self, tokens: float, seconds: float, steps: int = 1) -> None:
        """Note a step.

        Args:
            tokens: expected, over those of a plain step.
            seconds: likewise.
            steps: since the last one noted, this one included.
        """
        memory = PACE_MEMORY**steps
        self._tokens += (1 - memory) * (tokens - self._tokens)
        self._seconds += (1 - memory) * (seconds - self._seconds)
        self.speedup = max(self._tokens / self._seconds, 1.0)


def allocate(
    gains: FloatArray,
    own: FloatArray,
    plain: FloatArray,
    costs: FloatArray,
    behind: float,
    longest: int,
    rate: float,
) -> Allocation:
    """Return the draft lengths of the highest worth, B + Σ survivals − rate · (step + drafting).

    With the rate that is achieved in the long run, this is what makes that rate highest (renewal
    reward: Ross 1983, III.3; Dinkelbach 1967). A step's own rate would cut drafts short in good
    steps and stretch them in bad ones.

    For every length that a drafter may draft at most, requests to which it promises more than what
    lookups found are its own. Then tokens are added one by one, the likeliest of any request next;
    of equally likely ones, the earlier request's.

    Args:
        gains: [B, k] survivals of what lookups found, never rising along a row, 0 beyond its end.
        own: [B, k] likewise of what the drafter could draft.
        plain: [B·k + 1] seconds of a step with so many draft tokens.
        costs: [B + 1, k + 1] seconds of the drafter for so many requests, so many tokens at most.
        behind: seconds that it needs before it drafts.
        longest: tokens that it may be asked for; 0 leaves it out.
        rate: tokens that a second is worth.

    Returns:
        Expected tokens and seconds, [B] draft lengths, and [B] whose draft the drafter makes.
    """
    count, k = gains.shape
    depths = np.tile(np.arange(k), count)
    rows = np.repeat(np.arange(count), k)
    # Sums along a row are taken in order, as a compiled loop takes them.
    promised, found = own.cumsum(1), gains.cumsum(1)[:, -1]
    most_worth, best = -np.inf, (0.0, 0.0, np.zeros(count, np.int64), np.zeros(count, np.bool_))
    for cap in range(longest + 1):
        takes = promised[:, cap - 1] > found if cap else np.zeros(count, np.bool_)
        if cap and not takes.any():
            continue
        chances = np.where(takes[:, None], own * (np.arange(k) < cap), gains).ravel()
        order = np.argsort(-chances, kind="stable")[: np.count_nonzero(chances > 0)]
        drafted = takes[rows[order]]  # by the drafter
        tokens = np.cumsum([float(count), *chances[order]])
        asked = np.cumsum([0, *(drafted & (depths[order] == 0))])
        deepest = np.maximum.accumulate([0, *np.where(drafted, depths[order] + 1, 0)])
        seconds = plain[: len(tokens)] + costs[asked, deepest] + np.where(asked, behind, 0.0)
        added = -1
        for number, worth in enumerate((tokens - rate * seconds).tolist()):
            if worth > most_worth + TIE:
                most_worth, added = worth, number
        if added >= 0:
            lengths = np.bincount(rows[order[:added]], minlength=count)
            best = float(tokens[added]), float(seconds[added]), lengths, takes & (lengths > 0)
    return best
