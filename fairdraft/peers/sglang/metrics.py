"""SGLang's /metrics: gauges of the last interval, and a latency a token.

A token's latency times the acceptance length is the step time.
"""

from __future__ import annotations

from dataclasses import replace

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.pages import ENGINES, Span, latency, latency_names
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
    gains = span.gains((*latency_names(), "prompt_tokens"))
    spent, tokens = latency(gains)
    if not tokens and not new.get("gen_throughput"):
        raise ReadingError(f"{source!r}: nothing was generated: take the pages while it serves")
    if length > 1 and not rate:
        raise ReadingError(
            f"{source!r} has spec_accept_length but no spec_accept_rate, so k is not known: give "
            "the JSON of /server_info"
        )
    k = (length - 1) / rate if length > 1 else 0.0
    per_token = spent / tokens if spent and tokens else None
    prompts = gains.get("prompt_tokens")
    found = of_means(
        source,
        max(length, 1.0) if k else 1.0,
        k,
        k,
        tokens / seconds if tokens and seconds else new.get("gen_throughput"),
        span.mean("num_running_reqs"),
        per_token * max(length, 1.0) if per_token else None,
        notes=(GAUGES_ONLY,) if k else (),
    )
    return replace(
        found,
        seconds=seconds,
        generated=tokens or None,
        engines=int(new.get(ENGINES, 1)),
        prompt_tokens_per_second=prompts / seconds if prompts is not None and seconds else None,
        waiting=span.mean("num_queue_reqs"),
        kv_usage=span.mean("token_usage"),
        inter_token_seconds=per_token,
    )
