"""Backoff of looking up and deciding: while nothing pays, finding that out costs time too.

Lookups live on credit: what they bring is put to it, what they and the decision cost is taken off,
and only while some is left are they made in every step. Gains come in bursts: what lookups have
brought lasts over the steps in which they find nothing. Where nothing is drafted and no credit is
left, steps pass without a decision, more of them each time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

CREDIT = 1.0  # plain steps at most
LOOKING_COST = 0.003  # of a step that lookups may cost where no credit is left
DECIDING_COST = 0.001  # of a step that it may cost to find that nothing pays
LONGEST_REST = 32  # steps
MEASURED = 9  # latest measurements of that, of which the median counts


class Backoff:
    """Steps that pass without lookups, or without a decision at all.

    Attributes:
        passed: steps since the last decision, the one under way included.
        credit: of lookups, in plain steps.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.credit = CREDIT
        self._rest = 1  # steps from the last decision to the next
        self._longest = 1  # that may be, for all that was found of late
        self._resting: list[str] = []  # those who then decoded
        self._deciding = deque([0.0], MEASURED)  # seconds to find that nothing pays
        self._since_lookup = 0
        self._lookups_cost = 0.0  # of a plain step

    def rests(self, request_ids: Sequence[str]) -> bool:
        """Tell whether nothing is to be drafted in this step either, without a decision.

        Not if other requests decode than at the last decision.

        Args:
            request_ids: that decode.
        """
        self.passed += 1
        return self.passed < self._rest and self._resting == request_ids

    def learn_deciding(self, seconds: float) -> None:
        """Note what it took to find that nothing pays."""
        self._deciding.append(seconds)

    def wants_lookup(self, cost: float) -> bool:
        """Tell whether lookups should be made before this decision.

        Args:
            cost: of all of them, in plain steps.
        """
        self._lookups_cost = cost
        self._since_lookup += max(self.passed, 1)
        if not self.credit and self._since_lookup < math.ceil(cost / LOOKING_COST):
            return False
        self._since_lookup = 0
        return True

    def decided(
        self,
        request_ids: Sequence[str],
        pays: bool,
        drafts: bool,
        brought: float | None,
        plain: float,
    ) -> None:
        """Note a decision.

        Args:
            request_ids: that decode.
            pays: whether anything is drafted because it pays.
            drafts: whether anything is drafted, be it to try: the next step then sees to it what
                became of that, but if still nothing pays, the rest goes on as long as before.
            brought: what lookups promise, in plain steps; None if none were made.
            plain: seconds of a plain step.
        """
        self.passed = 0
        share = median(self._deciding) / plain
        if brought is not None:
            cost = self._lookups_cost if pays else max(share, self._lookups_cost)
            self.credit = min(max(self.credit + brought - cost, 0.0), CREDIT)
        if pays or (brought is not None and self.credit):
            self._longest = 1
        else:
            most = min(math.ceil(share / DECIDING_COST), LONGEST_REST)
            self._longest = max(min(2 * self._longest, most), 1)
        self._rest = 1 if drafts else self._longest
        self._resting = list(request_ids)
