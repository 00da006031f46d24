"""MTP layers of a target's own checkpoint draft what a plain computation says."""

from __future__ import annotations

import shutil
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
from fairdraft.config import EngineConfig, SpeculativeConfig
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers import Rows, build_proposer
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.mtp import MTPProposer
from fairdraft.testing import check_proposer
from tests.conftest import tiny_tokenizer
from tests.heads.plain import decoder_layer, rms

Tiny = Callable[[str], Path]
MIMO = ("token_layernorm", "hidden_layernorm", "input_proj", "final_layernorm")
DEEPSEEK = ("enorm", "hnorm", "eh_proj", "shared_head.norm")
PREFIX = {MIMO: "model.mtp_layers.0.", DEEPSEEK: "model.layers.4."}


@pytest.fixture(params=[MIMO, DEEPSEEK], ids=["mimo", "deepseek"])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def folder(names: tuple[str, ...], tiny: Tiny, tmp_path: Path) -> Path:
    """The tiny Llama, and a random MTP layer beside it."""
    path = tmp_path / "target"
    shutil.copytree(tiny("llama"), path)
    model = Auto.from_pretrained(path, dtype=torch.float32)
    torch.manual_seed(9)
    own = dict(model.model.layers[0].state_dict())
    own |= {f"{names[i]}.weight": torch.empty(64) for i in (0, 1, 3)}
    own[f"{names[2]}.weight"] = torch.empty(64, 128)
    for name, tensor in own.items():
        fresh = torch.randn(tensor.shape) * 0.12 if tensor.dim() > 1 else torch.rand(64) + 0.5
        own[name] = fresh
    if names is DEEPSEEK:
        own["embed_tokens.weight"] = torch.zeros(320, 64)  # a copy that is not read
    save_file({PREFIX[names] + n: t for n, t in own.items()}, path / "mtp.safetensors")
    return path


def target(folder: Path) -> ModelRunner:
    model = Auto.from_pretrained(folder, dtype=torch.float32)
    return ModelRunner(model, tokenizer=tiny_tokenizer(), name=str(folder))


def mtp_logits(
    tensors: dict[str, Tensor], names: tuple[str, ...], model: Any, text: list[int], count: int
) -> Tensor:
    """[count, V]: behind a text, and behind its last `count` − 1 tokens as drafted."""
    get = {name.removeprefix(PREFIX[names]): t for name, t in tensors.items()}
    token, state, projection, final = (get[f"{name}.weight"] for name in names)
    shape = model.config.to_dict()
    eps = shape["rms_norm_eps"]
    settled = len(text) - count + 1
    ids = torch.tensor([text[: settled - 1]])
    hidden = model(ids, output_hidden_states=True).hidden_states[-1][0]
    rows = []
    for drafted in range(count):
        embeds = model.get_input_embeddings()(torch.tensor(text[1 : settled + drafted]))
        embeds = torch.cat([torch.zeros(1, 64), embeds[1:]])
        parts = [rms(embeds, token, eps), rms(hidden, state, eps)]
        x = torch.cat(parts[::-1] if names is MIMO else parts, -1) @ projection.T
        output = decoder_layer(get, shape, x, rms(x, get["input_layernorm.weight"], eps))[-1]
        normed = rms(output, final, eps)
        rows.append(normed @ model.lm_head.weight.T)
        hidden = torch.cat([hidden, (normed if names is MIMO else output)[None]])
    return torch.stack(rows)


class Checked(MTPProposer):
    """Holds the logits behind every node against the plain computation."""

    tensors: dict[str, Tensor]
    names: tuple[str, ...]
    reference: Any
    compared = 0

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        logits = super().run(underway)
        row = 0
        for draft in underway:
            for newest in range(draft.num_newest):
                node = len(draft.nodes) - draft.num_newest + newest
                path = draft.nodes.tokens_before(node + 1) if len(draft.nodes) else ()
                text = [*draft.request.token_ids, *path]
                plain = mtp_logits(self.tensors, self.names, self.reference, text, len(path) + 1)
                gap = (logits[row] - plain[-1]).abs().max() / plain[-1].abs().max()
                assert gap < 1e-5, f"not what a plain computation says: {gap:.1e}"
                row += 1
                self.compared += 1
        return logits


def run(folder: Path, names: tuple[str, ...], **options: Any) -> Checked:
    proposer = Checked(3, **options)
    proposer.tensors = load_file(folder / "mtp.safetensors")
    proposer.names = names
    proposer.reference = Auto.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    config = EngineConfig(
        "tiny", block_size=4, max_num_seqs=3, max_model_len=64, num_gpu_blocks_override=22
    )
    engine = Engine(config, target(folder), proposer=proposer)
    for i in range(5):
        params = SamplingParams(temperature=0.7 * (i % 2), max_tokens=10, ignore_eos=True)
        shared = [(7 * j * j) % 256 for j in range(9)]
        engine.add_request([*shared, *((i * j) % 256 for j in range(1 + 4 * i))], params, seed=i)
        engine.step()
    while engine.has_unfinished_requests:
        engine.step()
    return proposer


@pytest.mark.parametrize("options", [{}, {"draft_tree_top_k": 2, "draft_tree_depth": 2}])
def test_its_logits_are_those_of_a_plain_computation(
    options: dict[str, Any], folder: Path, names: tuple[str, ...]
) -> None:
    assert run(folder, names, **options).compared > 60


def test_hidden_states_one_position_off_are_caught(
    monkeypatch: pytest.MonkeyPatch, folder: Path, names: tuple[str, ...]
) -> None:
    observe = MTPProposer.observe

    def faulty(self: MTPProposer, rows: Rows) -> None:
        shifted = {layer: state.roll(1, 0) for layer, state in rows.hidden.items()}
        observe(self, replace(rows, hidden=shifted))

    monkeypatch.setattr(MTPProposer, "observe", faulty)
    with pytest.raises(AssertionError, match="not what a plain computation says"):
        run(folder, names)


@pytest.mark.parametrize("names", [MIMO])
def test_it_passes_the_suite(folder: Path) -> None:
    assert check_proposer(MTPProposer, runner=lambda: target(folder), draws=400).deterministic


@pytest.mark.parametrize("key", ["model", "typo"])
def test_keys_it_does_not_take_are_told(key: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
        build_proposer(SpeculativeConfig("mtp", 2, **{key: "x"}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["demo", "file.gguf"])
def test_gguf_files_have_none(name: str, tiny: Tiny) -> None:
    runner = target(tiny("llama"))
    runner.name = name
    with pytest.raises(CheckpointError, match="GGUF files bring none"):
        MTPProposer(2).bind(runner)


def test_a_target_without_such_layers_is_told(tiny: Tiny) -> None:
    with pytest.raises(CheckpointError, match="has no MTP layers"):
        MTPProposer(2).bind(target(tiny("llama")))
