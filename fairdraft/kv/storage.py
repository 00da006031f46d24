"""Where keys and values lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerShape:
    """Shape of one layer's KV for one token.

    Args:
        num_kv_heads: key/value heads.
        key_dim: numbers in a key of one head.
        value_dim: numbers in a value of one head.
        sliding_window: a token sees itself and the window − 1 tokens before it; None sees all.
    """

    num_kv_heads: int
    key_dim: int
    value_dim: int
    sliding_window: int | None = None

    @property
    def numel(self) -> int:
        """Numbers a token takes in this layer."""
        return self.num_kv_heads * (self.key_dim + self.value_dim)


class KVStorage:
    """Keys and values of all slots, one pair of tensors per layer.

    `keys[layer]` is [num_slots, num_kv_heads, key_dim], `values[layer]` likewise; slot
    s = block · block_size + offset. Zeroed at the start, so that masked reads of slots never
    written meet no NaN; on CPU the pages are taken from the system only when written.

    Args:
        layers: shape per layer.
        num_slots: num_blocks · block_size.
        dtype: of keys and values.
        device: where they lie.

    Attributes:
        addresses: [num_layers, 2] int64, of each layer's keys and values.
    """

    def __init__(
        self,
        layers: Sequence[LayerShape],
        num_slots: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.layers = tuple(layers)
        self.dtype = dtype
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        for layer in self.layers:
            for tensors, dim in ((self.keys, layer.key_dim), (self.values, layer.value_dim)):
                shape = (num_slots, layer.num_kv_heads, dim)
                tensors.append(_zeros(shape, dtype, device))
        pairs = zip(self.keys, self.values, strict=True)
        places = [(key.data_ptr(), value.data_ptr()) for key, value in pairs]
        self.addresses = np.array(places, np.int64).reshape(-1, 2)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put keys and values [n, kv_heads, dim] of a layer into slots [n]."""
        self.keys[layer][slots] = keys
        self.values[layer][slots] = values

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy KV from slots `source` [n] to slots `target` [n] in every layer.

        All reads come before the writes, so the two may overlap: the accepted branch of a tree is
        moved into place this way.
        """
        for tensor in (*self.keys, *self.values):
            tensor[target] = tensor[source]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on CPU of pages that the system hands out only when they are written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # torch.zeros writes the zeros; numpy asks the system for fresh pages.
    raw = np.zeros(int(np.prod(shape)) * dtype.itemsize, np.uint8)
    return torch.from_numpy(raw).view(dtype).view(shape)
