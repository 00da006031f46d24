"""Compiled attention: tiles of a request's KV, chunks of tiles, and the pieces that threads take.

What `attention` describes is done here, by the register blocks of `attention_blocks`.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import functools

import numpy as np
from numba import njit

from fairdraft.compiled import array_at
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
from fairdraft.models.cpu.vectors import LANES, Format, ask_for, exp, load, store

CHUNK = 8 * TILE  # tokens whose softmax stands alone before it joins that of the tokens before
BLOCK_QUERIES = 2 * QUERY_VECTORS * LANES  # queries for which a piece reads the KV once
_NEVER = np.iinfo(np.int32).min
_LINE = 64  # bytes
_SLOTS = 1 << 40  # no fewer than there are; nothing depends on it


@njit
def _read_tile(slots, coming, cache, kv_head, tile):
    """Copy the keys or values of up to a tile of slots as float32; the rest become zeros.

    Meanwhile those of the slots `coming` are asked for.
    """
    dim = cache.shape[2]
    row_bytes = dim * cache.itemsize
    first = cache.ctypes.data + kv_head * row_bytes
    for j in range(slots.size):
        if j < coming.size:
            at = first + coming[j] * cache.shape[1] * row_bytes
            for line in range(0, row_bytes, _LINE):
                ask_for(at + line)
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
def _empty(width, padded):
    """The softmax of nothing: greatest score, sum of weights, factor; weighted sums of values."""
    state = np.zeros((3, width), np.float32)
    state[0] = -np.inf
    return state, np.zeros((width, padded), np.float32)


@njit
def _join(total, total_sums, state, sums, used):
    """Add a chunk's softmax to that of the chunks before it, for the queries that are there."""
    for q in range(used):
        top = max(total[0, q], state[0, q])
        if top > -np.inf:
            before, new = exp(total[0, q] - top), exp(state[0, q] - top)
            total[0, q] = top
            total[1, q] = total[1, q] * before + state[1, q] * new
            for d in range(sums.shape[1]):
                total_sums[q, d] = total_sums[q, d] * before + sums[q, d] * new


