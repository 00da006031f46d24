"""Attention over paged KV: one interface, two ways to compute it.

A model calls `paged_attention` through transformers' attention interface once a layer. It writes
the rows' keys and values to their slots, then lets each row see its request's tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from fairdraft.kv import KVStorage
from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu import kernels
from fairdraft.models.cpu.linear import as_array
from fairdraft.models.padded_attention import PaddedAttention

ATTENTION_NAME = "fairdraft_paged"
MAX_KERNEL_ROWS = 32  # rows a request; longer prompt chunks gain from torch's blocked attention
MIN_PARALLEL_WORK = 2048  # (row, token, head) triples; below, a second thread does not pay


class PagedAttention:
    """Attention of one step, shared by all layers.

    Args:
        storage: keys and values of every slot.
        batch: the step's rows.
        max_kernel_rows: requests with more rows than this go through torch.
    """

    def __init__(
        self, storage: KVStorage, batch: FlatBatch, max_kernel_rows: int = MAX_KERNEL_ROWS
    ) -> None:
        self.storage = storage
        self.batch = batch
        self.device = batch.slots.device
        self._masks: dict[tuple[int, int | None], Tensor] = {}
        self._slots: dict[int, Tensor] = {}
        self._seen: dict[int | None, tuple[Any, Any]] = {}
        self._padded = PaddedAttention(storage, batch) if self.device.type != "cpu" else None
        self._kernel = (
            self.device.type == "cpu"
            and max(batch.row_counts, default=0) <= max_kernel_rows
            and storage.dtype in (torch.float32, torch.bfloat16)
            and all(s.key_dim % 32 == 0 and s.value_dim % 16 == 0 for s in storage.layers)
        )

    def _list_seen(self, window: int | None) -> tuple[Any, Any]:
        """The slots that each row sees in layers with this window, worked out once a step."""
        if window not in self._seen:
            batch = self.batch
            widest = max(len(table) for table in batch.block_tables)
            tables = np.zeros((batch.num_requests, widest), np.int32)
            for i, table in enumerate(batch.block_tables):
                tables[i, : len(table)] = table
            starts = np.full(batch.num_requests, -1, np.int64)
            masks, filled = [np.zeros(0, np.uint8)], 0
            for i, mask in batch.ancestors.items():
                starts[i] = filled
                masks.append(mask.cpu().numpy().astype(np.uint8).ravel())
                filled += mask.numel()
            self._seen[window] = kernels.list_seen(
                tables,
                batch.block_size,
                np.array(batch.cu_rows, np.int32),
                np.array(batch.context_lens, np.int32),
                batch.positions.numpy(),
                np.concatenate(masks),
                starts,
                window or 0,
            )
        return self._seen[window]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the rows' keys and values [T, kv_heads, dim] into their slots."""
        self.storage.write(layer, self.batch.slots, keys, values)

    def attend(self, layer: int, queries: Tensor, scale: float, softcap: float | None) -> Tensor:
        """What each row reads.

        Args:
            layer: whose KV.
            queries: [T, num_heads, key_dim], the KV's dtype.
            scale: factor on the scores.
            softcap: bound on the scores (Gemma 2); None is off.

        Returns:
            [T, num_heads, value_dim] in the KV's dtype.
        """
        if self._padded is not None:
            return self._padded.attend(layer, queries, scale, softcap)
        if self._kernel:
            return self._attend_kernel(layer, queries, scale, softcap)
        shape = (*queries.shape[:2], self.storage.values[layer].shape[2])
        out = torch.empty(shape, dtype=self.storage.values[layer].dtype, device=self.device)
        for request in range(self.batch.num_requests):
            rows = slice(self.batch.cu_rows[request], self.batch.cu_rows[request + 1])
            out[rows] = self._attend_one(layer, request, queries[rows], scale, softcap)
        return out

    def _attend_kernel(
        self, layer: int, queries: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        values = self.storage.values[layer]
        out = torch.empty((*queries.shape[:2], values.shape[2]), dtype=values.dtype)
        seen, starts = self._list_seen(self.storage.layers[layer].sliding_window)
        arguments = (
            as_array(queries),
            as_array(self.storage.keys[layer]),
            as_array(values),
            seen,
            starts,
            np.float32(scale),
            np.float32(softcap or 0),
            as_array(out),
        )
        if len(seen) * queries.shape[1] < MIN_PARALLEL_WORK:
            kernels.attend_serial(*arguments)
        else:
            kernels.attend(*arguments, torch.get_num_threads())
        return out

    def _attend_one(
        self, layer: int, request: int, queries: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        """One request's rows with torch: gather its KV, then masked attention."""
        window = self.storage.layers[layer].sliding_window
        if request not in self._slots:
            self._slots[request] = self.batch.context_slots(request).to(self.device)
        if (request, window) not in self._masks:
            visible = self.batch.visible(request, window)
            self._masks[request, window] = visible.to(self.device)
        slots, mask = self._slots[request], self._masks[request, window]
        keys = self.storage.keys[layer][slots].transpose(0, 1)[None]
        values = self.storage.values[layer][slots].transpose(0, 1)[None]
        queries = queries.transpose(0, 1)[None]
        if softcap is None:
            out = nn.functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=scale, enable_gqa=True
            )
        else:
            group = queries.shape[1] // keys.shape[1]
            scores = queries.float() @ keys.repeat_interleave(group, 1).float().mT * scale
            scores = softcap * torch.tanh(scores / softcap)
            weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
            out = (weights @ values.repeat_interleave(group, 1).float()).to(values.dtype)
        return out[0].transpose(0, 1)


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    paged: PagedAttention | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """The function registered with transformers' `AttentionInterface`.

    Args:
        module: the attention layer; `module.layer_idx` says which.
        query: [1, num_heads, T, key_dim].
        key, value: [1, kv_heads, T, dim].
        scaling: factor on the scores; None means 1 / sqrt(key_dim).
        paged: the step's attention, which arrives as a keyword given to the model.

    Returns:
        ([1, T, num_heads, value_dim], None).
    """
    assert paged is not None, "the model was called past its runner"
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    paged.write(layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = paged.attend(layer, query[0].transpose(0, 1).contiguous(), scale, softcap)
    return out.to(query.dtype)[None], None


AttentionInterface.register(ATTENTION_NAME, paged_attention)
