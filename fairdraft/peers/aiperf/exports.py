"""AIPerf's exports: `profile_export_aiperf.json`, and `profile_export.jsonl`, a request a line.

Its `inter_token_latency` is per token, its `inter_chunk_latency` per chunk. Where the server gives
counts with its answers, AIPerf keeps them (`spec_decode_acceptance`, `total_spec_decode_steps`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers import answers
from fairdraft.peers.answers import Answer, agree, histogram, survivors
from fairdraft.peers.base import Reading, Record, number, optional, part
from fairdraft.peers.latencies import of_chunks
from fairdraft.peers.vllm.responses import answer

COUNTS = ("total_spec_decode_steps", "total_accepted_draft_tokens", "total_draft_tokens")
POOLED = "pooled_spec_decode_acceptance_histogram"
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
_LATEST = 1e19  # nanoseconds since 1970
NOT_STREAMED = "answers were not streamed: no latency between tokens is known"
PARTLY = "{} of {} requests failed, were cancelled or warmed up, and are left out"
NO_DRAFTS = "the export says nothing of drafts, nor of chunks"


def read_summary(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read `profile_export_aiperf.json`.

    Returns:
        None if it is no such file.

    Raises:
        ReadingError: a field is no number, or figures do not fit one another.
    """
    if len(records) != 1 or not _is_summary(records[0]):
        return None
    record = records[0]
    duration = _mean(record, "benchmark_duration", source)
    requests = _mean(record, "request_count", source)
    tokens = _mean(record, "output_sequence_length", source)
    latency, rate = (
        _mean(record, "request_latency", source),
        _mean(record, "request_throughput", source),
    )
    prompt = _mean(record, "input_sequence_length", source)
    told: dict[str, Any] = {
        "tokens_per_second": _mean(record, "output_token_throughput", source),
        "requests": latency * rate if latency is not None and rate is not None else None,
        "seconds": duration,
        "generated": None if requests is None or tokens is None else requests * tokens,
        "prompt_tokens_per_second": None if prompt is None or rate is None else prompt * rate,
    }
    written = None if requests is None or tokens is None else max(tokens - 1, 0.0) * requests
    per_token, per_chunk = (
        _mean(record, f"inter_{each}_latency", source) for each in ("token", "chunk")
    )
    rounds, accepted, drafted = (_mean(record, name, source) for name in COUNTS)
    if rounds is None or accepted is None or drafted is None:
        return [_by_chunks(source, per_token, per_chunk, written, told)]
    counts = histogram(record, POOLED, source)
    agree(counts, rounds, accepted, source)
    found = Answer(rounds, drafted, accepted, survivors(counts))
    return [_counted(found, source, per_token, per_chunk, written, told)]


