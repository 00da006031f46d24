"""JSON responses of llama-server, with their `timings`, and streams of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairdraft.peers.base import Reading, Record, number, optional
from fairdraft.peers.llama_cpp.totals import Request, reading

_BARE = frozenset({"predicted_n", "predicted_ms"})


def read_responses(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read JSON responses of llama-server, or their `timings` alone, all together.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is no number, or there is nothing to time.
    """
    found = [_timings(record) for record in records]
    timings = [each for each in found if each is not None]
    if len(timings) < len(found) or not timings:
        return None
    return reading([_request(each, source) for each in timings], source)


def _timings(record: Record) -> Record | None:
    if set(record) >= _BARE:
        return record
    found = record.get("timings")
    return found if isinstance(found, Mapping) else None


def _request(timings: Record, source: str) -> Request:
    return Request(
        number(timings, "predicted_ms", source),
        number(timings, "predicted_n", source) - 1,  # the first comes with the prompt
        optional(timings, "draft_n", source) or 0.0,
        optional(timings, "draft_n_accepted", source) or 0.0,
    )
