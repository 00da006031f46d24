"""Attention of a step's rows over paged KV, read once for all rows and heads that share it.

A request's tokens are taken in tiles of 64, counted from its first, and each tile is one step of an
online softmax (Milakov and Gimelshein 2018; FlashAttention). Every eight tiles are a chunk, whose
softmax stands alone before it joins that of the chunks before: threads share a long context. Tiles
and chunks begin where the text says, not where a step does, and a row of a draft tree sees its own
path as if that were the text: a row's result has the same bits alone, in a chunk of a prompt, in a
tree, or beside other requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu import threads
from fairdraft.models.cpu.attention_blocks import TILE
from fairdraft.models.cpu.attention_kernels import BLOCK_QUERIES, CHUNK, kernel
from fairdraft.models.cpu.vectors import FORMATS, LANES

_PIECES = 4  # for each thread; where a step has fewer, chunks of what its rows see are pieces


class StepAttention:
    """What the rows of one step see, and their attention in every layer.

    Args:
        batch: the step's rows.
    """

    def __init__(self, batch: FlatBatch) -> None:
        tables = np.zeros((batch.num_requests, max(map(len, batch.block_tables))), np.int64)
        for i, table in enumerate(batch.block_tables):
            tables[i, : len(table)] = table
        mask_starts = np.full(batch.num_requests, -1, np.int64)
        masks, filled = [np.zeros(0, np.uint8)], 0
        for i, mask in batch.ancestors.items():
            mask_starts[i] = filled
            masks.append(mask.cpu().numpy().astype(np.uint8).ravel())
            filled += mask.numel()
        self._block_size = batch.block_size
        self._row_counts = batch.row_counts
        self._tables = tables
        self._contexts = batch.context_lens
        self._mask_starts = mask_starts
        self._arrays = (
            np.array(batch.cu_rows, np.int64),
            np.array(batch.context_lens, np.int64),
            tables,
            mask_starts,
            np.concatenate(masks),
        )
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
        addresses = [t.data_ptr() for t in tensors]
        for arguments, pieces in job.passes:
            arguments[:4] = addresses
            threads.run(job.kernel, arguments, pieces)

    def _prepare(
        self,
        tensors: tuple[Tensor, ...],
        window: int | None,
        scale: float,
        softcap: float | None,
    ) -> _Job:
        queries, keys, values, out = tensors
        kv_heads = keys.shape[1]
        group = queries.shape[1] // kv_heads
        rows_a_piece = max(1, BLOCK_QUERIES // group)
        work = [
            (request, first, min(first + rows_a_piece, rows))
            for request, rows in enumerate(self._row_counts)
            for first in range(0, rows, rows_a_piece)
        ]
        few = len(work) * kv_heads < _PIECES * threads.count()
        counts = [self._whole_chunks(*piece) if few else 0 for piece in work]
        part = (values.shape[2] + LANES - 1) // LANES * LANES + 2
        sizes = [
            kv_heads * count * (last - first) * group * part
            for count, (_, first, last) in zip(counts, work, strict=True)
        ]
        starts = np.cumsum([0, *sizes])
        listed = np.column_stack([np.array(work, np.int64), counts, starts[:-1]])
        chunks = np.array([(i, c) for i, n in enumerate(counts) for c in range(n)], np.int64)
        numbers = np.array([scale, softcap or 0], np.float32)
        parts = np.empty(starts[-1], np.float32)
        held = (*self._arrays, numbers, listed, parts, chunks)
        shapes = (*queries.shape, *keys.shape[:2], values.shape[2])
        others = (*self._tables.shape, self._block_size, window or 0, len(work))
        addresses = (a.ctypes.data for a in held)
        last_pass = np.array([0, 0, 0, 0, *shapes, *others, *addresses, 0], np.int64)
        passes = [(last_pass, len(work) * kv_heads)]
        if len(chunks):
            apart = last_pass.copy()
            apart[-1] = len(chunks)
            passes.insert(0, (apart, len(chunks) * kv_heads))
        return _Job(kernel(FORMATS[keys.dtype], FORMATS[out.dtype]), passes, held)

    def _whole_chunks(self, request: int, first: int, last: int) -> int:
        """Return how many chunks, from the first on, all of these rows see; one is no gain."""
        context = int(self._contexts[request])
        tree = self._mask_starts[request] >= 0
        chunks = (context // TILE * TILE if tree else context + first + 1) // CHUNK
        return chunks if chunks > 1 else 0


@dataclass(frozen=True)
class _Job:
    """A kernel's calls, ready but for the addresses of the layer; `held` keeps its arrays alive."""

    kernel: threads.Kernel
    passes: list[tuple[npt.NDArray[np.int64], int]]
    held: tuple[npt.NDArray[Any], ...]
