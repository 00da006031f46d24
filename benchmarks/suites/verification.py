"""What verification costs: 32 requests × 5 rows over vocabularies of 49,152 and 128,256 words.

Greedy, and sampled with chosen drafts, drawn drafts under the standard and the block rule, and
coupled ones; with and without top-k and top-p. Milliseconds of all 32 verdicts on one core, their
share of a step (measured for SmolLM2's vocabulary; for the larger one the same step is assumed),
and the memory they take beside the logits.

    python -m benchmarks.suites.verification
"""

from __future__ import annotations

import argparse
import resource
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.keeping import write_result
from benchmarks.suites.step_time import flat_batch
from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.draft import Draft
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.request import Request
from fairdraft.testing import ToyRunner

REQUESTS, K = 32, 4
FILTERED = {"top_k": 50, "top_p": 0.95}
CASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "greedy": ("standard", False, {"temperature": 0}),
    "chosen drafts": ("standard", False, {}),
    "chosen drafts, top-k, top-p": ("standard", False, FILTERED),
    "standard": ("standard", True, {}),
    "standard, top-k, top-p": ("standard", True, FILTERED),
    "block": ("block", True, {}),
    "block, top-k, top-p": ("block", True, FILTERED),
    "coupled": ("coupled", True, {}),
    "coupled, top-k, top-p": ("coupled", True, FILTERED),
}


def verify(engine: Engine, requests: list[Request], drafts: list[Draft], logits: Any) -> int:
    """Verdicts of all requests, as a step of the engine takes them; returns accepted tokens."""
    spans = [slice(i * (K + 1), (i + 1) * (K + 1)) for i in range(len(requests))]
    verdicts = engine.verifier.decide(list(zip(requests, drafts, spans, strict=True)), logits)
    return sum(verdict.num_accepted for verdict in verdicts if verdict is not None)


def time_verdicts(vocabulary: int, rounds: int) -> dict[str, Any]:
    """Return median milliseconds by case. Laws are peaked as a language model's are, q near p."""
    generator = torch.Generator().manual_seed(0)
    rows = REQUESTS * (K + 1)
    logits = torch.randn(rows, vocabulary, generator=generator) * 2
    logits[:, :200] += 8 * torch.rand(rows, 200, generator=generator)
    laws = torch.softmax(logits + 0.3 * torch.randn(rows, vocabulary, generator=generator), -1)
    tokens = torch.multinomial(laws, 1, generator=generator)[:, 0].tolist()
    samples: dict[str, list[float]] = {name: [] for name in CASES}
    memory: dict[str, float] = {}
    accepted: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, (rule, drawn, options) in CASES.items():
            config = EngineConfig(
                "demo",
                speculative_config={"method": "off", "rejection_sample_method": rule},  # type: ignore[arg-type]
            )
            engine = Engine(config, ToyRunner())
            params = SamplingParams(max_tokens=None, **options)
            requests = [Request(str(i), (1, 2, 3), params, i) for i in range(REQUESTS)]
            drafts = []
            for i in range(REQUESTS):
                first = i * (K + 1)
                chain = tuple(tokens[first : first + K])
                drafts.append(Draft(chain, probs=list(laws[first : first + K]) if drawn else None))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = perf_counter()
            accepted[name] = verify(engine, requests, drafts, logits) / REQUESTS
            if number:
                samples[name].append((perf_counter() - start) * 1e3)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            memory[name] = max(memory.get(name, 0.0), grown)
    return {
        "rows_mib": rows * vocabulary * 4 / 2**20,
        "median_ms": {name: median(values) for name, values in samples.items()},
        "accepted": accepted,
        "peak_growth_mib": memory,
        "samples_ms": samples,
    }


def step_ms(rounds: int) -> float:
    """A run of 32 requests × 5 rows at context 300, SmolLM2 in bfloat16."""
    runner = ModelRunner(load_checkpoint("demo", "bfloat16", "cpu").model)
    runner.allocate(REQUESTS * 320)
    batch = flat_batch(REQUESTS, K + 1, 300)
    times = []
    for _ in range(rounds + 1):
        start = perf_counter()
        runner.run(batch)
        times.append((perf_counter() - start) * 1e3)
    return median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    step = step_ms(options.rounds)
    print(f"a step of {REQUESTS} × {K + 1} rows: {step:.0f} ms")
    vocabularies = {str(v): time_verdicts(v, options.rounds) for v in (49_152, 128_256)}
    for vocabulary, found in vocabularies.items():
        for name, value in found["median_ms"].items():
            print(
                f"{vocabulary:>7} {name:30} {value:7.1f} ms  {value / (value + step):6.1%}  "
                f"+{found['peak_growth_mib'][name]:.0f} MiB, rows {found['rows_mib']:.0f} MiB"
            )
    samples = {v: {"samples_ms": found.pop("samples_ms")} for v, found in vocabularies.items()}
    summary = {"step_ms": step, "vocabularies": vocabularies}
    write_result("verification", summary, {"vocabularies": samples})


if __name__ == "__main__":
    main()
