"""The CPU's hot loops, compiled by numba: products of a few rows, attention.

A decoding step reads every weight once and does little with it, so its floor is weight bytes over
memory bandwidth. `matmul` comes near that floor for one to about five rows: it streams the weights
row by row as they lie in the checkpoint, asks for the cache line 4 KiB ahead, and takes the dot
products with all activation rows while a weight is in a register.

Each number of a result is computed by the same instructions in the same order however many rows
run beside it: results do not depend on the batch.

bfloat16 arrays come in as their uint16 bits. Threads are numba's; torch is imported first, so that
on Linux both share one OpenMP pool and never wait for each other's spinning threads.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import math

import numba
import numpy as np
import torch  # noqa: F401  (first, for its OpenMP runtime)
from numba import njit, prange

from fairdraft.models.cpu.rowwise import VECTOR
from fairdraft.models.cpu.vectors import (
    MAX_TILE_ROWS,
    dots_bf16,
    dots_f32,
    exp,
    store,
    weighted_sum_bf16_16,
    weighted_sum_bf16_64,
    weighted_sum_f32_16,
    weighted_sum_f32_64,
)

numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

BLOCK_ROWS = 64  # weight rows that stay in cache while several tiles of activations use them


@njit(cache=True)
def _matmul_rows(weight, x, out, first, last):
    """Columns first … last − 1 of `matmul`'s result.

    Blocks of weight rows stay in the second-level cache while all tiles of `x` pass over them.
    """
    n, k = weight.shape
    m = x.shape[0]
    bf16 = weight.itemsize == 2
    row_bytes = k * weight.itemsize
    weights, inputs, results = weight.ctypes.data, x.ctypes.data, out.ctypes.data
    for block in range(first, last, BLOCK_ROWS):
        for j in range(0, m, MAX_TILE_ROWS):
            rows = min(MAX_TILE_ROWS, m - j)
            v = np.uintp(inputs + j * row_bytes)
            for i in range(block, min(block + BLOCK_ROWS, last)):
                w = np.uintp(weights + i * row_bytes)
                r = np.uintp(results + (j * n + i) * 4)
                if bf16:
                    dots_bf16(rows, w, v, r, k, n)
                else:
                    dots_f32(rows, w, v, r, k, n)


@njit(cache=True)
def matmul_serial(weight, x, out):
    """`matmul` on one thread."""
    _matmul_rows(weight, x, out, 0, weight.shape[0])


@njit(cache=True, parallel=True)
def matmul(weight, x, out, num_threads):
    """out = x · weightᵀ.

    Args:
        weight: [N, K], float32 or bfloat16 bits, K a multiple of 32.
        x: [M, K], same dtype.
        out: [M, N] float32.
        num_threads: how many threads share the N rows.
    """
    n = weight.shape[0]
    for thread in prange(num_threads):
        _matmul_rows(weight, x, out, thread * n // num_threads, (thread + 1) * n // num_threads)


@njit(**VECTOR)
def _softmax(scores, scale, softcap):
    for j in range(scores.size):
        scores[j] *= scale
    if softcap:
        for j in range(scores.size):
            scores[j] = softcap * math.tanh(scores[j] / softcap)
    top = scores[0]
    for j in range(1, scores.size):
        top = max(top, scores[j])
    total = np.float32(0)
    for j in range(scores.size):
        scores[j] = exp(scores[j] - top)
        total += scores[j]
    for j in range(scores.size):
        scores[j] /= total


@njit(cache=True)
def list_seen(
    block_tables, block_size, cu_rows, context_lens, positions, ancestors, ancestor_starts, window
):
    """Which slots each row sees, oldest first; the same for every layer with this window.

    Row r of a request with c computed tokens sees the c tokens before the step, and among the
    step's own rows those its ancestor mask names, by default itself and all before it.

    Args:
        block_tables: [B, blocks] int32; block_size tokens a block.
        cu_rows: [B + 1] int32, first row of each request.
        context_lens: [B] int32, tokens in the cache before this step.
        positions: [T] int64; siblings of a tree share one.
        ancestors: flat uint8 masks, [rows, rows] per request that has one.
        ancestor_starts: [B] int64, where a request's mask begins; −1 for a chain.
        window: sliding window in tokens; 0 sees all.

    Returns:
        slots int64 of all rows one after the other, and [T + 1] int64 where each row's begin.
    """
    most = 0
    for b in range(context_lens.size):
        rows = cu_rows[b + 1] - cu_rows[b]
        most += rows * (context_lens[b] + rows)
    seen, starts = np.empty(most, np.int64), np.zeros(positions.size + 1, np.int64)
    count = 0
    for b in range(context_lens.size):
        table, context, mask = block_tables[b], context_lens[b], ancestor_starts[b]
        first_row, rows = cu_rows[b], cu_rows[b + 1] - cu_rows[b]
        for own in range(rows):
            position = positions[first_row + own]
            start = min(max(position - window + 1, 0), context) if window else 0
            for block in range(start // block_size, (context + block_size - 1) // block_size):
                base = (table[block] - block) * block_size
                first, last = max(start, block * block_size), (block + 1) * block_size
                for j in range(first, min(context, last)):
                    seen[count] = base + j
                    count += 1
            for i in range(rows if mask >= 0 else own + 1):
                if mask >= 0 and not ancestors[mask + own * rows + i]:
                    continue
                if window and position - positions[first_row + i] >= window:
                    continue
                j = context + i
                seen[count] = table[j // block_size] * block_size + j % block_size
                count += 1
            starts[first_row + own + 1] = count
    return seen[:count], starts


@njit
def _score(heads, keys, kv_head, seen, scores):
    """scores[g, j] = heads[g] · keys[seen[j], kv_head]."""
    group, dim = heads.shape
    bf16 = keys.itemsize == 2
    base = keys.ctypes.data + kv_head * dim * keys.itemsize
    slot_bytes = keys.shape[1] * dim * keys.itemsize
    stride = scores.shape[1]
    for first in range(0, group, MAX_TILE_ROWS):
        count = min(MAX_TILE_ROWS, group - first)
        x = np.uintp(heads.ctypes.data + first * dim * heads.itemsize)
        place = scores.ctypes.data + first * stride * 4
        for j in range(seen.size):
            key, to = np.uintp(base + seen[j] * slot_bytes), np.uintp(place + 4 * j)
            if bf16:
                dots_bf16(count, key, x, to, dim, stride)
            else:
                dots_f32(count, key, x, to, dim, stride)


@njit
def _mix(weights, seen, values, kv_head, totals):
    """totals = Σⱼ weights[j] · values[seen[j], kv_head]."""
    dim, size = values.shape[2], values.itemsize
    slot_bytes = values.shape[1] * dim * size
    w, s = np.uintp(weights.ctypes.data), np.uintp(seen.ctypes.data)
    done = 0
    while done < dim:
        wide = dim - done >= 64
        v = np.uintp(values.ctypes.data + (kv_head * dim + done) * size)
        to = np.uintp(totals.ctypes.data + 4 * done)
        if size == 2 and wide:
            weighted_sum_bf16_64(w, s, seen.size, v, slot_bytes, to)
        elif size == 2:
            weighted_sum_bf16_16(w, s, seen.size, v, slot_bytes, to)
        elif wide:
            weighted_sum_f32_64(w, s, seen.size, v, slot_bytes, to)
        else:
            weighted_sum_f32_16(w, s, seen.size, v, slot_bytes, to)
        done += 64 if wide else 16


@njit(cache=True, **VECTOR)
def _attend_pairs(queries, keys, values, seen, starts, scale, softcap, out, first, last):
    """The (row, kv head) pairs first … last − 1 of `attend`."""
    kv_heads, value_dim = values.shape[1], values.shape[2]
    group = queries.shape[1] // kv_heads
    scores = np.empty((group, np.max(starts[1:] - starts[:-1])), np.float32)
    totals = np.empty(value_dim, np.float32)
    for pair in range(first, last):
        row, kv_head = pair // kv_heads, pair % kv_heads
        slots = seen[starts[row] : starts[row + 1]]
        heads = queries[row, kv_head * group : (kv_head + 1) * group]
        _score(heads, keys, kv_head, slots, scores)
        for g in range(group):
            weights = scores[g, : slots.size]
            _softmax(weights, scale, softcap)
            _mix(weights, slots, values, kv_head, totals)
            result = out[row, kv_head * group + g]
            for i in range(value_dim):
                store(result, i, totals[i])


@njit(cache=True)
def attend_serial(queries, keys, values, seen, starts, scale, softcap, out):
    """`attend` on one thread."""
    pairs = queries.shape[0] * keys.shape[1]
    _attend_pairs(queries, keys, values, seen, starts, scale, softcap, out, 0, pairs)


@njit(cache=True, parallel=True)
def attend(queries, keys, values, seen, starts, scale, softcap, out, num_threads):
    """Attention of each row over the slots it sees.

    Args:
        queries: [T, num_heads, key_dim], the keys' dtype; key_dim a multiple of 32.
        keys, values: [slots, kv_heads, dim], float32 or bfloat16 bits; value_dim a multiple of 16.
        seen, starts: from `list_seen`.
        scale: factor on the scores.
        softcap: scores become softcap · tanh(score / softcap); 0 is off.
        out: [T, num_heads, value_dim], float32 or bfloat16 bits.
        num_threads: how many threads share the (row, kv head) pairs.
    """
    pairs = queries.shape[0] * keys.shape[1]
    for thread in prange(num_threads):
        _attend_pairs(
            queries,
            keys,
            values,
            seen,
            starts,
            scale,
            softcap,
            out,
            thread * pairs // num_threads,
            (thread + 1) * pairs // num_threads,
        )
