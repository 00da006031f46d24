"""Every static draft length, off, and `auto`, measured in turns: what docs/pricing.md is held to.

Methods × draft lengths × streams × workloads on the demo model in bfloat16. All settings of a
method, and off, answer the prompts of a cell, each in an engine of its own, in turns of eight
steps, two at a time between those of the others, for the machine is slow at some times and quick at
others. As many prompts run as there are streams, and more wait; an engine's clock stops when fewer
are left, and while prompts are read. Of many streams prompts are answered twice, for there the
clock's steps are few; no engine that sees a prompt twice keeps its text.
Workloads: humaneval, gsm8k, mt_bench (greedy); "copies" edits code it was given; "never repeats" is
sampled at temperature 1.5, the same tokens everywhere; "switches" takes turns between the two in
one run. Between the turns of a cell that is predicted the machine is profiled, on no prompt of the
grid: a round of a profile, a turn of every engine, and so on.

The parts are kept, so that a run can be cut short and go on:

    python -m benchmarks.suites.controller profile    what steps cost, no prompt of the grid read
    python -m benchmarks.suites.controller traces     what long drafts come to, untimed
    python -m benchmarks.suites.controller live [METHOD]  the grid, an hour on two cores
    python -m benchmarks.suites.controller report     predicted against measured; replay
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from typing import Any

from benchmarks.interleave import Answering, in_turns, rate
from benchmarks.keeping import kept, write_raw, write_summary
from benchmarks.lookup_replay import NOISE, num_standing
from benchmarks.profile_summary import profile_summary
from benchmarks.suites import controller_report
from benchmarks.suites.controller_grid import (
    ANSWERS,
    KEPT,
    KS,
    METHODS,
    PREDICTED,
    PROFILE,
    STEPS,
    STREAMS,
    TOKENS,
    VISIT,
    WARM_UPS,
    WORKLOADS,
    configuration,
    jobs,
    live_path,
    load,
)
from fairdraft import LLM, SamplingParams
from fairdraft.config import SpeculativeConfig
from fairdraft.economics.autopilot.draft_potential import read_trace
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import WARM_UP, ProfileGrid, Profiler, profile_model
from fairdraft.proposers import build_proposer
from fairdraft.request import Request
from fairdraft.telemetry.environment import benchmark_environment


def settings(method: str) -> dict[str, LLM]:
    """Return the engines of a method by name, warm."""
    engines = {"off": load(None)}
    if method != "auto":
        engines |= {f"k={k}": load(configuration(method, k)) for k in KS}
    engines["auto"] = load(configuration(method))
    for llm in engines.values():
        llm.generate(list(WARM_UPS), SamplingParams(temperature=0, max_tokens=24, ignore_eos=True))
    return engines


def demo(*methods: str) -> tuple[ModelRunner, list[SpeculativeConfig], Any]:
    """Return what is profiled: the target, the methods, and the tokenizer."""
    checkpoint = load_checkpoint("demo")
    runner = ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer, name="demo")
    return runner, [SpeculativeConfig(name, max(KS)) for name in methods], checkpoint.tokenizer


def trace() -> dict[str, Any]:
    """Trace what a draft from each place has and how much of it stands, in every cell.

    The head's come from a trace of its longest drafts. Lookups are asked at every place of the
    texts that came out of it.
    """
    path = KEPT / "eagle3.trace"
    found: dict[str, Any] = {}
    for workload in WORKLOADS[:-1]:
        for streams in STREAMS:
            llm = load(configuration("eagle3", max(KS)), trace=path)
            made = jobs(llm, workload, streams)
            llm.engine.scheduler.max_num_seqs = streams
            requests = [llm.engine.add_request(list(job.prompt), job.params) for job in made]
            while llm.engine.has_unfinished_requests:
                llm.engine.step()
            llm.close()
            place = f"{workload}/{streams}"
            texts = read_trace(path.read_text().splitlines(), str(path), workload)
            found[f"eagle3/{place}"] = [
                {"context": t.context, "found": t.found.tolist(), "stood": t.stood.tolist()}
                for t in texts
            ]
            for method in ("ngram", "suffix"):
                found[f"{method}/{place}"] = [ask(method, request) for request in requests]
            print(place, flush=True)
    return found


def ask(method: str, written: Request) -> dict[str, Any]:
    """Ask a lookup for a draft from every place of a text."""
    proposer = build_proposer(SpeculativeConfig(**configuration(method, max(KS))))
    assert proposer is not None
    request = Request("r", written.prompt_token_ids, SamplingParams())
    proposer.start(request)
    found, stood = [], []
    text = written.output_token_ids
    for place, token in enumerate(text):
        (draft,) = proposer.propose([request], [max(KS)], [()], NOISE)
        found.append(len(draft) if place else 0)  # the first token comes with the prompt
        stood.append(num_standing(draft, text[place:]) if place else 0)
        request.token_ids.append(token)
    return {"context": written.num_prompt_tokens, "found": found, "stood": stood}


def measure_cell(
    method: str, engines: dict[str, LLM], workload: str, streams: int
) -> dict[str, Any]:
    """Answer a cell's prompts with every engine in turns, and profile the machine in between."""
    made = jobs(engines["off"], workload, streams, ANSWERS[streams])
    order = list(engines)
    first = (5 * WORKLOADS.index(workload) + streams) % len(order)
    under_way = {
        name: Answering(engines[name], made, streams, STEPS)
        for name in [*order[first:], *order[:first]]
    }
    rounds = None
    if workload in PREDICTED and method in METHODS:
        context = sum(len(job.prompt) for job in made) // len(made) + TOKENS // 2
        runner, methods, tokenizer = demo(method)
        grid = ProfileGrid((streams,), contexts=(context,), prefill=())
        rounds = Profiler(runner, grid, methods, tokenizer)
        for _ in range(WARM_UP):
            rounds.round()
    in_turns(list(under_way.values()), VISIT, rounds.round if rounds else lambda: None)
    environment = benchmark_environment()
    found: dict[str, Any] = {
        "commit": environment["git_commit"],
        "runs": {name: each.result() for name, each in under_way.items()},
    }
    if rounds is not None:
        found["profile"] = rounds.profile("demo", environment).to_json()
    return found


