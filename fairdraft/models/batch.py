"""What a step hands the model: one batch of rows, requests side by side, no padding between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from fairdraft.draft import Draft
from fairdraft.transfer import send


@dataclass(frozen=True)
class FlatBatch:
    """T rows of B requests.

    Args:
        token_ids: [T] int64.
        positions: [T] int64, depth in the sequence.
        slots: [T] int64, where each row's KV is written.
        cu_rows: [B + 1], first row of each request, then T.
        context_lens: [B], tokens of each request already in the cache.
        block_tables: per request its block ids, at least as many as context and rows fill.
        block_size: tokens in a block.
        logit_rows: [R] int64, rows whose logits are wanted, ascending.
        ancestors: request's place in the batch → [rows, rows] bool, which of the step's own rows
            each row sees (itself included); requests not named are chains.
    """

    token_ids: Tensor
    positions: Tensor
    slots: Tensor
    cu_rows: Sequence[int]
    context_lens: Sequence[int]
    block_tables: Sequence[Sequence[int]]
    block_size: int
    logit_rows: Tensor
    ancestors: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        token_ids: Sequence[Sequence[int]],
        context_lens: Sequence[int],
        block_tables: Sequence[Sequence[int]],
        block_size: int,
        device: torch.device,
        *,
        positions: Sequence[int] | None = None,
        logit_rows: Sequence[int] = (),
        ancestors: Mapping[int, Tensor] | None = None,
    ) -> FlatBatch:
        """Lay requests side by side; each row's KV goes behind the context and the rows before it.

        Args:
            token_ids: per request the tokens that run.
            context_lens: per request its tokens already in the cache.
            block_tables: per request its block ids.
            block_size: tokens in a block.
            device: where the model runs.
            positions: [T]; None counts on from each context, as for chains.
            logit_rows: rows whose logits are wanted, ascending.
            ancestors: masks of those requests that are no chains.
        """
        slots: list[int] = []
        places: list[int] = []
        cu_rows = [0]
        for tokens, context, table in zip(token_ids, context_lens, block_tables, strict=True):
            own = range(context, context + len(tokens))
            slots += [table[i // block_size] * block_size + i % block_size for i in own]
            places += own
            cu_rows.append(len(places))

        ids, at, written, wanted = send(
            device,
            [token for tokens in token_ids for token in tokens],
            places if positions is None else positions,
            slots,
            logit_rows,
        )
        return cls(
            ids,
            at,
            written,
            cu_rows,
            context_lens,
            block_tables,
            block_size,
            wanted,
            ancestors or {},
        )

    @property
    def num_rows(self) -> int:
        """How many rows run, T."""
        return len(self.token_ids)

    @property
    def num_requests(self) -> int:
        """How many requests run, B."""
        return len(self.context_lens)

    @property
    def row_counts(self) -> list[int]:
        """How many rows each request runs."""
        return [b - a for a, b in pairwise(self.cu_rows)]

    def visible(self, request: int, window: int | None) -> Tensor:
        """[rows, context + rows] bool: which tokens each row of a request sees.

        Args:
            request: place in the batch.
            window: sliding window in tokens; None sees all.
        """
        first, last = self.cu_rows[request], self.cu_rows[request + 1]
        rows, context = last - first, self.context_lens[request]
        own = self.ancestors.get(request)
        if own is None:
            own = torch.ones(rows, rows, dtype=torch.bool).tril()
        mask = torch.cat([torch.ones(rows, context, dtype=torch.bool), own], dim=1)
        if window is not None:
            positions = self.positions[first:last].cpu()
            columns = torch.cat([torch.arange(context), positions])
            mask &= positions[:, None] - columns[None, :] < window
        return mask

    def context_slots(self, request: int) -> Tensor:
        """[context + rows] int64: slots of a request's tokens, oldest first."""
        rows = self.cu_rows[request + 1] - self.cu_rows[request]
        tokens = torch.arange(self.context_lens[request] + rows)
        table = torch.tensor(self.block_tables[request], dtype=torch.int64)
        return table[tokens // self.block_size] * self.block_size + tokens % self.block_size


@dataclass(frozen=True)
class RunOutput:
    """What a run gives back.

    Args:
        logits: [R, V], of `logit_rows`.
        hidden: layer id → [T, d], ids as in transformers' `hidden_states[k]`; only those asked for.
    """

    logits: Tensor
    hidden: Mapping[int, Tensor]


def ancestor_mask(known: int, draft: Draft) -> Tensor:
    """[known + len(draft)]² bool: which of a request's rows each of them sees.

    Known tokens see those before them; a node sees all known tokens and the nodes of its own path.

    Args:
        known: rows before the draft's.
        draft: the nodes that run behind them.
    """
    rows = known + len(draft)
    mask = torch.ones(rows, rows, dtype=torch.bool).tril()
    mask[known:, known:] = False
    for node in range(len(draft)):
        mask[known + node, [known + ancestor for ancestor in draft.path(node + 1)]] = True
    return mask
