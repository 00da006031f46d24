"""The models behind `draft_model`, and the KV they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models import EarlyExit, FlatBatch, ModelRunner, load_checkpoint
from fairdraft.proposers.base import Rows
from fairdraft.request import Request

CATCH_UP = 32  # tokens a drafter may lag behind before it reads them outside a draft


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
    tokens that it did not draft, the bonus token among them, run before the next draft.

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
        behind = []
        for i, request_id in enumerate(rows.request_ids):
            if rows.cu_rows[i] == rows.cu_rows[i + 1]:
                continue
            request = self._requests[request_id]
            self._read.setdefault(request_id, rows.positions[rows.cu_rows[i]])
            computed = rows.positions[rows.cu_rows[i + 1] - 1] + 1
            if computed - self.unread(request) > CATCH_UP or not request.decoding:
                behind.append((request, self.unread(request), computed))
        if behind:
            self.run(flat_batch(self.target.block_size, behind, (), self.runner.device, 0))
            for request, _, computed in behind:
                self._read[request.request_id] = computed

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
        return self.runner.run(batch).logits

    def finish(self, request_id: str) -> None:
        """Forget the request."""
        for kept in (self._requests, self._read, self._drafted):
            kept.pop(request_id, None)


def flat_batch(
    block_size: int,
    spans: Sequence[tuple[Request, int, int]],
    drafted: Sequence[Sequence[int]],
    device: torch.device,
    num_logit_rows: int = 1,
) -> FlatBatch:
    """Tokens first … last − 1 of each request, drafted ones behind its own.

    Args:
        block_size: of the block tables.
        spans: (request, first, last).
        drafted: per request; or nothing.
        device: where the tensors go.
        num_logit_rows: 1 for the last row of each request, 0 for none.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    cu_rows = [0]
    for i, (request, first, last) in enumerate(spans):
        behind = drafted[i] if drafted else ()
        for place in range(first, last):
            beyond = place - request.num_tokens
            token_ids.append(request.token_ids[place] if beyond < 0 else behind[beyond])
            slots.append(request.block_table[place // block_size] * block_size + place % block_size)
        positions.extend(range(first, last))
        cu_rows.append(len(token_ids))
    wanted = [end - 1 for end in cu_rows[1:]] if num_logit_rows else []
    return FlatBatch(
        torch.tensor(token_ids, device=device),
        torch.tensor(positions, device=device),
        torch.tensor(slots, device=device),
        cu_rows,
        [first for _, first, _ in spans],
        [request.block_table for request, _, _ in spans],
        block_size,
        torch.tensor(wanted, dtype=torch.int64, device=device),
    )


def load_drafter(name: str, target: ModelRunner) -> ModelRunner:
    """Load a draft model in the target's precision, on its device.

    Raises:
        ConfigError: its tokenizer is not the target's.
        CheckpointError: it cannot be loaded.
    """
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
