"""`fairdraft reconcile`: predicted beside measured, and why they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.planning.reconcile import Reconciled

LONGEST = 10**9  # tokens of a request


def reconcile(
    run: Annotated[Path, typer.Argument(help="What `fairdraft bench run` wrote.")],
    profile: Annotated[Path, typer.Option(help="What `fairdraft profile` wrote.")],
    context: Annotated[
        int | None,
        typer.Option(help="Mean tokens of a request; worked out where the run says its prompts."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take a profile of another machine all the same.")
    ] = False,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Price what was not profiled too.")
    ] = False,
) -> None:
    """Predict each cell's tokens a step, step time and speedup from its acceptance and a profile,
    beside what was measured; name the term that explains the difference.

    Where the run says how long its prompts are, the whole of it is predicted by a simulation,
    prompts included; else decoding alone.

    Cells under rejection_sample_method "synthetic" separate the two halves: their acceptance is
    known, so what differs is time.
    """
    from fairdraft.economics.costs.profile import HARDWARE, Profile
    from fairdraft.economics.planning.reconcile import reconcile_run
    from fairdraft.peers.fairdraft.bench import load_report

    if context is not None and not 0 <= context <= LONGEST:
        raise ConfigError(
            f"--context is {context}, but must be from 0 to {LONGEST}: the mean tokens of a request"
        )
    report, found = load_report(run), Profile.load(profile)
    if not force:
        machine = {name: report["environment"].get(name) for name in HARDWARE}
        found.require_hardware(machine, f"in {str(run)!r}")
    judged = reconcile_run(report, str(run), found, context, extrapolate)
    Console().print(_table(str(run), judged.cells))
    if judged.left_out:
        print(f"Left out, for the profile has none of them: {', '.join(judged.left_out)}.")
    for note in judged.notes:
        print(note)


def _table(name: str, cells: tuple[Reconciled, ...]) -> Table:
    """Return predicted | measured, a row a cell; the numbers are never broken."""
    show = Table(
        title=f"{escape(name)}: predicted | measured",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    whole = any(one.predicted_tokens_per_second for one in cells)
    columns = ["cell", "tokens a step", "ms a step", "speedup", "error", "because of"]
    for column in [*columns[:3], *["tok/s"] * whole, *columns[3:]]:
        words = column in ("cell", "because of")
        show.add_column(column, justify="left" if words else "right", no_wrap=not words)
    for one in cells:
        why = f"{one.cause} ({one.terms[one.cause] - 1:+.0%})" if one.cause else ""
        show.add_row(
            escape(one.name),
            f"{one.predicted_tokens:.2f} | {one.tokens:.2f}",
            f"{one.predicted_step * 1e3:.1f} | {one.step * 1e3:.1f}",
            *[f"{_rate(one.predicted_tokens_per_second)} | {_rate(one.tokens_per_second)}"] * whole,
            f"{one.predicted_speedup:.2f} | {one.speedup:.2f}",
            f"{one.error:+.1%}",
            why,
        )
    return show


def _rate(tokens_per_second: float | None) -> str:
    return "–" if tokens_per_second is None else f"{tokens_per_second:.1f}"
