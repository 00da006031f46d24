"""The scan behind the controller: draft tokens added while they pay at the rate achieved."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PACE_MEMORY = 0.95  # of what steps came to
_TIE = 1e-9  # tokens; of equal plans the one with shorter drafts is taken


class Pace:
    """What steps come to of late, in plain steps: the rate that a step's time is worth.

    Attributes:
        speedup: tokens a second over those of plain steps, 1 at least; any number of requests.
    """

    def __init__(self) -> None:
        self.speedup = self._tokens = self._seconds = 1.0

    def add(self, tokens: float, seconds: float, steps: int = 1) -> None:
        """Note a step.

        Args:
            tokens: over those of a plain step.
            seconds: likewise.
            steps: since the last one noted, this one included.
        """
        memory = PACE_MEMORY**steps
        self._tokens += (1 - memory) * (tokens - self._tokens)
        self._seconds += (1 - memory) * (seconds - self._seconds)
        self.speedup = max(self._tokens / self._seconds, 1.0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def fill(
    gains: FloatArray,
    own: FloatArray,
    plain: FloatArray,
    costs: FloatArray,
    behind: float,
    longest: int,
    rate: float,
) -> tuple[float, float, NDArray[np.int64], NDArray[np.bool_]]:
    """The lengths of the highest worth, B + Σ survivals − rate · (step + drafting).

    With the rate that is achieved in the long run, this is what makes that rate highest (renewal
    reward: Ross 1983, III.3; Dinkelbach 1967). A step's own rate would cut drafts short in good
    steps and stretch them in bad ones.

    For every length that a drafter may draft at most, requests to which it promises more than what
    lookups found are its own. Then tokens are added one by one, the likeliest of any request next.

    Args:
        gains: [B, k] survivals of what lookups found, 0 beyond its end.
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
            if tokens - rate * seconds > best_worth + _TIE:
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
