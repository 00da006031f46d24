"""The contract between the engine and a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import torch

from fairdraft.models.batch import FlatBatch, RunOutput


class Runner(Protocol):
    """What the engine needs of a model."""

    vocab_size: int
    max_model_len: int
    device: torch.device

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes a token takes in the KV cache."""

    def allocate(self, num_slots: int, block_size: int = 16) -> None:
        """Make room for the KV of `num_slots` tokens, in blocks of so many."""

    def run(self, batch: FlatBatch, layers: Collection[int] = ()) -> RunOutput:
        """One flat batch through the model."""

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy the KV of slots `sources` to slots `targets`; the two may overlap."""
