"""`fairdraft diagnose`: why is it slower although so much is accepted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fairdraft.errors import ReadingError

if TYPE_CHECKING:
    from fairdraft.economics.planning.diagnosis import Diagnosis
    from fairdraft.peers import Reading

LIKE = 1.5  # runs whose requests differ by more are not alike


def diagnose(
    spec: Annotated[str, typer.Argument(help="File or http address, with speculation.")],
    baseline: Annotated[str, typer.Option(help="The same without it.")],
    seconds: Annotated[
        float, typer.Option(help="Between two scrapes, where an address is given.")
    ] = 10.0,
) -> None:
    """Say what a step takes with and without speculation, what that asks of a drafter, the likely
    cause, and what to try next.

    Read are logs of vLLM and llama.cpp, results of `vllm bench serve` and `vllm bench sweep`,
    /metrics pages (an address is asked twice; BEFORE,AFTER are two saved ones), SGLang's
    bench_speculative.py lines and /server_info, responses of llama-server, and fairdraft's own
    results and step traces. FILE#LABEL picks one of several measurements in a file.
    """
    from fairdraft.economics.planning.diagnosis import diagnose as judge

    on, off = _read(spec, seconds), _read(baseline, seconds)
    if not on.speculates:
        raise ReadingError(
            f"{spec!r} drafted nothing: it was taken without speculation, or no text gave a draft; "
            "give the run with speculation first"
        )
    if off.speculates:
        raise ReadingError(f"{baseline!r} speculates too: --baseline is the run without")
    before, after = _step_time(off, baseline), _step_time(on, spec)
    measured = on.step_is_measured and off.step_is_measured
    found = judge(
        before,
        after,
        on.acceptance_length,
        on.k,
        on.survivals,
        measured,
        on.requests,
        on.draft_share,
    )
    console = Console()
    console.print(_table(on, off, before, after, found))
    for i, finding in enumerate(found.findings):
        what = "Also possible" if i else "Likely cause"
        console.print(
            f"\n{what} ({finding.confidence} confidence): {finding.cause}.",
            f"\nNext: {finding.advice}.",
            soft_wrap=True,
            sep="",
            markup=False,
        )
    for note in _notes(on, off):
        console.print(f"\nNote: {note}.", soft_wrap=True, markup=False)


def _read(source: str, seconds: float) -> Reading:
    from fairdraft.peers import read, scrape

    if source.startswith(("http://", "https://")):
        return scrape(source, seconds)
    return read(source)


def _step_time(reading: Reading, source: str) -> float:
    if not reading.step_time:
        raise ReadingError(
            f"the step time of {source!r} cannot be told: it lacks that, and throughput or running "
            "requests too; give a log, a benchmark's result or a page of /metrics"
        )
    return reading.step_time


def _table(on: Reading, off: Reading, before: float, after: float, found: Diagnosis) -> Table:
    table = Table(show_header=False, box=None)
    for name, reading, step in (("step off", off, before), ("step on", on, after)):
        estimate = " (estimate from throughput: prefill and idle time are in it)"
        kind = "" if reading.step_is_measured else estimate
        table.add_row(name, f"{step * 1e3:.2f} ms{kind}")
    table.add_row("accepted / drafted", f"{on.acceptance_rate:.1%}, k = {on.k:.1f}")
    if on.survivals:
        table.add_row("stand, by position", ", ".join(f"{each:.0%}" for each in on.survivals))
    if off.tokens_per_second and on.tokens_per_second:
        table.add_row("tokens/s", f"{off.tokens_per_second:.1f} off, {on.tokens_per_second:.1f} on")
    over = "≤" if found.winnable else ">"
    most = "the most that this k can reach"
    if on.draft_share < 1:
        most += " with so few drafts"
    table.add_row("break-even length", f"{found.break_even:.2f} {over} {found.ceiling:.2f}, {most}")
    table.add_row("mean acceptance length", f"{on.acceptance_length:.2f}")
    if on.draft_share < 1:
        share = f"{on.draft_share:.0%} of the steps have a draft"
        table.add_row("tokens a step", f"{found.length:.2f}, for {share}")
    table.add_row("speedup of a request", f"{found.speedup:.2f}×")
    return table


def _notes(on: Reading, off: Reading) -> list[str]:
    notes = list(dict.fromkeys((*on.biases, *off.biases)))
    if on.requests and off.requests:
        low, high = sorted((on.requests, off.requests))
        if high > LIKE * low:
            notes.append(
                f"{off.requests:.1f} requests ran without speculation and {on.requests:.1f} with "
                "it: compare runs under the same load"
            )
    return notes
