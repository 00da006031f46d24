"""What a step costs: ours and transformers eager, side by side, and how far the floor is.

Interleaved rounds (A B A B …) and medians. SmolLM2-135M, decode steps of one request:
* 1 and 5 rows at context 300, bfloat16 and float32, against transformers eager with its own cache;
* 1 and 5 rows at contexts of 1k, 4k and 8k tokens (8,000 + 5 rows must fit the model's 8,192);
* 8 requests of 1 and of 5 rows;
* the floor: weight bytes over the bandwidth that a plain sum over as many bytes reaches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.keeping import write_result
from fairdraft.models import FlatBatch, ModelRunner, load_checkpoint

BLOCK = 16


def flat_batch(requests: int, rows: int, context: int) -> FlatBatch:
    """`rows` new tokens for each of `requests` requests that have `context` tokens."""
    blocks = -(-(context + rows) // BLOCK)
    total = requests * rows
    tokens = [i * 37 % 40_000 for i in range(total)]
    return FlatBatch.of(
        [tokens[i * rows : (i + 1) * rows] for i in range(requests)],
        [context] * requests,
        [range(i * blocks, (i + 1) * blocks) for i in range(requests)],
        BLOCK,
        torch.device("cpu"),
        logit_rows=range(total),
    )


def eager_step(model: Any, cache: Any, rows: int) -> None:
    """A transformers forward of `rows` tokens, then the cache as it was."""
    ids = torch.arange(rows)[None] * 37 % 40_000
    with torch.inference_mode():
        model(ids, past_key_values=cache, use_cache=True)
    cache.crop(-rows)


def interleave(jobs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each job, every job once a round, after one round unmeasured."""
    samples: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            start = perf_counter()
            job()
            if number:
                samples[name].append((perf_counter() - start) * 1e3)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()

    jobs: dict[str, Callable[[], Any]] = {}
    weight_bytes: dict[str, int] = {}
    for dtype in ("bfloat16", "float32"):
        eager = load_checkpoint(options.model, dtype, "cpu").model.eval()
        cache = DynamicCache()
        with torch.inference_mode():
            eager(torch.arange(300)[None], past_key_values=cache, use_cache=True)
        runner = ModelRunner(load_checkpoint(options.model, dtype, "cpu").model)
        runner.allocate(8_192)
        weight_bytes[dtype] = runner.weight_bytes
        plain = torch.ones(runner.weight_bytes // 4)
        jobs[f"{dtype} sum"] = plain.sum
        for requests, rows, context in [
            (1, 1, 300),
            (1, 5, 300),
            (8, 1, 300),
            (8, 5, 300),
            *[(1, rows, context) for context in (1_000, 4_000, 8_000) for rows in (1, 5)],
        ]:
            if dtype == "float32" and (requests, context) != (1, 300):
                continue
            batch = flat_batch(requests, rows, context)
            name = f"{dtype} fairdraft requests={requests} rows={rows} context={context}"
            jobs[name] = partial(runner.run, batch)
        for rows in (1, 5):
            name = f"{dtype} transformers requests=1 rows={rows} context=300"
            jobs[name] = partial(eager_step, eager, cache, rows)
    samples = interleave(jobs, options.rounds)
    medians = {name: median(values) for name, values in samples.items()}
    for name, value in medians.items():
        print(f"{name:55} {value:7.1f} ms   fastest {min(samples[name]):7.1f}")
    summary = {"weight_bytes": weight_bytes, "median_ms": medians}
    write_result("step_time", summary, {"samples_ms": samples})


if __name__ == "__main__":
    main()
