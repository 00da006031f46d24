"""What long contexts make of a step, the roofline beside it, and inter-token latency predicted.

A profile at contexts of 512 to 8,000 tokens prices 5 drafts of which 2.8 stand (3.8 tokens a step
with the bonus token); the same is then measured with acceptance by decree, on prompts that are
read for real, beside plain decoding. Where no number of requests leaves room for a draft is told
for acceptance of 0.5 and 0.7, of a drafter that costs nothing, and of one at c = 0.1.

    python -m benchmarks.suites.long_context [--config llama-3-8b --device cuda]
"""

from __future__ import annotations

import argparse
import random
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.keeping import write_result
from fairdraft import SamplingParams, SpeculativeConfig
from fairdraft.config import EngineConfig
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import speedups
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import Filler, ProfileGrid, build_shape, profile_model
from fairdraft.telemetry.environment import benchmark_environment

K, LENGTH = 5, 3.8
TOKENS = 76


def latency(runner: ModelRunner, context: int, k: int) -> list[float]:
    """Seconds of each decoding step, one request; k = 0 is plain."""
    synthetic = SpeculativeConfig(
        "off", K, rejection_sample_method="synthetic", synthetic_acceptance_length=LENGTH
    )
    config = EngineConfig(
        "benchmark",
        max_num_seqs=1,
        max_model_len=context + TOKENS + K,
        speculative_config=synthetic,
    )
    engine = Engine(config, runner, proposer=Filler(K) if k else None)
    tokens = [random.Random(i).randrange(runner.vocab_size) for i in range(context)]
    engine.add_request(tokens, SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True))
    found: list[float] = []
    while engine.has_unfinished_requests:
        start = perf_counter()
        outputs = engine.step()
        if outputs and outputs[0].request.num_output_tokens > 1:
            found.append(perf_counter() - start)
    return found


def saturation(profile: Profile, context: int, alpha: float, c: float) -> int | None:
    """The smallest profiled number of requests at which no draft length pays; None if all do."""
    for requests in profile.step.requests:
        if not profile.step.covers(requests, 1 + K, context):
            return None
        runs = [profile.step.seconds(requests, 1 + i, context) for i in range(K + 1)]
        costs = np.array(runs) / runs[0] + c * np.arange(K + 1)
        if best_k(speedups(constant(alpha, K), costs)) == 0:
            return requests
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", help="random weights of a shape; the demo model if left out")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--contexts", default="512,2000,4000,8000")
    parser.add_argument("--requests", default="1,2,4,8")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    contexts = [int(n) for n in options.contexts.split(",")]
    requests = tuple(int(n) for n in options.requests.split(","))
    if options.config:
        runner = ModelRunner(build_shape(options.config, device=options.device))
    else:
        runner = ModelRunner(load_checkpoint("demo", device=options.device).model)
    grid = ProfileGrid(requests, tuple(range(1, K + 1)), tuple(contexts), options.rounds)
    environment = benchmark_environment()
    profile = profile_model(runner, grid, model=options.config or "demo", environment=environment)
    # The roofline's machine: bandwidth off the smallest run, operations off the largest prefill.
    assert profile.prefill is not None
    rows = profile.prefill.rows[-1]
    flops = 2 * profile.parameters * rows / profile.prefill.seconds(1, rows, 0)
    roofline = profile.roofline(profile.bandwidth, flops)
    found: list[dict[str, Any]] = []
    for context in contexts:
        measured = {k: sum(latency(runner, context, k)) / (TOKENS - 1) for k in (0, K)}
        plain = profile.step.seconds(1, 1, context)
        step = profile.step.seconds(1, 1 + K, context)
        row = {
            "context": context,
            "plain_ms": {
                str(b): profile.step.seconds(b, 1, context) * 1e3
                for b in requests
                if profile.step.covers(b, 1, context)
            },
            "roofline_ms": {str(b): roofline.seconds(b, 1, context) * 1e3 for b in requests},
            "predicted_itl_ms": [plain * 1e3, step / LENGTH * 1e3],
            "measured_itl_ms": [measured[0] * 1e3, measured[K] * 1e3],
            "saturation": {
                f"alpha={alpha}, c={c}": saturation(profile, context, alpha, c)
                for alpha in (0.5, 0.7)
                for c in (0.0, 0.1)
            },
        }
        found.append(row)
        print(row, flush=True)
    write_result(
        "long_context",
        {
            "k": K,
            "tokens_per_step": LENGTH,
            "bandwidth": profile.bandwidth,
            "flops": flops,
            "rows": found,
        },
        {"profile": profile.to_json()},
    )


if __name__ == "__main__":
    main()
