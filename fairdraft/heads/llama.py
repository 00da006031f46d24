"""Llama layers for heads: projections and rotation here, what sees what by the caller."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, apply_rotary_pos_emb

from fairdraft.heads.base import Attend, HeadConfig


class LlamaAttention(nn.Module):
    """Attention of a Llama layer: projections and rotation; `attend` decides what rows see."""

    def __init__(self, config: HeadConfig, index: int, input_size: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        self.scaling = float(self.head_dim**-0.5)
        layer = config.layer
        bias = bool(getattr(layer, "attention_bias", False))
        queries = layer.num_attention_heads * self.head_dim
        keys = layer.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(input_size, queries, bias=bias)
        self.k_proj = nn.Linear(input_size, keys, bias=bias)
        self.v_proj = nn.Linear(input_size, keys, bias=bias)
        self.o_proj = nn.Linear(queries, layer.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Return what rows […, input_size] read, as […, hidden_size]."""
        heads = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (p(x).view(heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=-2)
        read = attend(self.index, q, k, v)
        output: Tensor = self.o_proj(read.reshape(*x.shape[:-1], -1))
        return output


class LlamaLayer(nn.Module):
    """A Llama layer whose attention may read more than the residual carries."""

    def __init__(self, config: HeadConfig, index: int, input_size: int) -> None:
        super().__init__()
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        self.input_layernorm: nn.Module = LlamaRMSNorm(size, eps)
        self.self_attn = LlamaAttention(config, index, input_size)
        self.post_attention_layernorm = LlamaRMSNorm(size, eps)
        self.mlp = LlamaMLP(config.layer)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """Run the layer over hidden states […, d]."""
        return self.write(hidden, self.input_layernorm(hidden), cos, sin, attend)

    def write(
        self, residual: Tensor, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        """Add attention to x […, input_size], then the MLP, to the residual […, d]."""
        hidden = residual + self.self_attn(x, cos, sin, attend)
        output: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output
