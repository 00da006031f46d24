"""Whether each device way computes what its definition computes, on the device itself."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, Qwen3Config

from benchmarks.suites.gpu_clock import Deadline, milliseconds
from fairdraft.config import SamplingParams
from fairdraft.draft import Draft
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.models.graphs import SEEN_BEFORE
from fairdraft.models.padded_attention import PaddedAttention
from fairdraft.request import Request
from fairdraft.sampling.on_device import device_rows
from fairdraft.sampling.sampler import TargetRows

BLOCK = 16
Report = dict[str, Any]
_SIZE = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    # Wide enough that the tokens before matter and the likeliest token changes all the time.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
CONFIGS = {
    "llama": LlamaConfig,
    "qwen3": Qwen3Config,
    "gemma2": Gemma2Config,
}


def random_model(kind: str, device: torch.device) -> Any:
    """Return a random model of a few layers in float32; the same numbers each time."""
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(CONFIGS[kind](**_SIZE)).to(device).eval()


def kernels(device: torch.device, tiny: bool, _deadline: Deadline) -> Report:
    """Compare attention, sampling and replayed steps with what they stand for."""
    return {
        "attention": [
            attention_error(device, dtype, window, softcap)
            for dtype in (torch.float32, torch.bfloat16)
            for window, softcap in ((None, None), (48, None), (None, 20.0))
        ],
        "sampling": sampling_differences(device, 500 if tiny else 128_256),
        "replays": [replay_error(device, kind) for kind in CONFIGS],
    }


def attention_error(
    device: torch.device, dtype: torch.dtype, window: int | None, softcap: float | None
) -> Report:
    """‖out − ref‖ / ‖ref‖ of attention over mixed requests, against float64."""
    heads, kv_heads, dim = 8, 2, 64
    contexts, rows = [0, 300, 17, 77], [5, 1, 5, 100]
    tables, taken = [], 0
    for context, count in zip(contexts, rows, strict=True):
        blocks = -(-(context + count) // BLOCK)
        tables.append(list(range(taken + blocks - 1, taken - 1, -1)))
        taken += blocks
    kept = KVStorage([LayerShape(kv_heads, dim, dim, window)], taken * BLOCK, dtype, device)
    torch.manual_seed(0)
    kept.keys[0].normal_()
    kept.values[0].normal_()
    batch = FlatBatch.of([[0] * n for n in rows], contexts, tables, BLOCK, device)
    queries = torch.randn(sum(rows), heads, dim, device=device).to(dtype)
    read = PaddedAttention(kept, batch).attend(0, queries, dim**-0.5, softcap)
    wanted = torch.cat([_attended(kept, batch, i, queries, softcap) for i in range(len(rows))])
    error = (read.double().cpu() - wanted).norm() / wanted.norm()
    return {"dtype": str(dtype), "window": window, "softcap": softcap, "error": float(error)}


def _attended(
    kept: KVStorage, batch: FlatBatch, request: int, queries: Tensor, softcap: float | None
) -> Tensor:
    """One request's rows in float64 on the host."""
    first, last = batch.cu_rows[request], batch.cu_rows[request + 1]
    slots = batch.context_slots(request).to(kept.keys[0].device)
    shared = queries.shape[1] // kept.layers[0].num_kv_heads
    keys, values = (
        tensor[0][slots].double().cpu().repeat_interleave(shared, 1)
        for tensor in (kept.keys, kept.values)
    )
    scores = torch.einsum("rhd,shd->hrs", queries[first:last].double().cpu(), keys)
    scores = scores * queries.shape[2] ** -0.5
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    visible = batch.visible(request, kept.layers[0].sliding_window)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return torch.einsum("hrs,shd->rhd", weights, values)


PARAMS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.0},
    {"temperature": 0.8, "top_p": 0.95, "top_k": 50},
    {"temperature": 1.2, "min_p": 0.02, "repetition_penalty": 1.1, "frequency_penalty": 0.2},
]


def sampling_differences(device: torch.device, vocab_size: int) -> list[Report]:
    """Laws and tokens of a step of eight requests against the sampler's on the host."""
    found = []
    for coupled in (False, True):
        rng = random.Random(7)
        entries = []
        for i in range(8):
            draft = Draft(tuple(rng.randrange(vocab_size) for _ in range(4)))
            params = SamplingParams(max_tokens=None, **PARAMS[i % len(PARAMS)])
            entries.append((Request(f"r{i}", (1, 2, 3), params, seed=i), draft))
        torch.manual_seed(0)
        logits = torch.randn(40, vocab_size) * 3
        on_device = logits.to(device)
        got = device_rows(entries, on_device, coupled)
        worst, different = 0.0, 0
        for i, ((request, draft), rows) in enumerate(zip(entries, got, strict=True)):
            own = logits[5 * i : 5 * i + 5]
            wanted = TargetRows(request, draft, own, own.argmax(-1).tolist(), coupled)
            different += sum(rows.token(row) != wanted.token(row) for row in range(5))
            if not request.params.greedy:
                gaps = [(rows[row].cpu() - wanted[row]).abs().max() for row in range(5)]
                worst = max(worst, float(max(gaps)))
        spent = milliseconds(partial(device_rows, entries, on_device, coupled), device, 10)
        found.append(
            {
                "coupled": coupled,
                "rows": 40,
                "vocab_size": vocab_size,
                "worst_law_difference": worst,
                "different_tokens": different,
                "milliseconds": spent,
            }
        )
    return found


@torch.inference_mode()
def replay_error(device: torch.device, kind: str) -> Report:
    """How far logits of replayed steps are from those of the same steps launched one by one."""
    model = random_model(kind, device)
    plain, graphed = ModelRunner(model), ModelRunner(model)
    for runner in (plain, graphed):
        runner.allocate(64 * BLOCK, BLOCK)
    plain.graphs = None
    worst = 0.0
    for step in range(SEEN_BEFORE + 6):
        batch = FlatBatch.of(
            [[(11 * step + i + j) % 300 for j in range(2)] for i in range(3)],
            [2 * step] * 3,
            [range(i * 16, i * 16 + 16) for i in range(3)],
            BLOCK,
            device,
            logit_rows=range(6),
        )
        gap = (plain.run(batch, (2,)).logits - graphed.run(batch, (2,)).logits).abs().max()
        worst = max(worst, float(gap))
    graphs = graphed.graphs
    count = 0 if graphs is None else len(graphs)
    return {"model": kind, "worst_logit_difference": worst, "graphs": count}
