"""EAGLE-3's training-time test: the head learns on its own outputs, as it will draft.

Li et al. 2025 (arXiv 2503.01840), section 3: the head is unrolled over the draft tokens of a round.
In pass i a row reads the output that pass i − 1 gave for the row before it, and sees the keys that
a draft's row would see: those of the text up to where the round began, then one of each pass.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from fairdraft.heads import Eagle3Head
from fairdraft.heads.samples import DECAY, Batch, Losses, soft_cross_entropy


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
        law = target.softmax(-1)
    positions = torch.arange(embeds.shape[1], device=embeds.device).expand(len(embeds), -1)
    unrolled = _Unrolled()
    total = embeds.new_zeros((), dtype=torch.float32)
    agreement = []
    for number in range(passes):
        normed, output = head(embeds, hidden, positions, unrolled.attend)
        rows = batch.learnt.clone()
        rows[:, :number] = False
        loss, agreed = soft_cross_entropy(head.lm_head(normed[rows]).float(), law[rows])
        total = total + DECAY**number * loss
        agreement.append(agreed)
        hidden = pad(output[:, :-1], (0, 0, 1, 0))
    return Losses(total, agreement)
