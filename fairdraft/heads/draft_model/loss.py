"""Distillation of a draft model: its law against the target's, on the target's own texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.heads.samples import Batch, Losses, soft_cross_entropy


def distillation_loss(model: Any, embedding: nn.Module, lm_head: Tensor, batch: Batch) -> Losses:
    """Soft cross-entropy of the model's law of each answer's next token against the target's.

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
    with torch.no_grad():
        law = (batch.final[rows].to(lm_head.dtype) @ lm_head.T).float().softmax(-1)
    logits = model.lm_head(hidden.last_hidden_state[rows]).float()
    loss, agreed = soft_cross_entropy(logits, law)
    return Losses(loss, [agreed])
