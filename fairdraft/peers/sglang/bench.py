"""Lines of SGLang's benchmarks: bench_serving, and scripts/playground/bench_speculative.py."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, optional
from fairdraft.peers.latencies import SPECULATES
from fairdraft.peers.sglang.means import MEANS, of_means

PERCENTILE = "step time is the 20th percentile of the steps, not their mean"
SINCE_START = "the acceptance length is the server's since it started, not this run's"
NOT_SAID = "accept_length is not in the line: be sure that it ran without speculation"
_SERVING = ("duration", "completed", "output_throughput", "mean_tpot_ms")
_OWN = ("accept_length", "total_output_tokens_retokenized")  # no other benchmark has these


def read_rows(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON lines of scripts/playground/bench_speculative.py.

    Its `steps` is the depth of a draft (0: off), `num_draft_tokens` counts the root of the tree in,
    `step_time` is the 20th percentile in seconds, and `speed` is of one request of the batch.

    Returns:
        One reading a line; None if it is no such file.

    Raises:
        ReadingError: a field is no number, or its figures cannot be.
    """
    if not all("acc_length" in row and "step_time" in row for row in records):
        return None
    return [_row(row, source) for row in records]


def _row(row: Record, source: str) -> Reading:
    requests, k = number(row, "batch_size", source), number(row, "steps", source)
    nodes = (optional(row, "num_draft_tokens", source) or k + 1) - 1
    label = f"n={requests:.0f},steps={k:.0f}"
    if (topk := optional(row, "topk", source)) is not None:
        label += f",topk={topk:.0f},draft={nodes + 1 if k else 0:.0f}"
    return of_means(
        source,
        number(row, "acc_length", source),
        k,
        nodes,
        requests * number(row, "speed", source),
        requests,
        number(row, "step_time", source),
        label,
        (PERCENTILE,),
    )


def read_serving(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON lines of `python -m sglang.bench_serving`.

    The time of a step is the time per output token times `accept_length`, which is null without
    speculation. k is not in it.

    Returns:
        One reading a line, labelled run=0, …; None if it is no such file.

    Raises:
        ReadingError: a field is missing or no number, or its figures cannot be.
    """
    if not all(any(name in record for name in _OWN) for record in records):
        return None
    if not all(all(name in record for name in _SERVING) for record in records):
        return None
    return [_run(record, source, f"run={i}") for i, record in enumerate(records)]


def _run(record: Record, source: str, label: str) -> Reading:
    length = optional(record, "accept_length", source)
    per_token = number(record, "mean_tpot_ms", source) / 1e3
    itl = optional(record, "mean_itl_ms", source)
    completed = number(record, "completed", source)
    duration = number(record, "duration", source)
    total = optional(record, "total_output_tokens", source) or 0.0
    prompts = optional(record, "total_input_tokens", source)
    if length is not None and length < 1:
        raise ReadingError(
            f"{source!r}: accept_length is {length:g}, but with the bonus token it is 1 or more: "
            "give the line as the benchmark wrote it"
        )
    written = max(total - completed, 0.0)  # each request's first token comes with the prompt
    steps = written / (length or 1.0)
    # The native backend spreads a chunk's time over its tokens; then its ITL is no chunk's.
    chunked = itl is not None and itl / 1e3 >= SPECULATES * per_token
    notes: tuple[str, ...] = ()
    if length:
        notes = (MEANS, SINCE_START)
    elif "accept_length" not in record:
        notes = (NOT_SAID,)
    return Reading(
        source,
        steps if length else 0.0,
        max(ceil(length - 1), 1) * steps if length else 0.0,
        written - steps if length else 0.0,
        tokens_per_second=number(record, "output_throughput", source),
        requests=optional(record, "concurrency", source)
        or optional(record, "max_concurrency", source),
        step_seconds=per_token * (length or 1.0) or None,
        exact_rounds=not length,
        steps=steps or None,
        label=label,
        notes=notes,
        seconds=duration or None,
        generated=total,
        prompt_tokens_per_second=prompts / duration if prompts is not None and duration else None,
        inter_token_seconds=per_token or None,
        inter_chunk_seconds=itl / 1e3 if itl is not None and chunked else None,
        drafted_is_known=not length,
    )
