"""Files of a pruned draft model: its layers; embedding and vocabulary are the target's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import CheckpointError
from fairdraft.heads import MadeFor, read_head_file
from fairdraft.heads.draft_model import load_pruned, prune, save_pruned

Tiny = Callable[[str], Path]
KNOWN = torch.arange(3, 320, 4)


def test_what_is_written_is_read_back(tiny: Tiny, tmp_path: Path) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    model = prune(target, 2, None, KNOWN)
    save_pruned(model, tmp_path, MadeFor("tiny"))
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
    save_pruned(prune(target, 2, None, KNOWN), tmp_path, MadeFor("tiny"))
    found = load_pruned(read_head_file(str(tmp_path)), target)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found.model.rotary_emb.inv_freq, target.model.rotary_emb.inv_freq)
    assert found.model.rotary_emb.inv_freq.dtype == torch.float32


def test_what_does_not_fit_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    save_pruned(prune(target, 2, None, KNOWN), tmp_path, MadeFor("tiny"))
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 64', '"hidden_size": 32'))
    with pytest.raises(CheckpointError, match="hidden_size is 32"):
        load_pruned(read_head_file(str(tmp_path)), target)
