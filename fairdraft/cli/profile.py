"""`fairdraft profile`: measure what steps cost here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fairdraft.cli.options import Device, Dtype, Model, loading, numbers, words
from fairdraft.cli.outputs import require_picture, require_writable, write_output
from fairdraft.cli.render import folded
from fairdraft.config import DTYPES, SpeculativeConfig, require
from fairdraft.errors import ConfigError

if TYPE_CHECKING:
    from fairdraft.economics.costs.profile import Profile


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
    start from. No text is needed, prompts are random tokens: what a step costs does not hang on
    what it says.
    """
    from fairdraft.models import ModelRunner, load_checkpoint
    from fairdraft.profiling import ProfileGrid, build_shape, profile_model
    from fairdraft.telemetry.environment import benchmark_environment

    grid = ProfileGrid(
        numbers("--requests", requests), numbers("--k", k), numbers("--contexts", contexts), rounds
    )
    named = [name for name in words(methods) if name != "none"]
    require(dtype in DTYPES, f"dtype is {dtype!r}, but must be one of {', '.join(DTYPES)}")
    require_writable("--out", out)
    picture = plot or out.with_suffix(".png")
    require_picture("--plot", picture)
    if config is not None and named:
        raise ConfigError(
            "--config has random weights that no drafter was made for: add --methods none"
        )
    drafters = [SpeculativeConfig(name, max(grid.ks)) for name in named]
    tokenizer = None
    with loading(config or model):
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
    text = json.dumps(found.to_json(), indent=1) + "\n"
    write_output("--out", out, lambda path: path.write_text(text, encoding="utf-8"))
    write_output("--plot", picture, lambda path: draw(found, path))
    _show(found)
    print(f"Written to {out} and {picture}")


def _show(found: Profile) -> None:
    """Print steps in milliseconds, one table a context, and what is read off them."""
    console = Console()
    step = found.step

    def milliseconds(requests: int, rows: int, context: int) -> str:
        if not step.covers(requests, rows, context):
            return "–"
        return f"{step.seconds(requests, rows, context) * 1e3:.1f}"

    for context in step.contexts:
        console.print(f"milliseconds a step, context {context}")
        names = ["k", *("plain" if rows == 1 else str(rows - 1) for rows in step.rows)]
        columns = [
            [_requests(n), *(milliseconds(n, rows, context) for rows in step.rows)]
            for n in step.requests
        ]
        console.print(*folded(names, columns, console.width))
    context = step.contexts[0]
    console.print(
        f"in plain steps, context {context}: verify growth λ a draft token, draft costs c"
    )
    columns = [
        [
            _requests(n),
            f"{found.verify_growth(n, context):.3f}",
            *(f"{found.draft_cost(method, n, context):.4f}" for method in found.drafters),
        ]
        for n in step.requests
    ]
    names = ["", "λ", *(f"c {method}" for method in found.drafters)]
    console.print(*folded(names, columns, console.width))
    knee = found.knee(context)
    where = f"{knee:.0f} rows" if knee is not None else "not reached"
    console.print(f"Knee, where a run takes twice what one row does: {where}.")
    console.print(
        f"Weights: {found.weight_bytes / 2**20:.0f} MiB, read at "
        f"{found.bandwidth / 1e9:.1f} GB/s or more in the smallest run."
    )


def _prompts(found: Profile) -> str:
    """Return what reading the longest chunk takes, at a text's beginning and late in it."""
    surface = found.prefill
    assert surface is not None
    rows, late = surface.rows[-1], surface.contexts[-1]
    first = f"{rows} rows take {surface.seconds(1, rows, 0) * 1e3:.0f} ms"
    reads = [
        f"{method} reads them in {each.seconds(1, each.rows[-1], 0) * 1e3:.1f} ms"
        for method, each in found.reading.items()
    ]
    behind = []
    if late and surface.covers(1, rows, late):
        behind = [f"{surface.seconds(1, rows, late) * 1e3:.0f} ms behind {late} tokens"]
    return ", ".join([first, *behind, *reads])


def _requests(count: int) -> str:
    """A column's head."""
    return "1 request" if count == 1 else f"{count} requests"


def draw(found: Profile, path: Path) -> None:
    """Draw seconds a step against draft length, and what drafting adds, to a file."""
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
    figure.savefig(path, dpi=150)
