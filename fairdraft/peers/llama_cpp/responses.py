"""JSON responses of llama-server, with their `timings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairdraft.peers.base import Reading, Record, number, optional, part
from fairdraft.peers.llama_cpp.totals import Totals


def read_responses(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read JSON responses of llama-server, all together.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is no number, or there is nothing to time.
    """
    if not all(isinstance(record.get("timings"), Mapping) for record in records):
        return None
    totals = Totals()
    for record in records:
        timings = part(record, "timings", source)
        totals.requests += 1
        totals.tokens += number(timings, "predicted_n", source)
        totals.milliseconds += number(timings, "predicted_ms", source)
        drafted = optional(timings, "draft_n", source) or 0.0
        totals.add_drafts(drafted, optional(timings, "draft_n_accepted", source) or 0.0)
    return totals.reading(source)
