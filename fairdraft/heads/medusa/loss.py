"""How Medusa is trained: each head against the target's law at its own distance.

Cai et al. 2024 (arXiv 2401.10774).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from fairdraft.config import require
from fairdraft.heads.losses import DECAY, Losses, soft_cross_entropy, target_laws
from fairdraft.heads.medusa.files import save_medusa
from fairdraft.heads.medusa.network import MedusaConfig, MedusaHead
from fairdraft.heads.samples import Batch
from fairdraft.heads.training import HeadTraining


class MedusaTraining(HeadTraining):
    """Medusa heads in training.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        num_heads: tokens ahead.
        borrow_vocabulary: leave the vocabulary, which is the target's own, out of the files.

    Raises:
        ConfigError: no heads.
    """

    kind = "medusa"
    head: MedusaHead

    def __init__(
        self, target: Any, name: str, num_heads: int, borrow_vocabulary: bool = False
    ) -> None:
        super().__init__(target, name)
        require(num_heads > 0, f"num_heads is {num_heads}, but must be at least 1: 4 is usual")
        self.num_heads = self.longest_draft = num_heads
        self.borrow_vocabulary = borrow_vocabulary
        self.description = f"medusa for {name}, {num_heads} heads"

    def initialise(self, known: Tensor) -> None:
        """Make heads that say what the target says; their vocabulary stays the target's rows."""
        config = self.target.config.get_text_config()
        shape = MedusaConfig(config.hidden_size, config.vocab_size, self.num_heads, 1, len(known))
        self.head = MedusaHead(shape).to(self.target.device)
        self.head.reset()
        self.head.token_map.copy_(known)
        self.borrow(known)
        self.head.lm_head.weight.data.copy_(self.lm_head)
        self.head.lm_head.requires_grad_(False)

    def loss(self, batch: Batch, step: int) -> Losses:
        """Return the losses of the heads, each at its own distance."""
        return medusa_loss(self.head, self.lm_head, batch)

    def save(self, folder: Path) -> None:
        """Write vLLM's files."""
        save_medusa(self.head, folder, self.made_for, self.borrow_vocabulary)


def medusa_loss(head: MedusaHead, lm_head: Tensor, batch: Batch) -> Losses:
    """Return the soft cross-entropy of head i at row t against the target's law at t + 1 + i.

    Args:
        head: in training.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
    """
    law = target_laws(batch.final[:, 1:], lm_head)
    total = law.new_zeros(())
    agreement = []
    for i, state in enumerate(head(batch.final[:, :-1].to(lm_head.dtype))):
        rows = batch.learnt[:, i:]  # row t predicts token t + 2 + i, and it is the answer's
        logits = head.vocabulary(i)(state[:, : rows.shape[1]][rows]).float()
        loss, agreed = soft_cross_entropy(logits, law[:, i:][rows])
        total = total + DECAY**i * loss
        agreement.append(agreed)
    return Losses(total, agreement)
