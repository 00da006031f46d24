"""vLLM's /metrics: drafts are counted.

Its `inter_token_latency_seconds` (once `time_per_output_token_seconds`) is observed once a request
and step, so its mean is the step time.
"""

from __future__ import annotations

from fairdraft.peers.base import Reading
from fairdraft.peers.pages import (
    ACCEPTED,
    DRAFTED,
    DRAFTS,
    POSITION,
    Span,
    counted,
    latency,
    latency_names,
)

COUNTERS = (
    DRAFTS,
    DRAFTED,
    ACCEPTED,
    POSITION,
    "generation_tokens",
    "prompt_tokens",
    "num_preemptions",
    *latency_names(),
)


def read_span(span: Span) -> Reading:
    """Return the reading of what happened between two of vLLM's pages.

    Raises:
        ReadingError: nothing ran, or counters went backwards.
    """
    gains = span.gains(COUNTERS)
    spent, steps = latency(gains)
    generated = gains.get("generation_tokens", 0.0)
    return counted(span, gains, generated, spent, steps, span.mean("num_requests_running"))
