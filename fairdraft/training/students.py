"""The heads that can be trained: how each begins, what it learns, how it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.config import require
from fairdraft.models.heads import (
    Eagle3Config,
    Eagle3Head,
    MedusaConfig,
    MedusaHead,
    save_eagle3,
    save_medusa,
)
from fairdraft.models.heads.eagle3 import default_layer_ids, layer_config
from fairdraft.proposers import Proposer
from fairdraft.proposers.eagle3 import Eagle3Proposer
from fairdraft.proposers.medusa import MedusaProposer
from fairdraft.training.batches import Batch, Losses
from fairdraft.training.eagle3 import unrolled_loss
from fairdraft.training.medusa import medusa_loss


class Student(ABC):
    """A kind of head: how it begins, what it learns, how it is kept.

    Attributes:
        layer_ids: hidden states of the target that it reads, besides the last.
        head: the network, once `begin` has made it.
        description: what is trained, for a checkpoint to be known by.
    """

    layer_ids: tuple[int, ...] = ()
    head: nn.Module
    description: str

    @abstractmethod
    def begin(self, known: Tensor) -> None:
        """Make the head; `known` are the target's ids of the tokens it can draft."""

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """Of one batch."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write its files."""

    @abstractmethod
    def proposer(self, k: int, folder: str) -> Proposer:
        """Who drafts with such files."""


class Eagle3Student(Student):
    """EAGLE-3.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        passes: draft tokens to unroll.
        layer: shape of the head where it is not the target's, such as intermediate_size.
    """

    head: Eagle3Head

    def __init__(self, target: Any, name: str, passes: int, **layer: Any) -> None:
        config = target.config.get_text_config()
        self.layer_ids = default_layer_ids(config.num_hidden_layers)
        require(
            0 < self.layer_ids[0] < self.layer_ids[2],
            f"the target has {config.num_hidden_layers} layers: EAGLE-3 reads three of at least 6",
        )
        require(passes > 0, f"passes is {passes}, but must be at least 1: 5 to 7 is usual")
        self.target, self.name, self.passes, self.layer = target, name, passes, layer
        self.description = f"eagle3 for {name}, {passes} passes, {layer or 'shape of the target'}"

    def begin(self, known: Tensor) -> None:
        """Its vocabulary begins as the target's own rows: they only have to be read right."""
        config = self.target.config.get_text_config()
        layer = layer_config(config, **self.layer)
        shape = Eagle3Config(layer, self.layer_ids, len(known), config.hidden_size)
        self.head = Eagle3Head(shape).to(self.target.device)
        self.head.d2t.copy_(known - torch.arange(len(known)))
        self.embedding = self.target.get_input_embeddings().weight.data
        self.lm_head = self.target.get_output_embeddings().weight.data[known]
        self.head.lm_head.weight.data.copy_(self.lm_head)

    def loss(self, batch: Batch) -> Losses:
        """The training-time test."""
        return unrolled_loss(self.head, self.embedding, self.lm_head, batch, self.passes)

    def save(self, folder: Path) -> None:
        """In the "speculators" format."""
        save_eagle3(self.head, folder, self.name, list(self.target.config.architectures or ()))

    def proposer(self, k: int, folder: str) -> Proposer:
        """Chains."""
        return Eagle3Proposer(k, folder)


class MedusaStudent(Student):
    """Medusa.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        num_heads: tokens ahead.
    """

    head: MedusaHead

    def __init__(self, target: Any, name: str, num_heads: int) -> None:
        require(num_heads > 0, f"num_heads is {num_heads}, but must be at least 1: 4 is usual")
        self.target, self.name, self.num_heads = target, name, num_heads
        self.description = f"medusa for {name}, {num_heads} heads"

    def begin(self, known: Tensor) -> None:
        """Every head begins as the target's own, and its vocabulary stays that."""
        config = self.target.config.get_text_config()
        shape = MedusaConfig(config.hidden_size, config.vocab_size, self.num_heads, 1, len(known))
        self.head = MedusaHead(shape).to(self.target.device)
        self.head.reset()
        self.head.token_map.copy_(known)
        self.lm_head = self.target.get_output_embeddings().weight.data[known]
        self.head.lm_head.weight.data.copy_(self.lm_head)
        self.head.lm_head.requires_grad_(False)

    def loss(self, batch: Batch) -> Losses:
        """Each head at its own distance."""
        return medusa_loss(self.head, self.lm_head, batch)

    def save(self, folder: Path) -> None:
        """As vLLM reads them."""
        save_medusa(self.head, folder, self.name)

    def proposer(self, k: int, folder: str) -> Proposer:
        """Chains, as long as there are heads."""
        return MedusaProposer(min(k, self.num_heads), folder)
