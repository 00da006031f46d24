"""Does `plan`, from a short sweep of a real vLLM, pick the k that a full sweep finds best?

The short sweep: k of 0, 2 and 6, on prompts of its own. The full sweep: k of 0, 1, 2, 4 and 6 on
others, in two passes, the second in the other order. One and eight streams; vLLM's own counters.

python -m benchmarks.plan_vllm --model DIR --vllm-python PYTHON
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from functools import partial
from statistics import mean, median
from typing import Any

from benchmarks.common import HERE, WORK, kept, write_result
from fairdraft.cli.datasets import load_prompts
from fairdraft.economics.planner import plan
from fairdraft.economics.step_costs import StepCosts
from fairdraft.economics.traffic import Acceptance
from fairdraft.readers import Reading

KS = (0, 1, 2, 4, 6)
SHORT = (0, 2, 6)
STREAMS = {1: 6, 8: 16}  # and prompts of each sweep
TOKENS = 64
REPEATS = 3  # of each run in a process, in turns; the median counts
METHOD = {"method": "ngram", "prompt_lookup_max": 4, "prompt_lookup_min": 2}


def run_vllm(options: argparse.Namespace, k: int, prompts: Sequence[list[int]]) -> Any:
    """One process: both sweeps' prompts at this k."""
    runs = []
    for streams, count in STREAMS.items():
        first = 0 if streams == 1 else 2 * STREAMS[1]
        for part, name in enumerate(("short", "full")):
            begin = (first + part * count) % len(prompts)
            chosen = [*prompts, *prompts][begin : begin + count]
            runs.append({"name": name, "streams": streams, "prompts": chosen})
    job = {
        "model": options.model,
        "speculative": {**METHOD, "num_speculative_tokens": k} if k else None,
        "max_tokens": TOKENS,
        "warm_up": prompts[-1],
        "repeats": REPEATS,
        "runs": runs,
    }
    done = subprocess.run(
        [options.vllm_python, "-m", "benchmarks.workers.vllm_sweep"],
        input=json.dumps(job),
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"vLLM failed:\n{done.stderr[-3000:]}")
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    found = []
    for run in runs:
        same = [m for m in measured if (m["name"], m["streams"]) == (run["name"], run["streams"])]
        seconds = [each["seconds"] for each in same]
        # Greedy texts are the same each time, and so are their counts.
        found.append({**same[0], "seconds": median(seconds), "samples": seconds})
    return found


def reading(run: dict[str, Any], k: int) -> Reading:
    """What vLLM's counters and the clock say of a run."""
    counts, streams = run["counters"], run["streams"]
    rounds = counts.get("drafts", 0)
    accepted = counts.get("accepted_tokens", 0)
    return Reading(
        f"vLLM k={k}, {streams} at once",
        rounds,
        counts.get("draft_tokens", 0),
        accepted,
        tuple(counts.get("accepted_tokens_per_pos", ()))[:k],
        run["tokens"] / run["seconds"],
        streams,
        steps=run["tokens"] - accepted,
        stated_k=k or None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the target as a folder that vLLM reads")
    parser.add_argument("--vllm-python", required=True)
    parser.add_argument("--passes", type=int, default=2, choices=(1, 2))
    options = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompts = [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        )
        for text in load_prompts("humaneval", 40)
    ]
    found: dict[int, list[Any]] = {k: [] for k in KS}
    for number, k in enumerate([*KS, *reversed(KS)][: options.passes * len(KS)]):
        part = kept(WORK / "plan_vllm", f"{number}-k{k}", partial(run_vllm, options, k, prompts))
        found[k] += part
    short = [reading(run, k) for k in SHORT for run in found[k][:4] if run["name"] == "short"]
    longest = [each for each in short if len(each.accepted_per_position) == SHORT[-1]]
    costs = StepCosts.of_sweep(short, "ngram")
    planned = plan(costs, Acceptance.of(*longest), [k for k in KS if k], list(STREAMS))
    chosen = planned.schedule("ngram")
    rows = []
    for streams in STREAMS:
        rates = {
            k: mean(
                run["tokens"] / run["seconds"]
                for run in found[k]
                if run["streams"] == streams and run["name"] == "full"
            )
            for k in KS
        }
        best = max(rates, key=lambda k: rates[k])
        for k in KS:
            cell = planned.cells["ngram", streams, k]
            rows.append(
                {
                    "streams": streams,
                    "k": k,
                    "tokens_per_second": rates[k],
                    "speedup": rates[k] / rates[0],
                    "predicted": cell.speedup.value if cell else None,
                    "interval": [cell.speedup.low, cell.speedup.high] if cell else None,
                    "chosen": k == chosen[streams],
                    "best": k == best,
                }
            )
            shown = rows[-1]
            marks = " chosen" * shown["chosen"] + " best" * shown["best"]
            print(
                f"{streams} streams, k={k}: {rates[k]:6.1f} tok/s {shown['speedup']:.2f}x, "
                f"predicted {shown['predicted'] or 0:.2f}x{marks}"
            )
        print(f"  chosen / best: {rates[chosen[streams]] / rates[best]:.3f}")
    write_result("plan_vllm", {"settings": METHOD, "tokens": TOKENS, "rows": rows, "runs": found})


if __name__ == "__main__":
    main()
