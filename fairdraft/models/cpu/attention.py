"""Attention of a step's rows over paged KV, read once for all rows and heads that share it.

A request's tokens are taken in tiles of 64, counted from its first, and each tile is one step of an
online softmax (Milakov and Gimelshein 2018; FlashAttention). Every eight tiles are a chunk, whose
softmax stands alone before it joins that of the chunks before: threads share a long context. Tiles
and chunks begin where the text says, not where a step does, and a row of a draft tree sees its own
path as if that were the text: a row's result has the same bits alone, in a chunk of a prompt, in a
tree, or beside other requests.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu import threads
from fairdraft.models.cpu.attention_kernels import BLOCK_QUERIES, CHUNK, kernel
from fairdraft.models.cpu.program import Call, Program
from fairdraft.models.cpu.vectors import FORMATS, LANES

TOLD = 5  # the kernel's first argument that says what rows see; before it are rows and addresses
_NUM_TOLD = 19
_PIECES = 4  # for each thread; where a step has fewer, chunks of what its rows see are pieces

_Pass = tuple[npt.NDArray[np.int64], int]  # the kernel's arguments, and its pieces


class Look(NamedTuple):
    """How the rows of a step look at a layer's KV, beside what they see.

    Args:
        num_heads: of the queries.
        key_dim: numbers in a key of one head.
        kv_heads: of the KV.
        value_dim: numbers in a value of one head.
        window: sliding window in tokens; None sees all.
        scale: factor on the scores.
        softcap: scores become softcap · tanh(score / softcap); None is off.
    """

    num_heads: int
    key_dim: int
    kv_heads: int
    value_dim: int
    window: int | None
    scale: float
    softcap: float | None


def append_attention(program: Program, layer: int, queries: Tensor, out: Tensor) -> list[int]:
    """Add a layer's attention to a program; returns the places of its two passes.

    Until they are told what `StepAttention.passes` says, they do nothing.

    Args:
        program: the calls.
        layer: whose KV.
        queries, out: as in `StepAttention.attend`.
    """
    addresses = queries.data_ptr(), out.data_ptr()
    compiled = kernel(FORMATS[queries.dtype], FORMATS[out.dtype])
    call = Call(compiled, [0, 0, *addresses, *[0] * _NUM_TOLD], shares=0)
    return [program.append(call, layer) for _ in range(2)]


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
        self._passes: dict[tuple[Any, ...], tuple[_Pass, ...]] = {}
        self._held: list[npt.NDArray[Any]] = []

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
        (_, num_heads, key_dim), (_, kv_heads, value_dim) = queries.shape, values.shape
        look = Look(num_heads, key_dim, kv_heads, value_dim, window, scale, softcap)
        addresses = [t.data_ptr() for t in (keys, values, queries, out)]
        compiled = kernel(FORMATS[keys.dtype], FORMATS[out.dtype])
        for arguments, pieces in self.passes(look):
            arguments[:TOLD] = len(queries), *addresses
            threads.run(compiled, arguments, pieces)

    def passes(self, look: Look) -> tuple[_Pass, ...]:
        """Return the kernel's two passes: chunks worked out apart, if any are, then all the rest.

        Arguments before `TOLD` are the caller's; the others point to what this object holds.
        """
        if look not in self._passes:
            self._passes[look] = self._prepare(look)
        return self._passes[look]

    def _prepare(self, look: Look) -> tuple[_Pass, ...]:
        kv_heads, group = look.kv_heads, look.num_heads // look.kv_heads
        rows_a_piece = max(1, BLOCK_QUERIES // group)
        work = [
            (request, first, min(first + rows_a_piece, rows))
            for request, rows in enumerate(self._row_counts)
            for first in range(0, rows, rows_a_piece)
        ]
        few = len(work) * kv_heads < _PIECES * threads.count()
        part = (look.value_dim + LANES - 1) // LANES * LANES + 2
        listed: list[int] = []
        chunks: list[int] = []
        size = 0
        for i, (request, first, last) in enumerate(work):
            count = self._whole_chunks(request, first) if few else 0
            listed += request, first, last, count, size
            size += kv_heads * count * (last - first) * group * part
            for chunk in range(count):
                chunks += i, chunk
        softmax = np.array([look.scale, look.softcap or 0], np.float32)
        numbers, parts = np.array(listed + chunks, np.int64), np.empty(size, np.float32)
        self._held += softmax, numbers, parts
        at = numbers.ctypes.data
        held = softmax.ctypes.data, at, parts.ctypes.data, at + 8 * len(listed)
        shapes = look.num_heads, kv_heads, look.key_dim, look.value_dim
        others = (*self._sizes, look.window or 0, len(work))
        told = *shapes, *others, *self._addresses, *held, 0
        whole = np.array([*[0] * TOLD, *told], np.int64)
        apart = whole.copy()
        apart[-1] = len(chunks) // 2
        return (apart, len(chunks) // 2 * kv_heads), (whole, len(work) * kv_heads)

    def _whole_chunks(self, request: int, first: int) -> int:
        """Return how many chunks, from the first on, rows from `first` on see; one is no gain."""
        shared = self._contexts[request] + (0 if request in self._trees else first + 1)
        return shared // CHUNK if shared >= 2 * CHUNK else 0
