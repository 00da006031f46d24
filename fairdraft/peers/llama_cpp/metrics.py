"""llama.cpp's /metrics: drafts are counted, and the seconds that requests decoded are summed."""

from __future__ import annotations

from fairdraft.peers.base import Reading
from fairdraft.peers.pages import ACCEPTED, DRAFTED, DRAFTS, POSITION, Span, counted

COUNTERS = (
    DRAFTS,
    DRAFTED,
    ACCEPTED,
    POSITION,
    "tokens_predicted",
    "tokens_predicted_seconds",
    "prompt_tokens",
)


def read_span(span: Span) -> Reading:
    """Return the reading of what happened between two of llama.cpp's pages.

    Raises:
        ReadingError: nothing ran, or counters went backwards.
    """
    gains = span.gains(COUNTERS)
    generated = gains.get("tokens_predicted", 0.0)
    spent = gains.get("tokens_predicted_seconds", 0.0)
    steps = generated - gains.get(ACCEPTED, 0.0)
    return counted(span, gains, generated, spent, steps, span.mean("requests_processing"))
