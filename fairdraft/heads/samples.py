"""What all heads learn from: samples side by side, and the target's law as the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

DECAY = 0.8  # weight of a draft token's loss against the one before it


@dataclass(frozen=True)
class Sample:
    """One text and what the target knew at each of its tokens.

    Args:
        token_ids: [n] int64.
        prompt_length: tokens before the answer.
        states: [n, layers · d], the hidden states asked for, side by side.
        final: [n, d], the last hidden state, after the norm: `lm_head` of it is the law of the
            next token.
    """

    token_ids: Tensor
    prompt_length: int
    states: Tensor
    final: Tensor


@dataclass(frozen=True)
class Batch:
    """Samples side by side, padded at their ends.

    Args:
        token_ids: [B, S].
        states: [B, S, n · d].
        final: [B, S, d].
        learnt: [B, S − 1] bool: rows whose prediction is a token of the answer.
    """

    token_ids: Tensor
    states: Tensor
    final: Tensor
    learnt: Tensor

    @classmethod
    def of(cls, samples: list[Sample], device: torch.device) -> Batch:
        """Pad and stack. Row t reads the token at t + 1 and predicts the one at t + 2."""
        width = max(len(sample.token_ids) for sample in samples)

        def stack(tensors: Iterable[Tensor]) -> Tensor:
            padded = [pad(t, (0, 0) * (t.dim() - 1) + (0, width - len(t))) for t in tensors]
            return torch.stack(padded).to(device)

        learnt = torch.zeros(len(samples), width - 1, dtype=torch.bool)
        for i, sample in enumerate(samples):
            learnt[i, max(sample.prompt_length - 2, 0) : len(sample.token_ids) - 2] = True
        return cls(
            stack(sample.token_ids for sample in samples),
            stack(sample.states for sample in samples),
            stack(sample.final for sample in samples),
            learnt.to(device),
        )


@dataclass(frozen=True)
class Losses:
    """Of one batch.

    Args:
        total: what is minimised.
        agreement: per draft token the share of rows whose likeliest one is the target's likeliest
            of those that can be drafted.
    """

    total: Tensor
    agreement: list[float]


def soft_cross_entropy(logits: Tensor, law: Tensor) -> tuple[Tensor, float]:
    """Against the target's law over the draft vocabulary, and how often the likeliest agrees.

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
