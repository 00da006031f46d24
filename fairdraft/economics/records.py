"""What each method's drafts have come to: survivals of the workload, and of each request.

A draft's j-th token stands, given those before it, with the workload's rate for drafts of its kind.
A request fails more or less often than that; how much is a Gamma-Poisson estimate,

    φ = (failures + M·ψ) / (failures expected + M),   ψ likewise of the latest drafts of anybody

so that a new request starts from what goes on now, and that from the workload's rates; a token
stands with rate^φ, as if failures came in a Poisson process φ times as dense. Only what
was verified counts, or what the text then said of a draft that was chosen, not drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PRIOR_RATES = (0.6, 0.85)  # of a draft's first token, and of each behind one that stood
PRIOR_TOKENS = 3.0  # so many tokens' worth of evidence is that, and a kind's likeness to the rest
PRIOR_FAILURES = 4.0  # M
MEMORY = 0.99  # a draft counts this much less with each one after it: traffic changes
OWN_MEMORY = 0.95  # likewise of a request's own, and of the latest of anybody's
UNTESTED_MEMORY = 0.93  # of both, with each step in which nothing was drafted to test them
RATES_MEMORY = 0.997  # of the workload's rates, likewise
REFRESH = 8  # drafts noted before rates are worked out anew
MOST_LIKELY, LEAST_LIKELY = 0.1, 6.0  # bounds of φ


class Records:
    """One method's.

    Args:
        k: longest draft.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self._prior = np.array([PRIOR_RATES[0], *[PRIOR_RATES[1]] * (k - 1)])
        # [2, k] each: drafts that tested the token, and those in which it stood; older ones faded.
        self._kinds: defaultdict[Hashable, FloatArray] = defaultdict(lambda: np.zeros((2, k)))
        self._all: FloatArray = np.zeros((2, k))
        self._stale = 0
        self._rates: dict[Hashable, FloatArray] = {}
        self._own: dict[str, tuple[float, float]] = {}  # failures, and those expected
        self._latest = (0.0, 0.0)  # likewise, of anybody

    def rates(self, kind: Hashable) -> FloatArray:
        """[k]: of each token, given those before it, in drafts of this kind."""
        found = self._rates.get(kind)
        if found is None:
            tested, stood = self._all
            everybody = (stood + self._prior * PRIOR_TOKENS) / (tested + PRIOR_TOKENS)
            tested, stood = self._kinds[kind]
            found = (stood + everybody * PRIOR_TOKENS) / (tested + PRIOR_TOKENS)
            self._rates[kind] = found
        return found

    def survivals(self, request_ids: Sequence[str], kinds: Sequence[Hashable]) -> FloatArray:
        """[requests, k]: S_1 … of each request's next draft."""
        rates = np.array([self.rates(kind) for kind in kinds])
        likeness = np.array([[self._likeness(name)] for name in request_ids])
        found: FloatArray = (rates**likeness).cumprod(1)
        return found

    def _likeness(self, request_id: str) -> float:
        """φ."""
        now = _shrunk(self._latest, 1.0)
        own = self._own.get(request_id)
        return now if own is None else _shrunk(own, now)

    def record(self, request_id: str, kind: Hashable, drafted: int, stood: int) -> None:
        """Note what became of a draft.

        Args:
            request_id: whose.
            kind: of draft.
            drafted: tokens that could be tested, at least 1.
            stood: how many of them did.
        """
        tested = min(stood + 1, drafted)
        surprise = float((1 - self.rates(kind)[:tested]).sum())
        failed = stood < drafted
        self._own[request_id] = _faded(self._own.get(request_id, (0.0, 0.0)), failed, surprise)
        self._latest = _faded(self._latest, failed, surprise)
        kept = self._kinds[kind]
        before = kept.copy()
        kept *= MEMORY
        kept[0, :tested] += 1
        kept[1, :stood] += 1
        self._all += kept - before
        self._stale += 1
        if self._stale >= REFRESH:
            self._stale = 0
            self._rates.clear()

    def fade(self, request_ids: Sequence[str]) -> None:
        """These requests were not tested: what is known of them, and of late, grows old."""
        for name in request_ids:
            if name in self._own:
                failures, expected = self._own[name]
                self._own[name] = UNTESTED_MEMORY * failures, UNTESTED_MEMORY * expected
        failures, expected = self._latest
        self._latest = UNTESTED_MEMORY * failures, UNTESTED_MEMORY * expected
        for counts in (self._all, *self._kinds.values()):
            counts *= RATES_MEMORY
        self._stale += 1
        if self._stale >= REFRESH:
            self._stale = 0
            self._rates.clear()

    def forget(self, request_id: str) -> None:
        """A request ended; what the workload learnt from it stays."""
        self._own.pop(request_id, None)


def _shrunk(counts: tuple[float, float], towards: float) -> float:
    """Failures / expected, drawn towards a prior, within bounds."""
    failures, expected = counts
    found = (failures + PRIOR_FAILURES * towards) / (expected + PRIOR_FAILURES)
    return min(max(found, MOST_LIKELY), LEAST_LIKELY)


def _faded(counts: tuple[float, float], failed: bool, surprise: float) -> tuple[float, float]:
    return OWN_MEMORY * counts[0] + failed, OWN_MEMORY * counts[1] + surprise
