"""Whole runs predicted, prompts included: tokens a second beside what a profile said beforehand.

{off, ngram, suffix, eagle3} × k {2, 4} × streams {1, 4, 8} on mixed prompts of 50 to 800 tokens,
greedy, bfloat16. The texts are halved: acceptance is counted on one half, at k = 4, and what is
predicted and measured is the other. The profile reads no text; its rounds are spread over the time
that the cells take, for the machine is slow at some times and quick at others. Every few seconds of
a cell some of the profile's steps are taken again: how slow the machine was just then is known
apart from what was not predicted. A run ends when fewer texts are left than run at once.

It stops after so many minutes and goes on where it stopped when it is started again:

    python -m benchmarks.suites.whole_runs --minutes 4
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from benchmarks.constants import DATASETS, SEED, WORK
from benchmarks.keeping import kept, write_result
from benchmarks.prompts import MIXED, few_shot_prompt
from benchmarks.suites.controller_grid import WARM_UPS, configuration
from benchmarks.suites.whole_runs_report import (
    KS,
    METHODS,
    OFF,
    STREAMS,
    TOKENS,
    WITHIN,
    Report,
    cell_name,
    cells,
    table,
)
from fairdraft import LLM, SamplingParams
from fairdraft.config import SpeculativeConfig
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import WARM_UP, ProfileGrid, Profiler

EACH = 16  # prompts of each dataset in a half
HALVES = {"learned": 0, "measured": 20}  # number of the first prompt of each dataset
CONTEXTS = (128, 512, 896)
ROUNDS = 3  # of a part of the profile
PROFILED = 4  # a part of the profile is taken before every fourth cell
PROBED = 2.0  # seconds of a cell's steps, after which the machine is timed again
PROBE_CONTEXT, PROBE_ROWS = 512, 128
FOLDER = WORK / "whole_runs"


def prompts(tokenizer: Any, half: str, each: int) -> list[list[int]]:
    """Return the mixed prompts of a half of the texts, in an order of their own."""
    first = HALVES[half]
    found = [
        few_shot_prompt(tokenizer, name, first + i, MIXED[(len(DATASETS) * i + j) % len(MIXED)])
        for i in range(each)
        for j, name in enumerate(DATASETS)
    ]
    Random(SEED).shuffle(found)
    return found


def load(method: str, k: int, streams: int) -> LLM:
    """Load an engine, warm."""
    llm = LLM(
        "demo",
        speculative_config=None if method == OFF else configuration(method, k),
        max_model_len=1024,
        max_num_seqs=streams,
        enable_prefix_caching=False,
    )
    llm.generate(list(WARM_UPS), SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))
    return llm


def run(method: str, k: int, streams: int, half: str, each: int) -> Report:
    """Answer a half's prompts, so many at once, until fewer are left.

    Returns:
        `seconds` and `tokens`; `prompt_tokens` of each text, and `counters` of each; `first` and
        `inter_token` of those that ended: seconds to their first token from when they had a seat,
        and a token after it; `probe`: a profile of these minutes, of few settings.
    """
    llm = load(method, k, streams)
    probe = profiler((streams,), (max(KS),), (PROBE_CONTEXT,), (PROBE_ROWS,), ())
    for _ in range(WARM_UP):
        probe.round()
    probe.round()
    engine = llm.engine
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    texts = prompts(llm.tokenizer, half, each)
    requests = [engine.add_request(text, params) for text in texts]
    begun: dict[str, float] = {}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    seconds, tokens, probed = 0.0, 0, 0.0
    while sum(request.finish_reason is None for request in requests) >= streams:
        waiting = {request.request_id for request in engine.scheduler.waiting}
        if seconds > probed + PROBED:
            probe.round()
            probed = seconds
        start = perf_counter()
        outputs = engine.step()
        taken = perf_counter() - start
        for name in waiting - {request.request_id for request in engine.scheduler.waiting}:
            begun[name] = seconds
        seconds += taken
        for output in outputs:
            name = output.request.request_id
            tokens += len(output.token_ids)
            first.setdefault(name, seconds)
            if output.finish_reason is not None:
                last[name] = seconds
    counters = [asdict(request.counters) for request in requests]
    for request in requests:
        engine.abort(request.request_id)
    return {
        "seconds": seconds,
        "tokens": tokens,
        "prompt_tokens": [len(text) for text in texts],
        "counters": counters,
        "first": [first[name] - begun[name] for name in first],
        "inter_token": [(last[name] - first[name]) / (TOKENS - 1) for name in last],
        "probe": probe.profile("demo").to_json(),
    }


def profiler(
    requests: tuple[int, ...],
    ks: tuple[int, ...],
    contexts: tuple[int, ...],
    prefill: tuple[int, ...],
    methods: Sequence[str],
) -> Profiler:
    """Return what profiles the target and some drafters, on an engine of its own."""
    checkpoint = load_checkpoint("demo", "bfloat16", "cpu")
    runner = ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer, name="demo")
    grid = ProfileGrid(requests, ks, contexts, prefill=prefill)
    drafters = [SpeculativeConfig.of(configuration(method, max(ks))) for method in methods]
    known = [each for each in drafters if each is not None]
    return Profiler(runner, grid, known, checkpoint.tokenizer)


def profile_part() -> Report:
    """Take a few rounds of the profile."""
    ks = tuple(range(1, max(KS) + 1))
    whole = profiler(STREAMS, ks, CONTEXTS, ProfileGrid().prefill, METHODS)
    for _ in range(WARM_UP + ROUNDS):
        whole.round()
    return whole.profile("demo").to_json()


def parts(each: int) -> dict[str, Callable[[], Report]]:
    """Return everything that is measured, by name, in order: texts learned from, profile, cells."""
    found: dict[str, Callable[[], Report]] = {}
    for method in METHODS:
        found[f"learned-{method}"] = partial(run, method, max(KS), max(STREAMS), "learned", each)
    for number, cell in enumerate(cells()):
        if number % PROFILED == 0:
            found[f"profile-{number // PROFILED}"] = profile_part
        found[cell_name(cell)] = partial(run, *cell, "measured", each)
    return found


def measure(folder: Path, each: int, minutes: float, only: Sequence[str]) -> bool:
    """Measure what is missing; return whether all of it is there.

    Args:
        folder: where parts are kept.
        each: prompts of each dataset.
        minutes: no part begins that would end later, if it takes as long as the longest before it.
        only: names of parts to measure; none: all.
    """
    begun, longest, left = monotonic(), 0.0, 0
    for name, compute in parts(each).items():
        if (folder / f"{name}.json").exists():
            continue
        late = longest and monotonic() - begun + longest > 60 * minutes
        if late or (only and name not in only):
            left += 1
            continue
        started = monotonic()
        kept(folder, name, compute)
        longest = max(longest, monotonic() - started)
    if left:
        print(f"{left} parts are left: start it again", flush=True)
    return not left


def main() -> None:
    """Measure for a while; print the cells that are there; keep the result when all are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=4, help="of this start")
    parser.add_argument("--each", type=int, default=EACH, help="prompts of each dataset in a half")
    parser.add_argument("--only", nargs="*", default=[], help="parts to measure, by name")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where parts are kept")
    options = parser.parse_args()
    done = measure(options.folder, options.each, options.minutes, options.only)
    if not list(options.folder.glob("profile-*.json")):
        return
    raw = {
        name: kept(options.folder, name, compute)
        for name, compute in parts(options.each).items()
        if (options.folder / f"{name}.json").exists()
    }
    rows = table(raw)
    for each in rows:
        own = each.get("error_own_acceptance", each["error_then"])
        print(
            f"{each['method']:6} k={each['k']} {each['streams']} streams: "
            f"{each['tokens_per_second']:6.1f} tok/s, predicted {each['predicted']:6.1f} "
            f"({each['error']:+.1%}; by the machine of those minutes "
            f"{each['error_then']:+.1%}, and by its own acceptance {own:+.1%}); ITL "
            f"{each['inter_token_ms']:.1f} ms, predicted {each['predicted_inter_token_ms']:.1f}"
        )
    drafting = [each for each in rows if each["method"] != OFF]
    if not done or not drafting:
        return
    shares = {
        name: float(np.mean([abs(each[name]) <= WITHIN for each in drafting]))
        for name in drafting[0]
        if name.startswith("error")
    }
    for name, share in shares.items():
        print(f"{name}: {share:.0%} of {len(drafting)} cells within {WITHIN:.0%}")
    summary = {
        "prompts": len(DATASETS) * options.each,
        "prompt_tokens": raw[cell_name(cells()[0])]["prompt_tokens"],
        "tokens_per_text": TOKENS,
        "within": WITHIN,
        "shares_within": shares,
        "rows": rows,
    }
    write_result("whole_runs", summary, raw)


if __name__ == "__main__":
    main()
