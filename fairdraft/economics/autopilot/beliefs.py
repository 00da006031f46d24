"""Beliefs about drafts: how likely each token of a method's next draft is to be accepted.

Counts of drafted and accepted tokens alone, of the workload and of each request; no token is kept,
so that they leak no text from one request to another. Caches of text (a suffix index) are the
proposers' own.

A draft's j-th token stands, given those before it, with the workload's rate for drafts of its kind.
A request does better or worse than that. Of the tokens it tested, a share stood; drawn towards what
the workload's rates say of the same tokens, by so many tokens' worth of evidence, that share tells
an exponent φ, and a token stands with rate^φ (proportional hazards, Cox 1972):

    φ = log((stood + N·r̄^ψ) / (tested + N)) / log r̄,   r̄ = mean rate of the tokens tested

ψ is the like of the latest drafts of anybody: a new request starts from what goes on now. Only what
was verified counts, or what the text then said of a draft that was chosen, not drawn.

Lists of k numbers, looked at and noted in every step: numpy would take longer to be called.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

Counts = tuple[float, float, float]  # tokens tested, that stood, that were expected to

NOTHING: Counts = (0.0, 0.0, 0.0)

PRIOR_RATES = (0.6, 0.85)  # of a lookup's first token, and of each behind one that stood
DRAFTER_RATES = (0.5, 0.7)  # likewise of a drafter's, which copies no phrases
PRIOR_TOKENS = 3.0  # so many tokens' worth of evidence is that, and a kind's likeness to the rest
OWN_TOKENS = 20.0  # N
MEMORY = 0.995  # a draft counts this much less with each one after it: traffic changes
OWN_MEMORY = 0.98  # likewise of a request's own, and of the latest of anybody's
UNTESTED_MEMORY = 0.93  # of both, with each step in which nothing was drafted to test them
RATES_MEMORY = 0.997  # of the workload's rates, likewise
REFRESH = 8  # drafts noted before rates are worked out anew
MOST_LIKELY, LEAST_LIKELY = 0.1, 10.0  # bounds of φ


class _Drafts:
    """Counts of drafts, by place: of those that tested the token there, how many had it stand.

    Older drafts count less.
    """

    def __init__(self, k: int) -> None:
        self.tested, self.stood = [0.0] * k, [0.0] * k

    def rates(self, prior: Sequence[float]) -> list[float]:
        """Return the rates [k] at which tested tokens stood, drawn towards a prior [k]."""
        return [
            (stood + rate * PRIOR_TOKENS) / (tested + PRIOR_TOKENS)
            for tested, stood, rate in zip(self.tested, self.stood, prior, strict=True)
        ]

    def note(self, tested: int, stood: int) -> tuple[list[float], list[float]]:
        """Count one draft; return by how much `tested` and `stood` grew, [k] each."""
        grown = (
            [(MEMORY - 1) * n + (i < tested) for i, n in enumerate(self.tested)],
            [(MEMORY - 1) * n + (i < stood) for i, n in enumerate(self.stood)],
        )
        self.add(grown)
        return grown

    def add(self, grown: tuple[list[float], list[float]]) -> None:
        """Add to the counts, as `note` of another kind of drafts returned it."""
        tested, stood = grown
        self.tested = [n + more for n, more in zip(self.tested, tested, strict=True)]
        self.stood = [n + more for n, more in zip(self.stood, stood, strict=True)]

    def fade(self, memory: float) -> None:
        """Let every draft counted so far weigh less."""
        self.tested = [n * memory for n in self.tested]
        self.stood = [n * memory for n in self.stood]


class Beliefs:
    """Survivals that one method's drafts are expected to have, learned from their verdicts.

    Args:
        k: longest draft.
        prior: rates before anything was seen, of a draft's first token and of each behind it.
    """

    def __init__(self, k: int, prior: tuple[float, float] = PRIOR_RATES) -> None:
        self.k = k
        self._prior = [prior[0], *[prior[1]] * (k - 1)]
        self._kinds: defaultdict[Hashable, _Drafts] = defaultdict(lambda: _Drafts(k))
        self._all = _Drafts(k)
        self._stale = 0
        self._rates: dict[Hashable, list[float]] = {}
        self._own: dict[str, Counts] = {}
        self._latest: Counts = NOTHING

    def rates(self, kind: Hashable) -> list[float]:
        """Return the rates [k]: of each token, given those before it, in drafts of this kind."""
        found = self._rates.get(kind)
        if found is None:
            found = self._rates[kind] = self._kinds[kind].rates(self._all.rates(self._prior))
        return found

    def survivals(self, request_id: str, kind: Hashable, length: int) -> list[float]:
        """Return the survivals [k] of a request's next draft of so many tokens, 0 beyond them."""
        likeness, standing = self._likeness(request_id), 1.0
        found = [0.0] * self.k
        for i, rate in enumerate(self.rates(kind)[:length]):
            standing *= rate**likeness
            found[i] = standing
        return found

    def _likeness(self, request_id: str) -> float:
        """Return φ of a request: its tokens stand with the workload's rate to this power."""
        now = _shrunk(self._latest, 1.0)
        own = self._own.get(request_id)
        return now if own is None else _shrunk(own, now)

    def record(self, request_id: str, kind: Hashable, drafted: int, stood: int) -> None:
        """Learn from the verdict on a draft.

        Args:
            request_id: whose.
            kind: of draft.
            drafted: tokens that could be tested, at least 1; those beyond k are left out.
            stood: how many of them did.
        """
        drafted, stood = min(drafted, self.k), min(stood, self.k)
        tested = min(stood + 1, drafted)
        new = (tested, stood, sum(self.rates(kind)[:tested]))
        self._own[request_id] = _faded(self._own.get(request_id, NOTHING), OWN_MEMORY, new)
        self._latest = _faded(self._latest, OWN_MEMORY, new)
        self._all.add(self._kinds[kind].note(tested, stood))
        self._stale += 1
        if self._stale >= REFRESH:
            self._stale = 0
            self._rates.clear()

    def fade(self, request_ids: Sequence[str], everybody: bool, steps: int) -> None:
        """Trust beliefs less about requests for which nothing was drafted to test them.

        Args:
            request_ids: that decode, but drafted nothing with this method.
            everybody: nobody else did either: what is known of the workload grows old too.
            steps: for which this was so.
        """
        memory = UNTESTED_MEMORY**steps
        for name in request_ids:
            if name in self._own:
                self._own[name] = _faded(self._own[name], memory)
        if not everybody:
            return
        self._latest = _faded(self._latest, memory)
        for counts in (self._all, *self._kinds.values()):
            counts.fade(RATES_MEMORY**steps)
        self._stale += 1
        if self._stale >= REFRESH:
            self._stale = 0
            self._rates.clear()

    def forget(self, request_id: str) -> None:
        """Forget a request that ended; what the workload learnt from it stays."""
        self._own.pop(request_id, None)


def _shrunk(counts: Counts, towards: float) -> float:
    """Return the exponent φ that these counts tell, drawn towards another one, within bounds."""
    tested, stood, expected = counts
    if tested < 1e-3:
        return towards
    mean = min(max(expected / tested, 0.02), 0.98)
    share = (stood + OWN_TOKENS * mean**towards) / (tested + OWN_TOKENS)
    return min(max(math.log(min(share, 0.999)) / math.log(mean), MOST_LIKELY), LEAST_LIKELY)


def _faded(counts: Counts, memory: float, new: Counts = NOTHING) -> Counts:
    """Return the counts with older ones weighing less and new ones in full."""
    tested, stood, expected = (memory * old + more for old, more in zip(counts, new, strict=True))
    return tested, stood, expected
