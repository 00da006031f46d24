"""`fairdraft train`: a drafter for your own model, from prompts to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fairdraft.bench.datasets import load_prompts
from fairdraft.cli.options import Model, OldTarget, refuse_old_target
from fairdraft.cli.outputs import require_folder
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

# Least value of each whole number, and what to do about one that is less.
_WHOLE = {
    "limit": (1, "leave it out for all prompts"),
    "self_written": (0, "0 asks none"),
    "max_tokens": (1, "256 is usual"),
    "streams": (1, "16 is usual"),
    "draft_vocab_size": (1, "4096 is usual"),
    "intermediate_size": (1, "leave it out for the target's number"),
    "passes": (1, "5 is usual"),
    "num_heads": (1, "4 is usual"),
    "num_layers": (1, "2 is usual"),
    "num_states": (1, "5 is usual"),
    "block_size": (2, "8 is usual"),
    "mask_token_id": (0, "leave it out for a token without use"),
    "num_speculative_tokens": (1, "4 is usual"),
}


@app.command()
def eagle3(
    data: Data = None,
    out: Out = Path("eagle3"),
    texts: Texts = None,
    model: Model = "demo",
    target: OldTarget = None,
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
    from fairdraft.heads.eagle3 import Eagle3Training
    from fairdraft.training.run import run

    recipe = _recipe(locals())
    layer = {} if intermediate_size is None else {"intermediate_size": intermediate_size}
    _report(run(recipe, lambda llm: Eagle3Training(llm.runner.model, model, passes, **layer)), out)


@app.command()
def medusa(
    data: Data = None,
    out: Out = Path("medusa"),
    texts: Texts = None,
    model: Model = "demo",
    target: OldTarget = None,
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
    from fairdraft.heads.medusa import MedusaTraining
    from fairdraft.training.run import run

    recipe = _recipe(locals())

    def training(llm: LLM) -> MedusaTraining:
        return MedusaTraining(llm.runner.model, model, num_heads, borrow_vocabulary)

    _report(run(recipe, training), out)


@app.command()
def dflash(
    data: Data = None,
    out: Out = Path("dflash"),
    texts: Texts = None,
    model: Model = "demo",
    target: OldTarget = None,
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
    from fairdraft.heads.dflash import DFlashTraining, unused_token
    from fairdraft.training.run import run

    recipe = _recipe(locals())
    layer = {} if intermediate_size is None else {"intermediate_size": intermediate_size}

    def training(llm: LLM) -> DFlashTraining:
        mask = unused_token(llm.tokenizer) if mask_token_id is None else mask_token_id
        target = llm.runner.model
        return DFlashTraining(
            target, model, mask, block_size, num_layers, num_states, borrow_vocabulary, **layer
        )

    _report(run(recipe, training), out)


@app.command("draft-model")
def draft_model(
    data: Data = None,
    out: Out = Path("draft-model"),
    texts: Texts = None,
    model: Model = "demo",
    target: OldTarget = None,
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
    from fairdraft.heads.draft_model import DraftModelTraining
    from fairdraft.training.run import run

    recipe = _recipe(locals())

    def training(llm: LLM) -> DraftModelTraining:
        return DraftModelTraining(llm.runner.model, model, num_layers, intermediate_size)

    _report(run(recipe, training), out)


def _recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe that a verb's options mean, once they are checked.

    Raises:
        ConfigError: a number is out of range, a file of prompts cannot be read, or a folder cannot
            be written.
    """
    from fairdraft.training.loop import Schedule
    from fairdraft.training.run import Recipe

    refuse_old_target(options["target"])
    for name, (least, remedy) in _WHOLE.items():
        if options.get(name) is not None:
            require_int(f"--{name.replace('_', '-')}", options[name], least, remedy)
    for name in ("out", "texts"):
        if options[name] is not None:
            require_folder(f"--{name}", options[name])
    schedule = ("epochs", "batch_tokens", "learning_rate", "save_every", "measure_every")
    kept = ("out", "texts", "self_written", "max_tokens", "streams", "draft_vocab_size")
    files, held_out = options["data"] or (), options["held_out"] or ("gsm8k",)
    return Recipe(
        target=options["model"],
        prompts=[text for name in files for text in load_prompts(name, options["limit"])],
        held_out=[text for name in held_out for text in load_prompts(name, 8)],
        num_speculative_tokens=options["num_speculative_tokens"],
        schedule=Schedule(**{name: options[name] for name in schedule}),
        **{name: options[name] for name in kept},
    )


def _report(log: list[dict[str, Any]], out: Path) -> None:
    """Print what came of a training, and how to use it."""
    console = Console()
    console.print(f"{len(log)} steps, loss {log[0]['loss']:.3f} → {log[-1]['loss']:.3f}")
    if found := log[-1].get("measured"):
        length, alpha = found["mean_acceptance_length"], found["alpha"]
        console.print(f"on held-out prompts: mean acceptance length {length:.2f}, α {alpha:.2f}")
    console.print(f"the head is in {out / 'head'}")
