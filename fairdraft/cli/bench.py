"""`fairdraft bench`: measure a grid of settings, and draw what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fairdraft.bench.grid import Bench, Grid
from fairdraft.bench.report import Report, read_report, report, table
from fairdraft.cli.files import require_writable
from fairdraft.cli.options import Device, Dtype, MaxModelLen, Model, numbers, words

app = typer.Typer(
    help="Measure a grid of settings, and draw what came out.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def run(
    datasets: Annotated[
        list[str],
        typer.Argument(
            help="humaneval, gsm8k, mt_bench, code_editing, or JSONL files with prompts."
        ),
    ],
    methods: Annotated[str, typer.Option(help='Who drafts; "none" is the reference.')] = (
        "none,ngram"
    ),
    k: Annotated[str, typer.Option("--k", "-k", help="Draft lengths.")] = "1,2,4,8",
    concurrency: Annotated[str, typer.Option(help="Requests that run at once.")] = "1",
    num_prompts: Annotated[int, typer.Option(help="Prompts of each dataset.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="Tokens generated for each, EOS ignored.")] = 128,
    rounds: Annotated[int, typer.Option(help="Timed passes of each cell.")] = 3,
    model: Model = "demo",
    dtype: Dtype = "auto",
    device: Device = "auto",
    max_model_len: MaxModelLen = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("fairdraft-bench.json"),
) -> None:
    """Measure every method × k × concurrency × dataset, greedily, in turns.

    A cell with concurrency n sends its prompts in groups of n and waits for each group, so nothing
    hides the end of a group, when fewer than n still run. Whole calls are timed, prefill included;
    no prefix is reused. Each method and k keeps a model of its own in memory. The first group of
    each cell warms up and is not counted. Ctrl-C keeps what is finished.
    """
    grid = Grid(
        tuple(datasets),
        words(methods),
        numbers("--k", k),
        numbers("--concurrency", concurrency),
        num_prompts,
        max_tokens,
        rounds,
    )
    require_writable(out)
    bench = Bench(grid, model, dtype=dtype, device=device, max_model_len=max_model_len)
    try:
        bench.run()
    finally:  # Ctrl-C and a failure in the tenth minute included
        if any(bench.samples.values()):
            _keep(report(bench), out)


@app.command()
def plot(
    file: Annotated[Path, typer.Argument(help="What `bench run` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Picture; by default FILE with the suffix .png.")
    ] = None,
) -> None:
    """Draw tokens per run and speedup against k, with the equation's curves dashed."""
    from fairdraft.bench.plot import draw

    picture = out or file.with_suffix(".png")
    result = read_report(file)
    require_writable(picture)
    draw(result, picture)
    print(f"Written to {picture}")


def _keep(result: Report, out: Path) -> None:
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console.print(table(result))
    if not result["complete"]:
        console.print("Interrupted: some rounds are missing.")
    console.print(f"Written to {out}", markup=False, highlight=False, soft_wrap=True)
