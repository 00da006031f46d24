"""`fairdraft bench`: measure a grid of settings, and draw what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fairdraft.bench.grid import CLEARED, KEPT, Bench, Grid
from fairdraft.bench.report import Report, read_report, report, table, write_report
from fairdraft.cli.options import (
    Device,
    Dtype,
    MaxModelLen,
    Model,
    encode_prompt,
    load_llm,
    numbers,
    speculative_config,
    words,
)
from fairdraft.cli.outputs import require_picture, require_writable, write_output

if TYPE_CHECKING:
    from fairdraft.llm import LLM

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
    keep_memory: Annotated[
        bool,
        typer.Option(
            "--keep-memory",
            help="Let methods draft from what earlier rounds answered to the same prompts.",
        ),
    ] = False,
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

    Rounds and loads repeat the prompts. Methods that draft from past answers (suffix, hybrid, auto)
    see those of one pass over a dataset only, as a server would that is asked each of these prompts
    once, unless `--keep-memory` is given; the report says which.
    """
    grid = Grid(
        tuple(datasets),
        words(methods),
        numbers("--k", k),
        numbers("--concurrency", concurrency),
        num_prompts,
        max_tokens,
        rounds,
        KEPT if keep_memory else CLEARED,
    )
    require_writable("--out", out)
    options = {"dtype": dtype, "device": device, "max_model_len": max_model_len}

    def load(method: str, k: int, /, **more: Any) -> LLM:
        drafting = speculative_config(method, k)
        return load_llm(model, speculative_config=drafting, **options, **more)

    bench = Bench(grid, load, encode_prompt, {"model": model, **options})
    try:
        _measure(bench)
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

    result = read_report(file)
    picture = out or file.with_suffix(".png")
    require_picture("--out", picture)
    write_output("--out", picture, lambda path: draw(result, path))
    print(f"Written to {picture}")


def _measure(bench: Bench) -> None:
    """Run the grid, with a bar on stderr from when its engines are loaded."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)

    def tell(what: str, done: int, total: int) -> None:
        if not progress.tasks:
            progress.start()
            progress.add_task("")
        progress.update(progress.task_ids[0], description=what, completed=done, total=total)

    try:
        bench.run(tell)
    finally:
        progress.stop()


def _keep(result: Report, out: Path) -> None:
    write_output("--out", out, lambda path: write_report(result, path))
    console = Console()
    console.print(table(result))
    if not result["complete"]:
        console.print("Interrupted: some rounds are missing.")
    console.print(f"Written to {out}", markup=False, highlight=False, soft_wrap=True)
