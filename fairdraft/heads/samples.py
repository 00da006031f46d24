"""Samples that drafters learn from: texts, and what the target knew along them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Sample:
    """A text, and the target's hidden states at each of its tokens.

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
        learnt: [B, S − 1] bool: rows whose prediction is a token of the answer, the only ones that
            a loss may count. Row t reads the token at t + 1 and predicts the one at t + 2.
    """

    token_ids: Tensor
    states: Tensor
    final: Tensor
    learnt: Tensor

    @classmethod
    def of(cls, samples: list[Sample], device: torch.device) -> Batch:
        """Pad and stack samples, on a device."""
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
