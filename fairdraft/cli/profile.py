"""`fairdraft profile`: measure what steps cost here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fairdraft.cli.options import Device, Dtype, Model, numbers, words
from fairdraft.cli.outputs import require_writable
from fairdraft.config import DTYPES, SpeculativeConfig, require
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.profile import Profile


def profile(
    model: Model = "demo",
    config: Annotated[
        str | None,
        typer.Option(help="Random weights of a shape instead: its name, or a config.json."),
    ] = None,
    methods: Annotated[
        str, typer.Option(help='Drafters to time, with a name each, or "none".')
    ] = "ngram,suffix",
    requests: Annotated[str, typer.Option(help="Requests side by side.")] = "1,2,4,8",
    k: Annotated[str, typer.Option("--k", "-k", help="Draft lengths.")] = "1,2,3,4,5,6,7,8",
    contexts: Annotated[str, typer.Option(help="Tokens before the step.")] = "128,512",
    rounds: Annotated[int, typer.Option(help="Times each setting is measured.")] = 9,
    dtype: Dtype = "auto",
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Where the profile goes.")] = Path("profile.json"),
    plot: Annotated[
        Path | None, typer.Option(help="Picture; by default OUT with the suffix .png.")
    ] = None,
) -> None:
    """Time steps over requests, rows and context, target and drafters apart, in turns.

    What `fairdraft plan` and `fairdraft reconcile` predict with, and what `method: "auto"` can
    start from. No prompt is read: what a step costs does not hang on what it says.
    """
    from fairdraft.models import ModelRunner, load_checkpoint
    from fairdraft.profiling import ProfileGrid, build_shape, profile_model
    from fairdraft.telemetry.environment import benchmark_environment

    picture = plot or out.with_suffix(".png")
    grid = ProfileGrid(
        numbers("--requests", requests), numbers("--k", k), numbers("--contexts", contexts), rounds
    )
    named = [name for name in words(methods) if name != "none"]
    require(dtype in DTYPES, f"dtype is {dtype!r}, but must be one of {', '.join(DTYPES)}")
    require_writable("--out", out)
    require_writable("--plot", picture)
    if config is not None and named:
        raise ConfigError(
            "--config has random weights that no drafter was made for: add --methods none"
        )
    drafters = [SpeculativeConfig(name, max(grid.ks)) for name in named]
    tokenizer = None
    with Console(stderr=True).status(f"Loading {config or model} …"):
        if config is not None:
            runner = ModelRunner(build_shape(config, dtype, device), name=config)
        else:
            checkpoint = load_checkpoint(model, dtype, device)
            tokenizer = checkpoint.tokenizer
            runner = ModelRunner(checkpoint.model, tokenizer=tokenizer, name=model)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        found = profile_model(
            runner,
            grid,
            drafters,
            tokenizer,
            config or model,
            benchmark_environment(),
            lambda what: progress.update(task, description=what, advance=1),
        )
    out.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    draw(found, picture)
    _show(found)
    print(f"Written to {out} and {picture}")


def _show(found: Profile) -> None:
    """Steps in milliseconds, and what is read off them."""
    console = Console()
    step = found.step
    for context in step.contexts:
        table = Table(title=f"milliseconds a step, context {context}", title_justify="left")
        table.add_column("requests", justify="right")
        for rows in step.rows:
            table.add_column("plain" if rows == 1 else f"k = {rows - 1}", justify="right")
        for requests in step.requests:
            cells = (
                f"{step.seconds(requests, rows, context) * 1e3:.1f}"
                if step.covers(requests, rows, context)
                else "–"
                for rows in step.rows
            )
            table.add_row(str(requests), *cells)
        console.print(table)
    context = step.contexts[0]
    table = Table(title=f"in plain steps, context {context}", title_justify="left")
    for name in ("requests", "λ", *(f"c {method}" for method in found.drafters)):
        table.add_column(name, justify="right")
    for requests in step.requests:
        costs = (f"{found.draft_cost(m, requests, context):.4f}" for m in found.drafters)
        table.add_row(str(requests), f"{found.verify_growth(requests, context):.3f}", *costs)
    console.print(table)
    knee = found.knee(context)
    where = f"{knee:.0f} rows" if knee is not None else "not reached"
    console.print(f"Knee, where a run takes twice what one row does: {where}.")
    console.print(
        f"Weights: {found.weight_bytes / 2**20:.0f} MiB, read at "
        f"{found.bandwidth / 1e9:.1f} GB/s or more in the smallest run."
    )


def draw(found: Profile, path: Path) -> None:
    """Seconds a step against rows, and what drafting adds.

    Raises:
        ConfigError: the suffix is no format that matplotlib writes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = ("solid", "dashed", "dotted", "dashdot")
    step = found.step
    for i, requests in enumerate(step.requests):
        for j, context in enumerate(step.contexts):
            rows = [n for n in step.rows if step.covers(requests, n, context)]
            times = [step.seconds(requests, n, context) * 1e3 for n in rows]
            style = {"color": f"C{i}", "linestyle": styles[j % len(styles)]}
            left.plot([n - 1 for n in rows], times, marker=".", **style)
        left.plot([], [], color=f"C{i}", label=f"{requests} requests")
    for j, context in enumerate(step.contexts):
        style = {"color": "grey", "linestyle": styles[j % len(styles)]}
        left.plot([], [], label=f"context {context}", **style)
    for j, (method, surface) in enumerate(found.drafters.items()):
        for i, requests in enumerate(surface.requests):
            times = [surface.seconds(requests, n, surface.contexts[0]) * 1e3 for n in surface.rows]
            style = {"color": f"C{i}", "linestyle": styles[j % len(styles)]}
            right.plot(surface.rows, times, marker=".", **style)
        right.plot([], [], color="grey", linestyle=styles[j % len(styles)], label=method)
    left.set(
        xlabel="draft length k", ylabel="milliseconds a step, drafting left out", ylim=(0, None)
    )
    right.set(xlabel="draft length k", ylabel="milliseconds of drafting")
    left.legend(fontsize="small")
    if found.drafters:
        right.set_yscale("log")
        right.legend(fontsize="small")
    device = found.environment.get("gpu") or found.environment.get("cpu") or ""
    figure.suptitle(f"{found.model}, {found.dtype}, {device}")
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # the format is not one of matplotlib's
        raise ConfigError(f"{str(path)!r} cannot be drawn ({error}): use .png") from None
