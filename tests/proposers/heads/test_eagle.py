"""EAGLE's first generation drafts what a plain computation says, in chains and trees."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError
from fairdraft.heads import (
    EagleHead,
    layer_config,
    load_eagle,
    read_head_file,
    save_eagle,
)
from fairdraft.heads.base import HeadConfig
from fairdraft.models import ModelRunner
from fairdraft.proposers import Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.eagle import EagleProposer
from fairdraft.testing import check_proposer
from tests.conftest import CONFIGS, tiny_tokenizer
from tests.heads.echo import echo_target, follows
from tests.heads.plain import eagle_logits

Tiny = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random layer for the tiny Llama."""
    target = CONFIGS["llama"]()
    torch.manual_seed(8)
    config = HeadConfig(layer_config(LlamaConfig, target), (4,), target.vocab_size, 64)
    head = EagleHead(config)
    for parameter in head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    save_eagle(head, tmp_path / "eagle")
    return tmp_path / "eagle"


def target(tiny: Tiny) -> ModelRunner:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


class Checked(EagleProposer):
    """Holds the logits behind every node against the plain computation."""

    def __init__(self, k: int, model: str, reference: Any, **options: Any) -> None:
        super().__init__(k, model, **options)
        self.tensors = load_file(Path(model) / "model.safetensors")
        self.document = json.loads((Path(model) / "config.json").read_text())
        self.reference = reference
        self.compared = 0

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        logits = super().run(underway)
        row = 0
        for draft in underway:
            for newest in range(draft.num_newest):
                node = len(draft.nodes) - draft.num_newest + newest
                path = draft.nodes.tokens_before(node + 1) if len(draft.nodes) else ()
                text = [*draft.request.token_ids, *path]
                plain = eagle_logits(
                    self.tensors, self.document, self.reference, text, len(path) + 1
                )
                gap = (logits[row] - plain[-1]).abs().max() / plain[-1].abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return logits


def run(tiny: Tiny, folder: Path, **options: Any) -> Checked:
    """Texts behind shared beginnings; half of them sampled, so that drafts are often rejected."""
    reference = Auto.from_pretrained(
        tiny("llama"), dtype=torch.float32, attn_implementation="eager"
    )
    proposer = Checked(4, str(folder), reference, **options)
    config = EngineConfig(
        "tiny", block_size=4, max_num_seqs=3, max_model_len=64, num_gpu_blocks_override=22
    )
    engine = Engine(config, target(tiny), proposer=proposer)
    for i in range(5):
        params = SamplingParams(temperature=0.7 * (i % 2), max_tokens=12, ignore_eos=True)
        shared = [(7 * j * j) % 256 for j in range(9)]
        engine.add_request([*shared, *((i * j) % 256 for j in range(1 + 4 * i))], params, seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return proposer


@pytest.mark.parametrize("options", [{}, {"draft_tree_top_k": 2, "draft_tree_depth": 3}])
def test_its_logits_are_those_of_a_plain_computation(
    options: dict[str, Any], tiny: Tiny, folder: Path
) -> None:
    assert run(tiny, folder, **options).compared > 100


def test_it_passes_the_suite(tiny: Tiny, folder: Path) -> None:
    report = check_proposer(
        EagleProposer, runner=lambda: target(tiny), model=str(folder), draws=400
    )
    assert report.deterministic


def test_hidden_states_one_position_off_are_caught(
    monkeypatch: pytest.MonkeyPatch, tiny: Tiny, folder: Path
) -> None:
    observe = EagleProposer.observe

    def faulty(self: EagleProposer, rows: Rows) -> None:
        shifted = {layer: state.roll(1, 0) for layer, state in rows.hidden.items()}
        observe(self, replace(rows, hidden=shifted))

    monkeypatch.setattr(EagleProposer, "observe", faulty)
    with pytest.raises(AssertionError, match="not what a plain computation says"):
        run(tiny, folder)


@pytest.mark.parametrize("k", [1, 4])
def test_a_perfect_head_is_always_accepted(k: int, tmp_path: Path) -> None:
    """It hands the token on as its state; the target's own head says which one follows."""
    model = echo_target()
    config = HeadConfig(layer_config(LlamaConfig, model.config), (4,), 32, 64)
    head = EagleHead(config)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1)
        head.fc.weight[:, :64].copy_(torch.eye(64))
    save_eagle(head, tmp_path)
    proposer = EagleProposer(k, str(tmp_path))
    engine = Engine(EngineConfig("echo", max_model_len=256), ModelRunner(model), proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=1 + 5 * (k + 1), ignore_eos=True)
    for prompt in ((1, 2, 3), (4,), (9, 8, 7, 6, 5)):
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    assert follows(32)[8, 1] == 1
    assert engine.counters.mean_acceptance_length == k + 1


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


def test_the_original_projects_files_name_the_targets_architecture(
    tiny: Tiny, folder: Path
) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace("EagleLlamaForCausalLM", "LlamaForCausalLM"))
    EagleProposer(2, str(folder)).bind(target(tiny))


def test_a_head_for_another_target_is_refused(tiny: Tiny, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 64', '"hidden_size": 128'))
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    with pytest.raises(CheckpointError, match=r"hidden_size is 128 .* but 64 here"):
        load_eagle(read_head_file(str(folder)), model)
