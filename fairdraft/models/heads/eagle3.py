"""EAGLE-3: one decoder layer that reads what three of the target's layers know (Li et al. 2025).

arXiv 2503.01840. A row stands for a position t: it sees the target's hidden states there and the
token at t + 1, and says what comes at t + 2. From the second draft token on the layer's own output
takes the place of the hidden states. EAGLE-3.1's normalisation flags are those of the
"speculators" files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

# (layer, queries […, heads, dim], keys and values […, kv_heads, dim]) → […, heads, dim]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Eagle3Config:
    """Shape of an EAGLE-3 head.

    Args:
        layer: the decoder layer's own configuration; its hidden size is the head's.
        layer_ids: which of the target's hidden states it reads, as in `hidden_states[k]`.
        draft_vocab_size: tokens it can draft.
        target_hidden_size: of the states it reads; None is the head's own size.
        norm_before_residual: the residual carries the normed state.
        norm_before_fc: one norm over all states together before they are fused.
        fc_norm: a norm of its own for each of the states (EAGLE-3.1).
        norm_output: the normed output is what the next draft token reads (EAGLE-3.1).
        own_embedding: the file brings an embedding; else it is the target's.
    """

    layer: LlamaConfig
    layer_ids: tuple[int, ...]
    draft_vocab_size: int
    target_hidden_size: int | None = None
    norm_before_residual: bool = False
    norm_before_fc: bool = False
    fc_norm: bool = False
    norm_output: bool = False
    own_embedding: bool = False

    @property
    def head_dim(self) -> int:
        """Numbers in a key or value of one attention head."""
        given: int | None = getattr(self.layer, "head_dim", None)
        return given or self.layer.hidden_size // self.layer.num_attention_heads

    @property
    def fused_size(self) -> int:
        """Numbers in the states that are fused."""
        return len(self.layer_ids) * (self.target_hidden_size or self.layer.hidden_size)


class Eagle3Attention(nn.Module):
    """Projections and rotation; what sees what is the caller's `attend`."""

    def __init__(self, config: Eagle3Config, index: int, input_size: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        layer = config.layer
        bias = bool(getattr(layer, "attention_bias", False))
        queries = layer.num_attention_heads * self.head_dim
        keys = layer.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(input_size, queries, bias=bias)
        self.k_proj = nn.Linear(input_size, keys, bias=bias)
        self.v_proj = nn.Linear(input_size, keys, bias=bias)
        self.o_proj = nn.Linear(queries, layer.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """[…, input_size] → […, hidden_size]."""
        heads = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (p(x).view(heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=-2)
        read = attend(self.index, q, k, v)
        output: Tensor = self.o_proj(read.reshape(*x.shape[:-1], -1))
        return output


class Eagle3Layer(nn.Module):
    """A Llama layer; the first one reads embedding and hidden state side by side."""

    def __init__(self, config: Eagle3Config, index: int) -> None:
        super().__init__()
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        self.first = index == 0
        self.norm_before_residual = config.norm_before_residual
        self.input_layernorm = LlamaRMSNorm(size, eps)
        if self.first:
            self.hidden_norm = LlamaRMSNorm(size, eps)
        self.self_attn = Eagle3Attention(config, index, 2 * size if self.first else size)
        self.post_attention_layernorm = LlamaRMSNorm(size, eps)
        self.mlp = LlamaMLP(config.layer)

    def forward(
        self, embeds: Tensor, hidden: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        """[…, d] hidden states, those before the norm."""
        if self.first:
            normed = self.hidden_norm(hidden)
            residual = normed if self.norm_before_residual else hidden
            x = torch.cat([self.input_layernorm(embeds), normed], dim=-1)
        else:
            residual, x = hidden, self.input_layernorm(hidden)
        hidden = residual + self.self_attn(x, cos, sin, attend)
        output: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output


class Eagle3Head(nn.Module):
    """The network. Names of parameters are those of "speculators" files.

    Attributes:
        d2t: [draft_vocab_size] int64; draft token i is target token i + d2t[i].
        embed_tokens: the file's own embedding, or None.
    """

    d2t: Tensor

    def __init__(self, config: Eagle3Config) -> None:
        super().__init__()
        self.config = config
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        states = len(config.layer_ids)
        self.embed_tokens = (
            nn.Embedding(config.layer.vocab_size, size) if config.own_embedding else None
        )
        if config.norm_before_fc:
            self.input_norm = LlamaRMSNorm(config.fused_size, eps)
        if config.fc_norm:
            each = config.fused_size // states
            self.fc_norm = nn.ModuleList(LlamaRMSNorm(each, eps) for _ in range(states))
        self.fc = nn.Linear(config.fused_size, size, bias=False)
        count = config.layer.num_hidden_layers
        self.layers = nn.ModuleList(Eagle3Layer(config, i) for i in range(count))
        self.norm = LlamaRMSNorm(size, eps)
        self.lm_head = nn.Linear(size, config.draft_vocab_size, bias=False)
        self.register_buffer("d2t", torch.zeros(config.draft_vocab_size, dtype=torch.int64))
        self.rotary = LlamaRotaryEmbedding(config.layer)

    @property
    def target_ids(self) -> Tensor:
        """[draft_vocab_size] int64: the target's id of each draft token."""
        return self.d2t + torch.arange(len(self.d2t), device=self.d2t.device)

    def fuse(self, states: Tensor) -> Tensor:
        """[…, n · d_target] hidden states side by side → […, d]."""
        if self.config.norm_before_fc:
            states = self.input_norm(states)
        if self.config.fc_norm:
            parts = states.chunk(len(self.fc_norm), dim=-1)
            normed = [norm(part) for norm, part in zip(self.fc_norm, parts, strict=True)]
            states = torch.cat(normed, dim=-1)
        fused: Tensor = self.fc(states)
        return fused

    def forward(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, attend: Attend
    ) -> tuple[Tensor, Tensor]:
        """One pass of the layers.

        Args:
            embeds: […, d] of each row's next token.
            hidden: […, d], fused states or an earlier pass's second output.
            positions: […] int64.
            attend: writes keys and values, and reads what each row may see.

        Returns:
            […, d] for `lm_head`, and […, d] for the next draft token's row.
        """
        cos, sin = self.rotary(hidden, positions if positions.dim() > 1 else positions[None])
        if positions.dim() == 1:
            cos, sin = cos[0], sin[0]
        for layer in self.layers:
            hidden = layer(embeds, hidden, cos, sin, attend)
        normed: Tensor = self.norm(hidden)
        return normed, (normed if self.config.norm_output else hidden)


def default_layer_ids(num_layers: int) -> tuple[int, int, int]:
    """A low, a middle and a high hidden state of a target, as EAGLE-3 and vLLM take them."""
    return 2, num_layers // 2, num_layers - 3


def layer_config(config: Any, num_layers: int = 1, **changes: Any) -> LlamaConfig:
    """A Llama layer's configuration of the shape of a target's layers.

    Args:
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
    values = {name: getattr(config, name) for name in kept if getattr(config, name, None)}
    return LlamaConfig(**(values | {"num_hidden_layers": num_layers} | changes))
