"""A diagnosis in the terminal: figures, causes with their shares, and sentences."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fairdraft.cli.outputs import fold
from fairdraft.economics.planning.case import Case
from fairdraft.economics.planning.diagnosis import Diagnosis, step_time
from fairdraft.peers import Reading

ESTIMATE = "estimate from throughput: prefill is in it"


def show(case: Case, console: Console) -> None:
    """Print a case: its figures, what is likely with what to try, the causes, and notes."""
    console.print(_table(case))
    found = case.found
    sentences, advice = case.verdict, case.advice
    for sentence in sentences[: len(sentences) - len(advice)]:
        print("\n" + fold(sentence, console.width))
    for sentence, remedy in zip(sentences[-len(advice) :], advice, strict=True):
        print("\n" + fold(sentence, console.width))
        print(fold(remedy, console.width))
    if found is not None and found.causes:
        print("\nWhat it lacks of a sound run's speed [95% interval]:")
        console.print(_causes(found))
    for note in case.notes:
        print("\n" + fold(f"Note: {note}.", console.width))


def _table(case: Case) -> Table:
    on, off, found = case.on, case.off, case.found
    table = Table(show_header=False, box=None)
    for name, reading in (("step off", off), ("step on", on)):
        if reading is not None and reading.step_time:
            kind = "" if reading.step_is_measured else f" ({ESTIMATE})"
            table.add_row(name, f"{step_time(reading) * 1e3:.2f} ms{kind}")
    drafted = f"{on.acceptance_rate:.1%}, k = {on.k:.1f}" if on.drafted_is_known else "not known"
    table.add_row("accepted / drafted", drafted)
    if on.survivals:
        table.add_row("stand, by position", ", ".join(f"{each:.0%}" for each in on.survivals))
    if rates := _throughputs(on, off):
        table.add_row("tokens/s", rates)
    if found is not None:
        over = "≤" if found.winnable else ">"
        most = "the most that this k can reach"
        if not on.drafted_is_known:
            most = "the most that the least possible k can reach"
        if on.draft_share < 1:
            most += " with so few drafts"
        line = f"{found.break_even:.2f} {over} {found.ceiling:.2f}, {most}"
        table.add_row("break-even length", line)
    table.add_row("mean acceptance length", f"{on.acceptance_length:.2f}")
    if on.draft_share < 1:
        share = f"{on.draft_share:.0%} of the steps have a draft"
        table.add_row("tokens a step", f"{on.tokens_per_step:.2f}, for {share}")
    if found is not None:
        gain = found.gain
        interval = f"[{gain.low:.2f}, {gain.high:.2f}], as many prompts in both"
        table.add_row("speedup of a request", f"{found.speedup:.2f}×")
        table.add_row("speedup [95%]", f"{gain.value:.2f}× {interval}")
    return table


def _throughputs(on: Reading, off: Reading | None) -> str:
    if off is None:
        return f"{on.tokens_per_second:.1f}" if on.tokens_per_second else ""
    if off.tokens_per_second and on.tokens_per_second:
        return f"{off.tokens_per_second:.1f} off, {on.tokens_per_second:.1f} on"
    return ""


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
