"""SGLang: rows of bench_speculative.py, and /server_info. Its /metrics is read by `metrics`.

Both tell means, not counts: a reading of them counts one round, so no interval can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from fairdraft.errors import ReadingError
from fairdraft.readers.base import Reading, Record, number, numbers, optional, parts

MEANS = "means, not counts: no interval can be told"
PERCENTILE = "step time is the 20th percentile of the steps, not their mean"


def of_means(
    source: str,
    length: float,
    k: float,
    nodes: float,
    tokens_per_second: float | None = None,
    requests: float | None = None,
    step_seconds: float | None = None,
    label: str = "",
    notes: tuple[str, ...] = (),
) -> Reading:
    """A reading of one round that stands for all.

    Args:
        source: for people.
        length: mean acceptance length, the bonus token included.
        k: longest path of a draft.
        nodes: draft tokens of a round: k in a chain, more in a tree.
        tokens_per_second: all requests together.
        requests: running.
        step_seconds: measured.
        label: which of a file's measurements it is.
        notes: biases.

    Raises:
        ReadingError: that length cannot be at that k.
    """
    if not 1 <= length <= k + 1:
        raise ReadingError(
            f"{source!r}: a mean acceptance length of {length:g} cannot be at k = {k:g}: with the "
            f"bonus token it is from 1 to {k + 1:g}; give a file from one run"
        )
    if not k:
        return Reading(
            source,
            tokens_per_second=tokens_per_second,
            requests=requests,
            step_seconds=step_seconds,
            label=label,
            notes=notes,
        )
    return Reading(
        source,
        1,
        max(nodes, k),
        length - 1,
        tokens_per_second=tokens_per_second,
        requests=requests,
        step_seconds=step_seconds,
        stated_k=k,
        label=label,
        notes=(MEANS, *notes),
    )


def read_rows(records: Sequence[Record], source: str) -> list[Reading] | None:
    """The JSON lines of scripts/playground/bench_speculative.py.

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


def read_server_info(records: Sequence[Record], source: str) -> list[Reading] | None:
    """The JSON of /server_info (once /get_server_info), since the server started.

    The step time is there only if the server ran with SGLANG_RECORD_STEP_TIME=1; the batch size
    that ran most is taken.

    Returns:
        None if it is no such file.

    Raises:
        ReadingError: a field is no number, or the length is missing although it speculates.
    """
    if len(records) != 1 or "internal_states" not in records[0]:
        return None
    states = parts(records[0], "internal_states", source)
    if not states:
        raise ReadingError(f"{source!r}: internal_states is empty: ask the server itself")
    info = {**records[0], **states[0]}
    k = optional(info, "speculative_num_steps", source) or 0.0
    nodes = (optional(info, "speculative_num_draft_tokens", source) or k + 1) - 1
    length = number(info, "avg_spec_accept_length", source) if k else 1.0
    requests, step = _step_time(info, source)
    speed = optional(info, "last_gen_throughput", source)
    return [of_means(source, length, k, nodes, speed, requests, step)]


def _step_time(info: Record, source: str) -> tuple[float | None, float | None]:
    times = info.get("step_time_dict")
    if not isinstance(times, Mapping):
        return None, None
    rows = {size: numbers(times, size, source) for size in times}
    size = max(rows, key=lambda each: len(rows[each]), default=None)
    if size is None or not rows[size] or not str(size).isdigit():
        return None, None
    return float(size), median(rows[size])
