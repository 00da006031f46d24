"""`fairdraft train`: a drafter for your own model, from prompts to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fairdraft.bench.datasets import load_prompts
from fairdraft.cli.options import Model
from fairdraft.config import require_int

if TYPE_CHECKING:
    from fairdraft.llm import LLM
    from fairdraft.training.run import Recipe

app = typer.Typer(no_args_is_help=True, help="Train a drafter for a model, on its own answers.")

Data = Annotated[
    list[str] | None,
    typer.Option(help="JSONL files with prompts to learn from; may be given often."),
]
Limit = Annotated[int | None, typer.Option(help="Prompts taken of each file.")]
SelfWritten = Annotated[int, typer.Option(help="Questions besides that the target asks itself.")]
Out = Annotated[Path, typer.Option(help="Folder for answers, states, checkpoint and head.")]
Texts = Annotated[
    Path | None, typer.Option(help="Folder for the answers, for several drafters to learn from.")
]
Borrow = Annotated[
    bool,
    typer.Option(
        "--borrow-vocabulary",
        help="Leave the target's rows out of the file; not for vLLM.",
    ),
]
Intermediate = Annotated[
    int | None, typer.Option(help="Neurons of the drafter's MLPs; the target's number by default.")
]
HeldOut = Annotated[
    list[str] | None, typer.Option(help="Datasets or files to measure acceptance on, 8 of each.")
]
MaxTokens = Annotated[int, typer.Option(help="Longest answer.")]
Streams = Annotated[int, typer.Option(help="Answers written at once.")]
Vocabulary = Annotated[int, typer.Option(help="Tokens that can be drafted.")]
Epochs = Annotated[int, typer.Option(help="Times over the data.")]
BatchTokens = Annotated[int, typer.Option(help="Tokens of a training step.")]
Rate = Annotated[float, typer.Option(help="The highest of the schedule.")]
DraftLength = Annotated[
    int, typer.Option("--num-speculative-tokens", "-k", help="Draft length when measured.")
]
SaveEvery = Annotated[int, typer.Option(help="Steps between checkpoints.")]
MeasureEvery = Annotated[int, typer.Option(help="Steps between measurements by real drafting.")]


@app.command()
def eagle3(
    data: Data = None,
    out: Out = Path("eagle3"),
    texts: Texts = None,
    target: Model = "demo",
    limit: Limit = None,
    self_written: SelfWritten = 0,
    held_out: HeldOut = None,
    max_tokens: MaxTokens = 256,
    streams: Streams = 16,
    draft_vocab_size: Vocabulary = 4096,
    intermediate_size: Intermediate = None,
    passes: Annotated[int, typer.Option(help="Draft tokens to unroll.")] = 5,
    epochs: Epochs = 4,
    batch_tokens: BatchTokens = 4096,
    learning_rate: Rate = 5e-4,
    num_speculative_tokens: DraftLength = 4,
    save_every: SaveEvery = 50,
    measure_every: MeasureEvery = 500,
) -> None:
    """Train an EAGLE-3 head. Run the same command again and it goes on where it stopped."""
    from fairdraft.training.run import run
    from fairdraft.training.students import Eagle3Student

    recipe = _recipe(locals())
    layer = _shape(intermediate_size)
    _report(run(recipe, lambda llm: Eagle3Student(llm.runner.model, target, passes, **layer)), out)


@app.command()
def medusa(
    data: Data = None,
    out: Out = Path("medusa"),
    texts: Texts = None,
    target: Model = "demo",
    limit: Limit = None,
    self_written: SelfWritten = 0,
    held_out: HeldOut = None,
    max_tokens: MaxTokens = 256,
    streams: Streams = 16,
    draft_vocab_size: Vocabulary = 4096,
    num_heads: Annotated[int, typer.Option(help="Tokens ahead.")] = 4,
    borrow_vocabulary: Borrow = False,
    epochs: Epochs = 4,
    batch_tokens: BatchTokens = 4096,
    learning_rate: Rate = 1e-3,
    num_speculative_tokens: DraftLength = 4,
    save_every: SaveEvery = 50,
    measure_every: MeasureEvery = 500,
) -> None:
    """Train Medusa heads. Run the same command again and it goes on where it stopped."""
    from fairdraft.training.run import run
    from fairdraft.training.students import MedusaStudent

    recipe = _recipe(locals())

    def student(llm: LLM) -> MedusaStudent:
        return MedusaStudent(llm.runner.model, target, num_heads, borrow_vocabulary)

    _report(run(recipe, student), out)


@app.command()
def dflash(
    data: Data = None,
    out: Out = Path("dflash"),
    texts: Texts = None,
    target: Model = "demo",
    limit: Limit = None,
    self_written: SelfWritten = 0,
    held_out: HeldOut = None,
    max_tokens: MaxTokens = 256,
    streams: Streams = 16,
    draft_vocab_size: Vocabulary = 4096,
    intermediate_size: Intermediate = None,
    num_layers: Annotated[int, typer.Option(help="Layers of the drafter.")] = 2,
    num_states: Annotated[int, typer.Option(help="Layers of the target that it reads.")] = 5,
    block_size: Annotated[int, typer.Option(help="The newest token, and masks behind it.")] = 8,
    mask_token_id: Annotated[
        int | None, typer.Option(help="Stands for a mask; a token without use by default.")
    ] = None,
    borrow_vocabulary: Borrow = False,
    epochs: Epochs = 4,
    batch_tokens: BatchTokens = 4096,
    learning_rate: Rate = 1e-3,
    num_speculative_tokens: DraftLength = 4,
    save_every: SaveEvery = 50,
    measure_every: MeasureEvery = 500,
) -> None:
    """Train a DFlash drafter. Run the same command again and it goes on where it stopped."""
    from fairdraft.training.run import run
    from fairdraft.training.students import DFlashStudent, unused_token

    recipe = _recipe(locals())
    layer = _shape(intermediate_size)

    def student(llm: LLM) -> DFlashStudent:
        mask = unused_token(llm.tokenizer) if mask_token_id is None else mask_token_id
        model = llm.runner.model
        return DFlashStudent(
            model, target, mask, block_size, num_layers, num_states, borrow_vocabulary, **layer
        )

    _report(run(recipe, student), out)


@app.command("draft-model")
def draft_model(
    data: Data = None,
    out: Out = Path("draft-model"),
    texts: Texts = None,
    target: Model = "demo",
    limit: Limit = None,
    self_written: SelfWritten = 0,
    held_out: HeldOut = None,
    max_tokens: MaxTokens = 256,
    streams: Streams = 16,
    draft_vocab_size: Vocabulary = 4096,
    intermediate_size: Intermediate = None,
    num_layers: Annotated[int, typer.Option(help="Layers of the target that are kept.")] = 2,
    epochs: Epochs = 4,
    batch_tokens: BatchTokens = 4096,
    learning_rate: Rate = 5e-4,
    num_speculative_tokens: DraftLength = 4,
    save_every: SaveEvery = 50,
    measure_every: MeasureEvery = 500,
) -> None:
    """Cut a draft model out of the target, and distil it. Run the same command again and it goes
    on where it stopped."""
    from fairdraft.training.run import run
    from fairdraft.training.students import DraftModelStudent

    recipe = _recipe(locals())

    def student(llm: LLM) -> DraftModelStudent:
        return DraftModelStudent(llm.runner.model, target, num_layers, intermediate_size)

    _report(run(recipe, student), out)


def _shape(intermediate_size: int | None) -> dict[str, int]:
    """What a head's layers have otherwise than the target's."""
    if intermediate_size is None:
        return {}
    require_int("intermediate_size", intermediate_size, 1, "leave it out for the target's number")
    return {"intermediate_size": intermediate_size}


def _recipe(options: dict[str, Any]) -> Recipe:
    """The recipe that a verb's options mean."""
    from fairdraft.training.loop import Schedule
    from fairdraft.training.run import Recipe

    schedule = ("epochs", "batch_tokens", "learning_rate", "save_every", "measure_every")
    kept = ("target", "out", "texts", "self_written", "max_tokens", "streams", "draft_vocab_size")
    files, held_out = options["data"] or (), options["held_out"] or ("gsm8k",)
    return Recipe(
        prompts=[text for name in files for text in load_prompts(name, options["limit"])],
        held_out=[text for name in held_out for text in load_prompts(name, 8)],
        num_speculative_tokens=options["num_speculative_tokens"],
        schedule=Schedule(**{name: options[name] for name in schedule}),
        **{name: options[name] for name in kept},
    )


def _report(log: list[dict[str, Any]], out: Path) -> None:
    console = Console()
    console.print(f"{len(log)} steps, loss {log[0]['loss']:.3f} → {log[-1]['loss']:.3f}")
    if found := log[-1].get("measured"):
        length, alpha = found["mean_acceptance_length"], found["alpha"]
        console.print(f"on held-out prompts: mean acceptance length {length:.2f}, α {alpha:.2f}")
    console.print(f"the head is in {out / 'head'}")
