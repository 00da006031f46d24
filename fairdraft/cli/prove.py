"""`fairdraft prove`: the exact proof that verification leaves the target's law as it is."""

from __future__ import annotations

from fractions import Fraction
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fairdraft.proof.cases import FILTERS, block_gain, cases, largest
from fairdraft.proof.mutants import mutants


def prove(
    worlds: Annotated[int, typer.Option(min=1, help="Random worlds a cell.")] = 4,
) -> None:
    """Run the verifiers on exact fractions and print how far they are from the target's law.

    Every draft and every decision of a round is enumerated, over three tokens. A rule that is
    lossless shows 0, not a small number. Below it: mistakes known from public code, which must not.
    """
    console = Console()
    start = perf_counter()
    table = Table(title="Total variation to the target's law: 0 is lossless")
    for column in ("rule", "drafter", "stopping"):
        table.add_column(column)
    for name in FILTERS:
        table.add_column(name, justify="right")
    lossless = True
    every = list(cases())
    for case in track(every, "proving", console=Console(stderr=True), transient=True):
        found = [largest(case.play, case.depth, name, range(worlds)) for name in FILTERS]
        lossless &= not any(found)
        table.add_row(case.rule, case.drafter, case.stopping, *map(_distance, found))
    console.print(table)

    wrong = Table(title="Planted mistakes: above 0 is caught")
    wrong.add_column("mistake")
    wrong.add_column("total variation", justify="right")
    caught = True
    for mutant in mutants():
        distance = mutant.total_variation()
        caught &= distance > 0
        style = "green" if distance else "red"
        wrong.add_row(mutant.name, f"[{style}]{float(distance):.4f}[/]")
    console.print(wrong)

    gains = [block_gain(seed, k) for seed in range(worlds) for k in (1, 2, 3)]
    never_less = all(block >= standard for standard, block in gains)
    more = sum(block > standard for standard, block in gains)
    console.print(
        f"Accepted tokens, block against standard: never less in {len(gains)} worlds: "
        f"{never_less}; more in {more}."
    )
    console.print(f"Enumerated exactly in {perf_counter() - start:.1f} s.")
    if not (lossless and caught and never_less):
        console.print("[red]The proof does not hold: please report this.[/]")
        raise typer.Exit(1)


def _distance(distance: Fraction) -> str:
    return "[green]0[/]" if distance == 0 else f"[red]{distance}[/]"
