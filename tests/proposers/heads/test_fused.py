"""The fused passes of heads against their networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig, Qwen3Config

from fairdraft.heads import HeadConfig, layer_config
from fairdraft.heads.dflash import DFlashConfig, DFlashHead
from fairdraft.heads.eagle import EagleHead
from fairdraft.heads.eagle3 import Eagle3Config, Eagle3Head
from fairdraft.heads.medusa import MedusaConfig, MedusaHead
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.proposers.heads import fused
from fairdraft.proposers.heads.fused import (
    FusedDFlash,
    FusedEagle,
    FusedEagle3,
    MedusaPass,
    block_pass,
    recurrent_pass,
)
from fairdraft.proposers.heads.runtime import HeadRuntime, logits_of
from tests.conftest import CONFIGS
from tests.heads.cases import shake

Tiny = Callable[[str], Path]
BLOCKS = [3, 1, 6, 2]
CUTS = [(0, 7), (7, 8), (8, 12)]


def layers(kind: Any, count: int, **changes: Any) -> Any:
    return layer_config(kind, CONFIGS["llama"](), count, **changes)


def eagle3(count: int = 1, **flags: bool) -> Eagle3Head:
    return Eagle3Head(Eagle3Config(layers(LlamaConfig, count), (1, 2, 3), 96, **flags))


def eagle(**options: bool) -> EagleHead:
    return EagleHead(HeadConfig(layers(LlamaConfig, 2), (4,), 320, 64), **options)


def dflash(**changes: Any) -> DFlashHead:
    shape = layers(Qwen3Config, 2, **changes)
    return DFlashHead(DFlashConfig(shape, (1, 3), 96, block_size=5, mask_token_id=9))


RECURRENT: dict[str, Callable[[], Any]] = {
    "eagle3": eagle3,
    "eagle3 of two layers": lambda: eagle3(2),
    "eagle3, normed residual": lambda: eagle3(norm_before_residual=True),
    "eagle3, normed output": lambda: eagle3(fc_norm=True, norm_output=True),
    "eagle": eagle,
    "eagle with all": lambda: eagle(bias=True, input_norm=True),
}


def pair(head: Any, target: Any, dtype: torch.dtype) -> tuple[Any, HeadRuntime, Any, HeadRuntime]:
    """A shaken head twice, each beside a target of its own with room for KV."""
    torch.manual_seed(2)
    shake(head)
    head = head.to(dtype).eval().requires_grad_(False)
    head.rotary.float()
    found = []
    for one in (head, copy.deepcopy(head)):
        runner = ModelRunner(copy.deepcopy(target).to(dtype))
        runner.allocate(32, 4)
        found += [one, HeadRuntime(one, runner, head.config.kv_layers)]
    return tuple(found)  # type: ignore[return-value]


def batch(first: int, last: int) -> FlatBatch:
    tokens = [(37 * i * i + 5) % 320 for i in range(first, last)]
    return FlatBatch.of([tokens], [first], [BLOCKS], 4, torch.device("cpu"))


def assert_near(found: Tensor, expected: Tensor) -> None:
    tolerance = 2e-5 if expected.dtype == torch.float32 else 0.06
    scale = float(expected.float().std())
    assert float((found.float() - expected.float()).abs().max()) < tolerance * max(scale, 1)


@pytest.fixture(scope="module")
def target(tiny: Tiny) -> Any:
    return Auto.from_pretrained(tiny("llama"), dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", RECURRENT)
@torch.inference_mode()
def test_a_recurrent_head(kind: str, dtype: torch.dtype, target: Any) -> None:
    plain, runtime, head, fused_runtime = pair(RECURRENT[kind](), target, dtype)
    slow = fused._RecurrentModule(plain, runtime)
    quick = recurrent_pass(head, fused_runtime)
    assert isinstance(quick, FusedEagle3 | FusedEagle)
    hidden: list[Tensor] = []
    for first, last in CUTS:
        rows = batch(first, last)
        # The text's states at first, then what the head itself said last.
        given = hidden[-1][-1:].repeat(last - first, 1) if hidden else torch.randn(7, 64).to(dtype)
        theirs = slow.run(rows.token_ids, given, rows.positions, runtime.attention(rows))
        own = given.float()
        ours = quick.run(rows.token_ids, own, rows.positions, fused_runtime.attention(rows))
        assert torch.equal(own, given.float())
        for a, b in zip(ours, theirs, strict=True):
            assert_near(a, b)
        hidden.append(theirs[1])
    for a, b in zip(fused_runtime.kv().keys, runtime.kv().keys, strict=True):
        assert b.any()
        assert_near(a, b)


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_block(changes: dict[str, Any], dtype: torch.dtype, target: Any) -> None:
    plain, runtime, head, fused_runtime = pair(dflash(**changes), target, dtype)
    slow, quick = fused._BlockModule(plain, runtime), block_pass(head, fused_runtime)
    assert isinstance(quick, FusedDFlash)
    text, block = batch(0, 7), batch(7, 12)
    block = FlatBatch(**{**vars(block), "ancestors": {0: torch.ones(5, 5, dtype=torch.bool)}})
    states = torch.randn(7, 128).to(dtype)
    for one, own in ((slow, runtime), (quick, fused_runtime)):
        one.write(states, text.positions, text.slots, own.kv())
    found = [
        one.run(block.token_ids, block.positions, own.attention(block))
        for one, own in ((quick, fused_runtime), (slow, runtime))
    ]
    assert_near(*found)
    for name in ("keys", "values"):
        for a, b in zip(
            getattr(fused_runtime.kv(), name), getattr(runtime.kv(), name), strict=True
        ):
            assert_near(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_medusa(dtype: torch.dtype, num_layers: int, shared: bool, bias: bool) -> None:
    torch.manual_seed(4)
    head = MedusaHead(MedusaConfig(64, 320, 4, num_layers, 96, shared, bias))
    shake(head)
    head = head.to(dtype).requires_grad_(False)
    ends = torch.randn(3, 64).to(dtype)
    expected = [logits_of(head.vocabulary(i), state) for i, state in enumerate(head(ends))]
    found = MedusaPass(head, 3).run(ends)
    assert len(found) == 3
    for a, b in zip(found, expected, strict=False):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) < (1e-4 if dtype == torch.float32 else 0.1)


def test_a_head_that_does_not_fit_goes_through_its_network(target: Any) -> None:
    shape = layers(LlamaConfig, 1, hidden_act="relu")
    head = Eagle3Head(Eagle3Config(shape, (1, 2, 3), 96))
    runtime = HeadRuntime(head, ModelRunner(copy.deepcopy(target)), head.config.kv_layers)
    assert isinstance(recurrent_pass(head, runtime), fused._RecurrentModule)
