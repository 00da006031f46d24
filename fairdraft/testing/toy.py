"""A toy model whose next-token law is a hash of the whole path.

It keeps, in paged slots like a real model, the token and the position of each row that ran, and
its logits hash everything a row can see there. A stale slot, a wrong mask, a position off by one, a
missed rollback: each gives another law, and so other tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairdraft.config import EngineConfig
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.proposers.base import PerRequestProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise, TargetRows

VOCAB_SIZE = 32
_SPREAD = 4.0  # logits lie in [0, 4): a law neither flat nor certain
_REPETITION = 3.0  # a repeated token's logit lies in [3, 7): mostly, not always, the highest


def toy_logits(path: Sequence[tuple[int, int]]) -> Tensor:
    """[VOCAB_SIZE] float32 logits after a path of (token, position) pairs."""
    data = np.array(path, dtype=np.int64).tobytes()
    digest = hashlib.blake2b(data, digest_size=2 * VOCAB_SIZE).digest()
    return torch.from_numpy(np.frombuffer(digest, np.uint16) / 2**16 * _SPREAD).float()


class ToyRunner:
    """Runs the toy model over flat batches, as `ModelRunner` runs a real one.

    Args:
        max_model_len: longest sequence in tokens.
    """

    vocab_size = VOCAB_SIZE
    device = torch.device("cpu")
    kv_bytes_per_token = 16

    def __init__(self, max_model_len: int = 256) -> None:
        self.max_model_len = max_model_len
        self._slots = np.zeros((0, 2), np.int64)

    def logits(self, path: Sequence[tuple[int, int]]) -> Tensor:
        """[VOCAB_SIZE] float32 logits after a path of (token, position) pairs."""
        return toy_logits(path)

    def allocate(self, num_slots: int, block_size: int = 16) -> None:
        """Make room for `num_slots` tokens."""
        self.block_size = block_size
        self._slots = np.full((num_slots, 2), -1, np.int64)

    def run(self, batch: FlatBatch, layers: Collection[int] = ()) -> RunOutput:
        """Write the rows to their slots, then hash what each wanted row sees."""
        self._slots[batch.slots.numpy(), 0] = batch.token_ids.numpy()
        self._slots[batch.slots.numpy(), 1] = batch.positions.numpy()
        wanted = set(batch.logit_rows.tolist())
        logits = [torch.empty(0, VOCAB_SIZE)]
        for request in range(batch.num_requests):
            first, last = batch.cu_rows[request], batch.cu_rows[request + 1]
            if wanted.isdisjoint(range(first, last)):
                continue
            slots = batch.context_slots(request).numpy()
            visible = batch.visible(request, None).numpy()
            for row in range(first, last):
                if row in wanted:
                    path = self._slots[slots[visible[row - first]]]
                    logits.append(self.logits(path)[None])
        hidden = {layer: batch.token_ids[:, None].float() for layer in layers}
        return RunOutput(torch.cat(logits), hidden)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy what lies in slots `sources` to slots `targets`."""
        self._slots[list(targets)] = self._slots[list(sources)]


class RepeatingToyRunner(ToyRunner):
    """The toy model with a liking for repetition, so that drafts copied from the text are accepted.

    The token that followed the newest earlier occurrence of the path's last token gains
    `_REPETITION` in its logit. Everything else is still a hash of the whole path: the likeliest
    token repeats the text about three times in four, and what it is otherwise shows every mistake.
    """

    def logits(self, path: Sequence[tuple[int, int]]) -> Tensor:
        """[VOCAB_SIZE] float32 logits after a path of (token, position) pairs."""
        logits = toy_logits(path)
        tokens = [int(token) for token, _ in path]
        for i in range(len(tokens) - 2, -1, -1):
            if tokens[i] == tokens[-1]:
                logits[tokens[i + 1]] += _REPETITION
                break
        return logits


