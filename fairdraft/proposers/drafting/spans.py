"""Settled that a drafter runs: places of a request's text and draft, side by side in one batch."""

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
    """Settled of one request that a drafter runs: places first … last − 1 of its text and draft.

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
    token_ids: list[list[int]] = []
    positions: list[int] = []
    wanted: list[int] = []
    ancestors: dict[int, Tensor] = {}
    for i, span in enumerate(spans):
        request, draft, known = span.request, span.draft, span.request.num_tokens
        nodes = range(max(span.first - known, 0), span.last - known)
        tokens = request.token_ids[span.first : span.last]
        token_ids.append([*tokens, *(draft.token_ids[node] for node in nodes)])
        positions.extend(range(span.first - shift, min(span.last, known) - shift))
        positions.extend(known - 1 + draft.depths[node + 1] - shift for node in nodes)
        if not draft.is_chain:
            ancestors[i] = ancestor_mask(known - span.first, draft)
        wanted.extend(range(len(positions) - span.num_logit_rows, len(positions)))
    return FlatBatch.of(
        token_ids,
        [span.first - shift for span in spans],
        [span.request.block_table for span in spans],
        block_size,
        device,
        positions=positions,
        logit_rows=wanted,
        ancestors=ancestors,
    )
