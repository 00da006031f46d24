"""Rows that a drafter runs: places of a request's text and draft, side by side in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.models import FlatBatch, ancestor_mask
from fairdraft.request import Request


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
    """Return the spans side by side; a node lies in the slot of its index, at its depth's position.

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
