"""`fairdraft train`: from prompts to a drafter's files, in one folder that it can go on from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairdraft.config import require, require_int
from fairdraft.llm import LLM
from fairdraft.models.heads import Eagle3Config, Eagle3Head, save_eagle3
from fairdraft.models.heads.eagle3 import default_layer_ids, layer_config
from fairdraft.proposers.eagle3 import Eagle3Proposer
from fairdraft.training.answers import Text, self_written_prompts, write_answers
from fairdraft.training.eagle3 import Batch, Losses, frequent_tokens, unrolled_loss
from fairdraft.training.loop import Schedule, train
from fairdraft.training.measure import measure
from fairdraft.training.states import Sample, write_states

HEAD = "head"


@dataclass(frozen=True)
class Recipe:
    """What to train, on what.

    Args:
        target: hub id, folder, GGUF file or "demo".
        prompts: texts of user messages.
        self_written: questions that the target asks itself, besides.
        held_out: texts of user messages to measure on; never trained on.
        out: folder for everything.
        max_tokens: longest answer.
        streams: answers written at once.
        draft_vocab_size: tokens that can be drafted, the most frequent ones.
        passes: draft tokens to unroll.
        num_speculative_tokens: draft length when measured.
        schedule: how long and how fast.
        layers: shape of the head, such as intermediate_size; the target's where not said.
    """

    target: str
    prompts: Sequence[str]
    out: Path
    self_written: int = 0
    held_out: Sequence[str] = ()
    max_tokens: int = 256
    streams: int = 16
    draft_vocab_size: int = 4096
    passes: int = 5
    num_speculative_tokens: int = 4
    schedule: Schedule = field(default_factory=Schedule)
    layers: dict[str, Any] = field(default_factory=dict)


def train_eagle3(recipe: Recipe) -> list[dict[str, Any]]:
    """Train an EAGLE-3 head; everything that was done before is kept and gone on from.

    Returns:
        The log of `train`.

    Raises:
        ConfigError: a value out of range, before any work.
        TrainingError: see `write_answers`, `write_states`, `train`.
        CheckpointError: the target cannot be loaded.
    """
    require(bool(recipe.prompts) or recipe.self_written > 0, "there are no prompts to learn from")
    require_int("passes", recipe.passes, 1, "5 to 7 is usual")
    llm = LLM(recipe.target, max_num_seqs=recipe.streams, max_num_batched_tokens=1024)
    runner = llm.runner
    config = runner.model.config.get_text_config()
    require(
        recipe.draft_vocab_size <= config.vocab_size,
        f"draft_vocab_size is {recipe.draft_vocab_size}, but the target has only "
        f"{config.vocab_size} tokens: lower it",
    )
    layer_ids = default_layer_ids(config.num_hidden_layers)
    require(
        0 < layer_ids[0] < layer_ids[2],
        f"the target has {config.num_hidden_layers} layers: EAGLE-3 reads three of at least 6",
    )
    texts = answers(llm, recipe)
    shards = write_states(runner, texts, layer_ids, recipe.out / "states")

    torch.manual_seed(recipe.schedule.seed)
    head = Eagle3Head(
        Eagle3Config(
            layer_config(config, **recipe.layers),
            layer_ids,
            recipe.draft_vocab_size,
            config.hidden_size,
        )
    ).to(runner.device)
    known = frequent_tokens(texts, recipe.draft_vocab_size, config.vocab_size)
    head.d2t.copy_(known - torch.arange(len(known)))
    embedding = runner.model.get_input_embeddings().weight.data
    lm_head = runner.model.get_output_embeddings().weight.data[known.to(runner.device)]
    # The rows of the target's own head are the best beginning: they only have to be read right.
    head.lm_head.weight.data.copy_(lm_head)

    def loss(samples: list[Sample]) -> Losses:
        batch = Batch.of(samples, runner.device)
        with torch.autocast(runner.device.type, torch.bfloat16):
            return unrolled_loss(head, embedding, lm_head, batch, recipe.passes)

    held_out = [llm.encode_chat([{"role": "user", "content": t}]) for t in recipe.held_out]
    architectures = list(runner.model.config.architectures or [])

    def accepted(head: nn.Module) -> dict[str, Any]:
        assert isinstance(head, Eagle3Head)
        if not held_out:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            save_eagle3(head, Path(folder), recipe.target, architectures)
            proposer = Eagle3Proposer(recipe.num_speculative_tokens, folder)
            found = measure(runner, proposer, held_out, 96, llm.engine.eos_token_ids)
        return found.record

    log = train(head, shards, loss, recipe.schedule, recipe.out, accepted)
    save_eagle3(head, recipe.out / HEAD, recipe.target, architectures)
    return log


def answers(llm: LLM, recipe: Recipe) -> list[Text]:
    """The target's answers to the recipe's prompts, those on disk included."""
    prompts = [llm.encode_chat([{"role": "user", "content": text}]) for text in recipe.prompts]
    texts = write_answers(llm, prompts, recipe.out / "answers.jsonl", recipe.max_tokens)
    if recipe.self_written:
        asked = self_written_prompts(llm, recipe.self_written, recipe.out / "questions.jsonl")
        path = recipe.out / "self-written.jsonl"
        texts += write_answers(llm, asked, path, recipe.max_tokens)
    return [text for text in texts if len(text.answer) > 2]