def measure_live(method: str) -> None:
    """Measure a method's grid, cell by cell; of plain `auto` one text at a time."""
    engines = settings(method)
    cells = list(itertools.product(STREAMS, WORKLOADS))
    if method == "auto":
        cells = [(1, workload) for workload in WORKLOADS[:-1]]
    for count, workload in cells:
        path = live_path(method, workload, count)
        measure = partial(measure_cell, method, engines, workload, count)
        runs = kept(KEPT, path.stem, measure)["runs"]
        rates = {name: rate(run) for name, run in runs.items()}
        shown = "  ".join(f"{name} {rates[name] / rates['off']:.3f}" for name in engines)
        print(f"{method:7} {workload:14} {count}: {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("profile", "traces", "live", "report"))
    parser.add_argument("methods", nargs="*", help="of the live grid; all if left out")
    options = parser.parse_args()
    part = options.part
    for method in options.methods:
        if part != "live" or method not in (*METHODS, "auto"):
            parser.error(f"{method!r} is no method of the live grid: {', '.join(METHODS)}, auto")
    KEPT.mkdir(parents=True, exist_ok=True)
    if part == "profile":
        runner, methods, tokenizer = demo(*METHODS)
        grid = ProfileGrid(contexts=(128, 256, 512))
        environment = benchmark_environment()
        found = profile_model(runner, grid, methods, tokenizer, "demo", environment).to_json()
        PROFILE.write_text(json.dumps(found))
        write_raw("profile", found)
        write_summary("profile", profile_summary(found))
    elif part == "traces":
        kept(KEPT, "traces", trace)
    elif part == "live":
        for method in options.methods or (*METHODS, "auto"):
            measure_live(method)
    else:
        controller_report.write()


if __name__ == "__main__":
    main()
