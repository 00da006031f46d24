"""One real run per cause of a slow speculating server, provoked on purpose on the demo model.

Each cause has a run with speculation and one without, of the same prompts in turns, as step traces:
what `fairdraft diagnose` reads. They are kept, compressed, beside the tests of the diagnosis.

* step cost: a verification is run once more for every drafted token, as without a kernel for it.
* drafting cost: the target's first 26 layers draft for all 30.
* drafter mismatch: a lookup of single tokens in text that does not repeat.
* position-1 collapse: the first token of a draft seldom stands, the others mostly do
  (`rejection_sample_method: synthetic`; the text is not the target's).
* workload: a lookup of five tokens in text that does not repeat.
* saturation: 24 requests on few cores, each with seven drafted tokens (`synthetic` as well).
* preemption: the blocks that are left hold a third of the requests.

    python -m benchmarks.suites.provoked [--only CAUSE]
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.constants import ROOT, SHALLOW, WORK
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.telemetry.environment import benchmark_environment

KEPT = ROOT / "tests" / "economics" / "planning" / "runs"
LOOKUP = {"method": "ngram", "prompt_lookup_max": 4}
TURNS = 3  # of either engine
LIST = "Repeat this line again and again: one two three four five six seven eight nine ten.\n"


@dataclass(frozen=True)
class Provoked:
    """A way to make speculation slow.

    Args:
        config: of speculation.
        streams: requests side by side.
        repeats: whether texts repeat themselves; else they are sampled.
        blocks: of the KV pool with speculation; None for room for all.
        slow: whether verification is run once for every row.
        tokens: of each text.
    """

    config: dict[str, Any]
    streams: int = 1
    repeats: bool = True
    blocks: int | None = None
    slow: bool = False
    tokens: int = 96


COLLAPSED = {
    "rejection_sample_method": "synthetic",
    "synthetic_acceptance_rates": [0.1, 0.085, 0.072],
}
ACCEPTED = {
    "rejection_sample_method": "synthetic",
    "synthetic_acceptance_rates": [0.65, 0.45, 0.32, 0.23, 0.16, 0.11, 0.08],
}
RUNS = {
    "step cost": Provoked(
        {**LOOKUP, "num_speculative_tokens": 3, "prompt_lookup_min": 1}, slow=True
    ),
    "drafting cost": Provoked(
        {"method": "draft_model", "num_draft_layers": SHALLOW, "num_speculative_tokens": 3}
    ),
    "drafter mismatch": Provoked(
        {**LOOKUP, "num_speculative_tokens": 4, "prompt_lookup_min": 1, "prompt_lookup_max": 1},
        streams=4,
        repeats=False,
    ),
    "position-1 collapse": Provoked(
        {**LOOKUP, "num_speculative_tokens": 3, "prompt_lookup_min": 1, **COLLAPSED}
    ),
    "workload": Provoked(
        {**LOOKUP, "num_speculative_tokens": 3, "prompt_lookup_max": 6, "prompt_lookup_min": 5},
        streams=2,
        repeats=False,
    ),
    "saturation": Provoked(
        {**LOOKUP, "num_speculative_tokens": 7, "prompt_lookup_min": 1, **ACCEPTED},
        streams=24,
        tokens=48,
    ),
    "preemption": Provoked(
        {**LOOKUP, "num_speculative_tokens": 2, "prompt_lookup_min": 2},
        streams=8,
        blocks=36,
        tokens=160,
    ),
}


def slow_down(llm: LLM) -> None:
    """Let every verification cost a plain step for each of its rows."""
    run: Callable[..., Any] = llm.runner.run

    def slowly(batch: Any, *others: Any) -> Any:
        for _ in range(len(batch.token_ids) - 1 if len(batch.token_ids) < 8 else 0):
            run(batch, *others)
        return run(batch, *others)

    llm.runner.run = slowly  # type: ignore[method-assign, assignment]


def record(asked: Provoked, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run with speculation and without, in turns, and return both traces, warm-up left out."""
    engines = {
        name: LLM(
            "demo",
            speculative_config=asked.config if name == "on" else None,
            max_model_len=1024,
            max_num_seqs=asked.streams,
            num_gpu_blocks_override=(asked.blocks if name == "on" else None) or 2048,
            enable_prefix_caching=False,
            trace=folder / f"{name}.jsonl",
        )
        for name in ("on", "off")
    }
    warm = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    warmed = {}
    for name, llm in engines.items():
        llm.generate(["A recipe for soup", LIST], warm)
        warmed[name] = llm.times.num_steps
    if asked.slow:
        slow_down(engines["on"])
    texts = load_prompts("mt_bench", TURNS * asked.streams)
    for turn in range(TURNS):
        numbers = range(turn * asked.streams, (turn + 1) * asked.streams)
        prompts = [LIST * 2 + str(i) if asked.repeats else str(texts[i])[:300] for i in numbers]
        params = [
            SamplingParams(
                temperature=0.0 if asked.repeats else 1.0,
                seed=i,
                max_tokens=asked.tokens,
                ignore_eos=True,
            )
            for i in numbers
        ]
        for llm in engines.values():
            llm.generate(prompts, params)
    found = {}
    for name, llm in engines.items():
        llm.close()
        lines = (folder / f"{name}.jsonl").read_text().splitlines()
        found[name] = [json.loads(line) for line in lines][warmed[name] :]
    return found


def small(record: dict[str, Any]) -> dict[str, Any]:
    """Return a step's record with times to the microsecond and without the ids of tokens."""
    times = {name: round(value, 6) for name, value in record["times"].items()}
    requests = [
        {
            **each,
            **{
                name: [0] * len(each[name])
                for name in ("draft_token_ids", "token_ids")
                if name in each
            },
        }
        for each in record["requests"]
    ]
    return {**record, "times": times, "requests": requests}


def main() -> None:
    """Provoke each cause, and keep both traces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(RUNS), nargs="+", help="of the causes")
    only = parser.parse_args().only
    KEPT.mkdir(parents=True, exist_ok=True)
    work = WORK / "provoked"
    work.mkdir(parents=True, exist_ok=True)
    for cause in only or list(RUNS):
        for name, steps in record(RUNS[cause], work).items():
            text = "".join(json.dumps(small(step)) + "\n" for step in steps)
            path = KEPT / f"{cause.replace(' ', '_')}-{name}.jsonl.gz"
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
            print(f"{cause}, {name}: {len(steps)} steps, {path.stat().st_size:,} bytes", flush=True)
    (KEPT / "environment.json").write_text(json.dumps(benchmark_environment(), indent=1) + "\n")


if __name__ == "__main__":
    main()
