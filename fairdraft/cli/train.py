"""`fairdraft train`: a drafter for your own model, from prompts to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fairdraft.cli.datasets import load_prompts
from fairdraft.cli.options import Model

app = typer.Typer(no_args_is_help=True, help="Train a drafter for a model, on its own answers.")


@app.command()
def eagle3(
    data: Annotated[
        list[str] | None,
        typer.Option(help="JSONL files with prompts to learn from; may be given often."),
    ] = None,
    self_written: Annotated[
        int, typer.Option(help="Questions besides that the target asks itself.")
    ] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for answers, states, checkpoint and head.")
    ] = Path("eagle3"),
    target: Model = "demo",
    limit: Annotated[int | None, typer.Option(help="Prompts taken of each file.")] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Datasets or files to measure acceptance on.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 256,
    streams: Annotated[int, typer.Option(help="Answers written at once.")] = 16,
    draft_vocab_size: Annotated[int, typer.Option(help="Tokens that can be drafted.")] = 4096,
    intermediate_size: Annotated[
        int | None, typer.Option(help="Of the head's MLP; the target's by default.")
    ] = None,
    passes: Annotated[int, typer.Option(help="Draft tokens to unroll.")] = 5,
    epochs: Annotated[int, typer.Option(help="Times over the data.")] = 4,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a training step.")] = 4096,
    learning_rate: Annotated[float, typer.Option(help="The highest of the schedule.")] = 5e-4,
    num_speculative_tokens: Annotated[
        int, typer.Option("--num-speculative-tokens", "-k", help="Draft length when measured.")
    ] = 4,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 50,
    measure_every: Annotated[int, typer.Option(help="Steps between measurements.")] = 500,
) -> None:
    """Train an EAGLE-3 head. Run the same command again and it goes on where it stopped."""
    from fairdraft.training.loop import Schedule
    from fairdraft.training.run import Recipe, train_eagle3

    recipe = Recipe(
        target=target,
        prompts=[text for name in data or () for text in load_prompts(name, limit)],
        out=out,
        self_written=self_written,
        held_out=[text for name in held_out or ("gsm8k",) for text in load_prompts(name, 8)],
        max_tokens=max_tokens,
        streams=streams,
        draft_vocab_size=draft_vocab_size,
        passes=passes,
        num_speculative_tokens=num_speculative_tokens,
        schedule=Schedule(
            epochs=epochs,
            batch_tokens=batch_tokens,
            learning_rate=learning_rate,
            save_every=save_every,
            measure_every=measure_every,
        ),
        layers={} if intermediate_size is None else {"intermediate_size": intermediate_size},
    )
    log = train_eagle3(recipe)
    console = Console()
    console.print(f"{len(log)} steps, loss {log[0]['loss']:.3f} → {log[-1]['loss']:.3f}")
    if found := log[-1].get("measured"):
        console.print(f"mean acceptance length {found['mean_acceptance_length']:.2f} on held-out")
    console.print(f"the head is in {out / 'head'}")
