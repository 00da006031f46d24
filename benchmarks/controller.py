"""Every static draft length, off, and `auto`, measured in turns: what docs/pricing.md is held to.

Methods × draft lengths × streams × workloads on the demo model in bfloat16. All settings answer
each group of prompts one after the other, each in an engine of its own; which comes first rotates.
No prompt is seen twice by an engine. Workloads: humaneval, gsm8k, mt_bench (greedy); "copies" edits
code it was given; "never repeats" is sampled at temperature 1.5, the same tokens everywhere;
"switches" takes turns between the two within a run.

The parts are kept, so that a run can be cut short and go on:

    python -m benchmarks.controller profile    what steps cost, no prompt of the grid read
    python -m benchmarks.controller traces     what long drafts come to, untimed
    python -m benchmarks.controller live       the grid, about 40 minutes on two cores
    python -m benchmarks.controller report     predicted against measured; replay
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common import RESULTS, WORK, kept
from fairdraft import LLM, SamplingParams
from fairdraft.cli.datasets import load_prompts
from fairdraft.cli.environment import benchmark_environment
from fairdraft.cli.measurement import measure, record
from fairdraft.config import SpeculativeConfig
from fairdraft.economics.replay import read_trace
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.profiling import ProfileGrid, profile_model

METHODS = ("ngram", "suffix", "eagle3")
KS = (1, 2, 4, 8)
STREAMS = {1: (0, 4), 4: (4, 12), 8: (12, 28)}  # prompts of each dataset that they answer
TOKENS = 64
TRACED = {"ngram": 16, "suffix": 16, "eagle3": 8}  # draft lengths of the traces
SOURCES = {"copies": "code_editing", "never repeats": "mt_bench"}
WORKLOADS = ("humaneval", "gsm8k", "mt_bench", "copies", "never repeats", "switches")
KEPT = WORK / "controller"
PROFILE = RESULTS / "profile.json"
OFF = ("off", 0)


@dataclass(frozen=True)
class Job:
    """A prompt and how it is answered."""

    kind: str
    prompt: list[int]
    params: SamplingParams


def configuration(method: str, k: int | None = None) -> dict[str, Any]:
    """Of a method at a fixed k, or of `auto` over it."""
    own: dict[str, Any] = {"method": method}
    if method == "suffix":
        own["suffix_decoding_max_cached_requests"] = 0  # the order of prompts shall not matter
    if k is None:
        return {"method": "auto", "methods": [own], "profile": str(PROFILE)}
    return {**own, "num_speculative_tokens": k}


def load(speculative: dict[str, Any] | None, **options: Any) -> LLM:
    """An engine of the grid."""
    return LLM(
        "demo",
        speculative_config=speculative,
        max_model_len=1024,
        enable_prefix_caching=False,
        **options,
    )


def jobs(llm: LLM, workload: str, streams: int) -> list[Job]:
    """The prompts of a cell, in order."""
    if workload == "switches":
        first, second = (jobs(llm, name, streams) for name in ("copies", "never repeats"))
        half = len(first) // 2
        return [*first[:half], *second[:half], *first[half:], *second[half:]]
    begin, end = STREAMS[streams]
    texts = load_prompts(SOURCES.get(workload, workload), 40)[begin:end]
    sampled = workload == "never repeats"
    return [
        Job(
            workload,
            llm.encode_chat([{"role": "user", "content": text}]),
            SamplingParams(
                temperature=1.5 if sampled else 0,
                max_tokens=TOKENS,
                ignore_eos=True,
                seed=1000 * streams + i,
            ),
        )
        for i, text in enumerate(texts)
    ]


def groups(made: Sequence[Job], workload: str, streams: int) -> list[list[Job]]:
    """What one timed call answers: as many prompts as run at once, or a run that switches."""
    size = len(made) // 2 if workload == "switches" else streams
    return [list(made[i : i + size]) for i in range(0, len(made), size)]


def answer(llm: LLM, group: Sequence[Job], streams: int) -> dict[str, Any]:
    """Time one call."""
    llm.engine.scheduler.max_num_seqs = streams  # a run that switches queues more than run at once
    prompts = [job.prompt for job in group]
    done = measure(llm, prompts, [job.params for job in group])
    return {
        "seconds": done.seconds,
        "num_tokens": done.num_tokens,
        "counters": record(done.counters),
        "times": record(done.times),
        "prompt_tokens": [len(prompt) for prompt in prompts],
    }


def settings() -> dict[str, tuple[str, int | None]]:
    """Every engine of the grid by name."""
    static = {f"{method} k={k}": (method, k) for method in METHODS for k in KS}
    return {"off": OFF, **static, **{f"{method} auto": (method, None) for method in METHODS}}


def measure_profile() -> None:
    """Measure what steps cost and keep it."""
    checkpoint = load_checkpoint("demo")
    runner = ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer, name="demo")
    found = profile_model(
        runner,
        ProfileGrid(contexts=(128, 256, 512), rounds=9),
        [SpeculativeConfig(method, 8) for method in METHODS],
        checkpoint.tokenizer,
        "demo",
        benchmark_environment(),
        lambda what: print(what, end="\r", flush=True),
    )
    PROFILE.write_text(json.dumps(found.to_json(), indent=1) + "\n")


def trace(method: str) -> dict[str, Any]:
    """Per workload and streams the rounds of long drafts."""
    path = KEPT / f"{method}.trace"
    found: dict[str, Any] = {}
    for workload in WORKLOADS[:-1]:
        for streams in STREAMS:
            llm = load(configuration(method, TRACED[method]), trace=path)
            for group in groups(jobs(llm, workload, streams), workload, streams):
                answer(llm, group, streams)
            llm.close()
            texts = read_trace(path.read_text().splitlines(), str(path), workload)
            found[f"{workload}/{streams}"] = [
                {"context": t.context, "found": t.found.tolist(), "stood": t.stood.tolist()}
                for t in texts
            ]
            print(f"{method:8} {workload:14} {streams}", flush=True)
    return found


def measure_live() -> None:
    """Measure the grid, cell by cell."""
    engines = {
        name: load(None if (method, k) == OFF else configuration(method, k))
        for name, (method, k) in settings().items()
    }
    for llm in engines.values():
        llm.generate(["one two one two one two"] * 8, SamplingParams(temperature=0, max_tokens=24))
    order = list(engines)
    for streams in STREAMS:
        for workload in WORKLOADS:

            def cell(workload: str = workload, streams: int = streams) -> dict[str, Any]:
                samples: dict[str, list[dict[str, Any]]] = {name: [] for name in engines}
                made = jobs(engines["off"], workload, streams)
                for number, group in enumerate(groups(made, workload, streams)):
                    turn = 5 * number % len(order)
                    for name in [*order[turn:], *order[:turn]]:
                        samples[name].append(answer(engines[name], group, streams))
                return samples

            found = kept(KEPT, f"live-{workload.replace(' ', '-')}-{streams}", cell)
            off = sum(sample["seconds"] for sample in found["off"])
            ratios = {
                name: off / sum(sample["seconds"] for sample in each)
                for name, each in found.items()
            }
            shown = "  ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            print(f"{workload:14} {streams}: {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("profile", "traces", "live", "report"))
    part = parser.parse_args().part
    KEPT.mkdir(parents=True, exist_ok=True)
    if part == "profile":
        measure_profile()
    elif part == "traces":
        for method in METHODS:
            kept(KEPT, f"trace-{method}", lambda method=method: trace(method))  # type: ignore[misc]
    elif part == "live":
        measure_live()
    else:
        from benchmarks.controller_report import write

        write()


if __name__ == "__main__":
    main()
