"""A draft model cut out of its target begins as its layers, learns its law, and is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import load_pruned, prune, read_head_file, save_pruned, target_ids
from fairdraft.heads.draft_model.loss import distillation_loss
from fairdraft.heads.samples import Batch
from tests.heads.eagle3.test_loss import sample_of

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


def test_it_learns_the_law_of_each_answers_next_token(tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32, attn_implementation="eager")
    model = prune(target, 1, None, KNOWN)
    text = [(5 * i * i + 3 * i) % 250 for i in range(12)]
    samples = [sample_of(target, text, 4, (1,)), sample_of(target, text[:7], 3, (1,))]
    embedding, lm_head = target.get_input_embeddings(), target.lm_head.weight[KNOWN]
    batch = Batch.of(samples, torch.device("cpu"))
    loss = distillation_loss(model, embedding, lm_head, batch)
    each = []
    for sample in samples:
        ids = sample.token_ids[None]
        hidden = model.base_model(inputs_embeds=embedding(ids)).last_hidden_state[0]
        for t in range(sample.prompt_length - 1, len(sample.token_ids) - 1):
            law = (lm_head @ sample.final[t]).softmax(-1)
            each.append(-(law * (lm_head @ hidden[t]).log_softmax(-1)).sum())
    torch.testing.assert_close(loss.total, torch.stack(each).mean(), rtol=1e-4, atol=1e-4)


def test_what_is_written_is_read_back(tiny: Tiny, tmp_path: Path) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    model = prune(target, 2, None, KNOWN)
    save_pruned(model, tmp_path, "tiny")
    found = load_pruned(read_head_file(str(tmp_path)), target)
    for name, tensor in model.state_dict().items():
        same = tensor.to(torch.bfloat16).float() if tensor.is_floating_point() else tensor
        if name != "lm_head.weight":  # the target's own rows, in its precision
            assert torch.equal(found.state_dict()[name], same), name
    assert torch.equal(found.lm_head.weight, target.lm_head.weight[KNOWN])
    assert found.get_input_embeddings() is target.get_input_embeddings()


def test_rotation_stays_in_float32(tiny: Tiny, tmp_path: Path) -> None:
    """In bfloat16 the angles of far tokens would be anything."""
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.bfloat16)
    save_pruned(prune(target, 2, None, KNOWN), tmp_path, "tiny")
    found = load_pruned(read_head_file(str(tmp_path)), target)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found.model.rotary_emb.inv_freq, target.model.rotary_emb.inv_freq)
    assert found.model.rotary_emb.inv_freq.dtype == torch.float32


def test_what_does_not_fit_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(ConfigError, match="num_layers is 99"):
        prune(target, 99, None, KNOWN)
    with pytest.raises(ConfigError, match="intermediate_size is 9999"):
        prune(target, 2, 9999, KNOWN)
    save_pruned(prune(target, 2, None, KNOWN), tmp_path, "tiny")
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 64', '"hidden_size": 32'))
    with pytest.raises(CheckpointError, match="hidden_size is 32"):
        load_pruned(read_head_file(str(tmp_path)), target)
