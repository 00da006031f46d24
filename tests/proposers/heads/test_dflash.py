"""DFlash drafts what a plain computation says, whatever was accepted, rejected or preempted."""

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
from transformers import Qwen3Config

from fairdraft import SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import (
    DFlashConfig,
    DFlashHead,
    layer_config,
    load_dflash,
    read_head_file,
    save_dflash,
)
from fairdraft.models import ModelRunner
from fairdraft.proposers import Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.heads.dflash import DFlashProposer
from fairdraft.testing import check_proposer
from tests.conftest import CONFIGS, tiny_tokenizer
from tests.heads.echo import echo_target, follows
from tests.heads.plain import dflash_logits

Tiny = Callable[[str], Path]
BLOCK, WORDS, MASK = 6, 96, 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two random layers for the tiny Llama."""
    target = CONFIGS["llama"]()
    torch.manual_seed(6)
    head = DFlashHead(
        DFlashConfig(
            layer_config(Qwen3Config, target, 2),
            (1, 3),
            WORDS,
            target.hidden_size,
            block_size=BLOCK,
            mask_token_id=MASK,
        )
    )
    for parameter in head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    known = torch.randperm(target.vocab_size)[:WORDS].sort().values
    head.d2t.copy_(known - torch.arange(WORDS))
    save_dflash(head, tmp_path / "dflash", "tiny", ["LlamaForCausalLM"])
    return tmp_path / "dflash"


def target(tiny: Tiny) -> ModelRunner:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


class Checked(DFlashProposer):
    """Holds every block's logits against the plain computation."""

    def __init__(self, k: int, model: str, reference: Any, **options: Any) -> None:
        super().__init__(k, model, **options)
        self.tensors = load_file(Path(model) / "model.safetensors")
        self.document = json.loads((Path(model) / "config.json").read_text())
        self.reference = reference
        self.compared = 0

    @torch.inference_mode()
    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        found = super().run_pass(underway)
        for row, draft in enumerate(underway):
            text = list(draft.request.token_ids)
            plain = dflash_logits(
                self.tensors, self.document, self.reference, text, self.num_tokens
            )
            logits = torch.stack([each[row] for each in found])
            gap = (logits - plain).abs().max() / plain.abs().max()
            assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
            self.compared += self.num_tokens
        return found


def run(tiny: Tiny, folder: Path, k: int = BLOCK - 1, **options: Any) -> Checked:
    """Texts behind shared beginnings; half of them sampled, so that drafts are often rejected."""
    reference = Auto.from_pretrained(
        tiny("llama"), dtype=torch.float32, attn_implementation="eager"
    )
    proposer = Checked(k, str(folder), reference, **options)
    config = EngineConfig(
        "tiny",
        block_size=4,
        max_num_seqs=3,
        max_model_len=64,
        num_gpu_blocks_override=24,
        max_num_batched_tokens=17,
    )
    engine = Engine(config, target(tiny), proposer=proposer)
    for i in range(6):
        params = SamplingParams(temperature=0.7 * (i % 2), max_tokens=12, ignore_eos=True)
        shared = [(7 * j * j) % 256 for j in range(9)]
        engine.add_request([*shared, *((i * j) % 256 for j in range(1 + 4 * i))], params, seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_draft_tokens
    return proposer


@pytest.mark.parametrize("options", [{}, {"k": 2}, {"draft_tree_top_k": 2, "draft_tree_depth": 3}])
def test_its_logits_are_those_of_a_plain_computation(
    options: dict[str, Any], tiny: Tiny, folder: Path
) -> None:
    assert run(tiny, folder, **options).compared > 100


@pytest.mark.parametrize(
    "options", [{"draft_sample_method": "probabilistic"}, {"draft_tree_top_k": 2}]
)
def test_it_passes_the_suite(options: dict[str, Any], tiny: Tiny, folder: Path) -> None:
    report = check_proposer(
        DFlashProposer, runner=lambda: target(tiny), model=str(folder), draws=400, **options
    )
    assert report.deterministic == ("draft_sample_method" not in options)


SIZE = 24  # its tokens follow each other in three circles; the mask is of one that is not used


def perfect(k: int) -> DFlashHead:
    """In layer l each row reads the row before it, and writes the token behind that one's.

    So mask j knows its token from layer j on. Rotation tells rows apart: queries are keys turned by
    one position.
    """
    shape = layer_config(Qwen3Config, echo_target(SIZE).config, k, attention_bias=True)
    head = DFlashHead(DFlashConfig(shape, (1, 2), SIZE, 64, block_size=k + 1, mask_token_id=2))
    angles = 10000 ** -(torch.arange(16) / 16)
    says = follows(SIZE)
    says[:, head.config.mask_token_id] = 0
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1)
        for layer in head.layers:
            attention = layer.self_attn
            attention.q_proj.bias.copy_(torch.cat([angles.cos(), -angles.sin()]).repeat(2))
            attention.k_proj.bias.copy_(torch.cat([torch.ones(16), torch.zeros(16)]))
            attention.k_norm.weight.fill_(100)
            attention.v_proj.bias.zero_()
            attention.o_proj.bias.zero_()
            attention.v_proj.weight[:SIZE, :SIZE] = says
            attention.o_proj.weight[:SIZE, :SIZE] = torch.eye(SIZE)
        head.lm_head.weight.copy_(torch.eye(SIZE, 64))
    return head


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_perfect_drafter_is_always_accepted(k: int, tmp_path: Path) -> None:
    save_dflash(perfect(k), tmp_path, "echo", ["LlamaForCausalLM"])
    proposer = DFlashProposer(k, str(tmp_path))
    runner = ModelRunner(echo_target(SIZE))
    engine = Engine(EngineConfig("echo", max_model_len=256), runner, proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=1 + 5 * (k + 1), ignore_eos=True)
    for prompt in ((1, 2, 3), (4,), (9, 8, 7, 6, 5)):
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.mean_acceptance_length == k + 1


