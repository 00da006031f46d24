"""Cells of the controller's grid: methods, draft lengths, streams and workloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.constants import WORK
from benchmarks.interleave import Job
from benchmarks.keeping import read_raw
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts

METHODS = ("ngram", "suffix", "eagle3")
KS = (1, 2, 4, 8)
STREAMS = {1: (0, 3), 4: (4, 12), 8: (16, 32)}  # prompts of each dataset that they answer
ANSWERS = {1: 1, 4: 2, 8: 2}  # times that each of them is answered
TOKENS = 48
STEPS = 8  # of a turn
VISIT = 2  # steps of it before the next engine's
SOURCES = {"copies": "code_editing", "never repeats": "mt_bench"}
WORKLOADS = ("humaneval", "gsm8k", "mt_bench", "copies", "never repeats", "switches")
PREDICTED = ("humaneval", "gsm8k", "mt_bench")
HOT = 1.5  # temperature of what never repeats
WARM_UPS = (
    "Count from one to twenty in words.",
    "The history of the bicycle began in",
    "def mean(values):",
    "A recipe for vegetable soup needs",
)
KEPT = WORK / "controller"
PROFILE = KEPT / "profile.json"


def profile_path() -> str:
    """Return the path of the profile that the suite measured; unpacked when first asked for."""
    if not PROFILE.exists():
        PROFILE.parent.mkdir(parents=True, exist_ok=True)
        PROFILE.write_text(json.dumps(read_raw("profile")))
    return str(PROFILE)


def configuration(method: str, k: int | None = None) -> dict[str, Any]:
    """Return the speculative config of a method at a fixed k, or of `auto` over it.

    "auto" by itself is all that a user needs to say.
    """
    own: dict[str, Any] = {"method": method}
    if method == "auto":
        return own
    if method == "suffix":
        own["suffix_decoding_max_cached_requests"] = 0  # the order of prompts shall not matter
    if k is None:
        return {"method": "auto", "methods": [own], "profile": profile_path()}
    return {**own, "num_speculative_tokens": k}


def load(speculative: dict[str, Any] | None, **options: Any) -> LLM:
    """Load an engine of the grid."""
    return LLM(
        "demo",
        speculative_config=speculative,
        max_model_len=1024,
        enable_prefix_caching=False,
        **options,
    )


def jobs(llm: LLM, workload: str, streams: int, answers: int = 1) -> list[Job]:
    """Return the prompts of a cell, in order, so many times over."""
    if workload == "switches":
        first, second = (jobs(llm, name, streams, answers) for name in ("copies", "never repeats"))
        half = len(first) // 2
        return [*first[:half], *second[:half], *first[half:], *second[half:]]
    begin, end = STREAMS[streams]
    texts = load_prompts(SOURCES.get(workload, workload), 40)[begin:end]
    sampled = workload == "never repeats"
    return [
        Job(
            llm.encode_chat([{"role": "user", "content": text}]),
            SamplingParams(
                temperature=HOT if sampled else 0,
                max_tokens=TOKENS,
                ignore_eos=True,
                seed=1000 * streams + i,
            ),
        )
        for i, text in enumerate(texts)
    ] * answers


def live_path(method: str, workload: str, streams: int) -> Path:
    """Return the path that a measured cell is kept at."""
    return KEPT / f"live-{method}-{workload.replace(' ', '-')}-{streams}.json"
