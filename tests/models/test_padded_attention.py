"""Attention for many requests in one call, against each row's softmax worked out by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.draft import Draft
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ancestor_mask
from fairdraft.models.padded_attention import MOST_ROWS, PaddedAttention, groups_of, num_blocks

BLOCK, HEADS, KV_HEADS, DIM = 4, 4, 2, 8
CPU = torch.device("cpu")


def storage(num_slots: int, window: int | None) -> KVStorage:
    kept = KVStorage([LayerShape(KV_HEADS, DIM, DIM, window)], num_slots, torch.float32, CPU)
    torch.manual_seed(0)
    kept.keys[0].normal_()
    kept.values[0].normal_()
    return kept


def batch_of(shapes: list[tuple[int, int, bool]]) -> FlatBatch:
    """Requests of (context, rows, whether the rows but the first are a tree), blocks scattered."""
    total = sum(-(-(context + rows) // BLOCK) for context, rows, _ in shapes)
    torch.manual_seed(1)
    free = torch.randperm(total).tolist()
    tables, positions, ancestors = [], [], {}
    for i, (context, rows, tree) in enumerate(shapes):
        tables.append([free.pop() for _ in range(-(-(context + rows) // BLOCK))])
        draft = Draft(tuple(range(rows - 1)), tuple((n - 2) // 2 for n in range(rows - 1)))
        if tree and not draft.is_chain:
            ancestors[i] = ancestor_mask(1, draft)
            positions += [context + depth for depth in draft.depths]
        else:
            positions += range(context, context + rows)
    return FlatBatch.of(
        [[0] * rows for _, rows, _ in shapes],
        [context for context, _, _ in shapes],
        tables,
        BLOCK,
        CPU,
        positions=positions,
        ancestors=ancestors,
    )


def expected(
    kept: KVStorage, batch: FlatBatch, queries: torch.Tensor, softcap: float | None
) -> torch.Tensor:
    rows = []
    for request in range(batch.num_requests):
        slots = batch.context_slots(request)
        visible = batch.visible(request, kept.layers[0].sliding_window)
        keys = kept.keys[0][slots].double().repeat_interleave(HEADS // KV_HEADS, 1)
        values = kept.values[0][slots].double().repeat_interleave(HEADS // KV_HEADS, 1)
        own = queries[batch.cu_rows[request] : batch.cu_rows[request + 1]].double()
        scores = torch.einsum("rhd,shd->hrs", own, keys) * 0.3
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
        rows.append(torch.einsum("hrs,shd->rhd", weights, values))
    return torch.cat(rows).float()


SHAPE = st.tuples(st.integers(0, 40), st.integers(1, 9), st.booleans())


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(SHAPE, min_size=1, max_size=5),
    window=st.sampled_from([None, 5]),
    softcap=st.sampled_from([None, 2.0]),
)
def test_every_row_reads_what_it_sees(
    shapes: list[tuple[int, int, bool]], window: int | None, softcap: float | None
) -> None:
    batch = batch_of(shapes)
    kept = storage(BLOCK * sum(map(len, batch.block_tables)), window)
    queries = torch.randn(batch.num_rows, HEADS, DIM)
    read = PaddedAttention(kept, batch).attend(0, queries, 0.3, softcap)
    torch.testing.assert_close(read, expected(kept, batch, queries, softcap), atol=2e-6, rtol=1e-5)


def test_long_chunks_go_alone() -> None:
    batch = batch_of([(3, 1, False), (0, MOST_ROWS + 1, False), (9, 5, True)])
    assert groups_of(batch) == [[0, 2], [1]]
    kept = storage(BLOCK * sum(map(len, batch.block_tables)), None)
    queries = torch.randn(batch.num_rows, HEADS, DIM)
    read = PaddedAttention(kept, batch).attend(0, queries, 0.3, None)
    torch.testing.assert_close(read, expected(kept, batch, queries, None), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("block_size", [1, 4, 16, 48])
def test_gathered_tokens_are_aligned(block_size: int) -> None:
    for tokens in (1, 63, 64, 65, 300):
        gathered = num_blocks(tokens, block_size) * block_size
        assert gathered >= tokens
        assert gathered % 64 == 0
