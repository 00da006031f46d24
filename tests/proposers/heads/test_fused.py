"""The fused passes of heads against their networks."""

from __future__ import annotations

import copy
import logging
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


def eagle3(count: int = 1, hidden_act: str = "silu", **flags: bool) -> Eagle3Head:
    shape = layers(LlamaConfig, count, hidden_act=hidden_act)
    return Eagle3Head(Eagle3Config(shape, (1, 2, 3), 96, **flags))


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


def three(head: Any, target: Any, dtype: torch.dtype) -> list[tuple[Any, HeadRuntime]]:
    """A shaken head beside a target with room for KV: in float32, and twice in a dtype."""
    torch.manual_seed(2)
    shake(head)
    head, target = head.to(dtype), copy.deepcopy(target).to(dtype)
    found = []
    for precision in (torch.float32, dtype, dtype):
        one = copy.deepcopy(head).to(precision).eval().requires_grad_(False)
        one.rotary.float()
        runner = ModelRunner(copy.deepcopy(target).to(precision))
        runner.allocate(32, 4)
        found.append((one, HeadRuntime(one, runner, head.config.kv_layers)))
    return found


def batch(first: int, last: int) -> FlatBatch:
    tokens = [(37 * i * i + 5) % 320 for i in range(first, last)]
    return FlatBatch.of([tokens], [first], [BLOCKS], 4, torch.device("cpu"))


def assert_near(found: Tensor, plain: Tensor, exact: Tensor) -> None:
    """Hold what a fused pass says to float32's: it rounds no more than the network's own pass."""
    assert exact.any()
    if plain.dtype == torch.float32:
        torch.testing.assert_close(found, exact, atol=5e-5, rtol=1e-4)
    else:
        assert distance(found, exact) < distance(plain, exact)


def distance(found: Tensor, exact: Tensor) -> float:
    """Root mean square of the differences."""
    return float((found.float() - exact).square().mean().sqrt())


