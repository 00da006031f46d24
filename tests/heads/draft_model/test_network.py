"""A draft model cut out of its target begins as its layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import ConfigError
from fairdraft.heads.draft_model import prune, target_ids

Tiny = Callable[[str], Path]
KNOWN = torch.arange(3, 320, 4)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2"])
def test_all_layers_and_words_are_the_target_itself(kind: str, tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny(kind), dtype=torch.float32, attn_implementation="eager")
    layers = target.config.num_hidden_layers
    model = prune(target, layers, None, torch.arange(target.config.vocab_size))
    ids = torch.tensor([[5, 9, 77, 31, 4]])
    theirs = target(ids, output_hidden_states=True).hidden_states[-1]
    ours = model.base_model(inputs_embeds=target.get_input_embeddings()(ids)).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_layers_are_taken_evenly_and_the_weightiest_neurons_stay(tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    model = prune(target, 2, 40, KNOWN)
    for i, theirs in enumerate((0, target.config.num_hidden_layers - 1)):
        ours, layer = model.base_model.layers[i], target.base_model.layers[theirs]
        assert torch.equal(ours.self_attn.q_proj.weight, layer.self_attn.q_proj.weight)
        weights = (
            layer.mlp.down_proj.weight.norm(dim=0)
            * layer.mlp.up_proj.weight.norm(dim=1)
            * layer.mlp.gate_proj.weight.norm(dim=1)
        )
        kept = weights.topk(40).indices.sort().values
        assert torch.equal(ours.mlp.up_proj.weight, layer.mlp.up_proj.weight[kept])
        assert torch.equal(ours.mlp.down_proj.weight, layer.mlp.down_proj.weight[:, kept])
    assert torch.equal(target_ids(model), KNOWN)


def test_more_than_the_target_has_is_refused(tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(ConfigError, match="num_layers is 99"):
        prune(target, 99, None, KNOWN)
    with pytest.raises(ConfigError, match="intermediate_size is 9999"):
        prune(target, 2, 9999, KNOWN)
