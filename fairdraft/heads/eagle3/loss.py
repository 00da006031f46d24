"""How EAGLE-3 is trained: by its training-time test, on its own outputs, as it will draft.

Li et al. 2025 (arXiv 2503.01840), section 3: the head is unrolled over the draft tokens of a round.
In pass i a row reads the output that pass i − 1 gave for the row before it, and sees the keys that
a draft's row would see: those of the text up to where the round began, then one of each pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import LlamaConfig

from fairdraft.config import require
from fairdraft.heads.base import layer_config
from fairdraft.heads.eagle3.files import save_eagle3
from fairdraft.heads.eagle3.network import Eagle3Config, Eagle3Head, default_layer_ids
from fairdraft.heads.initialise import (
    final_gains,
    initialise_as_highest_state,
    initialise_as_last_layer,
)
from fairdraft.heads.losses import DECAY, Losses, soft_cross_entropy, target_laws
from fairdraft.heads.samples import Batch
from fairdraft.heads.training import HeadTraining


class Eagle3Training(HeadTraining):
    """An EAGLE-3 head in training, by its training-time test.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        passes: draft tokens to unroll.
        layer: shape of the head where it is not the target's, such as intermediate_size.

    Raises:
        ConfigError: a target of too few layers, or no passes.
    """

    kind = "eagle3"
    head: Eagle3Head

    def __init__(self, target: Any, name: str, passes: int, **layer: Any) -> None:
        super().__init__(target, name)
        config = target.config.get_text_config()
        self.layer_ids = default_layer_ids(config.num_hidden_layers)
        require(
            0 < self.layer_ids[0] < self.layer_ids[2],
            f"the target has {config.num_hidden_layers} layers: EAGLE-3 reads three of at least 6",
        )
        require(passes > 0, f"passes is {passes}, but must be at least 1: 5 to 7 is usual")
        self.passes, self.layer = passes, layer
        self.description = f"eagle3 for {name}, {passes} passes, {layer or 'shape of the target'}"

    def initialise(self, known: Tensor) -> None:
        """Make the head; its vocabulary begins as the target's rows."""
        config = self.target.config.get_text_config()
        layer = layer_config(LlamaConfig, config, **self.layer)
        shape = Eagle3Config(layer, self.layer_ids, len(known), config.hidden_size)
        self.head = Eagle3Head(shape).to(self.target.device)
        self.head.norm.weight.data.copy_(final_gains(self.target))
        initialise_as_highest_state(self.head.fc)
        for each in self.head.layers:
            initialise_as_last_layer(each, self.target)
        self.head.d2t.copy_(known - torch.arange(len(known)))
        self.borrow(known)
        self.head.lm_head.weight.data.copy_(self.lm_head)

    def loss(self, batch: Batch, step: int) -> Losses:
        """Return the losses of the training-time test."""
        return unrolled_loss(self.head, self.embedding, self.lm_head, batch, self.passes)

    def save(self, folder: Path) -> None:
        """Write "speculators" files."""
        save_eagle3(self.head, folder, self.made_for)


class _Unrolled:
    """Attention in pass i: rows see the text up to where their round began, then one key a pass."""

    def __init__(self) -> None:
        self.keys: dict[int, list[Tensor]] = {}  # layer → per pass [B, heads, R, dim]
        self.values: dict[int, list[Tensor]] = {}

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what queries [B, R, heads, dim] read of this pass and of those before it."""
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
    """Return the soft cross-entropy against the target's laws, pass after pass.

    Args:
        head: in training.
        embedding: [V, d] of the target.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
        passes: draft tokens to unroll.
    """
    embeds = embedding[batch.token_ids[:, 1:]]
    hidden = head.fuse(batch.states[:, :-1].to(embeds.dtype))
    law = target_laws(batch.final[:, 1:], lm_head)
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
