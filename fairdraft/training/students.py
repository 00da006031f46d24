"""The heads that can be trained: how each begins, what it learns, how it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, Qwen3Config

from fairdraft.config import require
from fairdraft.heads import (
    DFlashConfig,
    DFlashHead,
    Eagle3Config,
    Eagle3Head,
    MedusaConfig,
    MedusaHead,
    layer_config,
    prune,
    save_dflash,
    save_eagle3,
    save_medusa,
    save_pruned,
)
from fairdraft.heads.dflash.loss import block_loss
from fairdraft.heads.draft_model.loss import distillation_loss
from fairdraft.heads.eagle3.loss import unrolled_loss
from fairdraft.heads.eagle3.network import default_layer_ids
from fairdraft.heads.initialise import (
    begin_as_highest_state,
    begin_as_last_layer,
    final_gains,
)
from fairdraft.heads.medusa.loss import medusa_loss
from fairdraft.heads.samples import Batch, Losses
from fairdraft.proposers import Proposer
from fairdraft.proposers.draft_model.proposer import DraftModelProposer
from fairdraft.proposers.eagle3 import Eagle3Proposer
from fairdraft.proposers.heads.dflash import DFlashProposer
from fairdraft.proposers.heads.medusa import MedusaProposer


def unused_token(tokenizer: Any) -> int:
    """A special token that texts do not use: the last one that is not for a text's parts."""
    parts = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    unused = [i for i in tokenizer.all_special_ids if i not in parts]
    require(
        bool(unused),
        "the target's tokenizer has no special token without use to stand for a mask: name one "
        "with --mask-token-id",
    )
    return int(max(unused))


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
    def loss(self, batch: Batch, step: int) -> Losses:
        """Of one batch; `step` seeds what is drawn."""

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
        layer = layer_config(LlamaConfig, config, **self.layer)
        shape = Eagle3Config(layer, self.layer_ids, len(known), config.hidden_size)
        self.head = Eagle3Head(shape).to(self.target.device)
        self.head.norm.weight.data.copy_(final_gains(self.target))
        begin_as_highest_state(self.head.fc)
        for layer in self.head.layers:
            begin_as_last_layer(layer, self.target)
        self.head.d2t.copy_(known - torch.arange(len(known)))
        self.embedding = self.target.get_input_embeddings().weight.data
        self.lm_head = self.target.get_output_embeddings().weight.data[known]
        self.head.lm_head.weight.data.copy_(self.lm_head)

    def loss(self, batch: Batch, step: int) -> Losses:
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
        borrow_vocabulary: leave the vocabulary, which is the target's own, out of the files.
    """

    head: MedusaHead

    def __init__(
        self, target: Any, name: str, num_heads: int, borrow_vocabulary: bool = False
    ) -> None:
        require(num_heads > 0, f"num_heads is {num_heads}, but must be at least 1: 4 is usual")
        self.target, self.name, self.num_heads = target, name, num_heads
        self.borrow_vocabulary = borrow_vocabulary
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

    def loss(self, batch: Batch, step: int) -> Losses:
        """Each head at its own distance."""
        return medusa_loss(self.head, self.lm_head, batch)

    def save(self, folder: Path) -> None:
        """As vLLM reads them."""
        save_medusa(self.head, folder, self.name, self.borrow_vocabulary)

    def proposer(self, k: int, folder: str) -> Proposer:
        """Chains, as long as there are heads."""
        return MedusaProposer(min(k, self.num_heads), folder)


class DFlashStudent(Student):
    """DFlash.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        mask_token_id: the token that stands for a mask.
        block_size: rows of a block: the newest token, then masks.
        num_layers: of the drafter.
        num_states: hidden states of the target that it reads, spread evenly.
        borrow_vocabulary: leave the vocabulary, which is the target's own, out of the files.
        layer: shape of the drafter where it is not the target's, such as intermediate_size.
    """

    head: DFlashHead

    def __init__(
        self,
        target: Any,
        name: str,
        mask_token_id: int,
        block_size: int,
        num_layers: int,
        num_states: int,
        borrow_vocabulary: bool = False,
        **layer: Any,
    ) -> None:
        depth = target.config.get_text_config().num_hidden_layers
        require(block_size > 1, f"block_size is {block_size}, but must be at least 2: 8 is usual")
        require(num_layers > 0, f"num_layers is {num_layers}, but must be at least 1")
        require(
            1 < num_states <= depth - 4,
            f"num_states is {num_states}, but must be from 2 to {depth - 4}, for the target has "
            f"{depth} layers",
        )
        size = target.config.get_text_config().vocab_size
        require(
            0 <= mask_token_id < size,
            f"mask_token_id is {mask_token_id}, but the target has {size} tokens",
        )
        step = (depth - 5) / (num_states - 1)
        self.layer_ids = tuple(2 + int(i * step + 0.5) for i in range(num_states))
        self.target, self.name, self.layer = target, name, layer
        self.mask_token_id, self.block_size = mask_token_id, block_size
        self.num_layers, self.borrow_vocabulary = num_layers, borrow_vocabulary
        self.description = (
            f"dflash for {name}, {num_layers} layers on {self.layer_ids}, blocks of {block_size} "
            f"with mask {mask_token_id}, {layer or 'shape of the target'}"
        )

    def begin(self, known: Tensor) -> None:
        """Its vocabulary is the target's own rows, and stays that."""
        config = self.target.config.get_text_config()
        shape = DFlashConfig(
            layer_config(Qwen3Config, config, self.num_layers, **self.layer),
            self.layer_ids,
            len(known),
            config.hidden_size,
            block_size=self.block_size,
            mask_token_id=self.mask_token_id,
        )
        self.head = DFlashHead(shape).to(self.target.device)
        self.head.norm.weight.data.copy_(final_gains(self.target))
        begin_as_highest_state(self.head.fc)
        for layer in self.head.layers:
            begin_as_last_layer(layer, self.target)
        self.head.d2t.copy_(known - torch.arange(len(known)))
        self.embedding = self.target.get_input_embeddings().weight.data
        self.lm_head = self.target.get_output_embeddings().weight.data[known]
        self.head.lm_head.weight.data.copy_(self.lm_head)
        self.head.lm_head.requires_grad_(False)

    def loss(self, batch: Batch, step: int) -> Losses:
        """Blocks at places drawn anew each step."""
        return block_loss(self.head, self.embedding, self.lm_head, batch, step)

    def save(self, folder: Path) -> None:
        """In the "speculators" format."""
        architectures = list(self.target.config.architectures or ())
        save_dflash(self.head, folder, self.name, architectures, self.borrow_vocabulary)

    def proposer(self, k: int, folder: str) -> Proposer:
        """Chains, as long as blocks are."""
        return DFlashProposer(min(k, self.block_size - 1), folder)


class DraftModelStudent(Student):
    """A draft model cut out of the target.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        num_layers: layers kept.
        intermediate_size: neurons of an MLP kept; None keeps all.
    """

    def __init__(
        self, target: Any, name: str, num_layers: int, intermediate_size: int | None
    ) -> None:
        self.target, self.name, self.num_layers = target, name, num_layers
        self.intermediate_size = intermediate_size
        self.description = f"draft model cut from {name}, {num_layers} layers"
        if intermediate_size:
            self.description += f", {intermediate_size} neurons"

    def begin(self, known: Tensor) -> None:
        """Layers as the target's; embedding and vocabulary stay the target's own."""
        self.head = prune(self.target, self.num_layers, self.intermediate_size, known)
        self.embedding = self.target.get_input_embeddings()
        self.lm_head = self.target.get_output_embeddings().weight.data[known]

    def loss(self, batch: Batch, step: int) -> Losses:
        """Distillation."""
        return distillation_loss(self.head, self.embedding, self.lm_head, batch)

    def save(self, folder: Path) -> None:
        """The layers alone."""
        save_pruned(self.head, folder, self.name)

    def proposer(self, k: int, folder: str) -> Proposer:
        """Chains."""
        return DraftModelProposer(k, folder)
