"""Upgrades: the worth of another drafter, from two measurements priced side by side."""

from __future__ import annotations

from dataclasses import dataclass

from fairdraft.economics.planning.plan import Choice, Plan
from fairdraft.stats import Estimate, interval


@dataclass(frozen=True)
class Upgrade:
    """The choices before and after an upgrade at one load, and what it gains.

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
        """Return the dollars that the upgrade saves on a million tokens."""
        return self.before.cell.dollars(price_per_hour) - self.after.cell.dollars(price_per_hour)


def upgrades(before: Plan, after: Plan) -> list[Upgrade]:
    """Return the upgrade at each load that both plans price.

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
