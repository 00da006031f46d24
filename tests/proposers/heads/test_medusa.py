"""Medusa drafts what its heads say, each at its own distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import (
    MedusaConfig,
    MedusaHead,
    load_medusa,
    read_head_file,
    save_medusa,
)
from fairdraft.models import ModelRunner
from fairdraft.proposers import Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.heads.medusa import MedusaProposer
from fairdraft.testing import check_proposer
from tests.conftest import tiny_tokenizer
from tests.heads.echo import echo_target, follows
from tests.heads.plain import medusa_logits

Tiny = Callable[[str], Path]
HEADS, WORDS = 4, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random heads for the tiny Llama, two blocks each."""
    torch.manual_seed(4)
    head = MedusaHead(MedusaConfig(64, 320, HEADS, 2, WORDS))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.12)
    head.token_map.copy_(torch.randperm(320)[:WORDS])
    path = tmp_path_factory.mktemp("medusa")
    save_medusa(head, path, "tiny")
    return path


def target(tiny: Tiny) -> ModelRunner:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


class Checked(MedusaProposer):
    """Holds the logits behind every node against the plain computation."""

    def __init__(self, k: int, model: str, reference: Any, **options: Any) -> None:
        super().__init__(k, model, **options)
        self.tensors = load_file(Path(model) / "model.safetensors")
        self.reference = reference
        self.compared = 0

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        logits = super().run(underway)
        row = 0
        for draft in underway:
            depth = draft.nodes.depths[-1]
            text = list(draft.request.token_ids)
            plain = medusa_logits(self.tensors, self.reference, text, depth + 1)[-1]
            for _ in range(draft.num_newest):
                gap = (logits[row] - plain).abs().max() / plain.abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return logits


def run(tiny: Tiny, folder: Path, **options: Any) -> Checked:
    reference = Auto.from_pretrained(
        tiny("llama"), dtype=torch.float32, attn_implementation="eager"
    )
    proposer = Checked(HEADS, str(folder), reference, **options)
    config = EngineConfig(
        "tiny", block_size=4, max_num_seqs=3, max_model_len=64, num_gpu_blocks_override=20
    )
    engine = Engine(config, target(tiny), proposer=proposer)
    for i in range(6):
        params = SamplingParams(temperature=0.7 * (i % 2), max_tokens=12, ignore_eos=True)
        engine.add_request([(7 * i + j * j) % 256 for j in range(4 + 5 * i)], params, seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_draft_tokens
    return proposer


@pytest.mark.parametrize("options", [{}, {"draft_tree_top_k": 3, "draft_tree_depth": 3}])
def test_its_logits_are_those_of_a_plain_computation(
    options: dict[str, Any], tiny: Tiny, folder: Path
) -> None:
    assert run(tiny, folder, **options).compared > 100


@pytest.mark.parametrize(
    "options", [{"draft_sample_method": "probabilistic"}, {"draft_tree_top_k": 2}]
)
def test_it_passes_the_suite(options: dict[str, Any], tiny: Tiny, folder: Path) -> None:
    report = check_proposer(
        MedusaProposer, runner=lambda: target(tiny), model=str(folder), draws=400, **options
    )
    assert report.deterministic == ("draft_sample_method" not in options)


def perfect(size: int) -> MedusaHead:
    """Head i turns "token x" into "the token i + 1 after x", which the target's head reads."""
    head = MedusaHead(MedusaConfig(64, size, HEADS, 1, size))
    head.reset()
    with torch.no_grad():
        step = follows(size)
        for i, block in enumerate(head.blocks):
            block.layers[0].weight[:size, :size] = 8 * torch.linalg.matrix_power(step, i + 1)
        head.lm_head.weight.copy_(step @ torch.eye(size, 64))
    return head


@pytest.mark.parametrize("k", [1, 3, 4])
def test_perfect_heads_are_always_accepted(k: int, tmp_path: Path) -> None:
    model = echo_target()
    save_medusa(perfect(32), tmp_path, "echo")
    proposer = MedusaProposer(k, str(tmp_path))
    engine = Engine(EngineConfig("echo", max_model_len=256), ModelRunner(model), proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=1 + 5 * (k + 1), ignore_eos=True)
    for prompt in ((1, 2, 3), (4,), (9, 8, 7, 6, 5)):
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.mean_acceptance_length == k + 1


# --- planted faults


def heads_shifted_by_one(patch: pytest.MonkeyPatch) -> None:
    """Each token is taken from the head behind its own."""
    forward = MedusaHead.forward

    def faulty(self: MedusaHead, hidden: Tensor) -> list[Tensor]:
        states = forward(self, hidden)
        return [*states[1:], states[0]]

    patch.setattr(MedusaHead, "forward", faulty)


def hidden_states_one_position_off(patch: pytest.MonkeyPatch) -> None:
    """The heads read the state before the last one."""
    observe = MedusaProposer.observe

    def faulty(self: MedusaProposer, rows: Rows) -> None:
        observe(self, replace(rows, hidden={i: h.roll(1, 0) for i, h in rows.hidden.items()}))

    patch.setattr(MedusaProposer, "observe", faulty)


@pytest.mark.parametrize("plant", [heads_shifted_by_one, hidden_states_one_position_off])
def test_a_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Tiny,
    folder: Path,
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="not what a plain computation says"):
        run(tiny, folder)


# --- files


def test_original_files_are_read_too(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    """`medusa_lm_head.pt`: heads by number, a vocabulary matrix each."""
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    whole = torch.randn(320, 64, generator=torch.Generator().manual_seed(1))
    old = {}
    for head in range(HEADS):
        for layer in range(2):
            for part in ("weight", "bias"):
                name = f"blocks.{head}.layers.{layer}.{part}"
                old[f"{head}.{layer}.linear.{part}"] = tensors[name]
        old[f"{head}.2.weight"] = whole + head
    torch.save(old, tmp_path / "medusa_lm_head.pt")
    (tmp_path / "config.json").write_text(
        f'{{"medusa_num_heads": {HEADS}, "medusa_num_layers": 2}}'
    )
    head = load_medusa(read_head_file(str(tmp_path)), model)
    assert torch.equal(head.blocks[1].layers[1].weight, tensors["blocks.1.layers.1.weight"].float())
    assert torch.equal(head.vocabulary(3).weight, whole + 3)


def test_the_targets_own_head_is_borrowed(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    head = load_medusa(read_head_file(str(tmp_path)), model)
    assert torch.equal(head.lm_head.weight, model.lm_head.weight[tensors["token_map"]])


def test_what_does_not_fit_is_refused(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    runner = target(tiny)
    with pytest.raises(ConfigError, match="is 5, but the file has 4 heads"):
        MedusaProposer(5, str(folder)).bind(runner)
    with pytest.raises(ConfigError, match="draft_tree_depth is 6, but the file has 4 heads"):
        MedusaProposer(9, str(folder), draft_tree_top_k=2, draft_tree_depth=6).bind(runner)
    config = (folder / "config.json").read_text()
    save_file(load_file(folder / "model.safetensors"), tmp_path / "model.safetensors")
    for old, new, said in (
        ('"hidden_size": 64', '"hidden_size": 65', "hidden_size is 65"),
        ('"num_heads": 4', '"num_heads": 5', r"lacks the tensor 'blocks\.4\.layers\.0\.bias'"),
        ('"truncated_vocab_size": 96', '"truncated_vocab_size": 97', r"is \[96, 64\] in the file"),
    ):
        (tmp_path / "config.json").write_text(config.replace(old, new))
        with pytest.raises(CheckpointError, match=said):
            MedusaProposer(3, str(tmp_path)).bind(runner)
