"""EAGLE files of the original project, with and without what they may leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.heads import kind_of, read_head_file
from fairdraft.heads.eagle import load_eagle
from tests.heads.cases import write_eagle

Tiny = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_eagle(tmp_path, tmp_path)
    return tmp_path


def test_a_bias_an_embedding_and_a_norm_of_its_own_are_read(tiny: Tiny, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    own = {
        "fc.bias": torch.full((64,), 0.5),
        "embed_tokens.weight": torch.randn(320, 64),
        "layers.0.input_layernorm.weight": torch.full((64,), 2.0),
    }
    save_file({**tensors, **own}, folder / "model.safetensors")
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    head = load_eagle(read_head_file(str(folder)), model)
    for name, tensor in own.items():
        assert torch.equal(head.state_dict()[name], tensor), name


def test_the_original_projects_files_name_the_targets_architecture(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace("EagleLlamaForCausalLM", "LlamaForCausalLM"))
    assert kind_of(read_head_file(str(folder))) == "eagle"
