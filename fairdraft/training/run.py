"""`fairdraft train`: from prompts to a drafter's files, in one folder that it can go on from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fairdraft.config import SpeculativeConfig, require
from fairdraft.errors import TrainingError
from fairdraft.heads import Batch, HeadTraining, Losses, Sample, head_cost
from fairdraft.llm import LLM
from fairdraft.proposers import Proposer, build_proposer
from fairdraft.training.acceptance import measure_acceptance
from fairdraft.training.answers import (
    AnsweredPrompt,
    frequent_tokens,
    self_written_prompts,
    write_answers,
)
from fairdraft.training.card import write_card
from fairdraft.training.loop import Schedule, train
from fairdraft.training.states import write_states
from fairdraft.training.storage import write_whole, writing

HEAD = "head"
MEASURED_TOKENS = 96  # of each held-out answer


@dataclass(frozen=True)
class Recipe:
    """What a head learns from, and how long.

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
        schedule: how long the head is trained, and how fast.
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
        """The folder of the target's answers."""
        return self.texts or self.out


def run(recipe: Recipe, training_of: Callable[[LLM], HeadTraining]) -> list[dict[str, Any]]:
    """Train a head; everything that was done before is kept and gone on from.

    Args:
        recipe: what it learns from, and how long.
        training_of: says, for a loaded target, which kind of head is trained and how.

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
        f"draft_vocab_size is {recipe.draft_vocab_size}, but must be from 1 to "
        f"{runner.vocab_size}, as many as the target has tokens: 4096 is usual",
    )
    training = training_of(llm)
    training.initialise(torch.arange(recipe.draft_vocab_size))  # an impossible shape fails now
    held_out = [llm.encode_chat([{"role": "user", "content": t}]) for t in recipe.held_out]
    longest = max(map(len, held_out), default=0) + MEASURED_TOKENS
    require(
        longest < runner.max_model_len,
        f"a held-out prompt and its answer take {longest} tokens, but the target reads only "
        f"{runner.max_model_len}: give shorter ones with --held-out",
    )
    _claim(recipe)
    texts = answers(llm, recipe, prompts)
    shards = write_states(runner, texts, training.layer_ids, recipe.out / "states")
    torch.manual_seed(recipe.schedule.seed)
    training.initialise(frequent_tokens(texts, recipe.draft_vocab_size, runner.vocab_size))

    def loss(samples: list[Sample], step: int) -> Losses:
        with torch.autocast(runner.device.type, torch.bfloat16):
            return training.loss(Batch.of(samples, runner.device), step)

    def accepted() -> dict[str, Any]:
        if not held_out:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            training.save(Path(folder))
            proposer = _proposer(training, recipe.num_speculative_tokens, folder)
            return measure_acceptance(
                runner, proposer, held_out, MEASURED_TOKENS, llm.engine.eos_token_ids
            ).record

    named = ", ".join(shard.stem for shard in shards)
    made_of = f"{training.description}, {recipe.draft_vocab_size} draft tokens, {named}"
    log = train(training.head, shards, loss, recipe.schedule, recipe.out, accepted, made_of)
    learnt = {"texts": len(texts), "tokens": sum(len(text.token_ids) for text in texts)}
    cost = head_cost(training.head, runner.model)
    with writing(recipe.out / HEAD):
        training.save(recipe.out / HEAD)
        write_card(recipe.out / HEAD, training.description, learnt, log, cost)
    return log


def _proposer(training: HeadTraining, k: int, folder: str) -> Proposer:
    """Make the proposer that drafts with a head's files, of chains as long as the head can."""
    longest = min(k, training.longest_draft or k)
    proposer = build_proposer(
        SpeculativeConfig(method=training.kind, num_speculative_tokens=longest, model=folder)
    )
    assert proposer is not None
    return proposer


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


def answers(llm: LLM, recipe: Recipe, prompts: Sequence[str]) -> list[AnsweredPrompt]:
    """Return the target's answers to prompts and to its own questions, those on disk included.

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
