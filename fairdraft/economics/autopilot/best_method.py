"""The method chosen request by request that promises most for its cost, at full draft length.

A method's promise is (1 + expected accepted tokens) / seconds: a request's share of a step, and for
a drafter its share of the drafting. A lookup has drafted already when it is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairdraft.economics.autopilot.decision import Decision, Offers, beliefs_of
from fairdraft.economics.costs.live_costs import TimedCosts

TURN_AFTER = 200  # choices that a free drafter is left out before its turn; dear ones wait longer


class BestMethod:
    """Chooser of one method a request, which drafts as far as it can; trees are welcome.

    Args:
        methods: in order; the first wins ties.
        lookups: those of them whose drafts may be looked at. The text judges these drafts whether
            or not they are chosen; a drafter left out for long gets a turn instead.
        k: longest draft.
    """

    defers = False

    def __init__(self, methods: Sequence[str], lookups: Sequence[str], k: int) -> None:
        self.costs = TimedCosts()
        self.methods = tuple(methods)
        self.lookups = tuple(lookups)
        self.drafters = tuple(name for name in methods if name not in lookups)
        self.beliefs = beliefs_of(self.lookups, self.drafters, k)
        self._left_out = dict.fromkeys(self.drafters, 0)  # choices since each was last taken

    def rests(self, request_ids: Sequence[str]) -> bool:
        """Tell that something may be drafted in every step."""
        return False

    def wants_lookup(self, requests: int, context: float) -> bool:
        """Tell that lookups are made before every decision."""
        return True

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
        methods: list[str | None] = []
        lengths: list[int] = []
        for name, lookups, drafters in zip(request_ids, found, asked, strict=True):
            offers = {**lookups, **drafters}
            method = self._choose(name, offers)
            size = offers[method].size if method in offers else 0
            methods.append(method if size else None)
            lengths.append(size)
        return Decision(methods, lengths)

    def _choose(self, request_id: str, offers: Offers) -> str:
        """Return the method with the best rate, or a drafter whose turn it is."""
        share = self.costs.step()
        best, best_rate, overdue = "", -1.0, ""
        for method in self.methods:
            rate, offer = 1.0, offers.get(method)
            if offer is not None:
                survivals = self.beliefs[method].survivals(request_id, offer.kind, offer.length)
                rate += sum(survivals)
            if share:
                cost = self.costs.draft(method) if method in self._left_out else 0.0
                rate /= share + cost
                if offer and self._left_out.get(method, 0) > TURN_AFTER * (1 + cost / share):
                    overdue = method
            if rate > best_rate:
                best, best_rate = method, rate
        chosen = overdue or best
        for drafter in self.drafters:
            self._left_out[drafter] = 0 if drafter == chosen else self._left_out[drafter] + 1
        return chosen

    def learn_deciding(self, seconds: float) -> None:
        """Note nothing: there is a decision in every step."""

    def forget(self, request_id: str) -> None:
        """Forget a request that ended."""
        for beliefs in self.beliefs.values():
            beliefs.forget(request_id)
