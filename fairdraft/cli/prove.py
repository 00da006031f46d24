"""`fairdraft prove`: the exact proof that verification leaves the target's law as it is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from fairdraft.proof.cases import Case
    from fairdraft.proof.mutants import Mutant

MOST_WORLDS = 1000  # hours


def prove(
    worlds: Annotated[int, typer.Option(min=1, max=MOST_WORLDS, help="Random worlds a cell.")] = 4,
) -> None:
    """Run the verifiers on exact fractions and print how far they are from the target's law.

    Every draft and every decision of a round is enumerated, over three tokens. A rule that is
    lossless shows 0, not a small number. Below it: mistakes known from public code, which must not.
    """
    from fairdraft.proof.cases import FILTERS, block_gain, cases, largest
    from fairdraft.proof.mutants import mutants

    console = Console()
    start = perf_counter()
    rows = [
        (case, [largest(case.play, case.depth, name, range(worlds)) for name in FILTERS])
        for case in track(list(cases()), "proving", console=Console(stderr=True), transient=True)
    ]
    console.print(_proof_table(list(FILTERS), rows))
    wrong = [(mutant, mutant.total_variation()) for mutant in mutants()]
    console.print(_mistake_table(wrong))
    gains = [block_gain(seed, k) for seed in range(worlds) for k in (1, 2, 3)]
    never_less = all(block >= standard for standard, block in gains)
    more = sum(block > standard for standard, block in gains)
    print(
        f"Accepted, block against standard: never less in {len(gains)} worlds: "
        f"{never_less}; more in {more}."
    )
    print(f"Enumerated exactly in {perf_counter() - start:.1f} s.")
    lossless = not any(distance for _, found in rows for distance in found)
    caught = all(distance > 0 for _, distance in wrong)
    if not (lossless and caught and never_less):
        console.print("[red]The proof does not hold: please report this.[/]")
        raise typer.Exit(1)


def _proof_table(filters: Sequence[str], rows: Sequence[tuple[Case, Sequence[Fraction]]]) -> Table:
    """Return total variation by rule, drafter and stopping rule, a column a filter."""
    show = Table(
        title="Total variation to the target's law: 0 is lossless",
        caption=(
            "stopping: where a draft ends: at k tokens, where the drafter is unsure, after a token "
            "that the drafter finds unlikely, after one that the target forbids."
        ),
        caption_justify="left",
        box=box.SIMPLE,
        padding=0,
    )
    for column in ("rule", "drafter", "stopping"):
        show.add_column(column, no_wrap=True)
    for name in filters:
        show.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    for case, found in rows:
        show.add_row(case.rule, case.drafter, case.stopping, *map(_distance, found))
    return show


def _mistake_table(found: Sequence[tuple[Mutant, Fraction]]) -> Table:
    show = Table(title="Planted mistakes: above 0 is caught", box=box.SIMPLE)
    show.add_column("mistake")
    show.add_column("total variation", justify="right", no_wrap=True)
    for mutant, distance in found:
        style = "green" if distance else "red"
        show.add_row(mutant.name, f"[{style}]{float(distance):.4f}[/]")
    return show


def _distance(distance: Fraction) -> str:
    return "[green]0[/]" if distance == 0 else f"[red]{float(distance):.4f}[/]"
