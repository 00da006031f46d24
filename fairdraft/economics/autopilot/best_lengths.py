"""Draft lengths chosen request by request, 0 included: the batch's best tokens a second.

Every token that a request may draft has a chance to stand, its survival, and adds a row to the
step. Merged over all requests, best first, so many are taken as make the step worth most:

    worth(t) = B + Σ of the t highest survivals − r · (step(B, t) + drafting)

r is the rate that steps achieve of late: a token is added while ΔE/ΔT exceeds it. The whole scan
over t sees beyond staircases; no threshold is tuned. t = 0 is a plain step.

Lookups are asked first, for they cost next to nothing and never draw: to look at what they found is
lossless. A drafter is asked only after it is decided how far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.autopilot.allocate import Allocate, Pace, allocate
from fairdraft.economics.autopilot.backoff import Backoff
from fairdraft.economics.autopilot.decision import Decision, Offers, beliefs_of
from fairdraft.economics.costs.live_costs import LiveCosts

FloatArray = NDArray[np.float64]

EXPLORATION = 0.003  # of the time goes to drafters that do not pay as far as is known
EXPLORERS = 8  # requests at most that try together, one token each
HORIZON = 64  # steps over which reading up on the text pays off


class BestLengths:
    """Chooser of the drafts that make the batch's tokens a second highest; none, if none pays.

    Args:
        costs: of steps and drafts.
        lookups: methods whose drafts may be looked at.
        drafters: methods that must be asked.
        k: longest draft.
        allocate: the plain function of that name, or its compiled form.
    """

    defers = True

    def __init__(
        self,
        costs: LiveCosts,
        lookups: Sequence[str],
        drafters: Sequence[str],
        k: int,
        allocate: Allocate = allocate,
    ) -> None:
        self.costs = costs
        self.lookups = tuple(lookups)
        self.drafters = tuple(drafters)
        self.k = k
        self.beliefs = beliefs_of(lookups, drafters, k)
        self._allocate = allocate
        self._pace = Pace()
        self._account = 0.0  # seconds that may be spent on exploring
        self._turn = 0  # of the drafter that explores next
        self._backoff = Backoff()
        self._tested: dict[str, int] = {}  # request → decision in which a drafter was last tried
        self._decisions = 0
        self._nothing = [0.0] * k
        self._blanks: dict[int, tuple[FloatArray, FloatArray]] = {}
        none, free = self._blank(1)
        allocate(none, none, costs.steps(1, 0), free, 0.0, k, 1.0)  # compiles, if it is to be

    def rests(self, request_ids: Sequence[str]) -> bool:
        """Tell whether nothing is to be drafted in this step either; `decide` is then left out.

        Args:
            request_ids: that decode.
        """
        return self._backoff.rests(request_ids)

    def learn_deciding(self, seconds: float) -> None:
        """Note what it took to find that nothing pays, lookups included."""
        self._backoff.learn_deciding(seconds)

    def wants_lookup(self, requests: int, context: float) -> bool:
        """Tell whether lookups should be made before this decision."""
        if not self.lookups:
            return False
        cost = requests * sum(self.costs.lookup(method) for method in self.lookups)
        return self._backoff.wants_lookup(cost / float(self.costs.steps(requests, context)[0]))

    def decide(
        self,
        request_ids: Sequence[str],
        found: Sequence[Offers],
        asked: Sequence[Offers],
        context: float,
        behind: Mapping[str, float] | None = None,
        looked: bool = True,
    ) -> Decision:
        """Return the drafts of the next step; arguments as of `Chooser.decide`."""
        self._decisions += 1
        passed = max(self._backoff.passed, 1)
        waits = behind or {}
        count = len(request_ids)
        plain = self.costs.steps(count, context)
        if not (self.drafters or any(found)):
            self._pace.add(1.0, 1.0, passed)
            nothing = 0.0 if looked else None
            self._backoff.decided(request_ids, False, False, nothing, float(plain[0]))
            return Decision([None] * count, [0] * count)
        gains, chosen = self._lookup_gains(request_ids, found)
        base = count / float(plain[0])
        pace = base * self._pace.speedup
        if any(found):
            nobody, free = self._blank(count)
            tokens, seconds, best, _ = self._allocate(gains, nobody, plain, free, 0.0, 0, pace)
        else:
            tokens, seconds, best = float(count), float(plain[0]), np.zeros(count, np.int64)
        methods: list[str | None] = list(chosen)
        brought = tokens / seconds / base - 1
        promised: dict[str, FloatArray] = {}
        for drafter in self.drafters:
            own = promised[drafter] = self._gains(drafter, request_ids, asked)
            costs = self.costs.drafts(drafter, count, context)
            late = waits.get(drafter, 0.0) / HORIZON
            plan = self._allocate(gains, own, plain, costs, late, self.k, pace)
            if plan[0] - pace * plan[1] > tokens - pace * seconds:
                tokens, seconds, best, takes = plan
                methods = [
                    drafter if taken else name for taken, name in zip(takes, chosen, strict=True)
                ]
        self._pace.add(tokens / count, seconds / float(plain[0]), passed)
        paying = bool(best.any())
        if self.drafters:
            self._account += EXPLORATION * float(plain[0]) * passed
            self._explore(request_ids, asked, promised, plain, context, waits, methods, best)
        for drafter in self.drafters:
            others = [
                name
                for name, method, length in zip(request_ids, methods, best, strict=True)
                if method != drafter or not length
            ]
            self.beliefs[drafter].fade(others, len(others) == count, passed)
        lengths: list[int] = best.tolist()
        for i, length in enumerate(lengths):
            if not length:
                methods[i] = None
            elif methods[i] in self.drafters:
                self._tested[request_ids[i]] = self._decisions
        self._backoff.decided(
            request_ids,
            paying,
            paying or bool(best.any()),
            brought if looked and self.lookups else None,
            float(plain[0]),
        )
        return Decision(methods, lengths)

    def forget(self, request_id: str) -> None:
        """Forget a request that ended."""
        self._tested.pop(request_id, None)
        for beliefs in self.beliefs.values():
            beliefs.forget(request_id)

    def _blank(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Return what `allocate` takes for a drafter that promises nothing and costs nothing."""
        if count not in self._blanks:
            self._blanks[count] = np.zeros((count, self.k)), np.zeros((count + 1, self.k + 1))
        return self._blanks[count]

    def _lookup_gains(
        self, request_ids: Sequence[str], found: Sequence[Offers]
    ) -> tuple[FloatArray, list[str | None]]:
        """Return the survivals [B, k] of each request's best lookup, and whose they are."""
        rows = [self._nothing] * len(request_ids)
        chosen: list[str | None] = [None] * len(request_ids)
        for i, offers in enumerate(found):
            most = 0.0
            for method, offer in offers.items():
                row = self.beliefs[method].survivals(request_ids[i], offer.kind, offer.length)
                if (total := sum(row)) > most:
                    rows[i], chosen[i], most = row, method, total
        return np.array(rows), chosen

    def _gains(
        self, method: str, request_ids: Sequence[str], offers: Sequence[Offers]
    ) -> FloatArray:
        """Return the survivals [B, k] of each request's draft by a method, 0 beyond its length."""
        survivals = self.beliefs[method].survivals
        return np.array(
            [
                survivals(name, each[method].kind, each[method].length)
                if method in each
                else self._nothing
                for name, each in zip(request_ids, offers, strict=True)
            ]
        )

    def _explore(
        self,
        request_ids: Sequence[str],
        asked: Sequence[Offers],
        promised: Mapping[str, FloatArray],
        plain: FloatArray,
        context: float,
        behind: Mapping[str, float],
        methods: list[str | None],
        lengths: NDArray[np.int64],
    ) -> None:
        """Let a drafter that nobody chose try again, when enough was put by for it.

        What it is expected to cost is taken off; what it does cost may be more or less.
        """
        in_use = {method for method, length in zip(methods, lengths, strict=True) if length}
        idle = [drafter for drafter in self.drafters if drafter not in in_use]
        if not idle:
            return
        drafter = idle[self._turn % len(idle)]
        able = [i for i, offers in enumerate(asked) if drafter in offers and not lengths[i]]
        able = [i for i in able if asked[i][drafter].length]
        if not able:
            self._turn += 1
            return
        able.sort(key=lambda i: self._tested.get(request_ids[i], 0))
        able = able[:EXPLORERS]
        drafted = int(lengths.sum())
        cost = float(self.costs.drafts(drafter, len(request_ids), context)[len(able), 1])
        share = len(able) / len(request_ids)  # of those that would have to read up
        cost += share * behind.get(drafter, 0.0)
        cost += float(plain[drafted + len(able)] - plain[drafted])
        # What stands of it is worth its time at the rate of plain steps.
        gains = float(promised[drafter][able, 0].sum())
        cost -= gains * float(plain[0]) / len(request_ids)
        self._account = min(self._account, 2 * max(cost, 0.0))
        if self._account < cost:
            return
        self._account -= cost
        self._turn += 1
        for i in able:
            methods[i], lengths[i] = drafter, 1
