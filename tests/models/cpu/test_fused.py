"""The fused decoder against transformers' own forward, family by family."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM as Auto

from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.models.cpu.families import READERS, obstacle
from fairdraft.models.cpu.fused import _KEPT_ROWS, can_fuse
from fairdraft.models.cpu.layers import NONE, Decoder, Layer, Rotation
from fairdraft.models.cpu.rowwise import silu_multiply
from tests.conftest import CONFIGS

FAMILIES = sorted(READERS)
TOKENS = [(7 * i * i + 3) % 320 for i in range(23)]


def model_of(kind: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A tiny random model in which every norm weight and every bias counts."""
    config = CONFIGS[kind]()
    if kind.startswith("gemma"):
        config.query_pre_attn_scalar = 20  # not the width of a head
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(5)
    model = Auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn_like(parameter)
            else:
                parameter *= 0.6  # milder than the tests of texts want, or bfloat16 says nothing
    return model.to(dtype)


@torch.inference_mode()
def reference(model: Any, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Sequence[Tensor]]:
    """Logits and hidden states of `TOKENS` by transformers."""
    model = copy.deepcopy(model).to(dtype)
    model.set_attn_implementation("eager")
    output = model(torch.tensor([TOKENS]), output_hidden_states=True)
    return output.logits[0], [state[0] for state in output.hidden_states]


def run(
    runner: ModelRunner, pieces: Sequence[int] = (len(TOKENS),), layers: Sequence[int] = ()
) -> tuple[Tensor, dict[int, Tensor]]:
    """Logits and hidden states of `TOKENS`, run piece by piece over blocks that lie apart."""
    runner.allocate(64, 4)
    blocks = [9, 2, 5, 14, 3, 11]
    logits, hidden, start = [], [], 0
    for length in pieces:
        tokens = TOKENS[start : start + length]
        rows = range(length)
        batch = FlatBatch.of([tokens], [start], [blocks], 4, runner.device, logit_rows=rows)
        output = runner.run(batch, layers)
        logits.append(output.logits)
        hidden.append(output.hidden)
        start += length
    return torch.cat(logits), {i: torch.cat([state[i] for state in hidden]) for i in layers}