@njit
def _attend(queries, used, kv, slots, first, seen, softmax, chunk, total):
    """Take tokens first … first + len(slots) − 1 into the softmax of some queries, tile by tile.

    Args:
        queries: [dim, width], of which `used` are there.
        kv: keys, values, kv head.
        slots: where the tokens lie; `first` is the first one's number, the first of a tile.
        seen: low and high, [width] int32.
        softmax: scale, softcap.
        chunk: state [3, width] and sums [width, padded] of the chunk that the tokens go on with.
        total: the same of the chunks before it; a chunk that ends joins them.
    """
    keys, values, kv_head = kv
    dim, width = queries.shape
    state, sums = chunk
    key_tile = np.empty((TILE, dim), np.float32)
    value_tile = np.zeros((TILE, sums.shape[1]), np.float32)
    scores = np.empty((TILE, width), np.float32)
    for start in range(0, slots.size, TILE):
        base = first + start
        if base % CHUNK == 0:
            _join(total[0], total[1], state, sums, used)
            state[0] = -np.inf
            state[1] = 0
            sums[:] = 0
        tile, coming = slots[start : start + TILE], slots[start + TILE : start + 2 * TILE]
        _read_tile(tile, coming, keys, kv_head, key_tile)
        _read_tile(tile, coming, values, kv_head, value_tile)
        _attend_tile(
            queries,
            used,
            key_tile,
            value_tile,
            seen[0],
            seen[1],
            base,
            softmax[0],
            softmax[1],
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
def _seen(width, first, last, group, context, mask, window):
    """First and last token, [width] int32 each, that the queries of rows first … last − 1 see."""
    low, high = np.zeros(width, np.int32), np.full(width, _NEVER, np.int32)
    for row in range(first, last):
        rank = last_seen = context + row
        if mask.size:  # a block's rows may see later ones too
            rank = context
            for i in range(row):
                rank += mask[row, i]
            last_seen = rank
            for i in range(row + 1, mask.shape[0]):
                last_seen += mask[row, i]
        for q in range((row - first) * group, (row - first + 1) * group):
            high[q] = last_seen
            low[q] = max(0, rank - window + 1) if window else 0
    return low, high


@njit
def _attend_chunk(packed, used, kv, table, block_size, oldest, number, seen, softmax, part):
    """Work out chunk `number`, whole and shared by the rows, apart from those before it.

    part: [used, padded + 2], which gets weighted sums, greatest score and sum of weights.
    """
    padded = part.shape[1] - 2
    state, sums = _empty(packed.shape[1], padded)
    total = _empty(packed.shape[1], padded)
    start = max(oldest, number * CHUNK)
    slots = _slots(table, block_size, start, (number + 1) * CHUNK)
    _attend(packed, used, kv, slots, start, seen, softmax, (state, sums), total)
    part[:, :padded] = sums[:used]
    part[:, padded], part[:, padded + 1] = state[0, :used], state[1, :used]


@njit
def _join_chunks(total, parts, used, first, last):
    """Join chunks first … last − 1, which were worked out apart, in their order."""
    state, sums = _empty(total[0].shape[1], total[1].shape[1])
    padded = sums.shape[1]
    for number in range(first, last):
        sums[:used] = parts[number, :, :padded]
        state[0, :used], state[1, :used] = parts[number, :, padded], parts[number, :, padded + 1]
        _join(total[0], total[1], state, sums, used)


@njit
def _finish(total, chunk, queries, result):
    """Join the last chunk and write the means of values of queries[0] … queries[1] − 1."""
    _join(total[0], total[1], chunk[0], chunk[1], queries[1])
    for q in range(queries[0], queries[1]):
        for d in range(result.shape[1]):
            store(result[q - queries[0]], d, total[1][q, d] / total[0][1, q])


@njit
def _attend_rows(
    queries, kv, out, table, block_size, context, own, mask, window, softmax, parts, chunk
):
    """Rows own[0] … own[1] − 1 of a request whose first row is own[2], for one kv head.

    mask: [rows, rows] ancestors, or [0, 0] for a chain. parts: [chunks, used, padded + 2] results
    of the chunks worked out apart; chunk: the one to work out now, below 0 for all the rest.
    """
    keys, values, kv_head = kv
    first, last, begin = own
    group = queries.shape[1] // keys.shape[1]
    padded = (values.shape[2] + LANES - 1) // LANES * LANES
    packed = _pack(queries, begin + first, begin + last, kv_head, group)
    width, used = packed.shape[1], (last - first) * group
    tree = mask.size > 0
    low, high = seen = _seen(width, first, last, group, context, mask, window)
    oldest = low[:used].min() // TILE * TILE
    shared = context // TILE * TILE if tree else context + last
    if chunk >= 0:
        if (chunk + 1) * CHUNK > oldest:
            _attend_chunk(
                packed, used, kv, table, block_size, oldest, chunk, seen, softmax, parts[chunk]
            )
        return
    state, sums = _empty(width, padded)
    total = _empty(width, padded)
    start = oldest
    if len(parts) * CHUNK > oldest:
        start = len(parts) * CHUNK
        _join_chunks(total, parts, used, oldest // CHUNK, len(parts))
    slots = _slots(table, block_size, start, shared)
    _attend(packed, used, kv, slots, start, seen, softmax, (state, sums), total)
    heads = slice(kv_head * group, (kv_head + 1) * group)
    if not tree:
        _join(total[0], total[1], state, sums, used)
        empty = _empty(width, padded)
        for row in range(first, last):
            q = (row - first) * group
            _finish(total, empty, (q, q + group), out[begin + row, heads])
        return
    for row in range(first, last):  # what is left of the context, and the row's own path
        q = (row - first) * group
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
        own_state, own_sums = _empty(few, padded)
        own_state[:, :group], own_sums[:group] = state[:, q:end], sums[q:end]
        before_state, before_sums = _empty(few, padded)
        before_state[:, :group], before_sums[:group] = total[0][:, q:end], total[1][q:end]
        own_total = (before_state, before_sums)
        own_chunk = (own_state, own_sums)
        _attend(alone, group, kv, path, start, (own_low, own_high), softmax, own_chunk, own_total)
        _finish(own_total, own_chunk, (0, group), out[begin + row, heads])


@functools.cache
def kernel(kind: Format, out_kind: Format) -> threads.Kernel:
    """Return the kernel for KV and queries of one format and results of another.

    A piece is a kv head and some rows of a request, or, of rows that see much where there are few
    pieces, a chunk of what they see. Its arguments are the rows, addresses of
    keys, values, queries and results, and those that `StepAttention.passes` lists.
    """
    dtype, out_dtype = DTYPES[kind], DTYPES[out_kind]

    def piece(a, number):
        num_rows, num_heads, kv_heads, key_dim, value_dim = a[0], a[5], a[6], a[7], a[8]
        num_requests, blocks, block_size, window, num_work = a[9], a[10], a[11], a[12], a[13]
        keys = array_at(a[1], (_SLOTS, kv_heads, key_dim), dtype)
        values = array_at(a[2], (_SLOTS, kv_heads, value_dim), dtype)
        queries = array_at(a[3], (num_rows, num_heads, key_dim), dtype)
        out = array_at(a[4], (num_rows, num_heads, value_dim), out_dtype)
        cu_rows = array_at(a[14], (num_requests + 1,), np.int64)
        context_lens = array_at(a[15], (num_requests,), np.int64)
        tables = array_at(a[16], (num_requests, blocks), np.int64)
        mask_starts = array_at(a[17], (num_requests,), np.int64)
        numbers = array_at(a[19], (2,), np.float32)
        work = array_at(a[20], (num_work, 5), np.int64)
        # The last rows of a prompt see most: they come first, so that no thread ends alone.
        at, kv_head, chunk = num_work - 1 - number // kv_heads, number % kv_heads, np.int64(-1)
        if a[23]:
            chunk_work = array_at(a[22], (a[23], 2), np.int64)
            at, chunk = chunk_work[number // kv_heads]
        request, first, last, num_chunks, part_start = work[at]
        used = (last - first) * (num_heads // kv_heads)
        padded = (value_dim + LANES - 1) // LANES * LANES
        part_size = num_chunks * used * (padded + 2)
        parts_at = a[21] + 4 * (part_start + kv_head * part_size)
        parts = array_at(parts_at, (num_chunks, used, padded + 2), np.float32)
        rows = cu_rows[request + 1] - cu_rows[request]
        start = mask_starts[request]
        side = rows if start >= 0 else 0
        mask = array_at(a[18] + max(start, 0), (side, side), np.uint8)
        _attend_rows(
            queries,
            (keys, values, kv_head),
            out,
            tables[request],
            block_size,
            context_lens[request],
            (first, last, cu_rows[request]),
            mask,
            window,
            (numbers[0], numbers[1]),
            parts,
            chunk,
        )

    return threads.Kernel(piece, error_model="numpy")
