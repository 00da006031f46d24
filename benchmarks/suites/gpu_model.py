"""What a run of an 8B Llama costs by rows, against the floor, and what follows for drafts.

The weights are random and made on the device: times do not depend on them. What follows is
arithmetic on measured times, and named so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from benchmarks.suites.gpu_clock import Deadline, copied_bytes_per_second, milliseconds
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import measured_cost, speedups
from fairdraft.models import FlatBatch, ModelRunner

SHAPE = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
TINY = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}
CONTEXT = 300
BLOCK = 16
ROWS = (1, 2, 4, 5, 8, 16, 32, 64)
MORE_ROWS = (128, 256, 576)  # of 64 requests with drafts; beyond what a table of rows needs
BATCHES = ((8, 1), (8, 5), (64, 1))  # requests, rows of each
# The published pair between tokens: 18.2 ms without speculation, 9.6 with four drafts.
PAIR_ROWS, PAIR_TOKENS, PAIR_MS = 5, 2.8, (18.2, 9.6)
LONGEST = 8
ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.9)
DRAFT_COSTS = (0.0, 0.05)
REQUESTS = (1, 2, 4, 8, 16, 32, 64)


def random_model(shape: dict[str, int], device: torch.device) -> Any:
    """Return a bfloat16 Llama of random weights, without a copy of them anywhere else."""
    config = LlamaConfig(**shape, tie_word_embeddings=False)
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.to_empty(device=device)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02) if parameter.dim() > 1 else parameter.data.fill_(1)
    # Its frequencies are in no checkpoint, so they are not made from nothing as weights are.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    return model.eval().requires_grad_(False)


def flat_batch(requests: int, rows: int, vocab_size: int, device: torch.device) -> FlatBatch:
    """Return `rows` new tokens for each of so many requests at the context."""
    blocks = -(-(CONTEXT + rows) // BLOCK)
    tokens = [i * 37 % vocab_size for i in range(requests * rows)]
    return FlatBatch.of(
        [tokens[i * rows : (i + 1) * rows] for i in range(requests)],
        [CONTEXT] * requests,
        [range(i * blocks, (i + 1) * blocks) for i in range(requests)],
        BLOCK,
        device,
        logit_rows=range(len(tokens)),
    )


def captured(model: Any, rows: int, device: torch.device) -> Callable[[], Any]:
    """Return the replay of a graph of transformers' own forward of `rows` tokens at the context.

    The cache grows inside the graph, from the same tokens at each replay.
    """
    past = DynamicCache()
    some = torch.arange(CONTEXT, device=device)[None] % model.config.vocab_size
    model(input_ids=some, past_key_values=past, use_cache=True, logits_to_keep=1)
    known = [(layer.keys, layer.values) for layer in past.layers]
    ids = some[:, :rows].clone()
    positions = torch.arange(CONTEXT, CONTEXT + rows, device=device)[None]

    def forward() -> None:
        cache = DynamicCache()
        for i, (keys, values) in enumerate(known):
            cache.update(keys, values, i)
        model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        forward()
    return graph.replay


def graph_times(model: Any, rounds: int, deadline: Deadline) -> dict[str, Any]:
    """Return milliseconds of captured forwards by rows, or why there are none."""
    if model.device.type != "cuda":
        return {"not_measured": "graphs are CUDA's"}
    times: dict[int, float] = {}
    try:
        for rows in (*ROWS, MORE_ROWS[0]):
            if not deadline.passed:
                times[rows] = milliseconds(
                    captured(model, rows, model.device), model.device, rounds
                )
    except Exception as error:  # a capture fails in as many ways as there are operators
        return {"ms": times, "failed": f"{type(error).__name__}: {error}"[:600]}
    return {"ms": times}


def pair(times: dict[int, float]) -> dict[str, Any]:
    """Work out the milliseconds between tokens, off and with drafts that cost nothing."""
    off, on = times[1], times[PAIR_ROWS] / PAIR_TOKENS
    return {
        "arithmetic": f"T(1), and T({PAIR_ROWS}) / {PAIR_TOKENS} tokens a run; drafting is free",
        "off_ms": round(off, 3),
        "on_ms": round(on, 3),
        "speedup": round(off / on, 3),
        "published_ms": list(PAIR_MS),
        "published_speedup": round(PAIR_MS[0] / PAIR_MS[1], 3),
    }


def best_lengths(times: dict[int, float]) -> list[dict[str, Any]]:
    """Work out the best draft length of each batch from T(rows), read off between measured ones.

    A token of a drafter costs so many runs of the batch's plain step. The contexts of a batch are
    left out: its T is that of one request with as many rows.
    """
    known = sorted(times)
    rows = []
    for alpha in ALPHAS:
        for c in DRAFT_COSTS:
            lengths = {}
            for requests in REQUESTS:
                counts = requests * np.arange(1, LONGEST + 2)
                counts = counts[counts <= known[-1]]
                verify = np.interp(counts, known, [times[n] for n in known]) / 1e3
                draft = c * verify[0] * np.arange(len(counts))
                gains = speedups(constant(alpha, len(counts) - 1), measured_cost(draft, verify))
                lengths[requests] = int(best_k(gains))
            off = [requests for requests, k in lengths.items() if k == 0]
            rows.append(
                {"alpha": alpha, "c": c, "best_k": lengths, "off_from": min(off, default=None)}
            )
    return rows


@torch.inference_mode()
def model_steps(device: torch.device, tiny: bool, deadline: Deadline) -> dict[str, Any]:
    """Measure runs by rows, with and without graphs, and work out what follows."""
    shape, rounds = (TINY, 1) if tiny else (SHAPE, 9)
    rate = copied_bytes_per_second(device, 1 << (20 if tiny else 31))
    model = random_model(shape, device)
    # Before the runner: it puts its own attention into the model.
    model.set_attn_implementation("sdpa")
    graphs = graph_times(model, rounds, deadline)
    runner = ModelRunner(model)
    read = runner.weight_bytes - model.get_input_embeddings().weight.nbytes
    runner.allocate(max(REQUESTS) * (CONTEXT + 2 * BLOCK), BLOCK)

    def run_ms(requests: int, rows: int) -> float:
        batch = flat_batch(requests, rows, shape["vocab_size"], device)
        return milliseconds(lambda: runner.run(batch), device, rounds)

    def launched_ms(requests: int, rows: int) -> float:
        graphs, runner.graphs = runner.graphs, None
        try:
            return run_ms(requests, rows)
        finally:
            runner.graphs = graphs

    times = {rows: run_ms(1, rows) for rows in (*ROWS, *MORE_ROWS) if not deadline.passed}
    batches = {f"{b} x {n}": run_ms(b, n) for b, n in BATCHES if not deadline.passed}
    launched = {
        f"{b} x {n}": launched_ms(b, n) for b, n in ((1, 1), *BATCHES) if not deadline.passed
    }
    floor = read / rate * 1e3
    result: dict[str, Any] = {
        "shape": shape,
        "context": CONTEXT,
        "weight_bytes_read": read,
        "copy_bytes_per_second": rate,
        "floor_ms": floor,
        "fairdraft_ms": times,
        "fairdraft_batches_ms": batches,
        "fairdraft_without_graphs_ms": launched,
        "transformers_graph": graphs,
    }
    for name, found in (("fairdraft", times), ("transformers_graph", graphs.get("ms", {}))):
        if PAIR_ROWS not in found:
            continue
        result[f"{name}_over_floor"] = {n: round(t / floor, 3) for n, t in found.items()}
        result[f"{name}_pair"] = pair(found)
        result[f"{name}_best_k"] = best_lengths(found)
    return result
