"""`fairdraft plan`: which draft length at which load, and what it is worth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fairdraft.cli.options import numbers
from fairdraft.cli.outputs import require_writable
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.plan import Plan
    from fairdraft.readers import Reading

ALL = "all"


def plan(
    profile: Annotated[
        Path | None, typer.Option(help="Costs: what `fairdraft profile` wrote.")
    ] = None,
    sweep: Annotated[
        list[Path] | None,
        typer.Option(
            help="Costs: a run of any engine at one k and load, or a folder of them; repeat. Among "
            "them runs without speculation."
        ),
    ] = None,
    acceptance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[METHOD=]FILE",
            help="Acceptance: a measurement. A sweep's own longest drafts by default.",
        ),
    ] = None,
    alpha: Annotated[
        list[str] | None, typer.Option(metavar="[METHOD=]α", help="Acceptance: of every token.")
    ] = None,
    survivals: Annotated[
        list[str] | None,
        typer.Option(metavar="[METHOD=]S1,S2,…", help="Acceptance: of the first j tokens all."),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE:WHAT",
            help="Acceptance: one kind of the traffic, its share of all tokens, and a file or an "
            "α; repeat until shares add up to 1.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Who drafts, where that is not said otherwise.")
    ] = None,
    k: Annotated[
        str | None, typer.Option("--k", "-k", help="Draft lengths; all measured by default.")
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option(help="Requests at once; those measured by default.")
    ] = None,
    context: Annotated[
        float | None,
        typer.Option(help="Tokens of each request; the profile's shortest by default."),
    ] = None,
    tpot_ms: Annotated[
        float | None, typer.Option(help="Limit: milliseconds a token of a request may take.")
    ] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="Dollars, of the machine.")] = None,
    before: Annotated[
        str | None,
        typer.Option(metavar="[METHOD=]FILE", help="With --after: what an upgrade is worth."),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="[METHOD=]FILE", help="With --before.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Line to paste: fairdraft, vllm, sglang, llama.cpp, or all.")
    ] = ALL,
    drafter: Annotated[
        str | None, typer.Option(help="The drafter's checkpoint, for that line.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Price what was not measured too, marked ~.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take a profile of another machine.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the plan goes as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where the picture goes.")] = None,
) -> None:
    """Price every draft length at every load from measured costs and acceptance, and choose.

    At a load the choice is the draft length of the best estimated speedup among those whose 95%
    interval lies above 1, the shortest where they tie; off if there is none.
    """
    from fairdraft.cli import plan_inputs as inputs
    from fairdraft.cli import plan_report as report
    from fairdraft.economics.advice import ENGINES
    from fairdraft.economics.planner import plan as price_all
    from fairdraft.economics.step_costs import StepCosts
    from fairdraft.economics.upgrade import upgrades

    for name, value in (("--tpot-ms", tpot_ms), ("--price-per-hour", price_per_hour)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value:g}, but must be a number above 0")
    if (profile is None) == (not sweep):
        raise ConfigError(
            "step costs come from either --profile FILE (see `fairdraft profile`) or --sweep "
            "FILES of another engine: give one of the two"
        )
    if (before is None) != (after is None):
        raise ConfigError("--before and --after belong together: give both measurements")
    if before is not None and (acceptance or alpha or survivals or mix):
        raise ConfigError(
            "--before and --after replace --acceptance, --alpha, --survivals and --mix: leave these"
        )
    if engine not in (*ENGINES, ALL):
        raise ConfigError(f"--engine is {engine!r}, but must be {', '.join(ENGINES)}, or {ALL}")
    for option, path in (("--out", out), ("--plot", plot)):
        if path is not None:
            require_writable(option, path)
    ks = numbers("--k", k) if k is not None else None
    loads = numbers("--concurrency", concurrency) if concurrency is not None else None

    runs: list[Reading] = []
    if profile is not None:
        costs = inputs.profile_costs(profile, context, force)
    else:
        if context is not None:
            raise ConfigError("--context goes with --profile: a sweep has the context it ran with")
        runs, method = inputs.sweep_runs(sweep or [], method)
        costs = StepCosts.of_sweep(runs, method)

    def priced(*files: str) -> Plan:
        """With the acceptance of these files, or with what the options say of it."""
        said = (acceptance or [], alpha or [], survivals or [], mix or [])
        measured, alphas, survived, parts = (files, [], [], []) if files else said
        accepted = inputs.acceptances(costs, method, measured, alphas, survived, parts, runs)
        return price_all(costs, accepted, ks, loads, extrapolate=extrapolate)

    limit = None if tpot_ms is None else tpot_ms / 1e3
    gains = []
    if before is not None and after is not None:
        old, found = priced(before), priced(after)
        gains = upgrades(old, found)
        Console().print(report.upgrade_table(gains, price_per_hour))
    else:
        found = priced()
    engines = tuple(ENGINES) if engine == ALL else (engine,)
    _show(found, engines, drafter, limit, price_per_hour)
    if out is not None:
        record = report.to_json(found, price_per_hour, limit)
        record["upgrade"] = report.upgrade_records(gains, price_per_hour)
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        from fairdraft.cli.plan_plot import draw

        draw(found, plot)
    for path in (out, plot):
        if path is not None:
            print(f"Written to {path}")


def _show(
    found: Plan,
    engines: tuple[str, ...],
    drafter: str | None,
    limit: float | None,
    price: float | None,
) -> None:
    """Tables, bounds to watch, lines to paste; the last two of the best method."""
    from fairdraft.cli import plan_report as report
    from fairdraft.economics.advice import paste_line
    from fairdraft.economics.step_costs import SWEPT

    console, best = Console(), found.best_method
    for method in found.methods:
        console.print(report.speedup_table(found, method))
    if len(found.methods) > 1:
        console.print(report.method_table(found))
        console.print(f"Best over these loads: {best}.", markup=False)
    console.print(report.choice_table(found, best, limit, price))
    if limit is not None:
        console.print(report.goodput_sentence(found, best, limit), soft_wrap=True)
    lines = ["Watch, read at the chosen k:", *(f"  {each}" for each in report.watch(found, best))]
    lines += [*found.notes, "", "To paste:"]
    for engine in engines:
        line = "(say who drafts: --method ngram, say)"
        if best != SWEPT:
            line = paste_line(found, best, engine, drafter)
        lines.append(f"  {engine}: {line}")
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