# --- planted faults


def a_blocks_kv_not_cropped(patch: pytest.MonkeyPatch) -> None:
    """Where a block's rows once wrote their keys, those of the text do not replace them."""
    observe = DFlashProposer.observe
    blocks = DFlashProposer._blocks

    def noting(self: DFlashProposer, underway: Sequence[Underway]) -> Any:
        batch = blocks(self, underway)
        self.__dict__.setdefault("written", set()).update(batch.slots.tolist())
        return batch

    def faulty(self: DFlashProposer, rows: Rows) -> None:
        storage = self.kv()
        written = self.__dict__.get("written", set())
        kept = {s: storage.keys[0][s].clone() for s in rows.slots if s in written}
        observe(self, rows)
        for slot, keys in kept.items():
            storage.keys[0][slot] = keys

    patch.setattr(DFlashProposer, "_blocks", noting)
    patch.setattr(DFlashProposer, "observe", faulty)


def the_last_block_counts_as_text(patch: pytest.MonkeyPatch) -> None:
    """The cache is not cut back: rows see what earlier blocks left behind the text."""
    blocks = DFlashProposer._blocks

    def faulty(self: DFlashProposer, underway: Sequence[Underway]) -> Any:
        batch = blocks(self, underway)
        return replace(
            batch,
            context_lens=[n + 1 for n in batch.context_lens],
            block_tables=[[*table, 0] for table in batch.block_tables],  # room for what is too much
        )

    patch.setattr(DFlashProposer, "_blocks", faulty)


def masks_that_see_only_backwards(patch: pytest.MonkeyPatch) -> None:
    """A causal block."""
    blocks = DFlashProposer._blocks

    def faulty(self: DFlashProposer, underway: Sequence[Underway]) -> Any:
        return replace(blocks(self, underway), ancestors={})

    patch.setattr(DFlashProposer, "_blocks", faulty)


def hidden_states_one_position_off(patch: pytest.MonkeyPatch) -> None:
    """Each row reads the hidden states of the row before it."""
    observe = DFlashProposer.observe

    def faulty(self: DFlashProposer, rows: Rows) -> None:
        shifted = {layer: state.roll(1, 0) for layer, state in rows.hidden.items()}
        observe(self, replace(rows, hidden=shifted))

    patch.setattr(DFlashProposer, "observe", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        a_blocks_kv_not_cropped,
        the_last_block_counts_as_text,
        masks_that_see_only_backwards,
        hidden_states_one_position_off,
    ],
)
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


def edit(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_z_labs_files_count_layers_from_0_and_borrow_the_head(tiny: Tiny, folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    raw = document["transformer_layer_config"] | {
        "architectures": ["DFlashDraftModel"],
        "block_size": BLOCK,
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


def test_drafts_longer_than_its_blocks_are_refused(tiny: Tiny, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"is 6, but .* blocks of {BLOCK}: lower it to 5"):
        DFlashProposer(BLOCK, str(folder)).bind(target(tiny))