def distance(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the differences."""
    return float((found.float() - expected).square().mean().sqrt())


@pytest.mark.parametrize("kind", FAMILIES)
def test_is_what_transformers_computes(kind: str) -> None:
    model = model_of(kind)
    logits, states = reference(model)
    runner = ModelRunner(model)
    assert runner.fused is not None
    layers = range(len(states))
    whole, hidden = run(runner, layers=layers)
    torch.testing.assert_close(whole, logits, atol=2e-4, rtol=1e-4)
    for layer in layers:
        torch.testing.assert_close(hidden[layer], states[layer], atol=2e-4, rtol=1e-4)
    stepwise, _ = run(runner, [6] + [1] * 9 + [3, 5])
    torch.testing.assert_close(stepwise, logits, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_rounds_less_than_transformers_in_bfloat16(kind: str) -> None:
    model = model_of(kind, torch.bfloat16)
    exact, exact_states = reference(model)
    rounded, rounded_states = reference(model, torch.bfloat16)
    layers = (2, len(exact_states) - 1)
    logits, states = run(ModelRunner(model), [9] + [1] * 14, layers)
    assert distance(logits, exact) < distance(rounded, exact)
    for i in layers:
        assert distance(states[i], exact_states[i]) < distance(rounded_states[i], exact_states[i])


@pytest.mark.parametrize("kind", ["llama", "smollm3", "granite"])
def test_adds_every_bias(kind: str) -> None:
    model = model_of(kind, attention_bias=True, mlp_bias=True)
    logits, _ = reference(model)
    runner = ModelRunner(model)
    assert runner.fused is not None
    assert all(len(layer.down.bias) for layer in runner.fused.decoder.layers)
    torch.testing.assert_close(run(runner)[0], logits, atol=2e-4, rtol=1e-4)


def without(decoder: Decoder, **changes: Any) -> Decoder:
    """A decoder with something changed in every layer."""
    return replace(decoder, layers=[replace(layer, **changes) for layer in decoder.layers])


def _no_norm(place: int) -> Any:
    def drop(decoder: Decoder) -> Decoder:
        def left(layer: Layer) -> Any:
            return tuple(NONE if i == place else norm for i, norm in enumerate(layer.norms))

        return replace(decoder, layers=[replace(x, norms=left(x)) for x in decoder.layers])

    return drop


def _no_bias(decoder: Decoder) -> Decoder:
    layers = [replace(x, qkv=replace(x.qkv, bias=NONE)) for x in decoder.layers]
    return replace(decoder, layers=layers)


def _whole_rotation(decoder: Decoder) -> Decoder:
    some = next(layer.rotation for layer in decoder.layers if len(layer.rotation.frequencies))
    return without(decoder, rotation=some)


def _shorter_rotation(decoder: Decoder) -> Decoder:
    frequencies = decoder.layers[0].rotation.frequencies[:-1].copy()
    return without(decoder, rotation=Rotation(frequencies))


FAULTS: dict[str, tuple[str, Any]] = {
    "gemma2 attention softcap": ("gemma2", lambda d: without(d, softcap=None)),
    "gemma2 logits softcap": ("gemma2", lambda d: replace(d, logits_softcap=0.0)),
    "gemma2 norm behind attention": ("gemma2", _no_norm(1)),
    "gemma2 norm behind the MLP": ("gemma2", _no_norm(3)),
    "gemma2 embedding factor": ("gemma2", lambda d: replace(d, embedding_factor=1.0)),
    "gemma2 scale": ("gemma2", lambda d: without(d, scale=0.25)),
    "gemma2 silu": ("gemma2", lambda d: without(d, gate=silu_multiply)),
    "gemma3 one rotation": ("gemma3_text", _whole_rotation),
    "gemma3 norm of queries": ("gemma3_text", lambda d: without(d, q_norm=NONE)),
    "granite embedding factor": ("granite", lambda d: replace(d, embedding_factor=1.0)),
    "granite residual": ("granite", lambda d: without(d, residual=1.0)),
    "granite logits divisor": ("granite", lambda d: replace(d, logits_divisor=1.0)),
    "llama norm ahead of attention": ("llama", _no_norm(0)),
    "llama norm ahead of the MLP": ("llama", _no_norm(2)),
    "olmo2 norm behind attention": ("olmo2", _no_norm(1)),
    "olmo2 norm of keys": ("olmo2", lambda d: without(d, k_norm=NONE)),
    "phi3 partial rotation": ("phi3", _shorter_rotation),
    "qwen2 bias": ("qwen2", _no_bias),
    "qwen3 norm of keys": ("qwen3", lambda d: without(d, k_norm=NONE)),
    "smollm3 layers without rotation": ("smollm3", _whole_rotation),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_part_left_out_is_seen(fault: str) -> None:
    kind, plant = FAULTS[fault]
    model = model_of(kind)
    logits, _ = reference(model)
    runner = ModelRunner(model)
    assert runner.fused is not None
    runner.fused.decoder = plant(runner.fused.decoder)
    assert float((run(runner)[0] - logits).abs().max()) > 2e-3


@pytest.mark.parametrize("kind", FAMILIES)
def test_weights_are_held_once(kind: str) -> None:
    model = model_of(kind)
    runner = ModelRunner(model)
    assert runner.fused is not None
    held = {p.untyped_storage().data_ptr() for p in model.parameters() if p.dim() == 2}
    decoder = runner.fused.decoder
    products = [
        product.weight for x in decoder.layers for product in (x.qkv, x.output, x.gate_up, x.down)
    ]
    read = {t.untyped_storage().data_ptr() for t in (*products, decoder.embedding, decoder.head)}
    assert held == read


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("gpt2", {}, "'gpt2' are not known"),
        ("llama", {"hidden_act": "relu"}, "'relu'"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "kind dynamic",
        ),
    ],
)
def test_what_does_not_fit_goes_the_other_way(
    kind: str, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "fairdraft"):
        assert not can_fuse(model_of(kind, **changes))
    assert reason in caplog.text


@pytest.mark.parametrize("kind", ["gemma3_text", "llama", "olmo2"])
def test_the_first_layers_are_the_target_cut_short(kind: str) -> None:
    model = model_of(kind)
    cut = copy.deepcopy(model)
    cut.model.layers = cut.model.layers[:2]
    cut.config.num_hidden_layers = 2
    logits, _ = reference(cut)
    runner = ModelRunner(model)
    assert runner.fused is not None
    runner.allocate(len(TOKENS), 1)
    rows = range(len(TOKENS))
    batch = FlatBatch.of([TOKENS], [0], [rows], 1, runner.device, logit_rows=rows)
    found = runner.fused.run(runner.attention(batch), (), 2).logits
    torch.testing.assert_close(found, logits, atol=2e-4, rtol=1e-4)


def test_logits_stay_within_the_softcap() -> None:
    runner = ModelRunner(model_of("gemma2"))
    assert runner.fused is not None
    runner.fused.decoder = replace(runner.fused.decoder, logits_softcap=0.5)
    assert np.abs(run(runner)[0].numpy()).max() <= 0.5


def test_weights_that_the_kernels_cannot_read_go_the_other_way() -> None:
    assert "cannot read model.layers.0" in (obstacle(model_of("llama").double()) or "")


@pytest.mark.parametrize("kind", ["gemma3_text", "llama"])
def test_kept_memory_leaves_no_trace(kind: str) -> None:
    """Rows say the same whatever ran before them, over whichever KV, on however many threads."""
    runner, fresh = ModelRunner(model_of(kind)), ModelRunner(model_of(kind))
    expected, _ = run(fresh)
    for pieces in ([23], [1] * 23, [20, 3], [23]):
        assert torch.equal(run(runner, pieces)[0], expected)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    again, hidden = run(runner, layers=(0, 2))
    torch.set_num_threads(before)
    assert torch.equal(again, expected)
    assert all(map(torch.equal, hidden.values(), run(fresh, layers=(0, 2))[1].values()))


def test_a_prompt_longer_than_kept_memory_says_the_same() -> None:
    runner = ModelRunner(model_of("llama", torch.bfloat16))
    tokens = [(7 * i * i + 3) % 320 for i in range(2 * _KEPT_ROWS + 9)]
    found = []
    for cuts in ([0, len(tokens)], [0, 5, _KEPT_ROWS + 5, _KEPT_ROWS + 6, len(tokens)]):
        runner.allocate(len(tokens), 1)
        logits = [
            runner.run(
                FlatBatch.of(
                    [tokens[first:last]],
                    [first],
                    [range(len(tokens))],
                    1,
                    runner.device,
                    logit_rows=range(last - first),
                )
            ).logits
            for first, last in pairwise(cuts)
        ]
        found.append(torch.cat(logits))
    assert torch.equal(*found)


def test_two_threads_at_once_work_in_memory_of_their_own() -> None:
    runner = ModelRunner(model_of("llama"))
    runner.allocate(2 * len(TOKENS), 1)

    def batch(which: int) -> FlatBatch:
        start, length = which * len(TOKENS), len(TOKENS) - which
        slots, rows = range(start, start + length), range(length)
        return FlatBatch.of([TOKENS[which:]], [0], [slots], 1, runner.device, logit_rows=rows)

    expected = [runner.run(batch(which)).logits for which in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            found = list(pool.map(lambda which: runner.run(batch(which)).logits, range(2)))
            assert all(map(torch.equal, found, expected))
