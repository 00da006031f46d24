"""Losses that all kinds of drafters share: cross-entropy against the target's whole law."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DECAY = 0.8  # weight of a draft token's loss against the one before it


@dataclass(frozen=True)
class Losses:
    """Losses of a drafter on one batch.

    Args:
        total: scalar that is minimised.
        agreement: per draft token the share of rows whose likeliest one is the target's likeliest
            of those that can be drafted.
    """

    total: Tensor
    agreement: list[float]


def soft_cross_entropy(logits: Tensor, law: Tensor) -> tuple[Tensor, float]:
    """Return the cross-entropy against the target's laws, and how often the likeliest token agrees.

    Args:
        logits: [rows, draft vocabulary] float32.
        law: of the same shape, each row sums to 1.

    Returns:
        The mean over rows, and the share of rows; both 0 where there are none.
    """
    if not len(logits):
        return logits.sum(), 0.0
    loss = -(law * logits.log_softmax(-1)).sum(-1).mean()
    return loss, float((logits.argmax(-1) == law.argmax(-1)).float().mean())


@torch.no_grad()
def target_laws(final: Tensor, lm_head: Tensor) -> Tensor:
    """Return the target's laws […, draft vocabulary], float32, over the tokens that are drafted.

    Args:
        final: […, d], the target's last hidden states.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
    """
    return (final.to(lm_head.dtype) @ lm_head.T).float().softmax(-1)
