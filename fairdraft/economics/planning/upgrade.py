"""The business case of another drafter: two measurements, priced side by side."""

from __future__ import annotations

from dataclasses import dataclass

from fairdraft.economics.planning.plan import Choice, Plan
from fairdraft.stats import Estimate, interval


@dataclass(frozen=True)
class Upgrade:
    """Before and after at one load, each at the draft length that is best for it.

    Args:
        requests: side by side.
        before, after: what would be used.
        gain: tokens a second after / before.
    """

    requests: int
    before: Choice
    after: Choice
    gain: Estimate

    def saved(self, price_per_hour: float) -> float:
        """Dollars a million tokens less."""
        return self.before.cell.dollars(price_per_hour) - self.after.cell.dollars(price_per_hour)


def upgrades(before: Plan, after: Plan) -> list[Upgrade]:
    """At each load that both plans price.

    Args:
        before, after: of the same costs, drawn with the same seed, so that what made a step time
            read high does so on both sides.
    """
    found = []
    for n in before.concurrencies:
        old = before.choices.get((before.best_method, n))
        new = after.choices.get((after.best_method, n))
        if old is not None and new is not None:
            found.append(Upgrade(n, old, new, interval(new.cell.draws / old.cell.draws)))
    return found
