"""Attention over paged KV: one interface, two ways to compute it.

A model calls `paged_attention` through transformers' attention interface once a layer. It writes
the rows' keys and values to their slots, then lets each row see its request's tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from fairdraft.kv import KVStorage
from fairdraft.models.batch import FlatBatch
from fairdraft.models.cpu.attention import StepAttention
from fairdraft.models.cpu.vectors import FORMATS
from fairdraft.models.padded_attention import PaddedAttention

ATTENTION_NAME = "fairdraft_paged"


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
        self._kernel = self.device.type == "cpu" and storage.dtype in FORMATS

    @cached_property
    def step(self) -> StepAttention:
        """What the kernels are told of the step's rows."""
        return StepAttention(self.batch)

    @cached_property
    def _padded(self) -> PaddedAttention:
        return PaddedAttention(self.storage, self.batch)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the rows' keys and values [T, kv_heads, dim] into their slots."""
        self.storage.write(layer, self.batch.slots, keys, values)

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
        if not self._kernel:
            return self._padded.attend(layer, queries, scale, softcap, dtype)
        values = self.storage.values[layer]
        shape = (*queries.shape[:2], values.shape[2])
        out = torch.empty(shape, dtype=dtype or values.dtype)
        window, keys = self.storage.layers[layer].sliding_window, self.storage.keys[layer]
        self.step.attend(queries, keys, values, window, scale, softcap, out)
        return out


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    paged: PagedAttention | PaddedAttention | None = None,
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
