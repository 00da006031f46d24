"""Attention of a step's rows over paged KV, read once for all rows and heads that share it.

A request's tokens are taken in tiles of 64, counted from its first, and each tile is one step of an
online softmax (Milakov and Gimelshein 2018; FlashAttention). Tiles begin where the text says, not
where a step does, and a row of a draft tree sees its own path as if that were the text: a row's
result has the same bits alone, in a chunk of a prompt, in a tree, or beside other requests.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from torch import Tensor

from fairdraft.compiled import array_at
from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu import threads
from fairdraft.models.cpu.attention_blocks import (
    MIX_QUERIES,
    QUERY_VECTORS,
    TILE,
    VALUE_VECTORS,
    mix_block,
    score_block,
    softmax_block,
)
from fairdraft.models.cpu.product import DTYPES
from fairdraft.models.cpu.vectors import FORMATS, LANES, Format, load, store

_BLOCK_QUERIES = 2 * QUERY_VECTORS * LANES  # queries for which a piece reads the KV once
_NEVER = np.iinfo(np.int32).min


@njit
def _read_tile(slots, cache, kv_head, tile):
    """Copy the keys or values of up to a tile of slots as float32; the rest become zeros."""
    dim = cache.shape[2]
    for j in range(slots.size):
        row = cache[slots[j], kv_head]
        for d in range(dim):
            tile[j, d] = load(row, d)
    tile[slots.size :] = 0


@njit
def _attend_tile(queries, used, keys, values, low, high, base, scale, softcap, scores, state, sums):
    """Take one tile into the online softmax of some queries, of which `used` are there.

    queries [dim, width], keys [TILE, dim], values [TILE, padded], low and high [width] int32,
    scores [TILE, width], state [3, width], sums [width, padded].
    """
    dim, width = queries.shape
    padded = values.shape[1]
    step = QUERY_VECTORS * LANES
    q_at, k_at, s_at = queries.ctypes.data, keys.ctypes.data, scores.ctypes.data
    for first in range(0, width, step):
        vectors = min(step, width - first) // LANES
        score_block(vectors, q_at + 4 * first, width, k_at, 4 * dim, dim, s_at + 4 * first)
    for first in range(0, width, LANES):
        softmax_block(
            s_at + 4 * first,
            4 * width,
            state.ctypes.data + 4 * first,
            low.ctypes.data + 4 * first,
            high.ctypes.data + 4 * first,
            base,
            scale,
            softcap,
        )
    q = 0
    while q < used:
        count = MIX_QUERIES if q + MIX_QUERIES <= used else 1
        d = 0
        while d < padded:
            vectors = VALUE_VECTORS if d + VALUE_VECTORS * LANES <= padded else 1
            mix_block(
                count,
                vectors,
                s_at + 4 * q,
                4 * width,
                values.ctypes.data + 4 * d,
                4 * padded,
                state.ctypes.data + 4 * (2 * width + q),
                sums.ctypes.data + 4 * (q * padded + d),
                4 * padded,
            )
            d += vectors * LANES
        q += count


@njit
def _attend(
    queries, used, keys, values, kv_head, slots, first, low, high, scale, softcap, state, sums
):
    """Take tokens first … first + len(slots) − 1 into the softmax of some queries, tile by tile."""
    dim, width = queries.shape
    key_tile = np.empty((TILE, dim), np.float32)
    value_tile = np.zeros((TILE, sums.shape[1]), np.float32)
    scores = np.empty((TILE, width), np.float32)
    for start in range(0, slots.size, TILE):
        tile = slots[start : start + TILE]
        _read_tile(tile, keys, kv_head, key_tile)
        _read_tile(tile, values, kv_head, value_tile)
        base = first + start
        _attend_tile(
            queries,
            used,
            key_tile,
            value_tile,
            low,
            high,
            base,
            scale,
            softcap,
            scores,
            state,
            sums,
        )


@njit
def _pack(queries, first_row, last_row, kv_head, group):
    """Queries [dim, width] float32 of some rows' heads, row by row; width a multiple of LANES."""
    dim = queries.shape[2]
    count = (last_row - first_row) * group
    packed = np.zeros((dim, (count + LANES - 1) // LANES * LANES), np.float32)
    for row in range(first_row, last_row):
        for g in range(group):
            query = queries[row, kv_head * group + g]
            q = (row - first_row) * group + g
            for d in range(dim):
                packed[d, q] = load(query, d)
    return packed


@njit
def _slots(table, block_size, first, last):
    """Slots of tokens first … last − 1."""
    found = np.empty(max(last - first, 0), np.int64)
    for j in range(first, last):
        found[j - first] = table[j // block_size] * block_size + j % block_size
    return found


@njit
def _finish(sums, state, q, result):
    for d in range(result.size):
        store(result, d, sums[q, d] / state[1, q])


@njit
def _attend_rows(
    queries,
    keys,
    values,
    out,
    table,
    block_size,
    context,
    own,
    mask,
    kv_head,
    window,
    scale,
    softcap,
):
    """Rows own[0] … own[1] − 1 of a request whose first row is own[2], for one kv head.

    mask: [rows, rows] ancestors, or [0, 0] for a chain.
    """
    first, last, begin = own
    group = queries.shape[1] // keys.shape[1]
    value_dim = values.shape[2]
    padded = (value_dim + LANES - 1) // LANES * LANES
    packed = _pack(queries, begin + first, begin + last, kv_head, group)
    width = packed.shape[1]
    tree = mask.size > 0
    low, high = np.zeros(width, np.int32), np.full(width, _NEVER, np.int32)
    for row in range(first, last):
        rank = last_seen = context + row
        if tree:  # a block's rows may see later ones too
            rank = context
            for i in range(row):
                rank += mask[row, i]
            last_seen = rank
            for i in range(row + 1, mask.shape[0]):
                last_seen += mask[row, i]
        for q in range((row - first) * group, (row - first + 1) * group):
            high[q] = last_seen
            low[q] = max(0, rank - window + 1) if window else 0
    state = np.zeros((3, width), np.float32)
    state[0] = -np.inf
    sums = np.zeros((width, padded), np.float32)
    used = (last - first) * group
    oldest = low[:used].min() // TILE * TILE
    shared = context // TILE * TILE if tree else context + last
    slots = _slots(table, block_size, oldest, shared)
    _attend(
        packed, used, keys, values, kv_head, slots, oldest, low, high, scale, softcap, state, sums
    )
    for row in range(first, last):
        q = (row - first) * group
        if tree:  # what is left of the context, and the row's own path
            end = q + group
            alone = _pack(queries, begin + row, begin + row + 1, kv_head, group)
            few = alone.shape[1]
            start = max(shared, low[q] // TILE * TILE)
            path = np.empty(max(high[q] - start + 1, 0), np.int64)
            path[: max(context - start, 0)] = _slots(table, block_size, start, context)
            rank = context
            for i in range(mask.shape[0]):
                if mask[row, i]:
                    if rank >= start:
                        j = context + i
                        path[rank - start] = table[j // block_size] * block_size + j % block_size
                    rank += 1
            own_low, own_high = np.zeros(few, np.int32), np.full(few, _NEVER, np.int32)
            own_low[:group], own_high[:group] = low[q:end], high[q:end]
            own_state, own_sums = (
                np.zeros((3, few), np.float32),
                np.zeros((few, padded), np.float32),
            )
            own_state[0] = -np.inf
            own_state[:, :group], own_sums[:group] = state[:, q:end], sums[q:end]
            _attend(
                alone,
                group,
                keys,
                values,
                kv_head,
                path,
                start,
                own_low,
                own_high,
                scale,
                softcap,
                own_state,
                own_sums,
            )
            for g in range(group):
                _finish(own_sums, own_state, g, out[begin + row, kv_head * group + g])
        else:
            for g in range(group):
                _finish(sums, state, q + g, out[begin + row, kv_head * group + g])


@functools.cache
def _kernel(kind: Format, out_kind: Format) -> threads.Kernel:
    """Return the kernel for KV and queries of one format and results of another."""
    dtype, out_dtype = DTYPES[kind], DTYPES[out_kind]

    def piece(a, number):
        num_rows, num_heads, key_dim = a[4], a[5], a[6]
        num_slots, kv_heads, value_dim = a[7], a[8], a[9]
        num_requests, blocks, block_size, window, num_work = a[10], a[11], a[12], a[13], a[14]
        queries = array_at(a[0], (num_rows, num_heads, key_dim), dtype)
        keys = array_at(a[1], (num_slots, kv_heads, key_dim), dtype)
        values = array_at(a[2], (num_slots, kv_heads, value_dim), dtype)
        out = array_at(a[3], (num_rows, num_heads, value_dim), out_dtype)
        cu_rows = array_at(a[15], (num_requests + 1,), np.int64)
        context_lens = array_at(a[16], (num_requests,), np.int64)
        tables = array_at(a[17], (num_requests, blocks), np.int64)
        mask_starts = array_at(a[18], (num_requests,), np.int64)
        numbers = array_at(a[20], (2,), np.float32)
        work = array_at(a[21], (num_work, 3), np.int64)
        # The last rows of a prompt see most: they come first, so that no thread ends alone.
        request, first, last = work[num_work - 1 - number // kv_heads]
        rows = cu_rows[request + 1] - cu_rows[request]
        start = mask_starts[request]
        side = rows if start >= 0 else 0
        mask = array_at(a[19] + max(start, 0), (side, side), np.uint8)
        own = (first, last, cu_rows[request])
        _attend_rows(
            queries,
            keys,
            values,
            out,
            tables[request],
            block_size,
            context_lens[request],
            own,
            mask,
            number % kv_heads,
            window,
            numbers[0],
            numbers[1],
        )

    return threads.Kernel(piece, error_model="numpy")


class StepAttention:
    """What the rows of one step see, and their attention in every layer.

    Args:
        batch: the step's rows.
    """

    def __init__(self, batch: FlatBatch) -> None:
        requests, blocks = batch.num_requests, max(map(len, batch.block_tables))
        mask_starts, masks, filled = [-1] * requests, [], 0
        for i, mask in batch.ancestors.items():
            mask_starts[i] = filled
            masks.append(mask.cpu().numpy().astype(np.uint8).ravel())
            filled += mask.numel()
        self._row_counts = batch.row_counts
        self._sizes = requests, blocks, batch.block_size
        # One block: for a drafter's few rows, arrays took longer to make than to work on.
        numbers = [*batch.cu_rows, *batch.context_lens, *mask_starts]
        starts = 0, requests + 1, len(numbers), 2 * requests + 1  # in the kernel's order
        for table in batch.block_tables:
            numbers += table
            numbers += [0] * (blocks - len(table))
        self._numbers = np.array(numbers, np.int64)
        self._masks = np.concatenate(masks) if masks else np.zeros(1, np.uint8)
        first = self._numbers.ctypes.data
        self._addresses = *(first + 8 * start for start in starts), self._masks.ctypes.data
        self._jobs: dict[tuple[Any, ...], _Job] = {}

    def attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        window: int | None,
        scale: float,
        softcap: float | None,
        out: Tensor,
    ) -> None:
        """Work out what each row reads in one layer.

        Args:
            queries: [T, num_heads, key_dim], the keys' dtype.
            keys, values: [slots, kv_heads, dim], float32, bfloat16 or float16.
            window: sliding window in tokens; None sees all.
            scale: factor on the scores.
            softcap: scores become softcap · tanh(score / softcap); None is off.
            out: [T, num_heads, value_dim], any of these dtypes.
        """
        tensors = queries, keys, values, out
        key = (*(t.shape for t in tensors), out.dtype, window, scale, softcap)
        if key not in self._jobs:
            self._jobs[key] = self._prepare(tensors, window, scale, softcap)
        job = self._jobs[key]
        job.arguments[:4] = [t.data_ptr() for t in tensors]
        threads.run(job.kernel, job.arguments, job.pieces)

    def _prepare(
        self,
        tensors: tuple[Tensor, ...],
        window: int | None,
        scale: float,
        softcap: float | None,
    ) -> _Job:
        queries, keys, values, out = tensors
        kv_heads = keys.shape[1]
        rows_a_piece = max(1, _BLOCK_QUERIES // (queries.shape[1] // kv_heads))
        work = np.array(
            [
                (request, first, min(first + rows_a_piece, rows))
                for request, rows in enumerate(self._row_counts)
                for first in range(0, rows, rows_a_piece)
            ],
            np.int64,
        )
        numbers = np.array([scale, softcap or 0], np.float32)
        shapes = (*queries.shape, *keys.shape[:2], values.shape[2])
        sizes = (*self._sizes, window or 0, len(work))
        addresses = (*self._addresses, numbers.ctypes.data, work.ctypes.data)
        arguments = np.array([0, 0, 0, 0, *shapes, *sizes, *addresses], np.int64)
        kernel = _kernel(FORMATS[keys.dtype], FORMATS[out.dtype])
        return _Job(kernel, arguments, len(work) * kv_heads, (numbers, work))


@dataclass(frozen=True)
class _Job:
    """A kernel's call, ready but for the addresses of the layer; `held` keeps its arrays alive."""

    kernel: threads.Kernel
    arguments: npt.NDArray[np.int64]
    pieces: int
    held: tuple[npt.NDArray[Any], ...]
