"""DFlash's loss: blocks at random places of a text, filled in one pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fairdraft.heads import DFlashHead
from fairdraft.heads.samples import Batch, Losses, soft_cross_entropy

ANCHORS = 48  # blocks a text


def block_loss(
    head: DFlashHead, embedding: Tensor, lm_head: Tensor, batch: Batch, seed: int
) -> Losses:
    """Soft cross-entropy of each mask against the target's law of its place.

    Mask j of a block weighs e^{−(j − 1)/γ}, γ half the block: a token counts only if those before
    it stand.

    Args:
        head: in training.
        embedding: [V, d] of the target.
        lm_head: [draft vocabulary, d], the target's rows of the tokens that can be drafted.
        batch: samples.
        seed: of the places.
    """
    size = head.config.block_size
    anchors, valid = _anchors(batch, size, seed)
    device = batch.token_ids.device
    places = anchors[..., None] + torch.arange(size, device=device)  # [B, A, block]
    inside = places.clamp(max=batch.token_ids.shape[1] - 1)
    tokens = torch.full_like(places, head.config.mask_token_id)
    tokens[..., 0] = batch.token_ids.gather(1, anchors)
    embeds = embedding[tokens]
    positions = torch.arange(batch.token_ids.shape[1], device=device).expand_as(batch.token_ids)
    context = head.context(batch.states.to(embeds.dtype), positions)

    def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return _read(queries, keys, values, *context[layer], anchors)

    normed = head(embeds, places, attend)
    with torch.no_grad():
        law = (batch.final.to(lm_head.dtype) @ lm_head.T).float().softmax(-1)
    index = torch.arange(len(law), device=device)[:, None]
    total = embeds.new_zeros((), dtype=torch.float32)
    agreement = []
    for j in range(1, size):
        rows = valid[..., j]
        logits = head.lm_head(normed[:, :, j][rows]).float()
        wanted = law[index, inside[..., j] - 1][rows]
        loss, agreed = soft_cross_entropy(logits, wanted)
        total = total + math.exp(-(j - 1) * 2 / size) * loss
        agreement.append(agreed)
    return Losses(total, agreement)


def _anchors(batch: Batch, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """[B, A] places of newest tokens, and [B, A, block] bool: whose token is the answer's."""
    # Row t of `learnt` says that token t + 2 is the answer's.
    answers = torch.nn.functional.pad(batch.learnt, (2, size))  # by place, and room for blocks
    able = answers[:, 1 : batch.token_ids.shape[1]]  # a block at place a is of use if a + 1 is
    draw = torch.rand(able.shape, generator=torch.Generator().manual_seed(seed)).to(able.device)
    order = (draw + able).argsort(1, descending=True)[:, :ANCHORS]
    places = order[..., None] + torch.arange(size, device=able.device)
    valid = answers.gather(1, places.flatten(1)).view(places.shape)
    return order, valid & able.gather(1, order)[..., None]


def _read(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    context_keys: Tensor,
    context_values: Tensor,
    anchors: Tensor,
) -> Tensor:
    """Rows of a block read the text before it, and all of the block.

    Args:
        queries: [B, A, block, heads, dim].
        keys, values: [B, A, block, kv_heads, dim].
        context_keys, context_values: [B, S, kv_heads, dim].
        anchors: [B, A].

    Returns:
        As queries.
    """
    group = queries.shape[3] // keys.shape[3]
    scale = queries.shape[-1] ** -0.5
    wide = [t.repeat_interleave(group, -2) for t in (keys, values, context_keys, context_values)]
    own_keys, own_values, text_keys, text_values = wide
    text = torch.einsum("barhd,bshd->bahrs", queries, text_keys) * scale
    own = torch.einsum("barhd,bachd->bahrc", queries, own_keys) * scale
    seen = torch.arange(text.shape[-1], device=anchors.device) < anchors[..., None]
    text = text.masked_fill(~seen[:, :, None, None], -torch.inf)
    weights = torch.cat([text, own], -1).float().softmax(-1).to(queries.dtype)
    of_text, of_own = weights[..., : text.shape[-1]], weights[..., text.shape[-1] :]
    read: Tensor = torch.einsum("bahrs,bshd->barhd", of_text, text_values)
    return read + torch.einsum("bahrc,bachd->barhd", of_own, own_values)
