"""GuideLLM's reports in JSON: what its client saw, one benchmark a load.

`inter_token_latency_ms` is per token; times `iter_tokens_per_iteration` it is per chunk. An
iteration is a chunk that reached the client, so tokens an iteration are about the mean acceptance
length, whatever the server says of itself. k is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, optional, part, parts
from fairdraft.peers.latencies import of_chunks

OLD = (
    "tokens an iteration are not in the report (GuideLLM before 0.4): whether it speculated cannot "
    "be told"
)


def read_report(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON that `guidellm benchmark` writes.

    Returns:
        One reading a benchmark, labelled run=0, …; None if it is no such file.

    Raises:
        ReadingError: a field is missing or no number, or no request ended well.
    """
    if len(records) != 1 or not isinstance(records[0].get("benchmarks"), list):
        return None
    runs = parts(records[0], "benchmarks", source)
    if not runs or not all(isinstance(run.get("metrics"), Mapping) for run in runs):
        raise ReadingError(
            f"{source!r} has 'benchmarks', but not each of them 'metrics': give the JSON that "
            "`guidellm benchmark` wrote, after a run that ended well"
        )
    return [_run(run, source, f"run={i}") for i, run in enumerate(runs)]


def _run(run: Record, source: str, label: str) -> Reading:
    metrics = part(run, "metrics", source)
    latency = _ended(metrics, "inter_token_latency_ms", source)
    per_token = None if latency is None else number(latency, "mean", source) / 1e3
    if latency is None or not per_token:
        raise ReadingError(
            f"{source!r}: {label} has no inter-token latency of requests that ended well: run it "
            "with streamed answers of several tokens"
        )
    tokens = _ended(metrics, "output_token_count", source) or {}
    total, count = (optional(tokens, name, source) or 0.0 for name in ("total_sum", "count"))
    told: dict[str, Any] = {
        "tokens_per_second": _mean(metrics, "output_tokens_per_second", source),
        "requests": _mean(metrics, "request_concurrency", source),
        "prompt_tokens_per_second": _mean(metrics, "prompt_tokens_per_second", source),
        "seconds": optional(run, "duration", source) or None,
        "generated": total or None,
        "label": label,
    }
    ratio = _mean(metrics, "iter_tokens_per_iteration", source) or _mean(
        metrics, "output_tokens_per_iteration", source
    )
    if not ratio:
        return Reading(
            source,
            step_seconds=per_token,
            inter_token_seconds=per_token,
            drafted_is_known=False,
            notes=(OLD,),
            **told,
        )
    # Each request's first token comes with the prompt.
    return of_chunks(source, per_token, per_token * ratio, max(total - count, 0.0), **told)


def _ended(metrics: Record, name: str, source: str) -> Record | None:
    """Return a distribution over the requests that ended well."""
    found = metrics.get(name)
    if not isinstance(found, Mapping) or found.get("successful") is None:
        return None
    return part(found, "successful", source)


def _mean(metrics: Record, name: str, source: str) -> float | None:
    found = _ended(metrics, name, source)
    return None if found is None else optional(found, "mean", source)
