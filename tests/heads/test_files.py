"""Folders that hold no drafter, or a damaged one, are refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.errors import CheckpointError
from fairdraft.heads import kind_of, load_head, read_head_file


def test_folders_that_are_no_drafters(tmp_path: Path) -> None:
    for name in ("/nowhere/at/all", str(tmp_path)):
        with pytest.raises(CheckpointError, match=r"does not exist|has no config\.json"):
            read_head_file(name)
    (tmp_path / "config.json").write_text('{"architectures": ["Llama"]}')
    with pytest.raises(CheckpointError, match="has no weights"):
        read_head_file(str(tmp_path))
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no drafter that is known here"):
        kind_of(read_head_file(str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_head_file(str(tmp_path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("transformer_layer_config", [3]),
        ("draft_vocab_size", "many"),
        ("eagle_aux_hidden_state_layer_ids", [1, None, 3]),
        ("target_hidden_size", [64]),
    ],
)
def test_damaged_configs_are_refused(
    key: str, value: Any, tiny: Callable[[str], Path], write_head: Callable[..., Path]
) -> None:
    folder = write_head()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(CheckpointError, match=str(folder)):
        load_head(read_head_file(str(folder)), target)


def test_a_config_that_is_no_object(write_head: Callable[..., Path]) -> None:
    folder = write_head()
    (folder / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_head_file(str(folder))
