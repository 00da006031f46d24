"""`fairdraft plan`: which draft length at which load, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fairdraft.cli.outputs import fold, require_picture, require_writable, write_json
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.cli.plan_inputs import Said
    from fairdraft.economics.planning.plan import Plan
    from fairdraft.economics.planning.upgrade import Upgrade

ALL = "all"

ProfileFile = Annotated[Path | None, typer.Option(help="Costs: what `fairdraft profile` wrote.")]
SweepFiles = Annotated[
    list[Path] | None,
    typer.Option(
        help="Costs: a run of any engine at one k and load, or a folder of them; repeat. Among "
        "them runs without speculation."
    ),
]
Measurements = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[METHOD=]FILE",
        help="Acceptance: a measurement. A sweep's own longest drafts by default.",
    ),
]
Alphas = Annotated[
    list[str] | None, typer.Option(metavar="[METHOD=]α", help="Acceptance: of every token.")
]
Survivals = Annotated[
    list[str] | None,
    typer.Option(metavar="[METHOD=]S1,S2,…", help="Acceptance: of the first j tokens all."),
]
Mixes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHARE:WHAT",
        help="Acceptance: one kind of the traffic, its share of all tokens, and a file or an α; "
        "repeat until shares add up to 1.",
    ),
]
Method = Annotated[str | None, typer.Option(help="Who drafts, where that is not said otherwise.")]
Lengths = Annotated[
    str | None, typer.Option("--k", "-k", help="Draft lengths; all measured by default.")
]
Loads = Annotated[str | None, typer.Option(help="Requests at once; those measured by default.")]
Context = Annotated[
    float | None, typer.Option(help="Tokens of each request; the profile's shortest by default.")
]
Prompts = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Price prompts: lengths of a file (JSON lines with prompt_tokens and output_tokens, "
        "or of `vllm bench serve --save-detailed`), or its texts.",
    ),
]
PromptTokens = Annotated[
    str | None,
    typer.Option(metavar="N", help="Price prompts of so many tokens: 300, 50-800 or 50,100,800."),
]
OutputTokens = Annotated[
    str | None, typer.Option(metavar="N", help="With prompts: tokens of an answer, likewise.")
]
Rate = Annotated[
    float | None,
    typer.Option(help="With prompts: requests a second that arrive; what to use for that rate."),
]
Seats = Annotated[
    int | None,
    typer.Option("--max-num-seqs", help="With --rate: requests at once; the most measured."),
]
Budget = Annotated[
    int | None,
    typer.Option("--max-num-batched-tokens", help="With prompts: rows of a step; 512 by default."),
]
KvTokens = Annotated[
    int | None, typer.Option(help="With prompts: tokens that the KV holds; enough by default.")
]
TpotLimit = Annotated[
    float | None, typer.Option(help="Limit: milliseconds a token of a request may take.")
]
Price = Annotated[float | None, typer.Option(help="Dollars, of the machine.")]
Before = Annotated[
    str | None,
    typer.Option(metavar="[METHOD=]FILE", help="With --after: what an upgrade is worth."),
]
After = Annotated[str | None, typer.Option(metavar="[METHOD=]FILE", help="With --before.")]
Engine = Annotated[
    str, typer.Option(help="Line to paste: fairdraft, vllm, sglang, llama.cpp, or all.")
]
Drafter = Annotated[str | None, typer.Option(help="The drafter's checkpoint, for that line.")]
Extrapolate = Annotated[
    bool, typer.Option("--extrapolate", help="Price what was not measured too, marked ~.")
]
Force = Annotated[bool, typer.Option("--force", help="Take a profile of another machine.")]
Out = Annotated[Path | None, typer.Option(help="Where the plan goes as JSON.")]
Picture = Annotated[Path | None, typer.Option(help="Where the picture goes.")]


def plan(
    profile: ProfileFile = None,
    sweep: SweepFiles = None,
    acceptance: Measurements = None,
    alpha: Alphas = None,
    survivals: Survivals = None,
    mix: Mixes = None,
    method: Method = None,
    k: Lengths = None,
    concurrency: Loads = None,
    context: Context = None,
    prompts: Prompts = None,
    prompt_tokens: PromptTokens = None,
    output_tokens: OutputTokens = None,
    rate: Rate = None,
    max_num_seqs: Seats = None,
    max_num_batched_tokens: Budget = None,
    kv_tokens: KvTokens = None,
    tpot_ms: TpotLimit = None,
    price_per_hour: Price = None,
    before: Before = None,
    after: After = None,
    engine: Engine = ALL,
    drafter: Drafter = None,
    extrapolate: Extrapolate = False,
    force: Force = False,
    out: Out = None,
    plot: Picture = None,
) -> None:
    """Price every draft length at every load from measured costs and acceptance, and choose.

    At a load the choice is the draft length of the best estimated speedup among those whose 95%
    interval lies above 1, the shortest where they tie; off if there is none.

    Decoding alone is priced, unless the lengths of prompts and answers are given: then whole runs
    are simulated.
    """
    from fairdraft.cli import plan_traffic
    from fairdraft.cli.options import numbers
    from fairdraft.cli.plan_inputs import Costs, Said
    from fairdraft.config.speculation import MAX_LENGTH
    from fairdraft.economics.planning.planner import plan as price_all
    from fairdraft.economics.planning.record import plan_record, rate_record, upgrade_records
    from fairdraft.economics.planning.upgrade import upgrades

    limit = None if tpot_ms is None else _positive("--tpot-ms", tpot_ms) / 1e3
    price = None if price_per_hour is None else _positive("--price-per-hour", price_per_hour)
    words = plan_traffic.TrafficWords(
        prompts,
        prompt_tokens,
        output_tokens,
        rate,
        max_num_seqs,
        max_num_batched_tokens,
        kv_tokens,
    )
    traffic, notes = words.load()
    if context is None and traffic is not None and profile is not None:
        context = traffic.mean_context
    asked = Costs(profile, sweep or [], method, context, force)
    said = Said(acceptance or [], alpha or [], survivals or [], mix or [])
    comparison = _comparison(before, after, said)
    engines = _engines(engine)
    _require_outputs(out, plot)
    ks = None if k is None else numbers("--k", k)
    if ks is not None and max(ks) > MAX_LENGTH:
        raise ConfigError(
            f"--k is {k!r}, but a draft has {MAX_LENGTH} tokens at most: leave out what is above"
        )
    loads = None if concurrency is None else numbers("--concurrency", concurrency)

    costs, runs, drafting = asked.load()
    limits = words.limits(costs.step.requests[-1])
    accepted = [each.acceptances(costs, drafting, runs) for each in comparison or [said]]
    *old, found = (
        price_all(costs, each, ks, loads, extrapolate=extrapolate, traffic=traffic, limits=limits)
        for each in accepted
    )
    rated = []
    if traffic is not None:
        rated = plan_traffic.rate_plans(words, traffic, costs, accepted[-1], ks, extrapolate)
        found = replace(found, notes=(*notes, *found.notes))
    gains = upgrades(old[0], found) if old else []
    if traffic is not None:
        print(fold(plan_traffic.traffic_sentence(traffic), Console().width))
    for each in rated:
        Console().print(plan_traffic.rate_table(each))
        print(fold(plan_traffic.rate_sentence(each), Console().width) + "\n")
    _show(found, gains, engines, drafter, limit, price)
    if out is not None:
        record = plan_record(found, price, limit) | {
            "upgrade": upgrade_records(gains, price),
            "rates": [rate_record(each) for each in rated],
        }
        write_json(out, record)
        print(f"Written to {out}")
    if plot is not None:
        from fairdraft.cli.plan_plot import draw

        draw(found, plot)
        print(f"Written to {plot}")


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value:g}, but must be a number above 0")
    return value


def _comparison(before: str | None, after: str | None, said: Said) -> list[Said]:
    """Return what is said of acceptance before and after an upgrade; nothing without one."""
    from fairdraft.cli.plan_inputs import Said

    if before is None and after is None:
        return []
    if before is None or after is None:
        raise ConfigError("--before and --after belong together: give both measurements")
    if said:
        raise ConfigError(
            "--before and --after replace --acceptance, --alpha, --survivals and --mix: leave these"
        )
    return [Said([before]), Said([after])]


def _engines(name: str) -> tuple[str, ...]:
    from fairdraft.peers.flags import ENGINES

    if name not in (*ENGINES, ALL):
        raise ConfigError(f"--engine is {name!r}, but must be {', '.join(ENGINES)}, or {ALL}")
    return tuple(ENGINES) if name == ALL else (name,)


def _require_outputs(out: Path | None, plot: Path | None) -> None:
    if out is not None:
        require_writable("--out", out)
    if plot is not None:
        require_picture("--plot", plot)


def _show(
    found: Plan,
    gains: Sequence[Upgrade],
    engines: tuple[str, ...],
    drafter: str | None,
    limit: float | None,
    price: float | None,
) -> None:
    """Print tables, bounds to watch, lines to paste; the last two of the best method."""
    from fairdraft.cli import plan_report as report
    from fairdraft.cli.plan_traffic import load_table

    console, best = Console(), found.best_method
    if gains:
        console.print(report.upgrade_table(gains, price))
    for method in found.methods:
        for table in report.speedup_tables(found, method, console.width):
            console.print(table)
        print()
    if len(found.methods) > 1:
        console.print(report.method_table(found))
        print(f"Best over these loads: {best}.\n")
    console.print(report.choice_table(found, best))
    print()
    if any(cell is not None and cell.served for cell in found.cells.values()):
        console.print(load_table(found, best))
    if limit is not None or price is not None:
        console.print(report.value_table(found, best, limit, price))
    if limit is not None:
        print(fold(report.goodput_sentence(found, best, limit), console.width))
    print("Watch, read at the chosen k:")
    for sentence in (*report.watch(found, best), *found.notes):
        print(fold(sentence, console.width, indent=2))
    print("\nTo paste:")
    for engine in engines:
        print(f"  {engine}: {report.paste_line(found, best, engine, drafter)}")
