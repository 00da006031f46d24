"""`fairdraft diagnose`: why a run is slower although so much is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairdraft.cli.outputs import fold

if TYPE_CHECKING:
    from fairdraft.economics.planning.diagnosis import Diagnosis
    from fairdraft.peers import Reading


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
    from fairdraft.economics.planning.diagnosis import PAYS, caveats
    from fairdraft.economics.planning.diagnosis import diagnose as judge

    on, off = _read(spec, seconds), _read(baseline, seconds)
    found = judge(on, off)
    console = Console()
    console.print(_table(on, off, found))
    if found.is_open:
        gain = found.gain
        text = (
            f"Whether it pays is open: {gain.value:.2f}× [{gain.low:.2f}, {gain.high:.2f}], and "
            f"above 1 with a chance of {found.chance:.0%}."
        )
        print("\n" + fold(text, console.width))
    for i, finding in enumerate(found.named):
        what = "Also likely" if i else "Likely cause"
        if finding.name == PAYS:
            what = "Verdict"
        text = f"{what} ({finding.confidence} confidence): {finding.cause}."
        print("\n" + fold(text, console.width))
        print(fold(f"Next: {finding.advice}.", console.width))
    if found.causes:
        print("\nWhat it lacks of a sound run's speed [95% interval]:")
        console.print(_causes(found))
    notes = caveats(on, off)
    if found.unknown:
        notes.insert(0, f"not told by these files: {', '.join(found.unknown)}")
    for note in notes:
        print("\n" + fold(f"Note: {note}.", console.width))


def _read(source: str, seconds: float) -> Reading:
    from fairdraft.peers import read, scrape

    if source.startswith(("http://", "https://")):
        return scrape(source, seconds)
    return read(source)


def _table(on: Reading, off: Reading, found: Diagnosis) -> Table:
    from fairdraft.economics.planning.diagnosis import step_time

    table = Table(show_header=False, box=None)
    for name, reading in (("step off", off), ("step on", on)):
        estimate = " (estimate from throughput: prefill is in it)"
        kind = "" if reading.step_is_measured else estimate
        table.add_row(name, f"{step_time(reading) * 1e3:.2f} ms{kind}")
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
    gain = found.gain
    interval = f"[{gain.low:.2f}, {gain.high:.2f}], as many prompts in both"
    table.add_row("speedup of a request", f"{found.speedup:.2f}×")
    table.add_row("speedup [95%]", f"{gain.value:.2f}× {interval}")
    return table


def _causes(found: Diagnosis) -> Table:
    """Return the causes with their shares of what is lost."""
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    for finding in found.causes:
        share = finding.share
        alike = f"or {', '.join(finding.hides)}: not told apart" if finding.hides else ""
        ends = f"[{share.low:.0%}, {share.high:.0%}]"
        table.add_row(f"  {finding.name}", f"{share.value:.0%}", escape(ends), alike)
    return table
