"""SGLang's /metrics: gauges of the last interval, and a latency a token.

A token's latency times the acceptance length is the step time.
"""

from __future__ import annotations

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.pages import Span, latency, latency_names
from fairdraft.peers.sglang.means import of_means

GAUGES_ONLY = (
    "acceptance is the last interval's; k is (length − 1) / spec_accept_rate, too low in SGLang "
    "before May 2026, whose rate counted the bonus token"
)


def read_span(span: Span) -> Reading:
    """Return the reading of what happened between two of SGLang's pages.

    Raises:
        ReadingError: nothing ran, k cannot be told, or counters went backwards.
    """
    new, source, seconds = span.after, span.source, span.seconds
    length, rate = new.get("spec_accept_length", 0.0), new.get("spec_accept_rate", 0.0)
    spent, tokens = latency(span.gains(latency_names()))
    if not tokens and not new.get("gen_throughput"):
        raise ReadingError(f"{source!r}: nothing was generated: take the pages while it serves")
    if length > 1 and not rate:
        raise ReadingError(
            f"{source!r} has spec_accept_length but no spec_accept_rate, so k is not known: give "
            "the JSON of /server_info"
        )
    k = (length - 1) / rate if length > 1 else 0.0
    per_token = spent / tokens if spent and tokens else None
    return of_means(
        source,
        max(length, 1.0) if k else 1.0,
        k,
        k,
        tokens / seconds if tokens and seconds else new.get("gen_throughput"),
        span.mean("num_running_reqs"),
        per_token * max(length, 1.0) if per_token else None,
        notes=(GAUGES_ONLY,) if k else (),
    )
