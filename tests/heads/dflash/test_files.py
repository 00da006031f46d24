"""DFlash files: "speculators" ones and z-lab's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import CheckpointError
from fairdraft.heads import read_head_file
from fairdraft.heads.dflash import load_dflash
from tests.heads.cases import MASK, MOST, write_dflash

Tiny = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dflash(tmp_path, tmp_path)
    return tmp_path


def edit(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_z_labs_files_count_layers_from_0_and_borrow_the_head(tiny: Tiny, folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    raw = document["transformer_layer_config"] | {
        "architectures": ["DFlashDraftModel"],
        "block_size": MOST + 1,
        "dflash_config": {"target_layer_ids": [0, 2], "mask_token_id": MASK},
    }
    (folder / "config.json").write_text(json.dumps(raw))
    tensors = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "d2t", "t2d"):
        del tensors[name]
    save_file(tensors, folder / "model.safetensors")
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    head = load_dflash(read_head_file(str(folder)), model)
    assert head.config.layer_ids == (1, 3)
    assert head.lm_head.weight.data_ptr() == model.lm_head.weight.data_ptr()


def test_a_vocabulary_left_out_is_the_targets_rows(tiny: Tiny, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    head = load_dflash(read_head_file(str(folder)), model)
    assert torch.equal(head.lm_head.weight, model.lm_head.weight[head.target_ids])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"sample_from_anchor": True}, "sample_from_anchor"),
        ({"aux_hidden_state_layer_ids": [1, 99]}, "reads hidden state 99"),
        ({"target_hidden_size": 99}, "hidden size of the target is 99"),
        ({"mask_token_id": None}, "mask_token_id"),
        ({"mask_token_id": 320}, "mask_token_id 320, but the target has 320 tokens"),
        ({"aux_hidden_state_layer_ids": [-1, 2]}, "reads hidden state -1"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    keys: dict[str, Any], says: str, tiny: Tiny, folder: Path
) -> None:
    edit(folder, **keys)
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(CheckpointError, match=says):
        load_dflash(read_head_file(str(folder)), model)
