"""EAGLE-3's training-time test: the head learns on its own outputs, as it will draft.

Li et al. 2025 (arXiv 2503.01840), section 3: the head is unrolled over the draft tokens of a round.
In pass i a row reads the output that pass i − 1 gave for the row before it, and sees the keys that
a draft's row would see: those of the text up to where the round began, then one of each pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from fairdraft.models.heads import Eagle3Head
from fairdraft.training.answers import Text
from fairdraft.training.states import Sample

DECAY = 0.8  # weight of a pass's loss against the one before it


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


def frequent_tokens(texts: Iterable[Text], size: int, vocab_size: int) -> Tensor:
    """[size] int64, ascending: the tokens that answers use most; unused ones fill up."""
    counts = Counter(token for text in texts for token in text.answer)
    ranked = [token for token, _ in counts.most_common(size)]
    rest = (token for token in range(vocab_size) if token not in counts)
    ranked += [next(rest) for _ in range(size - len(ranked))]
    return torch.tensor(sorted(ranked))


class _Unrolled:
    """What each row sees in pass i: the text up to where its round began, then one key a pass."""

    def __init__(self) -> None:
        self.keys: dict[int, list[Tensor]] = {}  # layer → per pass [B, heads, R, dim]
        self.values: dict[int, list[Tensor]] = {}

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[B, R, heads, dim] → [B, R, heads, dim]."""
        group = queries.shape[2] // keys.shape[2]
        q = queries.transpose(1, 2)
        past_keys = self.keys.setdefault(layer, [])
        past_values = self.values.setdefault(layer, [])
        past_keys.append(keys.transpose(1, 2).repeat_interleave(group, 1))
        past_values.append(values.transpose(1, 2).repeat_interleave(group, 1))
        now = len(past_keys) - 1
        rows = q.shape[2]
        scale = q.shape[-1] ** -0.5
        begun = torch.ones(rows, rows, dtype=torch.bool, device=q.device).tril(-now)
        scores = (q @ past_keys[0].mT) * scale
        scores = [scores.masked_fill(~begun, -torch.inf)]
        for i in range(1, now + 1):  # the row's own draft: pass i stands now − i rows before it
            key = past_keys[i].roll(now - i, dims=2)
            scores.append((q * key).sum(-1, keepdim=True) * scale)
        # Rows before the first possible round see nothing; they are not learnt from.
        weights = torch.cat(scores, -1).float().softmax(-1).nan_to_num().to(q.dtype)
        read = weights[..., :rows] @ past_values[0]
        for i in range(1, now + 1):
            value = past_values[i].roll(now - i, dims=2)
            read = read + weights[..., rows + i - 1, None] * value
        return read.transpose(1, 2)


@dataclass(frozen=True)
class Losses:
    """Of one batch.

    Args:
        total: what is minimised.
        agreement: per pass the share of rows whose likeliest draft token is the target's.
    """

    total: Tensor
    agreement: list[float]


def unrolled_loss(
    head: Eagle3Head, embedding: Tensor, lm_head: Tensor, batch: Batch, passes: int
) -> Losses:
    """Soft cross-entropy against the target's law over the draft vocabulary, pass after pass.

    Args:
        head: in training.
        embedding: [V, d] of the target.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
        passes: draft tokens to unroll.
    """
    embeds = embedding[batch.token_ids[:, 1:]]
    hidden = head.fuse(batch.states[:, :-1].to(embeds.dtype))
    with torch.no_grad():
        target = (batch.final[:, 1:].to(lm_head.dtype) @ lm_head.T).float()
        law, likeliest = target.softmax(-1), target.argmax(-1)
    positions = torch.arange(embeds.shape[1], device=embeds.device).expand(len(embeds), -1)
    unrolled = _Unrolled()
    total = embeds.new_zeros((), dtype=torch.float32)
    agreement = []
    for number in range(passes):
        normed, output = head(embeds, hidden, positions, unrolled.attend)
        logits = head.lm_head(normed).float()
        rows = batch.learnt.clone()
        rows[:, :number] = False
        loss = -(law[rows] * logits[rows].log_softmax(-1)).sum(-1).mean()
        total = total + DECAY**number * loss
        agreement.append(float((logits.argmax(-1) == likeliest)[rows].float().mean()))
        hidden = pad(output[:, :-1], (0, 0, 1, 0))
    return Losses(total, agreement)
