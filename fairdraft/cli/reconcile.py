"""`fairdraft reconcile`: predicted beside measured, and why they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairdraft.bench.grid import NO_SPECULATION
from fairdraft.bench.report import read_report
from fairdraft.errors import ConfigError


def reconcile(
    run: Annotated[Path, typer.Argument(help="What `fairdraft bench run` wrote.")],
    profile: Annotated[Path, typer.Option(help="What `fairdraft profile` wrote.")],
    context: Annotated[int, typer.Option(help="Mean tokens of a request.")] = 256,
    force: Annotated[
        bool, typer.Option("--force", help="Take a profile of another machine all the same.")
    ] = False,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Price what was not profiled too.")
    ] = False,
) -> None:
    """Predict each cell's tokens a step, step time and speedup from its acceptance and a profile,
    beside what was measured; name the term that explains the difference.

    Cells under rejection_sample_method "synthetic" separate the two halves: their acceptance is
    known, so what differs is time.
    """
    from fairdraft.economics.profile import Profile
    from fairdraft.economics.reconcile import reconcile as judge

    result, found = read_report(run), Profile.load(profile)
    if not force:
        found.require_hardware(result["environment"])
    cells: list[dict[str, Any]] = result["cells"]
    plain = {
        (cell["dataset"], cell["concurrency"]): cell
        for cell in cells
        if cell["method"] == NO_SPECULATION
    }
    table = Table(title=f"{escape(str(run))}: predicted | measured", title_justify="left")
    for column in ("cell", "tokens a step", "ms a step", "speedup", "error", "because of"):
        table.add_column(column, justify="left" if column in ("cell", "because of") else "right")
    judged = 0
    skipped: set[str] = set()
    for cell in cells:
        if cell["method"] == NO_SPECULATION:
            continue
        if cell["method"] not in found.drafters:
            skipped.add(cell["method"])
            continue
        off = plain.get((cell["dataset"], cell["concurrency"]))
        if off is None:
            raise ConfigError(
                f"{str(run)!r} has no cell of method none for {cell['dataset']!r} at "
                f"{cell['concurrency']}: measure it with --methods none,{cell['method']}"
            )
        one = judge(cell, off, found, context, extrapolate)
        judged += 1
        why = f"{one.cause} ({one.terms[one.cause] - 1:+.0%})" if one.cause else ""
        table.add_row(
            escape(one.name),
            f"{one.predicted_tokens:.2f} | {one.tokens:.2f}",
            f"{one.predicted_step * 1e3:.1f} | {one.step * 1e3:.1f}",
            f"{one.predicted_speedup:.2f} | {one.speedup:.2f}",
            f"{one.error:+.1%}",
            why,
        )
    if not judged and skipped:
        raise ConfigError(
            f"the profile knows {', '.join(found.drafters) or 'no drafter'}, but the run has "
            f"{', '.join(sorted(skipped))}: profile those with --methods"
        )
    if not judged:
        raise ConfigError(f"no cell of {str(run)!r} speculates: measure a method besides none")
    Console().print(table)
    if skipped:
        print(f"Left out, for the profile has none of them: {', '.join(sorted(skipped))}.")
