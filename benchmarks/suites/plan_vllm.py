"""Does `plan`, from a short sweep of a real vLLM, pick the k that a full sweep finds best?

The short sweep: k of 0, 2 and 6, on prompts of its own. The full sweep: k of 0, 1, 2, 4 and 6 on
others. One and eight streams; vLLM's own counters. An engine for each k, all loaded at once, takes
its turn with a handful of prompts, for the machine is slow at some times and quick at others.

python -m benchmarks.suites.plan_vllm --model DIR --vllm-python PYTHON
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.constants import LOOKUP, WORK
from benchmarks.keeping import kept, split_rows, write_result
from benchmarks.prompts import chat_prompts
from benchmarks.workers.process import WorkerProcess
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.planner import plan
from fairdraft.peers import Reading

KS = (0, 1, 2, 4, 6)
SWEEPS = {"short": (0, 2, 6), "full": KS}
STREAMS = {1: 6, 8: 16}  # and prompts of each sweep
TOKENS = 64
REPEATS = 3  # in turns; medians count
SETTLE = 0.5  # seconds in which an engine's threads stop waiting for more
METHOD = {"method": "ngram", **LOOKUP}
Groups = list[list[list[int]]]


def start(options: argparse.Namespace, k: int, warm_up: list[int]) -> tuple[WorkerProcess, str]:
    """Start vLLM at one draft length; the process and vLLM's version."""
    worker = WorkerProcess(options.vllm_python, ["-m", "benchmarks.workers.vllm_sweep"])
    job = {
        "model": options.model,
        "speculative": {**METHOD, "num_speculative_tokens": k} if k else None,
        "max_tokens": TOKENS,
        "warm_up": warm_up,
    }
    return worker, worker.ask(job)["vllm"]


def groups(prompts: Sequence[list[int]], name: str, streams: int) -> Groups:
    """Return a sweep's prompts, as many in each group as run at once."""
    count = STREAMS[streams]
    first = (0 if streams == 1 else 2 * STREAMS[1]) + list(SWEEPS).index(name) * count
    chosen = [prompts[(first + i) % len(prompts)] for i in range(count)]
    return [chosen[i : i + streams] for i in range(0, count, streams)]


def sweep(options: argparse.Namespace, prompts: Sequence[list[int]]) -> dict[str, Any]:
    """Run every sweep at every k and load; per run, what a group took in the median."""
    started = {k: start(options, k, prompts[-1]) for k in KS}
    workers = {k: worker for k, (worker, _) in started.items()}
    found = []
    for name, ks in SWEEPS.items():
        for streams in STREAMS:
            own = groups(prompts, name, streams)
            samples: dict[int, list[list[Any]]] = {k: [[] for _ in own] for k in ks}
            for turn in range(REPEATS):
                for i, group in enumerate(own):
                    for k in [*ks[turn % len(ks) :], *ks[: turn % len(ks)]]:
                        time.sleep(SETTLE)
                        samples[k][i].append(workers[k].ask(group))
                print(f"{name}, {streams} at once: turn {turn + 1} of {REPEATS}", flush=True)
            for k in ks:
                seconds = [[each["seconds"] for each in group] for group in samples[k]]
                # Greedy texts are the same each time, and so are their counts.
                counts = [group[0]["counters"] for group in samples[k]]
                totals = {
                    counter: np.sum([each[counter] for each in counts], axis=0).tolist()
                    for counter in counts[0]
                }
                found.append(
                    {
                        "name": name,
                        "streams": streams,
                        "k": k,
                        "tokens": sum(group[0]["tokens"] for group in samples[k]),
                        "seconds": float(sum(np.median(each) for each in seconds)),
                        "samples": seconds,
                        "counters": totals,
                    }
                )
    for worker in workers.values():
        worker.stop()
    return {"vllm": started[0][1], "runs": found}


def reading(run: dict[str, Any]) -> Reading:
    """Return what vLLM's counters and the clock say of a run."""
    counts, streams, k = run["counters"], run["streams"], run["k"]
    accepted = counts.get("accepted_tokens", 0)
    return Reading(
        f"vLLM k={k}, {streams} at once",
        counts.get("drafts", 0),
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
    options = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompts = chat_prompts(tokenizer, 40, ("humaneval",))
    WORK.mkdir(parents=True, exist_ok=True)
    measured = kept(WORK, "plan_vllm", lambda: sweep(options, prompts))
    found = measured["runs"]
    short = [reading(run) for run in found if run["name"] == "short"]
    longest = [each for each in short if each.stated_k == max(KS)]
    costs = StepCosts.of_sweep(short, "ngram")
    planned = plan(costs, Acceptance.of(*longest), [k for k in KS if k], list(STREAMS))
    chosen = planned.schedule("ngram")
    rows = []
    for streams in STREAMS:
        rates = {
            run["k"]: run["tokens"] / run["seconds"]
            for run in found
            if (run["name"], run["streams"]) == ("full", streams)
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
    settings = {"settings": METHOD, "tokens": TOKENS, "repeats": REPEATS}
    brief, samples = split_rows(found, "samples")
    summary = {**settings, "vllm": measured["vllm"], "rows": rows, "runs": brief}
    write_result("plan_vllm", summary, {"runs": samples})


if __name__ == "__main__":
    main()
