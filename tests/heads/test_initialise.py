"""Initial weights are the target's, whatever its parts are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig

from fairdraft.errors import CheckpointError
from fairdraft.heads import layer_config
from fairdraft.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.heads.initialise import (
    cut_mlps,
    final_gains,
    initialise_as_highest_state,
    initialise_as_last_layer,
)
from fairdraft.models import final_norm

Tiny = Callable[[str], Path]


@pytest.mark.parametrize(("kind", "extra"), [("llama", 0), ("gpt2", 0), ("gemma2", 1)])
def test_the_last_norms_gains(kind: str, extra: int, tiny: Tiny) -> None:
    """RMSNorm, LayerNorm with a bias, and a norm whose weights count from 1."""
    target = Auto.from_pretrained(tiny(kind), dtype=torch.float32)
    norm = final_norm(target)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.rand_like(parameter))
    torch.testing.assert_close(final_gains(target), norm.weight + extra, atol=1e-4, rtol=1e-4)


def test_a_layer_begins_as_the_targets_last(tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    shape = layer_config(LlamaConfig, target.config, intermediate_size=40)
    head = Eagle3Head(Eagle3Config(shape, (1, 2, 3), 320))
    initialise_as_highest_state(head.fc)
    initialise_as_last_layer(head.layers[0], target)
    last, first = target.model.layers[-1], head.layers[0]
    assert torch.equal(first.self_attn.q_proj.weight[:, 64:], last.self_attn.q_proj.weight)
    assert first.self_attn.q_proj.weight[:, :64].abs().max() < 0.1
    assert torch.equal(first.self_attn.o_proj.weight, last.self_attn.o_proj.weight)
    assert torch.equal(first.hidden_norm.weight, last.input_layernorm.weight)
    assert {row.tolist()[0] for row in first.mlp.up_proj.weight} <= set(
        last.mlp.up_proj.weight[:, 0].tolist()
    )
    states = torch.randn(5, 192)
    torch.testing.assert_close(head.fuse(states), states[:, 128:], atol=0.5, rtol=0.5)


def test_mlps_of_another_kind_are_left_as_they_are(tiny: Tiny) -> None:
    """One projection for gate and up, as in Phi-3."""
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    for layer in target.model.layers:
        layer.mlp.gate_up_proj = nn.Linear(64, 192, bias=False)
        del layer.mlp.gate_proj, layer.mlp.up_proj
    head = Eagle3Head(
        Eagle3Config(layer_config(LlamaConfig, target.config, intermediate_size=40), (1, 2, 3), 320)
    )
    initialise_as_last_layer(head.layers[0], target)
    with pytest.raises(CheckpointError, match="leave out --intermediate-size"):
        cut_mlps(dict(target.state_dict()), 40)


def test_biases_are_cut_with_their_neurons() -> None:
    tensors = {"mlp.down_proj.weight": torch.eye(4)}
    for name in ("up", "gate"):
        tensors[f"mlp.{name}_proj.weight"] = torch.diag(torch.tensor([1.0, 4.0, 2.0, 3.0]))
        tensors[f"mlp.{name}_proj.bias"] = torch.arange(4.0)
    cut_mlps(tensors, 2)
    assert tensors["mlp.up_proj.bias"].tolist() == [1.0, 3.0]
    assert tensors["mlp.down_proj.weight"].shape == (4, 2)
