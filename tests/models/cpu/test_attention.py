"""Attention over paged KV against its definition, and a row's bits in any company."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu.attention import Look, StepAttention

NUM_SLOTS = 4000


def defined(
    query: Tensor, keys: Tensor, values: Tensor, slots: list[int], scale: float, cap: float | None
) -> Tensor:
    """One row's attention in float64."""
    group = len(query) // keys.shape[1]
    keys, values = (t[slots].double().repeat_interleave(group, 1) for t in (keys, values))
    scores = torch.einsum("hd,shd->hs", query.double(), keys) * scale
    if cap:
        scores = cap * torch.tanh(scores / cap)
    return torch.einsum("hs,shd->hd", scores.softmax(-1), values)


def paths(parents: list[int]) -> Tensor:
    """Ancestor mask of a tree."""
    mask = torch.zeros(len(parents), len(parents), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node] = mask[parent]
        mask[node, node] = True
    return mask


def attend(
    batch: FlatBatch,
    queries: Tensor,
    kv: tuple[Tensor, Tensor],
    window: int | None,
    cap: float | None,
) -> Tensor:
    out = torch.full((*queries.shape[:2], kv[1].shape[2]), torch.nan)
    StepAttention(batch).attend(queries, *kv, window, queries.shape[2] ** -0.5, cap, out)
    return out


HEADS = st.sampled_from([(9, 3, 64, 64), (4, 2, 16, 16), (4, 4, 20, 12), (7, 1, 32, 48)])


@given(
    heads=HEADS,
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    window=st.sampled_from([None, 5, 70]),
    cap=st.sampled_from([None, 30.0]),
    contexts=st.lists(st.sampled_from([0, 1, 63, 64, 130, 510, 1030]), min_size=1, max_size=3),
    rows=st.lists(st.integers(1, 70), min_size=3, max_size=3),
    parents=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    block=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_equals_its_definition_in_any_company(
    heads: tuple[int, int, int, int],
    dtype: torch.dtype,
    window: int | None,
    cap: float | None,
    contexts: list[int],
    rows: list[int],
    parents: list[int],
    block: bool,
    seed: int,
) -> None:
    """A tree or a block and chains in one step; then rows as the last of their own texts."""
    torch.manual_seed(seed)
    num_heads, kv_heads, key_dim, value_dim = heads
    keys = torch.randn(NUM_SLOTS, kv_heads, key_dim).to(dtype)
    values = torch.randn(NUM_SLOTS, kv_heads, value_dim).to(dtype)
    tree = paths([-1, *(min(p, i) for i, p in enumerate(parents))])
    if block and window is None:
        tree = torch.ones_like(tree)
    counts = [len(tree), *rows[1 : len(contexts)]]
    masks = [tree, *(torch.ones(n, n).tril().bool() for n in counts[1:])]
    blocks = torch.randperm(NUM_SLOTS // 4).tolist()
    tables: list[list[int]] = []
    for context, count in zip(contexts, counts, strict=True):
        needed = -(-(context + count) // 4)
        tables.append([blocks.pop() for _ in range(needed)])
    queries = torch.randn(sum(counts), num_heads, key_dim).to(dtype)
    tokens = [[1] * n for n in counts]
    batch = FlatBatch.of(
        tokens, contexts, tables, 4, torch.device("cpu"), logit_rows=range(1), ancestors={0: tree}
    )
    together = attend(batch, queries, (keys, values), window, cap)
    begin = 0
    for context, count, mask, table in zip(contexts, counts, masks, tables, strict=True):
        for row in {0, count // 2, count - 1}:
            seen = [*range(context), *(context + i for i in range(count) if mask[row, i])]
            slots = [table[j // 4] * 4 + j % 4 for j in seen]
            query = queries[begin + row]
            own = slots[-window:] if window else slots
            exact = defined(query, keys, values, own, key_dim**-0.5, cap)
            torch.testing.assert_close(together[begin + row].double(), exact, atol=2e-5, rtol=2e-5)
            single = FlatBatch.of(
                [[1]], [len(slots) - 1], [slots], 1, torch.device("cpu"), logit_rows=range(1)
            )
            alone = attend(single, query[None].clone(), (keys, values), window, cap)
            assert torch.equal(alone[0], together[begin + row])
        begin += count


@pytest.mark.parametrize("chunk", [1, 7, 64, 100])
def test_a_prompt_in_chunks_is_the_same_bits(chunk: int) -> None:
    keys, values = torch.randn(300, 2, 32), torch.randn(300, 2, 32)
    queries = torch.randn(300, 6, 32)

    def rows(first: int, last: int) -> Tensor:
        batch = FlatBatch.of(
            [[1] * (last - first)],
            [first],
            [list(range(300))],
            1,
            torch.device("cpu"),
            logit_rows=range(1),
        )
        return attend(batch, queries[first:last].clone(), (keys, values), None, None)

    whole = rows(0, 300)
    for first in range(0, 300, chunk):
        last = min(first + chunk, 300)
        assert torch.equal(rows(first, last), whole[first:last])


@pytest.mark.parametrize("window", [None, 600])
def test_chunks_worked_out_side_by_side_are_the_same_bits(window: int | None) -> None:
    """One request's chunks are pieces of their own; beside enough others they are not."""
    keys, values = torch.randn(2600, 3, 16), torch.randn(2600, 3, 16)
    queries = torch.randn(5, 9, 16)
    others = 2 * torch.get_num_threads()
    tree = paths([-1, 0, 0, 1, 3])
    for context, ancestors in ((1534, {}), (1534, {0: tree}), (2048, {0: tree})):
        results = []
        for requests in (1, 1 + others):
            batch = FlatBatch.of(
                [[1] * 5] * requests,
                [context] * requests,
                [list(range(2600))] * requests,
                1,
                torch.device("cpu"),
                logit_rows=range(1),
                ancestors=ancestors,
            )
            step = StepAttention(batch)
            out = torch.empty(5 * requests, 9, 16)
            step.attend(queries.repeat(requests, 1, 1), keys, values, window, 0.25, None, out)
            (_, apart), (_, pieces) = step.passes(Look(9, 16, 3, 16, window, 0.25, None))
            assert pieces
            assert bool(apart) == (requests == 1)
            results.append(out[:5])
        assert torch.equal(*results)
