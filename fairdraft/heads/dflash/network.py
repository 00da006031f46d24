"""DFlash: layers that fill in a whole block of masked tokens in one pass.

Keys and values of the text are made from what several of the target's layers know, the block's own
from the tokens themselves: the newest one, then masks. Every row of the block sees the text before
it and all of the block. The row of the mask at position p says which token stands at p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3MLP,
    Qwen3RMSNorm,
    Qwen3RotaryEmbedding,
    apply_rotary_pos_emb,
)

from fairdraft.heads.base import Attend, Head, HeadConfig, rotation


@dataclass(frozen=True, kw_only=True)
class DFlashConfig(HeadConfig):
    """Shape of a DFlash drafter.

    Args:
        block_size: rows of a block as it was trained: the newest token, then masks.
        mask_token_id: the token of the target's vocabulary that stands for a mask.
    """

    block_size: int
    mask_token_id: int


class DFlashAttention(nn.Module):
    """Attention of a Qwen3 layer: projections, norms, rotation; `attend` decides what rows see."""

    def __init__(self, config: DFlashConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.scaling = float(self.head_dim**-0.5)
        layer = config.layer
        bias = bool(getattr(layer, "attention_bias", False))
        queries = layer.num_attention_heads * self.head_dim
        keys = layer.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(layer.hidden_size, queries, bias=bias)
        self.k_proj = nn.Linear(layer.hidden_size, keys, bias=bias)
        self.v_proj = nn.Linear(layer.hidden_size, keys, bias=bias)
        self.o_proj = nn.Linear(queries, layer.hidden_size, bias=bias)
        self.q_norm = Qwen3RMSNorm(self.head_dim, layer.rms_norm_eps)
        self.k_norm = Qwen3RMSNorm(self.head_dim, layer.rms_norm_eps)

    def keys_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values […, kv_heads, dim] of rows […, d]."""
        heads = (*x.shape[:-1], -1, self.head_dim)
        keys = self.k_norm(self.k_proj(x).view(heads))
        _, keys = apply_rotary_pos_emb(keys, keys, cos, sin, unsqueeze_dim=-2)
        return keys, self.v_proj(x).view(heads)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Return what rows […, d] read, as […, d]."""
        queries = self.q_norm(self.q_proj(x).view(*x.shape[:-1], -1, self.head_dim))
        queries, _ = apply_rotary_pos_emb(queries, queries, cos, sin, unsqueeze_dim=-2)
        read = attend(self.index, queries, *self.keys_values(x, cos, sin))
        output: Tensor = self.o_proj(read.reshape(*x.shape[:-1], -1))
        return output


class DFlashLayer(nn.Module):
    """A Qwen3 layer whose attention reads the text and its own block."""

    def __init__(self, config: DFlashConfig, index: int) -> None:
        super().__init__()
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        self.input_layernorm = Qwen3RMSNorm(size, eps)
        self.self_attn = DFlashAttention(config, index)
        self.post_attention_layernorm = Qwen3RMSNorm(size, eps)
        self.mlp = Qwen3MLP(config.layer)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Run the layer over rows […, d]."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, attend)
        output: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return output


class DFlashHead(Head):
    """The network of DFlash. Names of parameters are those of "speculators" and z-lab files."""

    config: DFlashConfig

    def __init__(self, config: DFlashConfig) -> None:
        super().__init__(config)
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        self.hidden_norm = Qwen3RMSNorm(size, eps)
        count = config.layer.num_hidden_layers
        stack = [DFlashLayer(config, i) for i in range(count)]
        self.layers: Sequence[DFlashLayer] = nn.ModuleList(stack)  # type: ignore[assignment]
        self.norm = Qwen3RMSNorm(size, eps)
        self.rotary = Qwen3RotaryEmbedding(config.layer)

    def context(self, states: Tensor, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of the text, per layer […, kv_heads, dim].

        Args:
            states: […, n · d_target], hidden states side by side.
            positions: […] int64.
        """
        hidden = self.hidden_norm(self.fc(states))
        cos, sin = rotation(self.rotary, hidden, positions)
        return [layer.self_attn.keys_values(hidden, cos, sin) for layer in self.layers]

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Run blocks through the layers.

        Args:
            embeds: […, d], of the newest token and of masks.
            positions: […] int64.
            attend: reads what each row may see.

        Returns:
            […, d] for `lm_head`.
        """
        cos, sin = rotation(self.rotary, embeds, positions)
        hidden = embeds
        for layer in self.layers:
            hidden = layer(hidden, cos, sin, attend)
        normed: Tensor = self.norm(hidden)
        return normed
