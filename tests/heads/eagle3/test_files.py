"""EAGLE-3 files: flags, raw files, vocabularies; what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig

from fairdraft.errors import CheckpointError
from fairdraft.heads import layer_config, read_head_file
from fairdraft.heads.eagle3 import Eagle3Config, Eagle3Head, load_eagle3, save_eagle3
from tests.heads.cases import TINY, WORDS, tiny_eagle3

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def target(tiny: Callable[[str], Path]) -> Any:
    return Auto.from_pretrained(tiny("llama"), dtype=torch.float32)


def change(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def rewrite(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


FLAGS = [
    {},
    {"norm_before_residual": True},
    {"norm_before_fc": True},
    {"fc_norm": True, "norm_output": True},
]


@pytest.mark.parametrize("flags", FLAGS)
def test_what_is_written_is_read_back(
    flags: dict[str, bool], write_head: Write, target: Any
) -> None:
    head = load_eagle3(read_head_file(str(write_head(**flags))), target)
    original = tiny_eagle3(**flags)
    assert head.config.layer_ids == (1, 2, 3)
    for name in flags:
        assert getattr(head.config, name)
    for name, tensor in original.state_dict().items():
        same = tensor.to(torch.bfloat16).float() if tensor.is_floating_point() else tensor
        assert torch.equal(head.state_dict()[name], same), name


def test_t2d_names_the_drafters_tokens(write_head: Write) -> None:
    tensors = load_file(write_head() / "model.safetensors")
    assert tensors["t2d"].sum() == WORDS
    ids = tensors["d2t"] + torch.arange(WORDS)
    assert tensors["t2d"][ids].all()


def test_raw_files_are_read_too(write_head: Write, target: Any, tmp_path: Path) -> None:
    """As EAGLE and SpecForge write them: one flat config, `midlayer`, torch's own format."""
    folder = write_head()
    config = json.loads((folder / "config.json").read_text())
    raw = config["transformer_layer_config"] | {
        "architectures": ["LlamaForCausalLMEagle3"],
        "draft_vocab_size": WORDS,
        "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3]},
    }
    tensors = {
        name.replace("layers.0.", "midlayer."): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    (tmp_path / "config.json").write_text(json.dumps(raw))
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    ours = load_eagle3(read_head_file(str(folder)), target).state_dict()
    theirs = load_eagle3(read_head_file(str(tmp_path)), target).state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())


def test_a_whole_vocabulary_borrows_the_targets_head(write_head: Write, target: Any) -> None:
    folder = write_head()

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in ("lm_head.weight", "d2t", "t2d"):
            del tensors[name]

    rewrite(folder, drop)
    change(folder, draft_vocab_size=320)
    head = load_eagle3(read_head_file(str(folder)), target)
    assert head.lm_head.weight.data_ptr() == target.lm_head.weight.data_ptr()


def refusal(folder: Path, target: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_eagle3(read_head_file(str(folder)), target)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"target_hidden_size": 128}, "hidden size of the target is 128"),
        ({"eagle_aux_hidden_state_layer_ids": [1, 2, 9]}, "reads hidden state 9"),
        ({"draft_vocab_size": 95}, "'d2t' is [96] in the file, but [95]"),
        ({"fc_norm": True}, "lacks the tensor 'fc_norm.0.weight', which should be [64]"),
    ],
)
def test_a_config_that_does_not_fit(
    keys: dict[str, Any], said: str, write_head: Write, target: Any
) -> None:
    folder = write_head()
    change(folder, **keys)
    assert said in refusal(folder, target)


def test_a_map_to_tokens_that_are_not_there(write_head: Write, target: Any) -> None:
    folder = write_head()
    rewrite(folder, lambda tensors: tensors["d2t"].add_(300))
    assert "d2t leads to tokens" in refusal(folder, target)


@pytest.mark.parametrize("key", ["verifier_accept_k", "accept_tolerance"])
def test_lossy_settings_are_refused(key: str, write_head: Write, target: Any) -> None:
    folder = write_head()
    change(folder, speculators_config={"proposal_methods": [{key: 2}]})
    assert f"asks for {key} 2" in refusal(folder, target)


def test_another_vocabulary_or_kind_of_layer(write_head: Write, target: Any) -> None:
    for key, value, said in (
        ("vocab_size", 999, "vocabulary is 999"),
        ("model_type", "mamba", "'mamba' layers"),
    ):
        folder = write_head()
        config = json.loads((folder / "config.json").read_text())
        change(folder, transformer_layer_config=config["transformer_layer_config"] | {key: value})
        assert said in refusal(folder, target)


def test_a_whole_vocabulary_has_no_map(target: Any, tmp_path: Path) -> None:
    """vLLM has no place for d2t where both vocabularies are of one size."""
    shape = Eagle3Config(layer_config(LlamaConfig, target.config), (1, 2, 3), 320)
    save_eagle3(Eagle3Head(shape), tmp_path, TINY)
    assert not {"d2t", "t2d"} & load_file(tmp_path / "model.safetensors").keys()
    head = load_eagle3(read_head_file(str(tmp_path)), target)
    assert head.target_ids.tolist() == list(range(320))


def test_a_head_of_another_size_needs_an_embedding_of_its_own(
    write_head: Write, target: Any
) -> None:
    folder = write_head()
    config = json.loads((folder / "config.json").read_text())
    layer = config["transformer_layer_config"] | {"hidden_size": 32}
    change(folder, transformer_layer_config=layer, target_hidden_size=64)
    with pytest.raises(CheckpointError, match=r"hidden_size is 32 in its .* but 64 here"):
        load_eagle3(read_head_file(str(folder)), target)
