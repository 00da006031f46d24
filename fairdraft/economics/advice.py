"""A plan as the line to paste, for each engine that can run it.

Flags as of vLLM 0.32 (`vllm/config/speculative.py`, `vllm/v1/spec_decode/dynamic/utils.py`),
SGLang's server arguments (its page "Speculative Decoding"), and llama.cpp since its pull request
22397, which renamed --draft-max and --draft-min to --spec-draft-n-max and --spec-draft-n-min.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from fairdraft.economics.planning.plan import Plan
from fairdraft.errors import ConfigError

PLACEHOLDER = "DRAFTER"  # where the drafter's checkpoint belongs
# Methods as this project and vLLM name them, and what the others call them.
VLLM = ("ngram", "suffix", "draft_model", "eagle", "eagle3", "medusa", "mtp", "dflash")
SGLANG = {
    "ngram": "NGRAM",
    "draft_model": "STANDALONE",
    "eagle": "EAGLE",
    "eagle3": "EAGLE3",
    "mtp": "EAGLE",  # heads of the target's own checkpoint
    "dflash": "DFLASH",
}
LLAMA_CPP = {
    "ngram": "ngram-simple",
    "draft_model": "draft-simple",
    "eagle3": "draft-eagle3",
    "mtp": "draft-mtp",
    "dflash": "draft-dflash",
}
_NO_CHECKPOINT = ("ngram", "suffix", "mtp", "hybrid")


def batch_schedule(choices: Mapping[int, int]) -> list[list[int]]:
    """[first, last, k] for every number of requests from 1 to the largest planned.

    A number between two planned ones takes the k of the nearer, halfway that of the smaller.
    Neighbours of equal k are one range. vLLM goes on with the last k beyond the last range.

    Args:
        choices: draft length by load.

    Raises:
        ConfigError: none.
    """
    if not choices:
        raise ConfigError("there is no load to schedule: plan for at least one")
    loads = sorted(choices)
    ranges: list[list[int]] = []
    first = 1
    for load, following in zip(loads, [*loads[1:], None], strict=True):
        last = load if following is None else (load + following) // 2
        if ranges and ranges[-1][2] == choices[load]:
            ranges[-1][1] = last
        else:
            ranges.append([first, last, choices[load]])
        first = last + 1
    return ranges


def speculative_config(
    method: str, k: int, drafter: str | None = None, schedule: Mapping[int, int] | None = None
) -> dict[str, Any]:
    """The keys that vLLM and fairdraft share.

    Args:
        method: who drafts.
        k: the longest draft.
        drafter: its checkpoint, for methods that need one.
        schedule: draft length by load, where the engine can follow it.
    """
    found: dict[str, Any] = {"method": method, "num_speculative_tokens": k}
    if method not in _NO_CHECKPOINT:
        found["model"] = drafter or PLACEHOLDER
    if schedule and set(schedule.values()) != {k}:
        found["num_speculative_tokens_per_batch_size"] = batch_schedule(schedule)
    return found


def paste_line(plan: Plan, method: str, engine: str, drafter: str | None = None) -> str:
    """What to start an engine with, or a sentence where there is nothing to start it with.

    vLLM and fairdraft get a draft length for each load; the others `Plan.static_k`.

    Args:
        plan: of at least one load.
        method: who drafts.
        engine: one of `ENGINES`.
        drafter: the drafter's checkpoint.

    Raises:
        ConfigError: no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}, but must be one of {', '.join(ENGINES)}, or all")
    return ENGINES[engine](plan, method, drafter)


def _vllm(plan: Plan, method: str, drafter: str | None) -> str:
    if method not in VLLM:
        return f"(vLLM has no method {method!r})"
    config = _by_load(plan, method, drafter)
    if config is None:
        return "(off: start it without --speculative-config)"
    return f"--speculative-config {shlex.quote(json.dumps(config))}"


def _fairdraft(plan: Plan, method: str, drafter: str | None) -> str:
    config = _by_load(plan, method, drafter)
    if config is None:
        return "(off: start it without speculative_config)"
    return f"speculative_config={json.dumps(config)}"


def _by_load(plan: Plan, method: str, drafter: str | None) -> dict[str, Any] | None:
    schedule = plan.schedule(method)
    k = max(schedule.values(), default=0)
    return speculative_config(method, k, drafter, schedule) if k else None


def _sglang(plan: Plan, method: str, drafter: str | None) -> str:
    if method not in SGLANG:
        return f"(SGLang has no method {method!r})"
    k = plan.static_k(method)
    if k == 0:
        return "(off: start it without --speculative-algorithm)"
    words = ["--speculative-algorithm", SGLANG[method]]
    if method not in _NO_CHECKPOINT:
        words += ["--speculative-draft-model-path", drafter or PLACEHOLDER]
    if method == "ngram":  # one branch: a chain
        words += ["--speculative-ngram-max-bfs-breadth", "1"]
    elif method != "dflash":
        words += ["--speculative-num-steps", str(k), "--speculative-eagle-topk", "1"]
    # The token before the draft is counted in.
    return shlex.join([*words, "--speculative-num-draft-tokens", str(k + 1)])


def _llama_cpp(plan: Plan, method: str, drafter: str | None) -> str:
    if method not in LLAMA_CPP:
        return f"(llama.cpp has no method {method!r})"
    k = plan.static_k(method)
    if k == 0:
        return "(off: start it without --spec-type)"
    words = ["--spec-type", LLAMA_CPP[method]]
    if method == "ngram":
        return shlex.join([*words, "--spec-ngram-simple-size-m", str(k)])
    if method not in _NO_CHECKPOINT:
        words += ["--spec-draft-model", drafter or PLACEHOLDER]
    return shlex.join([*words, "--spec-draft-n-max", str(k), "--spec-draft-n-min", "0"])


ENGINES: Mapping[str, Callable[[Plan, str, str | None], str]] = {
    "fairdraft": _fairdraft,
    "vllm": _vllm,
    "sglang": _sglang,
    "llama.cpp": _llama_cpp,
}