@pytest.fixture(scope="module")
def target(tiny: Tiny) -> Any:
    return Auto.from_pretrained(tiny("llama"), dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", RECURRENT)
@torch.inference_mode()
def test_a_recurrent_head(kind: str, dtype: torch.dtype, target: Any) -> None:
    exact, plain, quick = three(RECURRENT[kind](), target, dtype)
    runtimes = [runtime for _, runtime in (quick, plain, exact)]
    passes = [recurrent_pass(*quick), *(fused._RecurrentModule(*one) for one in (plain, exact))]
    assert isinstance(passes[0], FusedEagle3 | FusedEagle)
    said = None
    for first, last in CUTS:
        rows, size = batch(first, last), last - first
        # The text's states at first, then what the head itself said last.
        hidden = torch.randn(size, 64).to(dtype) if said is None else said.repeat(size, 1)
        found = []
        for one, runtime in zip(passes, runtimes, strict=True):
            given = hidden.to(runtime.kv().dtype)
            own = given.clone()
            attention = runtime.attention(rows)
            found.append(one.run(rows.token_ids, own, rows.positions, attention))
            assert torch.equal(own, given)
        for outputs in zip(*found, strict=True):
            assert_near(*outputs)
        said = found[1][1][-1]
    for keys in zip(*(runtime.kv().keys for runtime in runtimes), strict=True):
        assert_near(*keys)


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_block(changes: dict[str, Any], dtype: torch.dtype, target: Any) -> None:
    exact, plain, quick = three(dflash(**changes), target, dtype)
    runtimes = [runtime for _, runtime in (quick, plain, exact)]
    passes = [block_pass(*quick), *(fused._BlockModule(*one) for one in (plain, exact))]
    assert isinstance(passes[0], FusedDFlash)
    text, block = batch(0, 7), batch(7, 12)
    block = FlatBatch(**{**vars(block), "ancestors": {0: torch.ones(5, 5, dtype=torch.bool)}})
    states = torch.randn(7, 128).to(dtype)
    found = []
    for one, runtime in zip(passes, runtimes, strict=True):
        storage = runtime.kv()
        one.write(states.to(storage.dtype), text.positions, text.slots, storage)
        found.append(one.run(block.token_ids, block.positions, runtime.attention(block)))
    assert_near(*found)
    for name in ("keys", "values"):
        for written in zip(*(getattr(runtime.kv(), name) for runtime in runtimes), strict=True):
            assert_near(*written)


@pytest.mark.parametrize("build", [eagle3, eagle])
@torch.inference_mode()
def test_a_row_says_the_same_whatever_runs_beside_it(build: Any, target: Any) -> None:
    _, _, (head, runtime) = three(build(), target, torch.bfloat16)
    quick = recurrent_pass(head, runtime)
    rows, hidden = batch(0, 12), torch.randn(12, 64).to(torch.bfloat16)
    together = quick.run(rows.token_ids, hidden, rows.positions, runtime.attention(rows))
    keys = [layer.clone() for layer in runtime.kv().keys]
    for first, last in CUTS:
        part = batch(first, last)
        apart = quick.run(
            part.token_ids, hidden[first:last], part.positions, runtime.attention(part)
        )
        for whole, piece in zip(together, apart, strict=True):
            assert torch.equal(whole[first:last], piece)
    for before, after in zip(keys, runtime.kv().keys, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_block_says_the_same_whatever_runs_beside_it(dtype: torch.dtype, target: Any) -> None:
    _, _, (head, runtime) = three(dflash(), target, dtype)
    quick, storage = block_pass(head, runtime), runtime.kv()
    text, states = batch(0, 7), torch.randn(7, 128).to(dtype)
    quick.write(states, text.positions, text.slots, storage)
    written = [layer[:28].clone() for layer in (*storage.keys, *storage.values)]
    for layer in (*storage.keys, *storage.values):
        layer[:28] = 0
    for first, last in [(0, 4), (4, 5), (5, 7)]:
        part = batch(first, last)
        quick.write(states[first:last], part.positions, part.slots, storage)
    for before, after in zip(written, (*storage.keys, *storage.values), strict=True):
        assert torch.equal(before, after[:28])

    def masked(contexts: list[int], tokens: list[list[int]], tables: list[list[int]]) -> Tensor:
        ancestors = {i: torch.ones(5, 5, dtype=torch.bool) for i in range(len(tokens))}
        rows = FlatBatch.of(tokens, contexts, tables, 4, torch.device("cpu"), ancestors=ancestors)
        return quick.run(rows.token_ids, rows.positions, runtime.attention(rows))

    block, other = [5, 9, 9, 9, 9], [[7, 9, 9, 9, 9], [8, 9, 9, 9, 9]]
    alone = masked([7], [block], [BLOCKS])
    beside = masked([7, 0, 0], [block, *other], [BLOCKS, [0, 4], [5, 7]])
    assert torch.equal(beside[:5], alone)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_medusas_heads_say_the_same_whatever_runs_beside(shared: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    head = MedusaHead(MedusaConfig(64, 320, 4, 1, 96, shared, True))
    shake(head)
    quick = MedusaPass(head.to(dtype).requires_grad_(False), 3)
    ends = torch.randn(11, 64).to(dtype)
    together = quick.run(ends)
    for first, last in [(0, 1), (1, 4), (4, 11)]:
        for whole, piece in zip(together, quick.run(ends[first:last]), strict=True):
            assert torch.equal(whole[first:last], piece)


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
    exact = copy.deepcopy(head).float()
    ends = torch.randn(3, 64).to(dtype)
    plain, expected = (
        [logits_of(one.vocabulary(i), state) for i, state in enumerate(one(given))][:3]
        for one, given in ((head, ends), (exact, ends.float()))
    )
    found = MedusaPass(head, 3).run(ends)
    assert all(a.shape == b.shape for a, b in zip(found, plain, strict=True))
    if dtype == torch.float32:
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    elif num_layers == 1:
        assert distance(torch.stack(found), torch.stack(expected)) < distance(
            torch.stack(plain), torch.stack(expected)
        )
    else:
        assert all(map(torch.equal, found, plain))


def refusal(caplog: pytest.LogCaptureFixture) -> str:
    """The one line that was logged."""
    (record,) = caplog.records
    return record.getMessage()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: eagle3(hidden_act="relu"), "its activation is 'relu'"),
        (lambda: eagle3().double(), "the kernels cannot read fc, (64, 192) in torch.float64"),
    ],
)
def test_a_head_that_does_not_fit_goes_through_its_network(
    make: Any, reason: str, target: Any, caplog: pytest.LogCaptureFixture
) -> None:
    head = make()
    runtime = HeadRuntime(head, ModelRunner(copy.deepcopy(target)), head.config.kv_layers)
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "fairdraft"):
        assert isinstance(recurrent_pass(head, runtime), fused._RecurrentModule)
    assert refusal(caplog).startswith(f"Eagle3Head runs as its network is written: {reason}")


def test_medusa_heads_of_several_layers_go_through_their_network(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "fairdraft"):
        MedusaPass(MedusaHead(MedusaConfig(64, 320, 4, 2, 96)), 3)
    assert refusal(caplog).endswith("its heads have 2 layers each")
