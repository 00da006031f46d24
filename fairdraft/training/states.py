"""The target's hidden states along its own texts, read once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairdraft.heads.samples import Sample
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.training.answers import AnsweredPrompt
from fairdraft.training.storage import write_whole

SHARD_TOKENS = 1 << 16
RUN_TOKENS = 1024  # rows of one run through the target
BLOCK = 16


@torch.inference_mode()
def hidden_states(
    runner: ModelRunner, texts: Sequence[Sequence[int]], layers: Collection[int]
) -> dict[int, Tensor]:
    """Run the target over texts and return layer id → [all tokens, d], one text after the other."""
    first = 0
    tables: list[range] = []
    for tokens in texts:
        blocks = -(-len(tokens) // BLOCK)
        tables.append(range(first, first + blocks))
        first += blocks
    if runner.storage is None or len(runner.storage.keys[0]) < first * BLOCK:
        runner.allocate(2 * first * BLOCK, BLOCK)
    batch = FlatBatch.of(texts, [0] * len(texts), tables, BLOCK, runner.device)
    return dict(runner.run(batch, layers).hidden)


def write_states(
    runner: ModelRunner, texts: Sequence[AnsweredPrompt], layer_ids: Sequence[int], folder: Path
) -> list[Path]:
    """Write shards of samples; those of the same texts and layers are kept, others are deleted.

    Args:
        runner: the target.
        texts: what was written.
        layer_ids: hidden states to keep, besides the last one.
        folder: where the shards go.

    Raises:
        TrainingError: a shard cannot be written.
    """
    shards: list[list[AnsweredPrompt]] = [[]]
    count = 0
    for text in texts:
        if count + len(text.token_ids) > SHARD_TOKENS and shards[-1]:
            shards.append([])
            count = 0
        shards[-1].append(text)
        count += len(text.token_ids)
    paths = [folder / f"states-{_digest(shard, layer_ids)}.safetensors" for shard in shards]
    for stale in set(folder.glob("states-*.safetensors")) - set(paths):
        stale.unlink()
    with Progress(transient=True) as progress:
        task = progress.add_task("reading hidden states", total=len(shards))
        for path, shard in zip(paths, shards, strict=True):
            if not path.exists():
                tensors = _shard(runner, shard, layer_ids)
                write_whole(path, partial(save_file, tensors))
            progress.advance(task)
    return paths


def _digest(texts: Sequence[AnsweredPrompt], layer_ids: Sequence[int]) -> str:
    """Return 16 letters that stand for what a shard holds."""
    content = repr((tuple(layer_ids), [(text.prompt, text.answer) for text in texts]))
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _shard(
    runner: ModelRunner, texts: Sequence[AnsweredPrompt], layer_ids: Sequence[int]
) -> dict[str, Tensor]:
    last = len(runner.layers)
    found: dict[int, list[Tensor]] = {layer: [] for layer in {*layer_ids, last}}
    group: list[AnsweredPrompt] = []
    for i, text in enumerate(texts):
        group.append(text)
        rows = sum(len(t.token_ids) for t in group)
        if i + 1 == len(texts) or rows + len(texts[i + 1].token_ids) > RUN_TOKENS:
            states = hidden_states(runner, [t.token_ids for t in group], set(found))
            for layer, state in states.items():
                found[layer].append(state.cpu())
            group = []
    whole = {layer: torch.cat(parts) for layer, parts in found.items()}
    return {
        "token_ids": torch.tensor([token for text in texts for token in text.token_ids]),
        "lengths": torch.tensor([len(text.token_ids) for text in texts]),
        "prompt_lengths": torch.tensor([len(text.prompt) for text in texts]),
        # There may be none but the last.
        "states": torch.cat([whole[last][:, :0], *(whole[i] for i in layer_ids)], -1).contiguous(),
        "final": whole[last].contiguous(),
    }


def read_samples(path: Path) -> Iterator[Sample]:
    """Read the samples of a shard."""
    tensors = load_file(path)
    start = 0
    lengths, prompts = tensors["lengths"].tolist(), tensors["prompt_lengths"].tolist()
    for length, prompt in zip(lengths, prompts, strict=True):
        span = slice(start, start + length)
        yield Sample(
            tensors["token_ids"][span], prompt, tensors["states"][span], tensors["final"][span]
        )
        start += length
