"""A head at work beside its target: its KV, the embedding it reads, how its layers attend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fairdraft.heads import Attend
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ModelRunner, PagedAttention, kernel_fits, product


class HeadRuntime:
    """What a head needs to run in the target's slots.

    Args:
        head: the network.
        target: whose slots it shares.
        kv_layers: shape of what each of its layers keeps of a token.
    """

    def __init__(self, head: Any, target: ModelRunner, kv_layers: Sequence[LayerShape]) -> None:
        self.head = head
        self.target = target
        self.kv_layers = kv_layers
        self._storage: KVStorage | None = None

    def kv(self) -> KVStorage:
        """Return the KV of the head's layers, in slots of the target's numbers."""
        assert self.target.storage is not None
        if self._storage is None:
            slots = len(self.target.storage.keys[0])
            dtype = self.target.storage.dtype
            self._storage = KVStorage(self.kv_layers, slots, dtype, self.target.device)
        return self._storage

    @property
    def embedding(self) -> Tensor:
        """The embedding [V, d], the file's own or the target's."""
        own = self.head.embed_tokens
        module = self.target.model.get_input_embeddings() if own is None else own
        weight: Tensor = module.weight.data
        return weight

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return embeddings [R, d] of tokens [R]."""
        return self.embedding[token_ids]

    def attention(self, batch: FlatBatch) -> PagedAttention:
        """Return a run's attention over the head's KV."""
        return PagedAttention(self.kv(), batch)

    def attend(self, attention: PagedAttention) -> Attend:
        """Return how the head's modules read in a run: rows are written to their slots first."""

        def read(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            attention.write(layer, keys, values)
            return attention.attend(layer, queries.contiguous(), queries.shape[-1] ** -0.5, None)

        return read


def logits_of(lm_head: nn.Linear, x: Tensor) -> Tensor:
    """Return the logits [R, drafter's vocabulary] of rows [R, d], float32 on CPU."""
    if kernel_fits(lm_head.weight):
        return product(lm_head.weight, x.contiguous())
    return nn.functional.linear(x, lm_head.weight)
