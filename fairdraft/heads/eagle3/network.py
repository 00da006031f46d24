"""EAGLE-3: one decoder layer that reads what three of the target's layers know (Li et al. 2025).

arXiv 2503.01840. A row stands for a position t: it sees the target's hidden states there and the
token at t + 1, and says what comes at t + 2. From the second draft token on the layer's own output
takes the place of the hidden states. EAGLE-3.1's normalisation flags are those of the
"speculators" files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from fairdraft.heads.base import Attend, Head, HeadConfig, rotation
from fairdraft.heads.llama import LlamaLayer


@dataclass(frozen=True, kw_only=True)
class Eagle3Config(HeadConfig):
    """Shape of an EAGLE-3 head.

    Args:
        norm_before_residual: the residual carries the normed state.
        norm_before_fc: one norm over all states together before they are fused.
        fc_norm: a norm of its own for each of the states (EAGLE-3.1).
        norm_output: the normed output is what the next draft token reads (EAGLE-3.1).
    """

    norm_before_residual: bool = False
    norm_before_fc: bool = False
    fc_norm: bool = False
    norm_output: bool = False


class Eagle3FirstLayer(LlamaLayer):
    """The first layer, which reads embedding and hidden state side by side."""

    def __init__(self, config: Eagle3Config) -> None:
        size = config.layer.hidden_size
        super().__init__(config, 0, 2 * size)
        self.norm_before_residual = config.norm_before_residual
        self.hidden_norm = LlamaRMSNorm(size, config.layer.rms_norm_eps)

    def read(
        self, embeds: Tensor, hidden: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        """Return hidden states […, d], before the last norm."""
        normed = self.hidden_norm(hidden)
        x = torch.cat([self.input_layernorm(embeds), normed], dim=-1)
        return self.write(normed if self.norm_before_residual else hidden, x, cos, sin, attend)


class Eagle3Head(Head):
    """The network of EAGLE-3. Names of parameters are those of "speculators" files."""

    config: Eagle3Config

    def __init__(self, config: Eagle3Config) -> None:
        super().__init__(config)
        size, eps = config.layer.hidden_size, config.layer.rms_norm_eps
        states = len(config.layer_ids)
        if config.norm_before_fc:
            self.input_norm = LlamaRMSNorm(config.fused_size, eps)
        if config.fc_norm:
            each = config.fused_size // states
            self.fc_norm = nn.ModuleList(LlamaRMSNorm(each, eps) for _ in range(states))
        count = config.layer.num_hidden_layers
        self.layers = nn.ModuleList([Eagle3FirstLayer(config)])
        self.layers.extend(LlamaLayer(config, i, size) for i in range(1, count))
        self.norm = LlamaRMSNorm(size, eps)
        self.rotary = LlamaRotaryEmbedding(config.layer)

    def fuse(self, states: Tensor) -> Tensor:
        """Fuse hidden states side by side […, n · d_target] into one […, d]."""
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
        """Run the layers once.

        Args:
            embeds: […, d] of each row's next token.
            hidden: […, d], fused states or an earlier pass's second output.
            positions: […] int64.
            attend: writes keys and values, and reads what each row may see.

        Returns:
            […, d] for `lm_head`, and […, d] for the next draft token's row.
        """
        cos, sin = rotation(self.rotary, hidden, positions)
        first, *rest = self.layers
        assert isinstance(first, Eagle3FirstLayer)
        hidden = first.read(embeds, hidden, cos, sin, attend)
        for layer in rest:
            hidden = layer(hidden, cos, sin, attend)
        normed: Tensor = self.norm(hidden)
        return normed, (normed if self.config.norm_output else hidden)


def default_layer_ids(num_layers: int) -> tuple[int, int, int]:
    """Return the ids of a low, a middle and a high hidden state, as EAGLE-3 and vLLM take them."""
    return 2, num_layers // 2, num_layers - 3
