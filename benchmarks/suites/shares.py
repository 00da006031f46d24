"""What a step is besides the model's run, at eight sampled requests; and what EAGLE-3 costs.

* Eight requests at temperature 1 and top_p 0.95, off, n-gram and EAGLE-3: the engine's own times of
  schedule, verify, update and propose, as shares of decoding steps.
* One greedy request, humaneval, EAGLE-3 with k = 3 beside off: c, the time of a draft token over
  that of a step of one row, and the speedup.

Engines take turns, default settings, bfloat16; steps that read a prompt do not count.

    python -m benchmarks.suites.shares [--tokens 64]
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.constants import DATASETS, NGRAM
from benchmarks.interleave import Answering, Job, in_turns, paired_speedup, rate, speedup
from benchmarks.keeping import write_result
from benchmarks.prompts import chat_prompts
from benchmarks.suites.controller_grid import STEPS, VISIT, WARM_UPS, load
from fairdraft import LLM, SamplingParams

STREAMS = 8
TEMPERATURE, TOP_P = 1.0, 0.95
K = 3
EAGLE3 = {"method": "eagle3", "num_speculative_tokens": K}
METHODS: dict[str, dict[str, Any] | None] = {"off": None, "ngram": NGRAM, "eagle3": EAGLE3}
VERBS = ("schedule", "run", "verify", "update", "propose")


def run_in_turns(engines: dict[str, LLM], made: list[Job], streams: int) -> dict[str, Any]:
    """Answer jobs with every engine in turns, so many at once, and return each one's result."""
    under_way = {name: Answering(llm, made, streams, STEPS) for name, llm in engines.items()}
    in_turns(list(under_way.values()), VISIT)
    found = {name: each.result() for name, each in under_way.items()}
    for name, run in found.items():
        if not run["decoding"]["num_steps"]:
            raise SystemExit(
                f"error: {name} made no step at {streams} at once that read no prompt: give more "
                "prompts or tokens"
            )
    return found


def shares(run: dict[str, Any]) -> dict[str, float]:
    """Return each verb's share of a run's decoding steps, and of all but the run as "overhead"."""
    times = run["decoding"]
    found = {verb: times[verb] / times["total"] for verb in VERBS}
    return {**found, "overhead": times["overhead"]}


def draft_cost(run: dict[str, Any], off: dict[str, Any]) -> float:
    """Return c: seconds of proposing a token over those of a step without speculation."""
    ours, plain = run["decoding"], off["decoding"]
    return float(ours["propose"] / ours["drafted"] / (plain["total"] / plain["num_steps"]))


def main() -> None:
    """Measure, print a line a setting, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=24, help=f"of the {STREAMS} streams")
    parser.add_argument("--tokens", type=int, default=64, help="of each sampled text")
    parser.add_argument("--greedy-prompts", type=int, default=8, help="of humaneval, one stream")
    parser.add_argument("--greedy-tokens", type=int, default=96, help="of each greedy text")
    parser.add_argument("--name", default="shares", help="of the result")
    options = parser.parse_args()
    engines = {name: load(speculative) for name, speculative in METHODS.items()}
    for llm in engines.values():
        llm.generate(list(WARM_UPS), SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))
    tokenizer = engines["off"].tokenizer
    each = -(-options.prompts // len(DATASETS))
    made = [
        Job(
            prompt,
            SamplingParams(
                temperature=TEMPERATURE,
                top_p=TOP_P,
                seed=i,
                max_tokens=options.tokens,
                ignore_eos=True,
            ),
        )
        for i, prompt in enumerate(chat_prompts(tokenizer, each)[: options.prompts])
    ]
    sampled = run_in_turns(engines, made, STREAMS)
    rows = []
    for name, run in sampled.items():
        step = 1e3 * run["decoding"]["total"] / run["decoding"]["num_steps"]
        rows.append({"method": name, "step_ms": step, "shares": shares(run)})
        told = ", ".join(f"{verb} {share:.1%}" for verb, share in shares(run).items())
        print(f"{name:7} {STREAMS} streams: {step:.1f} ms a step, {told}", flush=True)
    greedy = SamplingParams(temperature=0, max_tokens=options.greedy_tokens, ignore_eos=True)
    # Behind those prompts that the first part may have taken: nothing is answered twice.
    prompts = chat_prompts(tokenizer, each + options.greedy_prompts, ("humaneval",))[each:]
    pair = {name: engines[name] for name in ("off", "eagle3")}
    found = run_in_turns(pair, [Job(prompt, greedy) for prompt in prompts], 1)
    ours, off = found["eagle3"], found["off"]
    over = speedup(ours, off)
    head = {
        "k": K,
        "c": draft_cost(ours, off),
        "tokens_per_second": {name: rate(run) for name, run in found.items()},
        "speedup": [paired_speedup(ours, off), over.low, over.high],
        "mean_acceptance_length": ours["counters"]["mean_acceptance_length"],
        "drafted": ours["counters"]["num_draft_tokens"],
    }
    value, low, high = head["speedup"]
    print(
        f"eagle3, k = {K}, one stream: c {head['c']:.3f}, {value:.2f}× of off "
        f"({low:.2f}–{high:.2f}), length {head['mean_acceptance_length']:.2f}"
    )
    summary = {
        "streams": STREAMS,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
        "tokens_per_text": options.tokens,
        "rows": rows,
        "head": head,
    }
    write_result(options.name, summary, {"sampled": sampled, "greedy": found})


if __name__ == "__main__":
    main()
