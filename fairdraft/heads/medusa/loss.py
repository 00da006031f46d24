"""Medusa's loss: each head against the target's law at its own distance (Cai et al. 2024)."""

from __future__ import annotations

from torch import Tensor, no_grad

from fairdraft.heads import MedusaHead
from fairdraft.heads.samples import DECAY, Batch, Losses, soft_cross_entropy


def medusa_loss(head: MedusaHead, lm_head: Tensor, batch: Batch) -> Losses:
    """Soft cross-entropy of head i at row t against the target's law at t + 1 + i.

    Args:
        head: in training.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
    """
    with no_grad():
        law = (batch.final[:, 1:].to(lm_head.dtype) @ lm_head.T).float().softmax(-1)
    total = law.new_zeros(())
    agreement = []
    for i, state in enumerate(head(batch.final[:, :-1].to(lm_head.dtype))):
        rows = batch.learnt[:, i:]  # row t predicts token t + 2 + i, and it is the answer's
        logits = head.vocabulary(i)(state[:, : rows.shape[1]][rows]).float()
        loss, agreed = soft_cross_entropy(logits, law[:, i:][rows])
        total = total + DECAY**i * loss
        agreement.append(agreed)
    return Losses(total, agreement)
