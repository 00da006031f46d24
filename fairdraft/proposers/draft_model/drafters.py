"""The models behind `draft_model`, and the KV they keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import is_pruned, load_pruned, read_head_file
from fairdraft.models import EarlyExit, FlatBatch, ModelRunner, ancestor_mask, load_checkpoint
from fairdraft.proposers.base import Rows
from fairdraft.request import Request


class Drafter(Protocol):
    """A model that can write on from a text, one token a run."""

    def start(self, request: Request) -> None:
        """A request begins, or begins again."""

    def observe(self, rows: Rows) -> None:
        """What stands after a step."""

    def unread(self, request: Request) -> int:
        """How many of the request's tokens it has KV for; the others run before it drafts."""

    def read(self, request: Request, num_drafted: int) -> None:
        """All of the request's tokens, and so many drafted ones, have run."""

    def run(self, batch: FlatBatch) -> Tensor:
        """[R, V] logits."""

    def finish(self, request_id: str) -> None:
        """A request ended."""


class TargetDrafter:
    """The target's first layers on the target's own KV: never behind, nothing to keep."""

    def __init__(self, target: ModelRunner, num_layers: int) -> None:
        self.model = EarlyExit(target, num_layers)

    def start(self, request: Request) -> None:
        """Nothing to do."""

    def observe(self, rows: Rows) -> None:
        """Nothing to do: the target has written the KV."""

    def unread(self, request: Request) -> int:
        """All but the newest token."""
        return request.num_tokens - 1

    def read(self, request: Request, num_drafted: int) -> None:
        """Nothing to note: verification writes these slots again."""

    def run(self, batch: FlatBatch) -> Tensor:
        """[R, V] logits."""
        return self.model.run(batch).logits

    def finish(self, request_id: str) -> None:
        """Nothing to forget."""


class ModelDrafter:
    """A model with KV of its own, in slots of the same numbers as the target's.

    It reads prompts as they are computed. Of its own drafts it keeps the KV of those that stand;
    tokens that it did not draft, the bonus token among them, run before the next draft, or once
    they fill a block: full blocks are offered for reuse, and its KV has to lie in them too.

    Args:
        runner: the drafter.
        target: whose slots it shares.
    """

    def __init__(self, runner: ModelRunner, target: ModelRunner) -> None:
        self.runner = runner
        self.target = target
        self._requests: dict[str, Request] = {}
        self._read: dict[str, int] = {}  # tokens of the text with KV, from the first on
        self._drafted: dict[str, int] = {}  # drafted tokens with KV, right behind them

    def start(self, request: Request) -> None:
        """A request begins; what was read before a preemption is lost."""
        self._requests[request.request_id] = request
        self._read.pop(request.request_id, None)
        self._drafted.pop(request.request_id, None)

    def observe(self, rows: Rows) -> None:
        """Read prompt chunks; tokens before the first one shown lie in cached blocks."""
        behind: list[Span] = []
        for i, request_id in enumerate(rows.request_ids):
            if rows.cu_rows[i] == rows.cu_rows[i + 1]:
                continue
            request = self._requests[request_id]
            self._read.setdefault(request_id, rows.positions[rows.cu_rows[i]])
            # A stop string or EOS may have cut the text short of what stood.
            computed = min(rows.positions[rows.cu_rows[i + 1] - 1] + 1, request.num_tokens)
            unread, size = self.unread(request), self.target.block_size
            if computed // size * size > unread or not request.decoding:
                behind.append(Span(request, unread, computed, num_logit_rows=0))
        if behind:
            self.run(flat_batch(self.target.block_size, behind, self.runner.device))
            for span in behind:
                self._read[span.request.request_id] = span.last

    def unread(self, request: Request) -> int:
        """Tokens with KV: those read, and drafted ones that came to stand.

        Those are all before the newest token, which is the target's own and never has KV yet.
        """
        name = request.request_id
        read = self._read[name] + self._drafted.pop(name, 0)
        self._read[name] = min(read, request.num_tokens - 1)
        return self._read[name]

    def read(self, request: Request, num_drafted: int) -> None:
        """All of the request's tokens, and so many drafted ones, have run."""
        self._read[request.request_id] = request.num_tokens
        self._drafted[request.request_id] = num_drafted

    def run(self, batch: FlatBatch) -> Tensor:
        """[R, V] logits."""
        if self.runner.storage is None:
            assert self.target.storage is not None
            slots = len(self.target.storage.keys[0])
            self.runner.allocate(slots, self.target.block_size)
        # The target may know more ids, and more positions; a bad draft there does no harm.
        known = replace(
            batch,
            token_ids=batch.token_ids.clamp(max=self.runner.vocab_size - 1),
            positions=batch.positions.clamp(max=self.runner.max_model_len - 1),
        )
        return self.runner.run(known).logits

    def finish(self, request_id: str) -> None:
        """Forget the request."""
        for kept in (self._requests, self._read, self._drafted):
            kept.pop(request_id, None)