def read_records(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read `profile_export.jsonl`: the requests that were profiled and ended well, together.

    Returns:
        None if it is no such file.

    Raises:
        ReadingError: a field is no number, figures do not fit one another, or no request ended.
    """
    if not all(set(record) >= {"metadata", "metrics"} for record in records):
        return None
    ended = [record for record in records if _ended(record)]
    if not ended:
        raise ReadingError(
            f"{source!r} has no request that was profiled and ended well: give a run's whole export"
        )
    starts, ends, latencies = [], [], 0.0
    written = decoding = chunks = chunk_seconds = total = prompts = 0.0
    drafted: list[Answer] = []
    for record in ended:
        meta, metrics = part(record, "metadata", source), part(record, "metrics", source)
        starts.append(number(meta, "request_start_ns", source, _LATEST) / 1e9)
        ends.append(number(meta, "request_end_ns", source, _LATEST) / 1e9)
        tokens = _value(metrics, "output_sequence_length", source) or 0.0
        per_token = _value(metrics, "inter_token_latency", source)
        latencies += _value(metrics, "request_latency", source) or 0.0
        prompts += _value(metrics, "input_sequence_length", source) or 0.0
        total += tokens
        after = max(tokens - 1, 0.0)
        seconds = None if per_token is None else per_token * after
        written += after
        decoding += seconds or 0.0
        gaps = _gaps(metrics, source)
        chunks += len(gaps)
        chunk_seconds += sum(gaps)
        if isinstance(record.get("spec_decode_acceptance"), Mapping):
            stats = part(record, "spec_decode_acceptance", source)
            drafted.append(answer(stats, source, tokens or None, seconds))
    duration = max(ends) - min(starts)
    told: dict[str, Any] = {
        "tokens_per_second": total / duration if duration > 0 else None,
        "requests": latencies / duration if duration > 0 else None,
        "seconds": duration if duration > 0 else None,
        "generated": total,
        "prompt_tokens_per_second": prompts / duration if duration > 0 else None,
        "notes": (PARTLY.format(len(records) - len(ended), len(records)),)
        if len(ended) < len(records)
        else (),
    }
    per_token = decoding / written if written and decoding else None
    per_chunk = chunk_seconds / chunks if chunks else None
    if len(drafted) < len(ended):
        return [_by_chunks(source, per_token, per_chunk, written, told)]
    whole = answers.reading(drafted, source)[0]
    steps = whole.steps or whole.rounds
    return [
        replace(
            whole,
            **told,
            step_seconds=decoding / steps if decoding and steps else None,
            inter_token_seconds=per_token,
            inter_chunk_seconds=per_chunk,
        )
    ]


def _is_summary(record: Record) -> bool:
    throughput = record.get("output_token_throughput")
    known = ("inter_token_latency", "request_latency", "request_throughput")
    return (
        isinstance(throughput, Mapping)
        and "avg" in throughput
        and any(isinstance(record.get(name), Mapping) for name in known)
    )


def _ended(record: Record) -> bool:
    meta = record["metadata"]
    if not isinstance(meta, Mapping) or record.get("error") or meta.get("was_cancelled"):
        return False
    return bool(meta.get("benchmark_phase", "profiling") == "profiling")


def _mean(record: Record, name: str, source: str) -> float | None:
    """Return a metric's mean, times in seconds; None if it is not there."""
    metric = record.get(name)
    if not isinstance(metric, Mapping):
        return None
    return _in_seconds(optional(metric, "avg", source), metric)


def _value(metrics: Record, name: str, source: str) -> float | None:
    metric = metrics.get(name)
    if not isinstance(metric, Mapping):
        return None
    return _in_seconds(optional(metric, "value", source), metric)


def _gaps(metrics: Record, source: str) -> list[float]:
    metric = metrics.get("inter_chunk_latency")
    if not isinstance(metric, Mapping) or not isinstance(metric.get("value"), list):
        return []
    found = [number({"value": value}, "value", source) for value in metric["value"]]
    return [seconds for each in found if (seconds := _in_seconds(each, metric)) is not None]


def _in_seconds(value: float | None, metric: Record) -> float | None:
    # Counts, rates and ratios have units of their own, which are kept.
    return None if value is None else value * _SECONDS.get(str(metric.get("unit")), 1.0)


def _counted(
    found: Answer,
    source: str,
    per_token: float | None,
    per_chunk: float | None,
    written: float | None,
    told: dict[str, Any],
) -> Reading:
    steps = None if written is None else max(written - found.accepted, found.rounds)
    per_step = 1 + found.accepted / (steps or found.rounds) if found.rounds else 1.0
    return Reading(
        source,
        found.rounds,
        found.drafted,
        found.accepted,
        found.stood,
        step_seconds=per_token * per_step if per_token else None,
        steps=steps,
        inter_token_seconds=per_token,
        inter_chunk_seconds=per_chunk,
        **told,
    )


def _by_chunks(
    source: str,
    per_token: float | None,
    per_chunk: float | None,
    written: float | None,
    told: dict[str, Any],
) -> Reading:
    if per_token and per_chunk and written:
        return of_chunks(source, per_token, per_chunk, written, **told)
    notes = (*told.pop("notes", ()), NO_DRAFTS if per_token else NOT_STREAMED)
    return Reading(
        source,
        step_seconds=per_token or None,
        inter_token_seconds=per_token or None,
        drafted_is_known=False,
        notes=notes,
        **told,
    )
