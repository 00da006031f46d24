"""Medusa: heads on the last hidden state, each for one more token ahead (Cai et al. 2024).

arXiv 2401.10774. Head i reads the target's last hidden state at position t and says what comes at
t + 2 + i. The heads here share one vocabulary matrix, as vLLM's files allow ("original_lm_head").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MedusaConfig:
    """Shape of Medusa heads.

    Args:
        hidden_size: of the target.
        vocab_size: of the target.
        num_heads: tokens ahead.
        num_layers: residual blocks a head.
        draft_vocab_size: tokens that can be drafted.
        shared: one vocabulary matrix for all heads; else each has its own.
        bias: whether the blocks have one.
    """

    hidden_size: int
    vocab_size: int
    num_heads: int
    num_layers: int
    draft_vocab_size: int
    shared: bool = True
    bias: bool = True


class _Block(nn.Module):
    """Residual blocks of one head: x + SiLU(W x), so many times."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.layers = nn.ModuleList(
            nn.Linear(size, size, bias=config.bias) for _ in range(config.num_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + nn.functional.silu(layer(x))
        return x


class MedusaHead(nn.Module):
    """The network of Medusa. Names of parameters are those of vLLM's files.

    Attributes:
        token_map: [draft_vocab_size] int64, the target's id of each draft token.
    """

    token_map: Tensor

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.num_heads))
        size, words = config.hidden_size, config.draft_vocab_size
        if config.shared:
            self.lm_head = nn.Linear(size, words, bias=False)
        else:
            self.lm_heads = nn.ModuleList(
                nn.Linear(size, words, bias=False) for _ in range(config.num_heads)
            )
        self.register_buffer("token_map", torch.arange(words))

    @property
    def target_ids(self) -> Tensor:
        """The target's id of each draft token, [draft_vocab_size] int64."""
        return self.token_map

    def reset(self) -> None:
        """Set the blocks to change nothing, so that every head says what the target says."""
        for parameter in self.blocks.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """Return the state […, d] of each head behind hidden states […, d]."""
        return [block(hidden) for block in self.blocks]

    def vocabulary(self, head: int) -> nn.Linear:
        """Return the vocabulary matrix of a head."""
        linear = self.lm_head if self.config.shared else self.lm_heads[head]
        assert isinstance(linear, nn.Linear)
        return linear
