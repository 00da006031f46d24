"""Rows of SGLang's scripts/playground/bench_speculative.py."""

from __future__ import annotations

from collections.abc import Sequence

from fairdraft.peers.base import Reading, Record, number, optional
from fairdraft.peers.sglang.means import of_means

PERCENTILE = "step time is the 20th percentile of the steps, not their mean"


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
