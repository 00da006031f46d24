"""EAGLE: decoder layers that write the target's last hidden state on (Li et al. 2024).

arXiv 2401.15077. A row stands for a position t: it reads the target's last hidden state there and
the token at t + 1, and gives the hidden state at t + 1, which the target's own head reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from fairdraft.heads.base import Attend, Head, HeadConfig, rotation
from fairdraft.heads.llama import LlamaLayer


class EagleHead(Head):
    """The network of EAGLE. Names of parameters are those of the original files.

    Args:
        config: its shape.
        bias: whether the fusing layer has one.
        input_norm: whether the first layer norms what it reads.
    """

    def __init__(self, config: HeadConfig, bias: bool = False, input_norm: bool = False) -> None:
        super().__init__(config)
        size = config.layer.hidden_size
        self.fc = nn.Linear(2 * size, size, bias=bias)
        count = config.layer.num_hidden_layers
        self.layers = nn.ModuleList(LlamaLayer(config, i, size) for i in range(count))
        if not input_norm:
            self.layers[0].input_layernorm = nn.Identity()
        self.rotary = LlamaRotaryEmbedding(config.layer)

    def fuse(self, states: Tensor) -> Tensor:
        """Return the hidden states […, d] as they are."""
        return states

    def forward(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, attend: Attend
    ) -> tuple[Tensor, Tensor]:
        """Run the layers once.

        Args:
            embeds: […, d] of each row's next token.
            hidden: […, d], the target's last states or an earlier pass's output.
            positions: […] int64.
            attend: writes keys and values, and reads what each row may see.

        Returns:
            […, d] twice: for `lm_head` and for the next draft token's row it is the same.
        """
        cos, sin = rotation(self.rotary, hidden, positions)
        hidden = self.fc(torch.cat([embeds, hidden], dim=-1))
        for layer in self.layers:
            hidden = layer(hidden, cos, sin, attend)
        return hidden, hidden
