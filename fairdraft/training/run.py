"""`fairdraft train`: from prompts to a drafter's files, in one folder that it can go on from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fairdraft.config import require
from fairdraft.errors import TrainingError
from fairdraft.heads import head_cost
from fairdraft.heads.samples import Batch, Losses, Sample
from fairdraft.llm import LLM
from fairdraft.training.answers import Text, frequent_tokens, self_written_prompts, write_answers
from fairdraft.training.card import write_card
from fairdraft.training.loop import Schedule, train
from fairdraft.training.measure import measure
from fairdraft.training.states import write_states
from fairdraft.training.storage import write_whole, writing
from fairdraft.training.students import Student

HEAD = "head"
MEASURED_TOKENS = 96  # of each held-out answer


@dataclass(frozen=True)
class Recipe:
    """What to learn from, and how.

    Args:
        target: hub id, folder, GGUF file or "demo".
        prompts: texts of user messages.
        out: folder for everything.
        texts: folder for the target's answers, which heads can share; None takes `out`.
        self_written: questions that the target asks itself, besides.
        held_out: texts of user messages to measure on; never trained on.
        max_tokens: longest answer.
        streams: answers written at once.
        draft_vocab_size: tokens that can be drafted, the most frequent ones.
        num_speculative_tokens: draft length when measured.
        schedule: how long and how fast.
    """

    target: str
    prompts: Sequence[str]
    out: Path
    texts: Path | None = None
    self_written: int = 0
    held_out: Sequence[str] = ()
    max_tokens: int = 256
    streams: int = 16
    draft_vocab_size: int = 4096
    num_speculative_tokens: int = 4
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def folder(self) -> Path:
        """Where the target's answers are."""
        return self.texts or self.out


def run(recipe: Recipe, student_of: Callable[[LLM], Student]) -> list[dict[str, Any]]:
    """Train a head; everything that was done before is kept and gone on from.

    Args:
        recipe: what to learn from, and how.
        student_of: makes the student for a loaded target.

    Returns:
        The log of `train`.

    Raises:
        ConfigError: a value out of range, before any work.
        TrainingError: see `write_answers`, `write_states`, `train`.
        CheckpointError: the target cannot be loaded.
    """
    prompts = [text for text in recipe.prompts if text not in set(recipe.held_out)]
    require(
        bool(prompts) or recipe.self_written > 0,
        "there are no prompts to learn from, besides those held out: give --data or --self-written",
    )
    llm = LLM(recipe.target, max_num_seqs=recipe.streams, max_num_batched_tokens=1024)
    runner = llm.runner
    require(
        0 < recipe.draft_vocab_size <= runner.vocab_size,
        f"draft_vocab_size is {recipe.draft_vocab_size}, but the target has only "
        f"{runner.vocab_size} tokens: lower it",
    )
    student = student_of(llm)
    student.begin(torch.arange(recipe.draft_vocab_size))  # a shape that cannot be is told at once
    held_out = [llm.encode_chat([{"role": "user", "content": t}]) for t in recipe.held_out]
    longest = max(map(len, held_out), default=0) + MEASURED_TOKENS
    require(
        longest < runner.max_model_len,
        f"a held-out prompt and its answer take {longest} tokens, but the target reads only "
        f"{runner.max_model_len}: give shorter ones with --held-out",
    )
    _claim(recipe)
    texts = answers(llm, recipe, prompts)
    shards = write_states(runner, texts, student.layer_ids, recipe.out / "states")
    torch.manual_seed(recipe.schedule.seed)
    student.begin(frequent_tokens(texts, recipe.draft_vocab_size, runner.vocab_size))

    def loss(samples: list[Sample], step: int) -> Losses:
        with torch.autocast(runner.device.type, torch.bfloat16):
            return student.loss(Batch.of(samples, runner.device), step)

    def accepted() -> dict[str, Any]:
        if not held_out:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            student.save(Path(folder))
            proposer = student.proposer(recipe.num_speculative_tokens, folder)
            return measure(
                runner, proposer, held_out, MEASURED_TOKENS, llm.engine.eos_token_ids
            ).record

    named = ", ".join(shard.stem for shard in shards)
    made_of = f"{student.description}, {recipe.draft_vocab_size} draft tokens, {named}"
    log = train(student.head, shards, loss, recipe.schedule, recipe.out, accepted, made_of)
    learnt = {"texts": len(texts), "tokens": sum(len(text.token_ids) for text in texts)}
    cost = head_cost(student.head, runner.model)
    with writing(recipe.out / HEAD):
        student.save(recipe.out / HEAD)
        write_card(recipe.out / HEAD, student.description, learnt, log, cost)
    return log


def _claim(recipe: Recipe) -> None:
    """Refuse a folder that holds another target's answers."""
    path = recipe.folder / "target.json"
    own = {"target": recipe.target, "max_tokens": recipe.max_tokens}
    if path.exists() and (found := json.loads(path.read_text("utf-8"))) != own:
        raise TrainingError(
            f"{str(recipe.folder)!r} holds answers written with {found}, not {own}: give another "
            "folder"
        )
    write_whole(path, lambda scratch: scratch.write_text(json.dumps(own), "utf-8"))


def answers(llm: LLM, recipe: Recipe, prompts: Sequence[str]) -> list[Text]:
    """The target's answers to prompts and to its own questions, those on disk included.

    Raises:
        TrainingError: none is long enough to learn from.
    """
    encoded = [llm.encode_chat([{"role": "user", "content": text}]) for text in prompts]
    texts = write_answers(llm, encoded, recipe.folder / "answers.jsonl", recipe.max_tokens)
    if recipe.self_written:
        asked = self_written_prompts(llm, recipe.self_written, recipe.folder / "questions.jsonl")
        path = recipe.folder / "self-written.jsonl"
        texts += write_answers(llm, asked, path, recipe.max_tokens)
    kept = [text for text in texts if len(text.answer) > 2]
    if not kept:
        raise TrainingError(
            f"none of {len(texts)} answers has more than 2 tokens: give other prompts, or raise "
            "--max-tokens"
        )
    return kept
