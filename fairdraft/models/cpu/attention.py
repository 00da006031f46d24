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
from fairdraft.models.cpu.attention_kernels import BLOCK_QUERIES, CHUNK, kernel
from fairdraft.models.cpu.vectors import FORMATS, LANES

_PIECES = 4  # for each thread; where a step has fewer, chunks of what its rows see are pieces


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
        self._contexts = batch.context_lens
        self._trees = batch.ancestors
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
        part = (values.shape[2] + LANES - 1) // LANES * LANES + 2
        listed: list[int] = []
        chunks: list[int] = []
        size = 0
        for i, (request, first, last) in enumerate(work):
            count = self._whole_chunks(request, first) if few else 0
            listed += request, first, last, count, size
            size += kv_heads * count * (last - first) * group * part
            for chunk in range(count):
                chunks += i, chunk
        held = (
            np.array([scale, softcap or 0], np.float32),
            np.array(listed, np.int64),
            np.empty(size, np.float32),
            np.array(chunks, np.int64),
        )
        shapes = (*queries.shape, *keys.shape[:2], values.shape[2])
        others = (*self._sizes, window or 0, len(work))
        addresses = (*self._addresses, *(a.ctypes.data for a in held))
        last_pass = np.array([0, 0, 0, 0, *shapes, *others, *addresses, 0], np.int64)
        passes = [(last_pass, len(work) * kv_heads)]
        if chunks:
            apart = last_pass.copy()
            apart[-1] = len(chunks) // 2
            passes.insert(0, (apart, len(chunks) // 2 * kv_heads))
        return _Job(kernel(FORMATS[keys.dtype], FORMATS[out.dtype]), passes, held)

    def _whole_chunks(self, request: int, first: int) -> int:
        """Return how many chunks, from the first on, rows from `first` on see; one is no gain."""
        shared = self._contexts[request] + (0 if request in self._trees else first + 1)
        return shared // CHUNK if shared >= 2 * CHUNK else 0


@dataclass(frozen=True)
class _Job:
    """A kernel's calls, ready but for the addresses of the layer; `held` keeps its arrays alive."""

    kernel: threads.Kernel
    passes: list[tuple[npt.NDArray[np.int64], int]]
    held: tuple[npt.NDArray[Any], ...]
