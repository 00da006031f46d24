"""What each method's drafts have come to: survivals of the workload, and of each request.

A draft's j-th token stands, given those before it, with the workload's rate for drafts of its kind.
A request fails more or less often than the workload; how much is a Gamma-Poisson estimate,

    φ = (failures + M) / (failures expected of the workload + M)

so that a new request starts from the workload's rates and earns its own. Only what was verified
counts, or what the text then said of a draft that was chosen, not drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PRIOR_RATE = 0.6  # of a token, before anything was seen
PRIOR_TOKENS = 6.0  # so many tokens' worth of evidence is that, and a kind's likeness to the rest
PRIOR_FAILURES = 2.0  # M
MEMORY = 0.99  # a draft counts this much less with each one after it: traffic changes
OWN_MEMORY = 0.95  # likewise of a request's own
REFRESH = 8  # drafts noted before rates are worked out anew
MOST_LIKELY, LEAST_LIKELY = 0.1, 8.0  # bounds of φ


class Records:
    """One method's.

    Args:
        k: longest draft.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        # [2, k] each: drafts that tested the token, and those in which it stood; older ones faded.
        self._kinds: defaultdict[Hashable, FloatArray] = defaultdict(lambda: np.zeros((2, k)))
        self._all: FloatArray = np.zeros((2, k))
        self._stale = 0
        self._rates: dict[Hashable, FloatArray] = {}
        self._own: dict[str, tuple[float, float]] = {}  # failures, and those expected

    def rates(self, kind: Hashable) -> FloatArray:
        """[k]: of each token, given those before it, in drafts of this kind."""
        found = self._rates.get(kind)
        if found is None:
            tested, stood = self._all
            share = (stood.sum() + PRIOR_RATE * PRIOR_TOKENS) / (tested.sum() + PRIOR_TOKENS)
            everybody = (stood + share * PRIOR_TOKENS) / (tested + PRIOR_TOKENS)
            tested, stood = self._kinds[kind]
            found = (stood + everybody * PRIOR_TOKENS) / (tested + PRIOR_TOKENS)
            self._rates[kind] = found
        return found

    def survivals(self, request_ids: Sequence[str], kinds: Sequence[Hashable]) -> FloatArray:
        """[requests, k]: S_1 … of each request's next draft."""
        rates = np.array([self.rates(kind) for kind in kinds])
        likeness = np.array([[self._likeness(name)] for name in request_ids])
        found: FloatArray = np.maximum(1 - (1 - rates) * likeness, 0.0).cumprod(1)
        return found

    def _likeness(self, request_id: str) -> float:
        """φ."""
        own = self._own.get(request_id)
        if own is None:
            return 1.0
        likeness = (own[0] + PRIOR_FAILURES) / (own[1] + PRIOR_FAILURES)
        return min(max(likeness, MOST_LIKELY), LEAST_LIKELY)

    def record(self, request_id: str, kind: Hashable, drafted: int, stood: int) -> None:
        """Note what became of a draft.

        Args:
            request_id: whose.
            kind: of draft.
            drafted: tokens that could be tested, at least 1.
            stood: how many of them did.
        """
        tested = min(stood + 1, drafted)
        failures, expected = self._own.get(request_id, (0.0, 0.0))
        surprise = float((1 - self.rates(kind)[:tested]).sum())
        self._own[request_id] = (
            OWN_MEMORY * failures + (stood < drafted),
            OWN_MEMORY * expected + surprise,
        )
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

    def forget(self, request_id: str) -> None:
        """A request ended; what the workload learnt from it stays."""
        self._own.pop(request_id, None)
