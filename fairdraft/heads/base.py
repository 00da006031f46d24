"""The shape of heads that read the target's layers, and the network parts they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.kv import LayerShape

# (layer, queries […, heads, dim], keys and values […, kv_heads, dim]) → […, heads, dim]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a head.

    Args:
        layer: transformers configuration of its layers; its hidden size is the head's.
        layer_ids: which of the target's hidden states it reads, as in `hidden_states[k]`.
        draft_vocab_size: tokens it can draft.
        target_hidden_size: of the states it reads; None is the head's own size.
        own_embedding: the file brings an embedding; else it is the target's.
    """

    layer: Any
    layer_ids: tuple[int, ...]
    draft_vocab_size: int
    target_hidden_size: int | None = None
    own_embedding: bool = False

    @property
    def head_dim(self) -> int:
        """How many numbers a key or value of one attention head has."""
        given: int | None = getattr(self.layer, "head_dim", None)
        return given or self.layer.hidden_size // self.layer.num_attention_heads

    @property
    def kv_layers(self) -> list[LayerShape]:
        """The shape of what each of its layers keeps of a token."""
        heads, dim = self.layer.num_key_value_heads, self.head_dim
        return [LayerShape(heads, dim, dim)] * self.layer.num_hidden_layers

    @property
    def fused_size(self) -> int:
        """How many numbers the states that are fused have together."""
        return len(self.layer_ids) * (self.target_hidden_size or self.layer.hidden_size)


class Head(nn.Module):
    """A network that reads the target's hidden states and knows some of its tokens.

    Attributes:
        d2t: [draft_vocab_size] int64; draft token i is target token i + d2t[i].
        embed_tokens: the file's own embedding, or None.
        fc: fuses the hidden states.
        lm_head: the draft vocabulary.
    """

    d2t: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        size, words = config.layer.hidden_size, config.draft_vocab_size
        own = config.own_embedding
        self.embed_tokens = nn.Embedding(config.layer.vocab_size, size) if own else None
        self.fc = nn.Linear(config.fused_size, size, bias=False)
        self.lm_head = nn.Linear(size, words, bias=False)
        self.register_buffer("d2t", torch.zeros(words, dtype=torch.int64))

    @property
    def target_ids(self) -> Tensor:
        """The target's id of each draft token, [draft_vocab_size] int64."""
        return self.d2t + torch.arange(len(self.d2t), device=self.d2t.device)


def rotation(rotary: nn.Module, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines […, dim] at positions […], in x's precision."""
    cos, sin = rotary(x, positions.reshape(1, -1))
    shape = (*positions.shape, -1)
    return cos.view(shape), sin.view(shape)


def layer_config(kind: type, config: Any, num_layers: int = 1, **changes: Any) -> Any:
    """Make a configuration for layers of the shape of a target's.

    Args:
        kind: the transformers configuration class of the head's layers.
        config: the target's transformers configuration.
        num_layers: layers of the head.
        changes: other values, such as intermediate_size.
    """
    kept = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_parameters",
    )
    heads = config.num_attention_heads
    values = {"num_key_value_heads": heads, "head_dim": config.hidden_size // heads}
    values |= {name: getattr(config, name) for name in kept if getattr(config, name, None)}
    return kind(**(values | {"num_hidden_layers": num_layers} | changes))
