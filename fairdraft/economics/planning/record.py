"""A plan as JSON, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fairdraft.economics.planning.plan import Cell, Choice, Plan
from fairdraft.economics.planning.rates import RatePlan
from fairdraft.economics.planning.served import FloatArray, Served, percentile
from fairdraft.economics.planning.upgrade import Upgrade


def plan_record(
    plan: Plan, price: float | None = None, tpot: float | None = None
) -> dict[str, Any]:
    """Return a plan as JSON for a file; what was not measured is null.

    Args:
        plan: to be written.
        price: dollars an hour of the machine; None leaves dollars out.
        tpot: limit, seconds a token of one request may take; None leaves goodput out.
    """
    return {
        "kind": "fairdraft plan",
        "methods": list(plan.methods),
        "ks": list(plan.ks),
        "concurrencies": list(plan.concurrencies),
        "cells": [
            {"method": method, "requests": n, "k": k, **_cell(cell, price, tpot)}
            for (method, n, k), cell in plan.cells.items()
        ],
        "choices": [
            {"method": method, "requests": n, **_choice(choice)}
            for (method, n), choice in plan.choices.items()
        ],
        "best_method": plan.best_method,
        "notes": list(plan.notes),
    }


def upgrade_records(found: Sequence[Upgrade], price: float | None) -> list[dict[str, Any]]:
    """Return upgrades as JSON for a file, with dollars saved where a price is given."""
    return [
        {
            "requests": each.requests,
            "k": [each.before.k, each.after.k],
            "tokens_per_second": [
                side.cell.tokens_per_second.value for side in (each.before, each.after)
            ],
            "gain": asdict(each.gain),
            "dollars_saved_per_million": None if price is None else each.saved(price),
        }
        for each in found
    ]


def rate_record(found: RatePlan) -> dict[str, Any]:
    """Return what to use at a rate as JSON for a file."""
    return {
        "method": found.method,
        "requests_per_second": found.rate,
        "k": found.k,
        "cells": [
            {"k": k, "saturates": cell.saturates, **_served(cell.served)}
            for k, cell in found.cells.items()
        ],
        "changes": [{"from": rate, "k": k} for rate, k in found.changes],
        "off_from": found.off_from,
        "saturates": found.saturates,
    }


def _served(served: Served) -> dict[str, Any]:
    """Return a simulation's answers as JSON; what it has none of is null."""

    def percentiles(values: FloatArray) -> dict[str, float] | None:
        if not len(values):
            return None
        return {f"p{share}": percentile(values, share) for share in (50, 99)}

    return {
        "tokens_per_second": served.tokens_per_second,
        "requests_per_second": served.requests_per_second,
        "ttft_seconds": percentiles(served.ttft),
        "inter_token_seconds": percentiles(served.inter_token),
        "inter_chunk_seconds": percentiles(served.inter_chunk),
        "latency_seconds": percentiles(served.latency),
        "preemptions": served.preemptions,
    }


def _cell(cell: Cell | None, price: float | None, tpot: float | None) -> dict[str, Any]:
    if cell is None:
        return {"measured": False, "speedup": None}
    found: dict[str, Any] = {
        "measured": cell.measured,
        "speedup": asdict(cell.speedup),
        "tokens_per_second": asdict(cell.tokens_per_second),
        "tokens_per_step": cell.tokens,
        "mean_acceptance_length": cell.length,
        "step_seconds": cell.step,
        "tpot_seconds": cell.tpot,
    }
    if cell.served is not None:
        found["served"] = _served(cell.served)
    if tpot is not None:
        found["goodput"] = cell.goodput(tpot)
    if price is not None:
        found["dollars_per_million"] = cell.dollars(price)
    return found


def _choice(choice: Choice | None) -> dict[str, Any]:
    if choice is None:
        return {"k": None}
    return {
        "k": choice.k,
        "as_good": list(choice.rivals),
        "below": [asdict(bound) for bound in choice.below],
        "above": asdict(choice.above) if choice.above else None,
    }
