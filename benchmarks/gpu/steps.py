"""What steps of an 8B model take, with and without graphs, and from which load on k* is 0."""

from __future__ import annotations

import gc
from collections import defaultdict
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu.models import tiny_model
from benchmarks.gpu.sections import Report, Setting, copy_rate, synchronize
from fairdraft.config import EngineConfig, SpeculativeConfig
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import measured_cost, speedups
from fairdraft.engine.draft_lengths import FixedLength
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner
from fairdraft.models.graphs import SEEN_BEFORE
from fairdraft.profiling.shapes import build_shape
from fairdraft.profiling.steps import BLOCK, Filler, rejecting_engine, standing, step
from fairdraft.proposers import Proposer, build_proposer
from fairdraft.telemetry import StepTimes

SHAPE = "llama-3-8b"
MEMORY = 60e9  # bytes that the card must have: weights, and the KV of 64 × 4,000 tokens
KS = (0, 1, 2, 4)
ROUNDS = 5
WARM_UP, STEPS = 10, 40  # where tokens are counted
ACCEPTANCE_LENGTH = 2.8  # of 5: published as 18.2 ms between tokens without and 9.6 ms with
DRAFT_COSTS = (0.0, 0.06)  # of a token, in plain runs: a lookup's and a head's


def steps(setting: Setting, found: Report) -> None:
    """Time decode steps over requests, rows and contexts; then with acceptance by decree."""
    found["left_out"] = []
    cuda = setting.device.type == "cuda"
    if cuda and torch.cuda.get_device_properties(setting.device).total_memory < MEMORY:
        found["left_out"].append(f"all: the card has less than {MEMORY / 1e9:.0f} GB")
        return
    requests, contexts = (
        ((1, 2), (40, 80))
        if setting.tiny
        else (
            (1, 2, 4, 8, 16, 32, 64),
            (300, 4000),
        )
    )
    start = perf_counter()
    runner = eight_billion(setting)
    rate = copy_rate(setting.device, 2**24 if setting.tiny else 2**32)
    embedding = runner.model.get_input_embeddings().weight
    tied = embedding is runner.model.get_output_embeddings().weight
    read = runner.weight_bytes - (0 if tied else embedding.numel() * embedding.element_size())
    found |= {
        "shape": "tiny" if setting.tiny else SHAPE,
        "load_seconds": round(perf_counter() - start, 1),
        "weight_bytes_read": read,
        "kv_bytes_per_token": runner.kv_bytes_per_token,
        "copy_bytes_per_second": rate,
        "rows": [],
    }
    for context in contexts:
        for graphs in (True, False) if cuda else (False,):
            few = requests[0], requests[len(requests) // 2], requests[-1]
            for count in requests if graphs or not cuda else few:
                what = f"{count} requests, context {context}, graphs {graphs}"
                if setting.left < 0:
                    found["left_out"].append(what)
                    continue
                try:
                    found["rows"] += _timed(setting, runner, count, context, graphs)
                except RuntimeError as error:  # such as no memory left: smaller ones may fit
                    found["left_out"].append(f"{what}: {error}"[:300])
    for row in found["rows"]:
        kv = row["requests"] * row["context"] * runner.kv_bytes_per_token
        row["floor_ms"] = round((read + kv) / rate * 1e3, 3)
    found["best_k"] = _best_lengths(found["rows"], cuda)
    found["synthetic"] = []
    for count in (requests[0], requests[min(3, len(requests) - 1)]):
        if setting.left > 0:
            found["synthetic"].append(_synthetic(setting, runner, count, contexts[0]))


def eight_billion(setting: Setting) -> ModelRunner:
    """Return an 8B model with random weights in bfloat16, made on the device."""
    if setting.tiny:
        return ModelRunner(tiny_model("llama", setting.device, torch.bfloat16))
    return ModelRunner(build_shape(SHAPE, "bfloat16", str(setting.device)))


def _fresh(runner: ModelRunner) -> None:
    """Drop the KV of the last engine, which may be half of the card."""
    runner.storage = runner.graphs = None
    gc.collect()
    if runner.device.type == "cuda":
        torch.cuda.empty_cache()


def _timed(
    setting: Setting, runner: ModelRunner, count: int, context: int, graphs: bool
) -> list[Report]:
    """Return rows of median milliseconds, verb by verb, for each number of rows a request."""
    _fresh(runner)
    engine = rejecting_engine(runner, Filler(max(KS)), count, max(KS), context)
    if not graphs:
        runner.graphs = None
    standing(engine, count, context)
    samples: defaultdict[int, list[StepTimes]] = defaultdict(list)
    for number in range(SEEN_BEFORE + 1 + (1 if setting.tiny else ROUNDS)):
        # What one step proposes, the next one runs.
        made = [step(engine, k) for k in (*KS[1:], 0)]
        if number > SEEN_BEFORE:
            for k, times in zip(KS, made, strict=True):
                samples[k].append(times)
    rows = []
    for k, steps_of_k in samples.items():
        verbs = ("schedule", "run", "verify", "update", "propose")
        # The run only launches; the tokens' transfer in verify waits for it.
        ms = {v: round(median(getattr(one, v) for one in steps_of_k) * 1e3, 3) for v in verbs}
        whole = round(median(one.total for one in steps_of_k) * 1e3, 3)
        rows.append(
            {"requests": count, "rows": 1 + k, "context": context, "graphs": graphs}
            | {"step_ms": whole, "verbs_ms": ms}
        )
    return rows


def _best_lengths(rows: list[Report], graphs: bool) -> list[Report]:
    """Return the best draft length at each load, by acceptance rate and draft cost."""
    points = [
        Point(row["requests"], row["rows"], row["context"], (row["step_ms"] / 1e3,))
        for row in rows
        if row["graphs"] == graphs
    ]
    surface = CostSurface(points, "the device")
    found = []
    for context in surface.contexts:
        for draft_cost in DRAFT_COSTS:
            for alpha in (0.5, 0.6, 0.7, 0.8):
                best: dict[int, int] = {}
                for count in surface.requests:
                    if not surface.covers(count, 1, context):
                        continue
                    runs = [surface.seconds(count, 1 + k, context) for k in range(max(KS) + 1)]
                    drafts = [draft_cost * k * runs[0] for k in range(max(KS) + 1)]
                    gains = speedups(constant(alpha, max(KS)), measured_cost(drafts, runs))
                    best[int(count)] = int(best_k(gains))
                none = [count for count, k in best.items() if not k]
                found.append(
                    {
                        "context": context,
                        "alpha": alpha,
                        "draft_cost": draft_cost,
                        "best_k": best,
                        "none_from": min(none) if none else None,
                    }
                )
    return found


def _synthetic(setting: Setting, runner: ModelRunner, count: int, context: int) -> Report:
    """Milliseconds between a request's tokens: off, and on with drafts at two prices."""
    found: Report = {"requests": count, "context": context, "accepted_length": ACCEPTANCE_LENGTH}
    one_layer: dict[str, Any] = {
        "method": "draft_model",
        "num_speculative_tokens": 4,
        "num_draft_layers": 1,
    }
    drafter = build_proposer(SpeculativeConfig(**one_layer))
    ways: dict[str, Proposer | None] = {
        "off": None,
        "drafts for nothing": Filler(4),
        "drafts of one layer": drafter,
    }
    for name, proposer in ways.items():
        _fresh(runner)
        found[name] = _between_tokens(runner, proposer, count, context)
    return found


def _between_tokens(
    runner: ModelRunner, proposer: Proposer | None, count: int, context: int
) -> float:
    """Return the milliseconds between the tokens of a request, the mean over many steps."""
    k = 0 if proposer is None else 4
    rule = SpeculativeConfig(
        "off",
        4,
        rejection_sample_method="synthetic",
        synthetic_acceptance_length=ACCEPTANCE_LENGTH,
    )
    longest = context + 300
    config = EngineConfig(
        "gpu",
        max_model_len=longest + 8,
        max_num_seqs=count,
        max_num_batched_tokens=count * 5,
        num_gpu_blocks_override=(count + 1) * -(-(longest + 16) // BLOCK),
        enable_prefix_caching=False,
        speculative_config=rule,
    )
    engine = Engine(config, runner, proposer=proposer, draft_lengths=FixedLength(k))
    requests = standing(engine, count, context)
    for _ in range(WARM_UP):
        engine.step()
    synchronize(runner.device)
    tokens, start = 0, perf_counter()
    for _ in range(STEPS):
        tokens += sum(len(output.token_ids) for output in engine.step())
    spent = perf_counter() - start
    for request in requests:
        engine.abort(request.request_id)
    return round(spent * 1e3 * count / tokens, 3)
