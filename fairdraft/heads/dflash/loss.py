"""How DFlash is trained: blocks at random places of a text, filled in one pass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config

from fairdraft.config import require
from fairdraft.heads.base import layer_config
from fairdraft.heads.dflash.files import save_dflash
from fairdraft.heads.dflash.network import DFlashConfig, DFlashHead
from fairdraft.heads.initialise import (
    final_gains,
    initialise_as_highest_state,
    initialise_as_last_layer,
)
from fairdraft.heads.losses import Losses, soft_cross_entropy, target_laws
from fairdraft.heads.samples import Batch
from fairdraft.heads.training import HeadTraining

ANCHORS = 48  # blocks a text


def unused_token(tokenizer: Any) -> int:
    """Return a special token that texts do not use: the last that is not for a text's parts.

    Raises:
        ConfigError: there is none.
    """
    parts = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    unused = [i for i in tokenizer.all_special_ids if i not in parts]
    require(
        bool(unused),
        "the target's tokenizer has no special token without use to stand for a mask: name one "
        "with --mask-token-id",
    )
    return int(max(unused))


class DFlashTraining(HeadTraining):
    """A DFlash drafter in training.

    Args:
        target: the transformers model.
        name: of the target, for the files.
        mask_token_id: the token that stands for a mask.
        block_size: rows of a block: the newest token, then masks.
        num_layers: of the drafter.
        num_states: hidden states of the target that it reads, spread evenly.
        borrow_vocabulary: leave the vocabulary, which is the target's own, out of the files.
        layer: shape of the drafter where it is not the target's, such as intermediate_size.

    Raises:
        ConfigError: a value out of range.
    """

    kind = "dflash"
    head: DFlashHead

    def __init__(
        self,
        target: Any,
        name: str,
        mask_token_id: int,
        block_size: int,
        num_layers: int,
        num_states: int,
        borrow_vocabulary: bool = False,
        **layer: Any,
    ) -> None:
        super().__init__(target, name)
        depth = target.config.get_text_config().num_hidden_layers
        require(block_size > 1, f"block_size is {block_size}, but must be at least 2: 8 is usual")
        require(num_layers > 0, f"num_layers is {num_layers}, but must be at least 1")
        require(
            1 < num_states <= depth - 4,
            f"num_states is {num_states}, but must be from 2 to {depth - 4}, for the target has "
            f"{depth} layers",
        )
        size = target.config.get_text_config().vocab_size
        require(
            0 <= mask_token_id < size,
            f"mask_token_id is {mask_token_id}, but the target has {size} tokens",
        )
        step = (depth - 5) / (num_states - 1)
        self.layer_ids = tuple(2 + int(i * step + 0.5) for i in range(num_states))
        self.mask_token_id, self.block_size, self.layer = mask_token_id, block_size, layer
        self.num_layers, self.borrow_vocabulary = num_layers, borrow_vocabulary
        self.longest_draft = block_size - 1
        self.description = (
            f"dflash for {name}, {num_layers} layers on {self.layer_ids}, blocks of {block_size} "
            f"with mask {mask_token_id}, {layer or 'shape of the target'}"
        )

    def initialise(self, known: Tensor) -> None:
        """Make the drafter; its vocabulary is the target's own rows, and stays that."""
        config = self.target.config.get_text_config()
        shape = DFlashConfig(
            layer_config(Qwen3Config, config, self.num_layers, **self.layer),
            self.layer_ids,
            len(known),
            config.hidden_size,
            block_size=self.block_size,
            mask_token_id=self.mask_token_id,
        )
        self.head = DFlashHead(shape).to(self.target.device)
        self.head.norm.weight.data.copy_(final_gains(self.target))
        initialise_as_highest_state(self.head.fc)
        for layer in self.head.layers:
            initialise_as_last_layer(layer, self.target)
        self.head.d2t.copy_(known - torch.arange(len(known)))
        self.borrow(known)
        self.head.lm_head.weight.data.copy_(self.lm_head)
        self.head.lm_head.requires_grad_(False)

    def loss(self, batch: Batch, step: int) -> Losses:
        """Return the losses of blocks at places that are drawn anew each step."""
        return block_loss(self.head, self.embedding, self.lm_head, batch, step)

    def save(self, folder: Path) -> None:
        """Write "speculators" files."""
        save_dflash(self.head, folder, self.made_for, self.borrow_vocabulary)


def block_loss(
    head: DFlashHead, embedding: Tensor, lm_head: Tensor, batch: Batch, seed: int
) -> Losses:
    """Return the soft cross-entropy of each mask against the target's law of its place.

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
    law = target_laws(batch.final, lm_head)
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
    """Draw places [B, A] of newest tokens; and [B, A, block] bool, whose token is the answer's."""
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
    """Return what rows of blocks read: the text before their block, and all of it.

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
