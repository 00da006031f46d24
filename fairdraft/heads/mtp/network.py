"""MTP: layers that some targets bring along, trained with them to say one token more.

DeepSeek-AI 2024 (arXiv 2412.19437), section 2.2. A row stands for a position t: it reads the
target's last hidden state there and the token at t + 1, through a projection and a layer of the
target's own kind. Here the first such layer is run again and again, on its own outputs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.heads.base import Attend, HeadConfig
from fairdraft.models import final_norm, target_layers


@dataclass(frozen=True)
class MTPShape:
    """How a family of checkpoints connects the parts of an MTP layer.

    Args:
        hidden_first: the projection reads the hidden state before the embedding.
        norm_output: the normed output is what the next draft token reads.
    """

    hidden_first: bool
    norm_output: bool


class MTPHead(nn.Module):
    """The network of MTP, around a layer of the target's own class.

    Args:
        target: the transformers model; embedding, rotation and `lm_head` are its own.
        shape: how the file's family connects the parts.
    """

    embed_tokens = None

    def __init__(self, target: Any, shape: MTPShape) -> None:
        super().__init__()
        text = target.config.get_text_config()
        size, count = text.hidden_size, text.num_hidden_layers
        self.config = HeadConfig(text, (count,), text.vocab_size)
        norm = final_norm(target)
        self.token_norm, self.hidden_norm, self.final_norm = (copy.deepcopy(norm) for _ in range(3))
        self.projection = nn.Linear(2 * size, size, bias=False)
        last = target_layers(target)[-1]
        block: Any = type(last)(text, count - 1)
        block.self_attn.layer_idx = 0  # the only one with KV in the drafter's storage
        self.block: nn.Module = block
        self.shape = shape
        # Not parameters of its own.
        self._shared = {"lm_head": target.get_output_embeddings(), "rotary": _rotary(target)}

    @property
    def lm_head(self) -> nn.Linear:
        """The target's own vocabulary matrix."""
        head = self._shared["lm_head"]
        assert isinstance(head, nn.Linear)
        return head

    @cached_property
    def target_ids(self) -> Tensor:
        """All of the target's token ids, [V] int64."""
        return torch.arange(self.config.draft_vocab_size, device=self.projection.weight.device)

    def fuse(self, states: Tensor) -> Tensor:
        """Return the hidden states […, d] as they are."""
        return states

    def forward(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, attend: Attend
    ) -> tuple[Tensor, Tensor]:
        """Run the layer once over embeddings and states [R, d].

        Returns:
            [R, d] for `lm_head`, and [R, d] for the next draft token's row.
        """
        embeds = torch.where(positions[:, None] == 0, 0, embeds)  # as they are trained
        parts = [self.token_norm(embeds), self.hidden_norm(hidden)]
        x = self.projection(torch.cat(parts[::-1] if self.shape.hidden_first else parts, -1))[None]
        rotation = self._shared["rotary"](x, positions[None])
        output = self.block(x, position_embeddings=rotation, paged=_Reader(attend))
        output = (output[0] if isinstance(output, tuple) else output)[0]
        normed = self.final_norm(output)
        return normed, (normed if self.shape.norm_output else output)


class _Reader:
    """A head's `attend` in the form in which a target's layer asks for attention."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._rows = keys, values

    def attend(self, layer: int, queries: Tensor, scale: float, softcap: float | None) -> Tensor:
        if softcap is not None or abs(scale - queries.shape[-1] ** -0.5) > 1e-6:
            raise CheckpointError(
                "the target's attention scales or caps its scores in a way that MTP drafting does "
                "not know: take another method"
            )
        return self._attend(layer, queries, *self._rows)


def _rotary(target: Any) -> nn.Module:
    """Return the target's module of rotary angles."""
    rotary: nn.Module = next(m for n, m in target.named_modules() if n.endswith("rotary_emb"))
    return rotary
