"""A target that is easy to predict, for heads whose weights are set by hand."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM


def echo_target(size: int = 32) -> LlamaForCausalLM:
    """A Llama without attention and MLP: token i is followed by token 5 i + 3."""
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1)
        model.model.embed_tokens.weight.copy_(torch.eye(size, 64))
        model.lm_head.weight.copy_(follows(size) @ torch.eye(size, 64))
    return model


def follows(size: int) -> Tensor:
    """[size, size]: 1 where the row's token follows the column's."""
    ids = torch.arange(size)
    table = torch.zeros(size, size)
    table[(5 * ids + 3) % size, ids] = 1
    return table
