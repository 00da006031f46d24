"""One real run per cause of a slow speculating server, provoked on purpose on the demo model.

Each cause has a run with speculation and one without, of the same prompts, as step traces: what
`fairdraft diagnose` reads. They are kept, compressed, beside the tests of the diagnosis.

* step cost: a verification is run once more for every drafted token, as without a kernel for it.
* drafting cost: the target's first 26 layers draft for all 30.
* drafter mismatch: a lookup of single tokens in text that does not repeat.
* position-1 collapse: the first token of a draft seldom stands, the others mostly do
  (`rejection_sample_method: synthetic`; the text is not the target's).
* workload: a lookup of five tokens in text that does not repeat.
* saturation: 16 requests on few cores, each with five drafted tokens.
* preemption: the blocks that are left hold a third of the requests.

    python -m benchmarks.suites.provoked [--only CAUSE]
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.constants import ROOT, SHALLOW, WORK
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.telemetry.environment import benchmark_environment

KEPT = ROOT / "tests" / "economics" / "planning" / "runs"
LOOKUP = {"method": "ngram", "prompt_lookup_max": 4}
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
    options: dict[str, Any] = field(default_factory=dict)


COLLAPSED = {
    "rejection_sample_method": "synthetic",
    "synthetic_acceptance_rates": [0.1, 0.085, 0.072],
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
        {**LOOKUP, "num_speculative_tokens": 5, "prompt_lookup_min": 1}, streams=16, tokens=96
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


def record(asked: Provoked, speculates: bool, path: Path) -> list[dict[str, Any]]:
    """Run it with speculation, or without, and return the trace of its second half."""
    blocks = asked.blocks if speculates and asked.blocks else 2048
    llm = LLM(
        "demo",
        speculative_config=asked.config if speculates else None,
        max_model_len=1024,
        max_num_seqs=asked.streams,
        num_gpu_blocks_override=blocks,
        enable_prefix_caching=False,
        trace=path,
    )
    warm = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    llm.generate(["A recipe for soup", LIST], warm)
    warmed = llm.times.num_steps
    if asked.slow and speculates:
        slow_down(llm)
    texts = load_prompts("mt_bench", 2 * asked.streams)
    prompts = [
        LIST * 2 + str(i) if asked.repeats else str(text)[:300] for i, text in enumerate(texts)
    ]
    params = [
        SamplingParams(
            temperature=0.0 if asked.repeats else 1.0,
            seed=i,
            max_tokens=asked.tokens,
            ignore_eos=True,
        )
        for i in range(len(prompts))
    ]
    llm.generate(prompts, params)
    llm.close()
    return [json.loads(line) for line in path.read_text().splitlines()][warmed:]


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
        for name, speculates in (("on", True), ("off", False)):
            steps = record(RUNS[cause], speculates, work / "trace.jsonl")
            text = "".join(json.dumps(small(step)) + "\n" for step in steps)
            path = KEPT / f"{cause.replace(' ', '_')}-{name}.jsonl.gz"
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
            print(f"{cause}, {name}: {len(steps)} steps, {path.stat().st_size:,} bytes", flush=True)
    (KEPT / "environment.json").write_text(json.dumps(benchmark_environment(), indent=1) + "\n")


if __name__ == "__main__":
    main()