def toy_continuation(request: Request, count: int) -> list[int]:
    """What plain decoding says, worked out from the law alone, without engine, KV or batch.

    Args:
        request: prompt, parameters and seed; left as it is.
        count: at most so many tokens.
    """
    twin = Request(
        request.request_id,
        request.prompt_token_ids,
        request.params,
        request.seed,
        request.eos_token_ids,
        request.bad_words_token_ids,
    )
    for _ in range(count):
        logits = toy_logits([(token, i) for i, token in enumerate(twin.token_ids)])
        rows = TargetRows(twin, EMPTY_DRAFT, logits[None], [int(logits.argmax())])
        token = rows.token(0)
        cut = twin.cut([token], max_model_len=1 << 30)
        twin.append(cut)
        if twin.finish_reason is not None:
            break
    return twin.output_token_ids


class ToyProposer(PerRequestProposer):
    """Drafts the toy model's own continuation, wrong at a chosen rate.

    Args:
        num_speculative_tokens: draft length k.
        accuracy: probability that a drafted token is the target's likeliest.
        sampled: draw each token from a law that mixes the likeliest and the uniform, and hand that
            law on, instead of choosing tokens.
    """

    def __init__(
        self, num_speculative_tokens: int, accuracy: float = 0.7, sampled: bool = False
    ) -> None:
        super().__init__(num_speculative_tokens)
        self.accuracy = accuracy
        self.sampled = sampled

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """A chain each, as long as the budget allows."""
        path = [(token, i) for i, token in enumerate(request.token_ids)]
        tokens: list[int] = []
        laws: list[Tensor] = []
        for i in range(budget):
            best = int(toy_logits(path).argmax())
            law = torch.full((VOCAB_SIZE,), (1 - self.accuracy) / VOCAB_SIZE)
            law[best] += self.accuracy
            tokens.append(noise.draw(request, i, law))
            laws.append(law)
            path.append((tokens[-1], len(path)))
        return Draft(tuple(tokens), probs=torch.stack(laws) if self.sampled else None)


class ToyTreeProposer(PerRequestProposer):
    """Drafts trees: at each node two alternatives, until the nodes are spent.

    Args:
        num_speculative_tokens: nodes of a tree.
        sampled: draw siblings without replacement and hand their laws on, instead of taking the
            likeliest token and a wrong one.
    """

    drafts_trees = True

    def __init__(self, num_speculative_tokens: int, sampled: bool = False) -> None:
        super().__init__(num_speculative_tokens)
        self.sampled = sampled

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """A tree each, level by level."""
        tokens: list[int] = []
        parents: list[int] = []
        laws: list[Tensor] = []
        paths = {-1: [(token, i) for i, token in enumerate(request.token_ids)]}
        parent = -1
        while len(tokens) < budget:
            logits = toy_logits(paths[parent])
            law = torch.softmax(logits, -1)
            for sibling in range(min(2, budget - len(tokens))):
                if self.sampled:
                    depth = len(paths[parent]) - request.num_tokens
                    # Several nodes of a depth draw: each has noise of its own.
                    token = noise.draw(request, depth, law, 2 * (parent + 1) + sibling)
                else:
                    order = logits.argsort(descending=True)
                    # The likeliest comes second as often as first, so that branches must move.
                    token = int(order[(sibling + parent + request.num_tokens) % 2])
                paths[len(tokens)] = [*paths[parent], (token, len(paths[parent]))]
                tokens.append(token)
                parents.append(parent)
                laws.append(law)
                law = law.clone()
                law[token] = 0
                law = law / law.sum()
            parent += 1
        probs = torch.stack(laws) if self.sampled else None
        return Draft(tuple(tokens), tuple(parents), probs)


def toy_config(**options: Any) -> EngineConfig:
    """An engine configuration for the toy model; `options` as in `EngineConfig`."""
    defaults: dict[str, Any] = {"max_num_seqs": 8, "max_num_batched_tokens": 64, "block_size": 4}
    return EngineConfig("toy", **(defaults | options))
