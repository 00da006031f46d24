"""A plan for people: tables that fit 80 columns, and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fairdraft.economics.costs.step_costs import SWEPT
from fairdraft.economics.planning.plan import Choice, Plan
from fairdraft.economics.planning.upgrade import Upgrade
from fairdraft.peers import flags
from fairdraft.stats import Estimate

NOT_MEASURED = "not measured"


def speedup_tables(plan: Plan, method: str, width: int) -> list[Table]:
    """Return speedups with 95% intervals by k and load, the choice marked.

    Args:
        plan: of that method at least.
        method: who drafts.
        width: of the terminal; loads that do not fit beside the others follow in a table below.
    """
    entries = {n: [_entry(plan, method, n, k) for k in (0, *plan.ks)] for n in plan.concurrencies}
    groups: list[list[int]] = []
    left = 0
    for n, column in entries.items():
        wide = 2 + max(len(f"{n} at once"), *(entry.cell_len for entry in column))
        if wide > left:
            groups.append([])
            left = width - 8  # of the column of k
        groups[-1].append(n)
        left -= wide
    tables: list[Table] = []
    for group in groups:
        show = titled_table("" if tables else f"{method}: speedup [95% interval]")
        show.add_column("k", justify="right", no_wrap=True)
        for n in group:
            show.add_column(f"{n} at once", justify="right", no_wrap=True)
        for row, k in enumerate((0, *plan.ks)):
            show.add_row(str(k) if k else "off", *(entries[n][row] for n in group))
        tables.append(show)
    tables[
        -1
    ].caption = "◀ the choice. ~ beyond what was measured. off: tokens a second of all together."
    return tables


def titled_table(title: str) -> Table:
    """Return an empty table with title and caption on the left."""
    return Table(
        title=escape(title) or None, box=box.SIMPLE, title_justify="left", caption_justify="left"
    )


def _entry(plan: Plan, method: str, requests: int, k: int) -> Text:
    """Return a cell of the table of speedups."""
    cell, choice = plan.cells[method, requests, k], plan.choices[method, requests]
    if cell is None:
        return Text(NOT_MEASURED, style="dim")
    text = _interval(cell.speedup) if k else f"{cell.tokens_per_second.value:.1f} tok/s"
    text = text if cell.measured else f"~{text}"
    if choice is not None and choice.k == k:
        return Text.assemble((text, "bold"), " ◀")
    return Text(text + "  ")


def choice_table(plan: Plan, method: str) -> Table:
    """Return what to use at each load, and the speed that comes of it."""
    show = titled_table(f"{method}: the choice")
    for name in ("at once", "k", "as good", "length", "tok/s", "ms a token"):
        show.add_column(name, justify="right", no_wrap=name != "as good")
    for n in plan.concurrencies:
        choice, off = plan.choices[method, n], plan.cells[method, n, 0]
        if choice is None or off is None:
            show.add_row(str(n), "[dim]–[/dim]")
            continue
        cell = choice.cell
        show.add_row(
            str(n),
            ("" if cell.measured else "~") + (str(choice.k) if choice.k else "off"),
            _ranges(choice.rivals) or "–",
            f"{cell.length:.2f}" if choice.k else "–",
            f"{off.tokens_per_second.value:.1f} → {cell.tokens_per_second.value:.1f}",
            f"{off.tpot * 1e3:.1f} → {cell.tpot * 1e3:.1f}",
        )
    show.caption = (
        "off → the choice. as good: draft lengths the measurements cannot tell from it. length: "
        "mean acceptance length, bonus token included."
    )
    return show


def _ranges(ks: Sequence[int]) -> str:
    """Return draft lengths as text, neighbours together: 1, 3–5."""
    runs: list[list[int]] = []
    for k in ks:
        if runs and runs[-1][-1] == k - 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def value_table(plan: Plan, method: str, tpot: float | None, price: float | None) -> Table:
    """Return goodput under a limit and dollars a million tokens, off and at the choice.

    Args:
        plan: of that method at least.
        method: who drafts.
        tpot: limit, seconds a token; None leaves goodput out.
        price: dollars an hour; None leaves dollars out.
    """
    show = titled_table(f"{method}: off → the choice")
    names = ["at once", "k"]
    names += ["goodput, tok/s"] if tpot is not None else []
    names += ["$/M tokens"] if price is not None else []
    for name in names:
        show.add_column(name, justify="right", no_wrap=True)
    for n in plan.concurrencies:
        choice, off = plan.choices[method, n], plan.cells[method, n, 0]
        if choice is None or off is None:
            show.add_row(str(n), "[dim]–[/dim]")
            continue
        cell = choice.cell
        row = [str(n), str(choice.k) if choice.k else "off"]
        if tpot is not None:
            row.append(f"{off.goodput(tpot):.1f} → {cell.goodput(tpot):.1f}")
        if price is not None:
            row.append(f"{off.dollars(price):.2f} → {cell.dollars(price):.2f}")
        show.add_row(*row)
    return show


def method_table(plan: Plan) -> Table:
    """Return method against method: its place on the (α, c) plane, and its gain at each load."""
    show = titled_table("method against method")
    for name in ("at once", "method", "α", "c + λ", "k", "speedup"):
        mine = name == "method"
        show.add_column(name, justify="left" if mine else "right", no_wrap=not mine)
    for n in plan.concurrencies:
        for method in plan.methods:
            choice, place = plan.choices[method, n], plan.plane(method, n)
            if choice is None or place is None:
                show.add_row(str(n), escape(method), NOT_MEASURED)
                continue
            alpha, cost = (f"{value:.3f}" for value in place)
            gain = escape(_interval(choice.cell.speedup)) if choice.k else "1.00"
            show.add_row(str(n), escape(method), alpha, cost, length_name(choice.k), gain)
    show.caption = (
        "α that gives its tokens a step; c + λ: what one draft adds to a step, in plain ones."
    )
    return show


def watch(plan: Plan, method: str) -> list[str]:
    """Return bounds to watch live, a sentence a load."""
    found = []
    for n in plan.concurrencies:
        choice = plan.choices[method, n]
        if choice is not None:
            found.append(f"{n} at once: {_watch(choice)}")
    return found


def _watch(choice: Choice) -> str:
    if choice.k:
        bounds = [
            f"{length_name(bound.k)} if acceptance length falls under {bound.length:.2f}"
            for bound in choice.below
        ]
        bounds[1:] = [bound.replace("if acceptance length falls ", "") for bound in bounds[1:]]
        return "; ".join([f"k = {choice.k}", ", ".join(bounds)]) if bounds else f"k = {choice.k}"
    if choice.above is None:
        return "off; no acceptance would change that"
    bound = choice.above
    return f"off; {length_name(bound.k)} pays from acceptance length {bound.length:.2f} on"


def goodput_sentence(plan: Plan, method: str, limit: float) -> str:
    """Return the best load under a TPOT limit (seconds), with speculation and without."""
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
    """Return what an upgrade changes at each load, before → after."""
    show = titled_table("before → after")
    for name in ("at once", "k", "tok/s", "gain [95% interval]"):
        show.add_column(escape(name), justify="right", no_wrap=True)
    if price is not None:
        show.add_column("$/M saved", justify="right", no_wrap=True)
    for each in found:
        old, new = each.before, each.after
        rates = (side.cell.tokens_per_second.value for side in (old, new))
        value, low, high = (
            f"{(x - 1) * 100:+.1f}" for x in (each.gain.value, each.gain.low, each.gain.high)
        )
        show.add_row(
            str(each.requests),
            " → ".join(str(side.k or "off") for side in (old, new)),
            " → ".join(f"{rate:.1f}" for rate in rates),
            escape(f"{value}% [{low}, {high}]"),
            *([f"{each.saved(price):.3f}"] if price is not None else []),
        )
    return show


def paste_line(plan: Plan, method: str, engine: str, drafter: str | None) -> str:
    """Return the line to start an engine with, or in parentheses why there is none."""
    if method == SWEPT:
        return "(say who drafts: --method ngram, say)"
    return flags.paste_line(engine, plan.drafting(method, drafter))


def _interval(estimate: Estimate) -> str:
    value, low, high = (f"{x:.2f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def length_name(k: int) -> str:
    """Return a draft length in words."""
    return f"k = {k}" if k else "off"
