"""Medusa files: vLLM's and the original ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import CheckpointError
from fairdraft.heads import kind_of, read_head_file
from fairdraft.heads.medusa import count_heads, load_medusa
from tests.heads.cases import MOST, write_medusa

Tiny = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("medusa")
    write_medusa(folder, folder)
    return folder


def test_original_files_are_read_too(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    """`medusa_lm_head.pt`: heads by number, a vocabulary matrix each."""
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    whole = torch.randn(320, 64, generator=torch.Generator().manual_seed(1))
    old = {}
    for head in range(MOST):
        for layer in range(2):
            for part in ("weight", "bias"):
                name = f"blocks.{head}.layers.{layer}.{part}"
                old[f"{head}.{layer}.linear.{part}"] = tensors[name]
        old[f"{head}.2.weight"] = whole + head
    torch.save(old, tmp_path / "medusa_lm_head.pt")
    (tmp_path / "config.json").write_text(f'{{"medusa_num_heads": {MOST}, "medusa_num_layers": 2}}')
    head = load_medusa(read_head_file(str(tmp_path)), model)
    assert torch.equal(head.blocks[1].layers[1].weight, tensors["blocks.1.layers.1.weight"].float())
    assert torch.equal(head.vocabulary(3).weight, whole + 3)


@pytest.mark.parametrize("said", ['"medusa_num_heads": 2, ', ""])
def test_heads_are_counted_not_believed(
    said: str, tiny: Tiny, folder: Path, tmp_path: Path
) -> None:
    """The first Medusa files say 2 heads, or none, and hold more."""
    tensors = load_file(folder / "model.safetensors")
    old = {
        f"{head}.{layer}.linear.{part}": tensors[f"blocks.{head}.layers.{layer}.{part}"]
        for head in range(MOST)
        for layer in range(2)
        for part in ("weight", "bias")
    }
    whole = torch.randn(320, 64)
    old |= {f"{head}.2.weight": whole + head for head in range(MOST)}
    torch.save(old, tmp_path / "medusa_lm_head.pt")
    (tmp_path / "config.json").write_text(f'{{{said}"medusa_num_layers": 2}}')
    file = read_head_file(str(tmp_path))
    assert kind_of(file) == "medusa"
    assert count_heads(file) == (MOST, 2 if said else None)
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    assert load_medusa(file, model).config.num_heads == MOST


def test_the_targets_own_head_is_borrowed(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    head = load_medusa(read_head_file(str(tmp_path)), model)
    assert torch.equal(head.lm_head.weight, model.lm_head.weight[tensors["token_map"]])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"hidden_size": 64', '"hidden_size": 65', "hidden_size is 65"),
        ('"num_heads": 4', '"num_heads": 5', r"lacks the tensor 'blocks\.4\.layers\.0\.bias'"),
        ('"truncated_vocab_size": 96', '"truncated_vocab_size": 97', r"is \[96, 64\] in the file"),
    ],
)
def test_what_does_not_fit_is_refused(
    old: str, new: str, said: str, tiny: Tiny, folder: Path
) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace(old, new))
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(CheckpointError, match=said):
        load_medusa(read_head_file(str(folder)), model)
