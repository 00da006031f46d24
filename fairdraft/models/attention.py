"""Attention over paged KV: one interface, two ways to compute it.

A model calls `paged_attention` through transformers' attention interface once a layer. It writes
the rows' keys and values to their slots, then lets each row see its request's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from fairdraft.kv import KVStorage
from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu.attention import StepAttention
from fairdraft.models.cpu.vectors import FORMATS

ATTENTION_NAME = "fairdraft_paged"


MAX_GROUPED_ROWS = (
    16  # on a GPU requests of so many rows are attended to at once; more pad too much
)


class PagedAttention:
    """Attention of one step, shared by all layers.

    Args:
        storage: keys and values of every slot.
        batch: the step's rows.
    """

    def __init__(self, storage: KVStorage, batch: FlatBatch) -> None:
        self.storage = storage
        self.batch = batch
        self.device = batch.slots.device
        self._masks: dict[tuple[int, int | None], Tensor] = {}
        self._kernel = self.device.type == "cpu" and storage.dtype in FORMATS

    @cached_property
    def _step(self) -> StepAttention:
        return StepAttention(self.batch)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the rows' keys and values [T, kv_heads, dim] into their slots."""
        self.storage.keys[layer][self.batch.slots] = keys
        self.storage.values[layer][self.batch.slots] = values

    def attend(
        self,
        layer: int,
        queries: Tensor,
        scale: float,
        softcap: float | None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """What each row reads.

        Args:
            layer: whose KV.
            queries: [T, num_heads, key_dim], the KV's dtype.
            scale: factor on the scores.
            softcap: bound on the scores (Gemma 2); None is off.
            dtype: of the result; None is the KV's.

        Returns:
            [T, num_heads, value_dim].
        """
        values = self.storage.values[layer]
        shape = (*queries.shape[:2], values.shape[2])
        if self._kernel:
            out = torch.empty(shape, dtype=dtype or values.dtype)
            window, keys = self.storage.layers[layer].sliding_window, self.storage.keys[layer]
            self._step.attend(queries, keys, values, window, scale, softcap, out)
            return out
        out = torch.empty(shape, dtype=dtype or values.dtype, device=self.device)
        for number, group in enumerate(self._groups):
            read = self._attend_group(layer, number, queries[group.rows], scale, softcap)
            out[group.rows[group.there]] = read[group.there].to(out.dtype)
        return out

    @cached_property
    def _groups(self) -> list[_Group]:
        """All requests of few rows as one group, each of the others as a group of its own."""
        counts = self.batch.row_counts
        few = [i for i, rows in enumerate(counts) if rows <= MAX_GROUPED_ROWS]
        alone = [[i] for i, rows in enumerate(counts) if rows > MAX_GROUPED_ROWS]
        return [_Group.of(self.batch, requests) for requests in ([few] if few else []) + alone]

    def _mask(self, number: int, window: int | None) -> Tensor:
        """[B, 1, R, S] bool of a group; a row of padding sees one token, so that it is a number."""
        if (number, window) not in self._masks:
            group = self._groups[number]
            mask = torch.zeros(*group.rows.shape, group.slots.shape[1], dtype=torch.bool)
            mask[:, :, 0] = ~group.there.cpu()
            for i, request in enumerate(group.requests):
                visible = self.batch.visible(request, window)
                mask[i, : visible.shape[0], : visible.shape[1]] = visible
            self._masks[number, window] = mask[:, None].to(self.device)
        return self._masks[number, window]

    def _attend_group(
        self, layer: int, number: int, queries: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        """A group's rows [B, R, num_heads, key_dim] with torch: gather its KV, masked attention."""
        slots = self._groups[number].slots
        mask = self._mask(number, self.storage.layers[layer].sliding_window)
        keys = self.storage.keys[layer][slots].transpose(1, 2)
        values = self.storage.values[layer][slots].transpose(1, 2)
        queries = queries.transpose(1, 2)
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
        return out.transpose(1, 2)


@dataclass(frozen=True)
class _Group:
    """Requests that torch attends to at once, padded to the longest of them.

    Args:
        requests: their places in the batch.
        rows: [B, R], the batch's rows; padding repeats a request's first.
        there: [B, R] bool, which are no padding.
        slots: [B, S], of each request's tokens, oldest first; padding is slot 0.
    """

    requests: list[int]
    rows: Tensor
    there: Tensor
    slots: Tensor

    @classmethod
    def of(cls, batch: FlatBatch, requests: list[int]) -> _Group:
        """Pad these requests of a batch to one shape, on the batch's device."""
        counts = torch.tensor([batch.row_counts[i] for i in requests])
        firsts = torch.tensor([batch.cu_rows[i] for i in requests])
        places = torch.arange(int(counts.max()))[None]
        there = places < counts[:, None]
        slots = nn.utils.rnn.pad_sequence(
            [batch.context_slots(i) for i in requests], batch_first=True
        )
        device = batch.slots.device
        rows = firsts[:, None] + places * there
        return cls(requests, rows.to(device), there.to(device), slots.to(device))


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