@dataclass(frozen=True)
class Span:
    """Rows of one request that a drafter runs: places first … last − 1 of its text and draft.

    Args:
        request: its tokens come first.
        first, last: places.
        draft: what stands behind the request's tokens.
        num_logit_rows: the last rows whose logits are wanted.
    """

    request: Request
    first: int
    last: int
    draft: Draft = EMPTY_DRAFT
    num_logit_rows: int = 1


def flat_batch(
    block_size: int, spans: Sequence[Span], device: torch.device, shift: int = 0
) -> FlatBatch:
    """The spans side by side; a node lies in the slot of its index, at its depth's position.

    Args:
        block_size: of the block tables.
        spans: at least one.
        device: where the tensors go.
        shift: slots and positions lie this much before the tokens' own, for drafters whose rows
            stand for the position before the token they read.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    wanted: list[int] = []
    cu_rows = [0]
    ancestors: dict[int, Tensor] = {}
    for i, span in enumerate(spans):
        request, draft, known = span.request, span.draft, span.request.num_tokens
        for place in range(span.first, span.last):
            node = place - known
            token_ids.append(request.token_ids[place] if node < 0 else draft.token_ids[node])
            position = place if node < 0 else known - 1 + draft.depths[node + 1]
            positions.append(position - shift)
            block, offset = divmod(place - shift, block_size)
            slots.append(request.block_table[block] * block_size + offset)
        if not draft.is_chain:
            ancestors[i] = ancestor_mask(known - span.first, draft)
        cu_rows.append(len(token_ids))
        wanted.extend(range(cu_rows[-1] - span.num_logit_rows, cu_rows[-1]))
    return FlatBatch(
        torch.tensor(token_ids, device=device),
        torch.tensor(positions, device=device),
        torch.tensor(slots, device=device),
        cu_rows,
        [span.first - shift for span in spans],
        [span.request.block_table for span in spans],
        block_size,
        torch.tensor(wanted, dtype=torch.int64, device=device),
        ancestors,
    )


def load_drafter(name: str, target: ModelRunner) -> ModelRunner:
    """Load a draft model in the target's precision, on its device.

    A folder that `fairdraft train draft-model` wrote holds layers only; the rest is the target's.

    Raises:
        ConfigError: its tokenizer is not the target's.
        CheckpointError: it cannot be loaded.
    """
    if is_pruned(name):
        return ModelRunner(load_pruned(read_head_file(name), target.model))
    dtype = str(target.model.dtype).removeprefix("torch.")
    checkpoint = load_checkpoint(name, dtype, str(target.device))
    if target.tokenizer is None:
        raise CheckpointError("the target has no tokenizer to compare the draft model's with")
    ours, theirs = target.tokenizer.get_vocab(), checkpoint.tokenizer.get_vocab()
    if ours != theirs:
        different = {t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t)}
        raise ConfigError(
            f"the draft model {name!r} has another tokenizer than the target: of "
            f"{len(ours)} and {len(theirs)} tokens {len(different)} differ, such as "
            f"{min(different)!r}; use a model of the same family"
        )
    return ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer)
