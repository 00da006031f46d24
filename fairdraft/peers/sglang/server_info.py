"""The JSON of SGLang's /server_info."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, numbers, optional, parts
from fairdraft.peers.sglang.means import of_means


def read_server_info(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON of /server_info (once /get_server_info), since the server started.

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
