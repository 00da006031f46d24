"""How a draft model is trained: its law against the target's, on the target's own texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.heads.draft_model.files import KIND, save_pruned
from fairdraft.heads.draft_model.network import prune
from fairdraft.heads.losses import Losses, soft_cross_entropy, target_laws
from fairdraft.heads.samples import Batch
from fairdraft.heads.training import HeadTraining


class DraftModelTraining(HeadTraining):
    """A draft model, cut out of the target, in training.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        num_layers: layers kept.
        intermediate_size: neurons of an MLP kept; None keeps all.
    """

    kind = KIND

    def __init__(
        self, target: Any, name: str, num_layers: int, intermediate_size: int | None = None
    ) -> None:
        super().__init__(target, name)
        self.num_layers, self.intermediate_size = num_layers, intermediate_size
        self.description = f"draft model cut from {name}, {num_layers} layers"
        if intermediate_size:
            self.description += f", {intermediate_size} neurons"

    def initialise(self, known: Tensor) -> None:
        """Take the target's layers; embedding and vocabulary stay the target's own."""
        self.head = prune(self.target, self.num_layers, self.intermediate_size, known)
        self.borrow(known)

    def loss(self, batch: Batch, step: int) -> Losses:
        """Return the losses of distillation."""
        embedding = self.target.get_input_embeddings()
        return distillation_loss(self.head, embedding, self.lm_head, batch)

    def save(self, folder: Path) -> None:
        """Write the layers alone."""
        save_pruned(self.head, folder, self.made_for)


def distillation_loss(model: Any, embedding: nn.Module, lm_head: Tensor, batch: Batch) -> Losses:
    """Return the soft cross-entropy of each answer token's law against the target's.

    Padding stands at the ends, where nothing that is learnt sees it.

    Args:
        model: in training, without an embedding of its own.
        embedding: the target's own.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
    """
    with torch.no_grad():
        embeds = embedding(batch.token_ids).float()
    hidden = model.base_model(inputs_embeds=embeds, use_cache=False)
    # Row t of `learnt` says that token t + 2 is the answer's; row t + 1 of a model says that token.
    rows = torch.nn.functional.pad(batch.learnt, (1, 0))
    law = target_laws(batch.final[rows], lm_head)
    logits = model.lm_head(hidden.last_hidden_state[rows]).float()
    loss, agreed = soft_cross_entropy(logits, law)
    return Losses(loss, [agreed])
