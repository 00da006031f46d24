"""TensorRT-LLM's statistics, an object an iteration: /metrics, or `LLM.get_stats`.

    {"iter": 7, "iterLatencyMS": 20.0, "numQueuedRequests": 0, "inflightBatchingStats":
        {"numContextRequests": 0, "numGenRequests": 8, "numCtxTokens": 0, "numPausedRequests": 0},
        "specDecodingStats": {"numDraftTokens": 24, "numAcceptedTokens": 12,
        "numRequestsWithDraftTokens": 8, "acceptanceLength": 2.5, "iterLatencyMS": 1.2}}

An iteration is a step; a request with a draft in it is a round. The step time is of iterations that
only generate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, optional, part
from fairdraft.peers.windows import join

WINDOWS = 20  # that iterations are told in, at most
NOT_SAID = "specDecodingStats are in no iteration: this version, or this run, does not tell drafts"


def read_iterations(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read iteration statistics, all together; windows are twentieths of them.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is missing or no number, or no iteration only generates.
    """
    if not all({"iter", "iterLatencyMS"} <= set(record) for record in records):
        return None
    # Under attention parallelism every rank writes the counts of the first once more.
    own = [record for record in records if not record.get("attentionDpRank")]
    steps = [record for record in own if _generating(record, source)]
    if not steps:
        raise ReadingError(
            f"{source!r} has no iteration that generates (numGenRequests): take the statistics "
            "while it serves (enable_iter_perf_stats), as the server wrote them"
        )
    size = max(-(-len(steps) // WINDOWS), 1)
    windows = [_window(steps[i : i + size], source) for i in range(0, len(steps), size)]
    told = any(isinstance(record.get("specDecodingStats"), Mapping) for record in own)
    pure = [each for each in windows if each.step_seconds is not None]
    if not pure:
        raise ReadingError(
            f"{source!r} has no iteration that only generates: all of them prefill too, so the "
            "step time cannot be told; take more of them"
        )
    return [_whole(windows, steps, source, told)]


def _whole(windows: Sequence[Reading], steps: Sequence[Record], source: str, told: bool) -> Reading:
    whole = join(windows, source, () if told else (NOT_SAID,))
    alone = _window(steps, source)
    return replace(
        whole,
        step_seconds=alone.step_seconds,
        draft_seconds=alone.draft_seconds,
        requests=alone.requests,
        drafted_is_known=told,
        windows=() if len(windows) == 1 else whole.windows,
    )


def _window(records: Sequence[Record], source: str) -> Reading:
    rounds = drafted = accepted = seconds = pure = pure_steps = drafting = 0.0
    written = prompts = waiting = paused = decoding = 0.0
    told = 0
    usage: list[float] = []
    for record in records:
        batch = part(record, "inflightBatchingStats", source)
        took = number(record, "iterLatencyMS", source) / 1e3
        requests = number(batch, "numGenRequests", source)
        seconds += took
        decoding += requests
        prompts += optional(batch, "numCtxTokens", source) or 0.0
        paused += optional(batch, "numPausedRequests", source) or 0.0
        waiting += optional(record, "numQueuedRequests", source) or 0.0
        usage += _usage(record, source)
        only = not optional(batch, "numContextRequests", source)
        if only:
            pure += took
            pure_steps += 1
        stats = record.get("specDecodingStats")
        if isinstance(stats, Mapping) and number(stats, "numDraftTokens", source):
            rounds += number(stats, "numRequestsWithDraftTokens", source)
            drafted += number(stats, "numDraftTokens", source)
            accepted += number(stats, "numAcceptedTokens", source)
            if only and (own := optional(stats, "iterLatencyMS", source)) is not None:
                drafting += own / 1e3
                told += 1
    written = decoding + accepted
    return Reading(
        source,
        rounds,
        drafted,
        accepted,
        tokens_per_second=written / seconds if seconds else None,
        requests=decoding / len(records),
        step_seconds=pure / pure_steps if pure_steps and pure else None,
        steps=max(decoding, rounds),
        seconds=seconds,
        generated=written,
        prompt_tokens_per_second=prompts / seconds if seconds else None,
        waiting=waiting / len(records),
        kv_usage=sum(usage) / len(usage) if usage else None,
        preemptions=paused,
        draft_seconds=drafting / pure_steps if told and pure_steps else None,
    )


def _generating(record: Record, source: str) -> bool:
    batch = record.get("inflightBatchingStats")
    return isinstance(batch, Mapping) and bool(optional(batch, "numGenRequests", source))


def _usage(record: Record, source: str) -> list[float]:
    cache = record.get("kvCacheStats")
    if not isinstance(cache, Mapping):
        return []
    used, most = (optional(cache, name, source) for name in ("usedNumBlocks", "maxNumBlocks"))
    return [used / most] if used is not None and most else []
