"""Causal models as drafters, and the KV they keep."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from fairdraft.heads.draft_model import target_ids
from fairdraft.models import EarlyExit, FlatBatch, ModelRunner
from fairdraft.proposers.base import Needs, Settled
from fairdraft.proposers.drafting.drafter import Drafter, Underway
from fairdraft.proposers.drafting.spans import Span, flat_batch
from fairdraft.proposers.options import DraftShape
from fairdraft.request import Request


class CausalDrafter(Drafter):
    """A model that writes on from a text.

    Args:
        target: whose slots it shares.
        shape: of the drafts.
    """

    def __init__(self, target: ModelRunner, shape: DraftShape) -> None:
        self.target = target
        self.shape = shape
        self.needs = Needs(num_lookahead_tokens=1 + shape.most_run)

    @abstractmethod
    def num_read(self, request: Request) -> int:
        """Return how many of the request's tokens have KV; the others run before it drafts."""

    @abstractmethod
    def note_read(self, request: Request, num_drafted: int) -> None:
        """Note that all of the request's tokens, and so many drafted ones, have run."""

    @abstractmethod
    def logits(self, batch: FlatBatch) -> Tensor:
        """Run a batch and return its logits [R, V]."""

    def room(self, slots: Sequence[int]) -> int:
        """Return how many nodes can run: the newest token takes the first of the slots."""
        return len(slots) - 1

    def run(self, underway: Sequence[Underway]) -> Tensor:
        """Run what is unread at first; then a chain's last token, or a tree again from its root.

        A tree's rows are few enough to cost what one does, and need no mask of earlier runs.
        """
        spans = []
        for draft in underway:
            request, nodes, known = draft.request, draft.nodes, draft.request.num_tokens
            if not len(nodes):
                first = self.num_read(request)
            else:
                first = known if self.shape.is_tree else known + len(nodes) - 1
            spans.append(Span(request, first, known + len(nodes), nodes, draft.num_newest))
        batch = flat_batch(self.target.block_size, spans, self.target.device)
        return self.logits(batch)[:, : self.target.vocab_size]

    def drafted(self, underway: Sequence[Underway]) -> None:
        """Note what has KV. What stands of a tree is read again: it is a few rows."""
        for draft in underway:
            kept = 0 if self.shape.is_tree else max(len(draft.nodes) - 1, 0)
            self.note_read(draft.request, kept)


class TargetDrafter(CausalDrafter):
    """The target's first layers on the target's own KV: never behind, nothing to keep.

    Args:
        target: the target.
        num_layers: layers that run.
        shape: of the drafts.
    """

    def __init__(self, target: ModelRunner, num_layers: int, shape: DraftShape) -> None:
        super().__init__(target, shape)
        self.model = EarlyExit(target, num_layers)
        self.network = target.model

    def num_read(self, request: Request) -> int:
        """Return all but the newest token: the target itself has written their KV."""
        return request.num_tokens - 1

    def note_read(self, request: Request, num_drafted: int) -> None:
        """Note nothing: verification writes these slots again."""

    def logits(self, batch: FlatBatch) -> Tensor:
        """Run a batch through the first layers and return its logits [R, V]."""
        return self.model.run(batch).logits


class ModelDrafter(CausalDrafter):
    """A model with KV of its own, in slots of the same numbers as the target's.

    It reads prompts as they are computed. Of its own drafts it keeps the KV of those that stand;
    tokens that it did not draft, the bonus token among them, run before the next draft, or once
    they fill a block: full blocks are offered for reuse, and its KV has to lie in them too.

    Args:
        runner: the model that drafts.
        target: whose slots it shares.
        shape: of the drafts.
    """

    def __init__(self, runner: ModelRunner, target: ModelRunner, shape: DraftShape) -> None:
        super().__init__(target, shape)
        self.runner = runner
        self.network = runner.model
        self.kv_layers = runner.layers
        if hasattr(runner.model, "d2t"):
            self.target_ids = target_ids(runner.model)
        self._requests: dict[str, Request] = {}
        self._read: dict[str, int] = {}  # tokens of the text with KV, from the first on
        self._drafted: dict[str, int] = {}  # drafted tokens with KV, right behind them

    def start(self, request: Request) -> None:
        """Begin a request; what was read before a preemption is lost."""
        self._requests[request.request_id] = request
        self._read.pop(request.request_id, None)
        self._drafted.pop(request.request_id, None)

    def observe(self, rows: Settled) -> None:
        """Read prompt chunks; tokens before the first one shown lie in cached blocks."""
        behind: list[Span] = []
        for i, request_id in enumerate(rows.request_ids):
            if rows.cu_rows[i] == rows.cu_rows[i + 1]:
                continue
            request = self._requests[request_id]
            self._read.setdefault(request_id, rows.positions[rows.cu_rows[i]])
            # A stop string or EOS may have cut the text short of what stood.
            computed = min(rows.positions[rows.cu_rows[i + 1] - 1] + 1, request.num_tokens)
            unread, size = self.num_read(request), self.target.block_size
            if computed // size * size > unread or not request.decoding:
                behind.append(Span(request, unread, computed, num_logit_rows=0))
        if behind:
            self.logits(flat_batch(self.target.block_size, behind, self.runner.device))
            for span in behind:
                self._read[span.request.request_id] = span.last

    def num_read(self, request: Request) -> int:
        """Return how many tokens have KV: those read, and drafted ones that came to stand.

        Those are all before the newest token, which is the target's own and never has KV yet.
        """
        name = request.request_id
        read = self._read[name] + self._drafted.pop(name, 0)
        self._read[name] = min(read, request.num_tokens - 1)
        return self._read[name]

    def note_read(self, request: Request, num_drafted: int) -> None:
        """Note that all of the request's tokens, and so many drafted ones, have run."""
        self._read[request.request_id] = request.num_tokens
        self._drafted[request.request_id] = num_drafted

    def logits(self, batch: FlatBatch) -> Tensor:
        """Run a batch and return its logits [R, V]."""
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
