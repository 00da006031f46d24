"""A plan for people: tables, sentences, and for programs: JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from fairdraft.economics.planning.plan import Cell, Choice, Plan
from fairdraft.economics.planning.upgrade import Upgrade
from fairdraft.stats import Estimate

NOT_MEASURED = "not measured"


def speedup_table(plan: Plan, method: str) -> Table:
    """k × concurrency: speedup with its 95% interval; the choice is marked."""
    show = Table(title=f"{escape(method)}: speedup \\[95% interval]", box=box.SIMPLE)
    show.title_justify = "left"
    show.add_column("k", justify="right")
    for n in plan.concurrencies:
        show.add_column(f"{n} at once", justify="right")
    for k in (0, *plan.ks):
        cells = (_entry(plan, method, n, k) for n in plan.concurrencies)
        show.add_row(str(k) if k else "off", *cells)
    show.caption = "◀ the choice. ~ beyond what was measured. off: tokens a second of all together."
    show.caption_justify = "left"
    return show


def _entry(plan: Plan, method: str, requests: int, k: int) -> str:
    cell, choice = plan.cells[method, requests, k], plan.choices[method, requests]
    if cell is None:
        return f"[dim]{NOT_MEASURED}[/dim]"
    text = _interval(cell.speedup) if k else f"{cell.tokens_per_second.value:.1f} tok/s"
    text = text if cell.measured else f"~{text}"
    if choice is not None and choice.k == k:
        return f"[bold]{text}[/bold] ◀"
    return text + "  "


def choice_table(
    plan: Plan, method: str, tpot: float | None = None, price: float | None = None
) -> Table:
    """One line a load: what to use there, and what comes of it.

    Args:
        plan: of that method at least.
        method: who drafts.
        tpot: limit, seconds a token.
        price: dollars an hour.
    """
    show = Table(title=f"{escape(method)}: the choice", box=box.SIMPLE, title_justify="left")
    names = ["at once", "k", "as good", "length", "tok/s", "ms a token"]
    names += ["goodput"] if tpot is not None else []
    names += ["$/M"] if price is not None else []
    for name in names:
        show.add_column(name, justify="right")
    for n in plan.concurrencies:
        choice, off = plan.choices[method, n], plan.cells[method, n, 0]
        if choice is None or off is None:
            show.add_row(str(n), "[dim]–[/dim]")
            continue
        cell = choice.cell
        row = [
            str(n),
            ("" if cell.measured else "~") + (str(choice.k) if choice.k else "off"),
            ", ".join(map(str, choice.rivals)) or "–",
            f"{cell.length:.2f}" if choice.k else "–",
            f"{off.tokens_per_second.value:.1f} → {cell.tokens_per_second.value:.1f}",
            f"{off.tpot * 1e3:.1f} → {cell.tpot * 1e3:.1f}",
        ]
        if tpot is not None:
            row.append(f"{off.goodput(tpot):.1f} → {cell.goodput(tpot):.1f}")
        if price is not None:
            row.append(f"{off.dollars(price):.2f} → {cell.dollars(price):.2f}")
        show.add_row(*row)
    show.caption = (
        "off → the choice. as good: draft lengths the measurements cannot tell from it. length: "
        "mean acceptance length, bonus token included."
    )
    show.caption_justify = "left"
    return show


def method_table(plan: Plan) -> Table:
    """Method against method: where each lies on the (α, c) plane, and its gain at each load."""
    show = Table(title="method against method", box=box.SIMPLE, title_justify="left")
    for name in ("at once", "method", "α", "c + λ", "k", "speedup"):
        show.add_column(name, justify="left" if name == "method" else "right")
    for n in plan.concurrencies:
        for method in plan.methods:
            choice, place = plan.choices[method, n], plan.plane(method, n)
            if choice is None or place is None:
                show.add_row(str(n), escape(method), NOT_MEASURED)
                continue
            alpha, cost = (f"{value:.3f}" for value in place)
            gain = _interval(choice.cell.speedup) if choice.k else "1.00"
            show.add_row(str(n), escape(method), alpha, cost, _name(choice.k), gain)
    show.caption = (
        "α that gives its tokens a step; c + λ: what one draft adds to a step, in plain ones."
    )
    show.caption_justify = "left"
    return show


def watch(plan: Plan, method: str) -> list[str]:
    """Bounds to watch live, a sentence a load."""
    found = []
    for n in plan.concurrencies:
        choice = plan.choices[method, n]
        if choice is not None:
            found.append(f"{n} at once: {_watch(choice)}")
    return found


def _watch(choice: Choice) -> str:
    if choice.k:
        bounds = [
            f"{_name(bound.k)} if acceptance length falls under {bound.length:.2f}"
            for bound in choice.below
        ]
        bounds[1:] = [bound.replace("if acceptance length falls ", "") for bound in bounds[1:]]
        return "; ".join([f"k = {choice.k}", ", ".join(bounds)]) if bounds else f"k = {choice.k}"
    if choice.above is None:
        return "off; no acceptance would change that"
    return f"off; {_name(choice.above.k)} pays from acceptance length {choice.above.length:.2f} on"


def goodput_sentence(plan: Plan, method: str, limit: float) -> str:
    """The best load under a TPOT limit (seconds), with speculation and without."""
    parts = []
    for name, cell in (
        ("with speculation", plan.best_load(method, limit)),
        ("without", plan.best_load_off(limit)),
    ):
        if cell is None:
            parts.append(f"{name} no load that was priced")
        else:
            how = f"{cell.requests} at once" + (f", k = {cell.k}" if cell.k else "")
            parts.append(f"{name} {cell.tokens_per_second.value:.1f} tokens/s ({how})")
    return f"Under {limit * 1e3:g} ms a token: {'; '.join(parts)}."


def upgrade_table(found: Sequence[Upgrade], price: float | None = None) -> Table:
    """Before and after, at each load."""
    show = Table(title="before and after", box=box.SIMPLE, title_justify="left")
    names = [
        "at once",
        "k before",
        "k after",
        "tok/s before",
        "tok/s after",
        "gain \\[95% interval]",
    ]
    for name in [*names, *(["$/M saved"] if price is not None else [])]:
        show.add_column(name, justify="right")
    for each in found:
        rates = [side.cell.tokens_per_second.value for side in (each.before, each.after)]
        value, low, high = (
            f"{(x - 1) * 100:+.1f}" for x in (each.gain.value, each.gain.low, each.gain.high)
        )
        show.add_row(
            str(each.requests),
            _name(each.before.k),
            _name(each.after.k),
            *(f"{rate:.1f}" for rate in rates),
            f"{value}% \\[{low}, {high}]",
            *([f"{each.saved(price):.3f}"] if price is not None else []),
        )
    return show


def upgrade_records(found: Sequence[Upgrade], price: float | None) -> list[dict[str, Any]]:
    """The same for a file."""
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


def to_json(plan: Plan, price: float | None = None, tpot: float | None = None) -> dict[str, Any]:
    """A plan for a file; what was not measured is null."""
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


def _interval(estimate: Estimate) -> str:
    value, low, high = (f"{x:.2f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} \\[{low}, {high}]"


def _name(k: int) -> str:
    return f"k = {k}" if k else "off"
