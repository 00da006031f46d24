"""EAGLE-3 drafts what a plain computation says, whatever was accepted, rejected or preempted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig, LlamaForCausalLM

from fairdraft import LLM, SamplingParams
from fairdraft.config import EngineConfig
from fairdraft.engine import engine as engine_module
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError
from fairdraft.heads import Eagle3Config, Eagle3Head, layer_config, save_eagle3
from fairdraft.kv import KVManager
from fairdraft.models import ModelRunner
from fairdraft.proposers import Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.eagle3 import Eagle3Proposer
from fairdraft.testing import check_proposer
from tests.conftest import tiny_tokenizer
from tests.heads.conftest import write_head
from tests.heads.echo import echo_target, follows
from tests.heads.plain import eagle3_logits

__all__ = ["write_head"]

Write = Callable[..., Path]
Tiny = Callable[[str], Path]
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
SAMPLED = SamplingParams(temperature=0.7, max_tokens=12, ignore_eos=True)
PROMPTS = [tuple((7 * i + j * j) % 256 for j in range(5 + 6 * i)) for i in range(4)]
# Beginnings that are cached, and go on otherwise right behind a block.
PROMPTS += [(*PROMPTS[3][:16], i, 7) for i in range(2)]


def target(tiny: Tiny) -> ModelRunner:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer())


class Checked(Eagle3Proposer):
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
                plain = eagle3_logits(
                    self.tensors, self.document, self.reference, text, len(path) + 1
                )
                gap = (logits[row] - plain[-1]).abs().max() / plain[-1].abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return logits


def run(tiny: Tiny, folder: Path, k: int = 4, **options: Any) -> Checked:
    """Texts behind shared beginnings; half of them sampled, so that drafts are often rejected."""
    reference = Auto.from_pretrained(
        tiny("llama"), dtype=torch.float32, attn_implementation="eager"
    )
    engine_options = {
        name: options.pop(name)
        for name in ("num_gpu_blocks_override", "max_num_batched_tokens", "max_num_seqs")
        if name in options
    }
    proposer = Checked(k, str(folder), reference, **options)
    defaults: dict[str, Any] = {"block_size": 4, "max_num_seqs": 3, "max_model_len": 64}
    engine = Engine(
        EngineConfig("tiny", **(defaults | engine_options)), target(tiny), proposer=proposer
    )
    for i, prompt in enumerate(PROMPTS):
        engine.add_request(prompt, (GREEDY, SAMPLED)[i % 2], seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.num_draft_tokens
    return proposer


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"norm_before_residual": True},
        {"norm_before_fc": True},
        {"fc_norm": True, "norm_output": True},
    ],
)
def test_its_logits_are_those_of_a_plain_computation(
    flags: dict[str, bool], tiny: Tiny, write_head: Write
) -> None:
    assert run(tiny, write_head(**flags)).compared > 100


@pytest.mark.parametrize(
    "options",
    [
        {"num_gpu_blocks_override": 20, "max_num_batched_tokens": 7},
        {"max_num_seqs": 1},
        {"draft_tree_top_k": 2, "draft_tree_depth": 3},
        {"draft_sample_method": "probabilistic"},
    ],
)
def test_under_every_schedule_and_in_trees(
    options: dict[str, Any], tiny: Tiny, write_head: Write
) -> None:
    run(tiny, write_head(), **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"draft_sample_method": "probabilistic"}, {"draft_tree_top_k": 2}],
)
def test_it_passes_the_suite(options: dict[str, Any], tiny: Tiny, write_head: Write) -> None:
    report = check_proposer(
        Eagle3Proposer,
        runner=lambda: target(tiny),
        model=str(write_head()),
        draws=400,
        **options,
    )
    assert report.deterministic == ("draft_sample_method" not in options)


# --- a head that is right by construction


def perfect_head(model: LlamaForCausalLM) -> Eagle3Head:
    """Keeps "which token is this" in its state, one further each row; knows words in odd order."""
    size, d = model.config.vocab_size, 64
    head = Eagle3Head(Eagle3Config(layer_config(LlamaConfig, model.config), (1, 2, 3), size))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1)
        head.fc.weight[:, :d].copy_(torch.eye(d))
        mlp = head.layers[0].mlp
        mlp.gate_proj.weight.copy_(torch.eye(d))
        mlp.up_proj.weight.copy_(torch.eye(d))
        normed = torch.tensor(float(d)).sqrt()
        step = torch.zeros(d, d)
        step[:size, :size] = follows(size) - torch.eye(size)
        mlp.down_proj.weight.copy_(step / (torch.nn.functional.silu(normed) * normed))
        order = torch.randperm(size, generator=torch.Generator().manual_seed(2))
        head.d2t.copy_(order - torch.arange(size))
        head.lm_head.weight.copy_((follows(size) @ torch.eye(size, d))[order])
    return head


@pytest.mark.parametrize("k", [1, 4, 7])
def test_a_perfect_head_is_always_accepted(k: int, tmp_path: Path) -> None:
    model = echo_target()
    save_eagle3(perfect_head(model), tmp_path, "echo", ["LlamaForCausalLM"])
    proposer = Eagle3Proposer(k, str(tmp_path))
    engine = Engine(EngineConfig("echo", max_model_len=256), ModelRunner(model), proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=1 + 5 * (k + 1), ignore_eos=True)
    for prompt in ((1, 2, 3), (4,), (9, 8, 7, 6, 5)):
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    assert engine.counters.mean_acceptance_length == k + 1


# --- planted faults


def hidden_states_one_position_off(patch: pytest.MonkeyPatch) -> None:
    """Each row reads the hidden states of the row before it."""
    observe = Eagle3Proposer.observe

    def faulty(self: Eagle3Proposer, rows: Rows) -> None:
        shifted = {layer: state.roll(1, 0) for layer, state in rows.hidden.items()}
        observe(self, replace(rows, hidden=shifted))

    patch.setattr(Eagle3Proposer, "observe", faulty)


def a_rejected_rows_hidden_states_fed_on(patch: pytest.MonkeyPatch) -> None:
    """Where a draft was rejected, the row after the last accepted one speaks."""
    rows = engine_module.standing_rows

    def faulty(step: Any, verdicts: Any, kv: Any, batch: Any, output: Any, seconds: Any) -> Rows:
        found = rows(step, verdicts, kv, batch, output, seconds)
        hidden = {layer: state.clone() for layer, state in found.hidden.items()}
        for i, (entry, verdict) in enumerate(zip(step, verdicts, strict=True)):
            if verdict is not None and verdict.num_accepted < len(entry.draft):
                wrong = batch.cu_rows[i + 1] - len(entry.draft) + verdict.num_accepted
                for layer, state in hidden.items():
                    state[found.cu_rows[i + 1] - 1] = output.hidden[layer][wrong]
        return replace(found, hidden=hidden)

    patch.setattr(engine_module, "standing_rows", faulty)


def a_prefix_hit_taken_whole(patch: pytest.MonkeyPatch) -> None:
    """The last block of a hit is kept, though another token follows it now."""
    init = KVManager.__init__

    def faulty(self: KVManager, num_blocks: int, size: int, caching: bool, _: bool = False) -> None:
        init(self, num_blocks, size, caching, False)

    patch.setattr(KVManager, "__init__", faulty)


def kv_of_rejected_drafts_kept(patch: pytest.MonkeyPatch) -> None:
    """Rows that stand do not write their KV anew where a draft row wrote before."""
    run = Eagle3Proposer._run

    def faulty(self: Eagle3Proposer, batch: Any, hidden: Tensor, states: Any) -> Any:
        storage = self.kv()
        written = self.__dict__.setdefault("written", {})
        kept = {s: storage.keys[0][s].clone() for s in batch.slots.tolist() if s in written}
        found = run(self, batch, hidden, states)
        for slot, keys in kept.items():
            storage.keys[0][slot] = keys
        if len(batch.logit_rows):
            written.update(dict.fromkeys(batch.slots.tolist()))
        return found

    patch.setattr(Eagle3Proposer, "_run", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        hidden_states_one_position_off,
        a_rejected_rows_hidden_states_fed_on,
        a_prefix_hit_taken_whole,
        kv_of_rejected_drafts_kept,
    ],
)
def test_a_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Tiny,
    write_head: Write,
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="not what a plain computation says"):
        run(tiny, write_head())


def test_d2t_read_as_target_ids_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A perfect head then drafts other tokens, or the file is refused for naming one twice."""
    monkeypatch.setattr(Eagle3Head, "target_ids", property(lambda self: self.d2t % len(self.d2t)))
    with pytest.raises((AssertionError, CheckpointError)):
        test_a_perfect_head_is_always_accepted(4, tmp_path)


# --- refusals


def test_a_file_of_another_kind(write_head: Write) -> None:
    folder = write_head()
    path = folder / "config.json"
    path.write_text(
        path.read_text().replace(
            '"speculators_model_type": "eagle3"', '"speculators_model_type": "mtp"'
        )
    )
    with pytest.raises(CheckpointError, match="a file for method 'mtp'"):
        Eagle3Proposer(4, str(folder))


def test_it_is_told_before_the_target_is_loaded() -> None:
    with pytest.raises(CheckpointError, match="/nowhere/x"):
        LLM("demo", speculative_config={"method": "eagle3", "model": "/nowhere/x"})
