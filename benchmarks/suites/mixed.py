"""Eight mixed prompts at once and one by one: n-gram and `auto` over off, and what `plan` says.

Prompts of 40 to 800 tokens, greedy, bfloat16, default settings. Three engines of one process take
turns; only decoding steps count. Between the turns the machine is profiled; from that, and from the
acceptance that was counted, `plan` says what n-gram speculation should have been worth. No engine
sees a prompt twice.

    python -m benchmarks.suites.mixed [--tokens 64]
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.constants import NGRAM
from benchmarks.interleave import Answering, Job, in_turns, paired_speedup, rate, speedup
from benchmarks.keeping import split_rows, write_result
from benchmarks.prompts import mixed_prompts
from benchmarks.suites.controller_grid import STEPS, VISIT, WARM_UPS, load
from benchmarks.suites.peers import METHODS
from fairdraft import LLM, SamplingParams
from fairdraft.config import SpeculativeConfig
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.planner import plan
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import WARM_UP, ProfileGrid, Profiler
from fairdraft.stats.intervals import Estimate

K: int = NGRAM["num_speculative_tokens"]
STREAMS = {1: (0,), 8: (8, 16)}  # by streams: numbers of the first prompts, eight from each on


def profiler(streams: int, context: int) -> Profiler:
    """Return what profiles the target and n-gram lookup in the middle of these texts, warm."""
    checkpoint = load_checkpoint("demo", "bfloat16", "cpu")
    runner = ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer, name="demo")
    grid = ProfileGrid((streams,), tuple(range(1, K + 1)), (context,), prefill=())
    found = Profiler(runner, grid, [SpeculativeConfig(**NGRAM)], checkpoint.tokenizer)
    for _ in range(WARM_UP):
        found.round()
    return found


def planned(profile: Profile, context: int, counters: dict[str, Any], streams: int) -> Estimate:
    """Return what `plan` says of n-gram speculation, from its costs and its acceptance."""
    acceptance = Acceptance.of_counts(
        counters["num_drafts"],
        counters["accepted_per_pos"],
        counters["num_steps"],
        counters["drafted_per_pos"],
    )
    cell = plan(StepCosts.of_profile(profile, context), acceptance, [K], [streams]).cells[
        NGRAM["method"], streams, K
    ]
    assert cell is not None
    return cell.speedup


def measure_cell(engines: dict[str, LLM], streams: int, tokens: int) -> list[dict[str, Any]]:
    """Answer the prompts of a number of streams with every engine in turns; a row for each."""
    prompts = [
        prompt
        for first in STREAMS[streams]
        for prompt in mixed_prompts(engines["off"].tokenizer, first)
    ]
    params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    made = [Job(prompt, params) for prompt in prompts]
    context = sum(map(len, prompts)) // len(prompts) + tokens // 2
    costs = profiler(streams, context)
    under_way = {name: Answering(llm, made, streams, STEPS) for name, llm in engines.items()}
    in_turns(list(under_way.values()), VISIT, costs.round)
    runs = {name: each.result() for name, each in under_way.items()}
    rows = []
    for name, run in runs.items():
        over = speedup(run, runs["off"])
        row: dict[str, Any] = {
            "method": name,
            "streams": streams,
            "tokens_per_second": rate(run),
            "over_off": [paired_speedup(run, runs["off"]), over.low, over.high],
            "drafted": run["counters"]["num_draft_tokens"],
            "accepted": run["counters"]["num_accepted_tokens"],
            "run": run,
        }
        if name == NGRAM["method"] and row["drafted"]:
            said = planned(costs.profile("demo"), context, run["counters"], streams)
            row["planned"] = [said.value, said.low, said.high]
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print a line a setting, and keep the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=96, help="of each text")
    parser.add_argument("--streams", default="1,8")
    parser.add_argument("--methods", default=",".join(METHODS), help="off among them")
    parser.add_argument("--name", default="mixed", help="of the result")
    options = parser.parse_args()
    engines = {name: load(METHODS[name]) for name in options.methods.split(",")}
    for llm in engines.values():
        llm.generate(list(WARM_UPS), SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))
    rows: list[dict[str, Any]] = []
    for streams in map(int, options.streams.split(",")):
        rows += measure_cell(engines, streams, options.tokens)
        for row in rows[-len(engines) :]:
            said, beside = row.get("planned"), ""
            if said:
                beside = f", planned {said[0]:.2f} ({said[0] / row['over_off'][0] - 1:+.1%})"
            value, low, high = row["over_off"]
            print(
                f"{row['method']:6} {streams} streams: {row['tokens_per_second']:6.1f} tok/s, "
                f"{value:.3f} of off ({low:.3f}–{high:.3f}), {row['accepted']} of "
                f"{row['drafted']} drafted stood{beside}",
                flush=True,
            )
    brief, samples = split_rows(rows, "run")
    summary = {
        "prompt_tokens": [len(prompt) for prompt in mixed_prompts(engines["off"].tokenizer)],
        "tokens_per_text": options.tokens,
        "methods": METHODS,
        "rows": brief,
    }
    write_result(options.name, summary, {"rows": samples})


if __name__ == "__main__":
    main()
