"""`fairdraft diagnose`: why is it slower although so much is accepted?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fairdraft.errors import ReadingError


def diagnose(
    spec: Annotated[Path, typer.Argument(help="Log or result with speculation.")],
    baseline: Annotated[Path, typer.Option(help="The same without it.")],
) -> None:
    """Say what a step takes with and without speculation, what that asks of a drafter, and what to
    try next.

    Read are vLLM's server logs and the JSON of `vllm bench serve`.
    """
    from fairdraft.economics.diagnosis import diagnose as judge
    from fairdraft.readers import read

    on, off = read(spec), read(baseline)
    if not on.speculates:
        raise ReadingError(
            f"{str(spec)!r} drafted nothing: it has no speculative-decoding lines; give the run "
            "with speculation first"
        )
    if off.speculates:
        raise ReadingError(f"{str(baseline)!r} speculates too: --baseline is the run without")
    times = [reading.step_time for reading in (off, on)]
    if times[0] is None or times[1] is None:
        raise ReadingError(
            "the step time cannot be told: both files must say throughput and running requests"
        )
    measured = on.step_is_measured and off.step_is_measured
    survivals = [stood / on.rounds for stood in on.accepted_per_position]
    found = judge(times[0], times[1], on.acceptance_length, on.k, survivals, measured)
    table = Table(show_header=False, box=None)
    kind = "" if measured else " (estimate from throughput: prefill and idle time are in it)"
    table.add_row("step off", f"{times[0] * 1e3:.2f} ms{kind}")
    table.add_row("step on", f"{times[1] * 1e3:.2f} ms{kind}")
    table.add_row("accepted / drafted", f"{on.acceptance_rate:.1%}, k = {on.k:.1f}")
    if off.tokens_per_second and on.tokens_per_second:
        table.add_row("tokens/s", f"{off.tokens_per_second:.1f} off, {on.tokens_per_second:.1f} on")
    over = ">" if found.break_even > found.ceiling else "≤"
    table.add_row(
        "break-even length",
        f"{found.break_even:.2f} {over} {found.ceiling:.2f}, the most that this k can reach",
    )
    table.add_row("mean acceptance length", f"{found.length:.2f}")
    table.add_row("speedup", f"{found.speedup:.2f}×")
    console = Console()
    console.print(table)
    console.print(f"\nLikely cause ({found.confidence} confidence): {found.cause}.", soft_wrap=True)
    console.print(f"Next: {found.advice}.", soft_wrap=True)
