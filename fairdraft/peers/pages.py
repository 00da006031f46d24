"""Two /metrics pages of one server, and what its counters gained between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairdraft.errors import ReadingError, RestartError
from fairdraft.peers.base import Reading

Values = Mapping[str, float]

DRAFTS, DRAFTED, ACCEPTED = (
    "spec_decode_num_" + name for name in ("drafts", "draft_tokens", "accepted_tokens")
)
POSITION = ACCEPTED + "_per_pos"  # a page's figure of position i is written POSITION/i
LATENCIES = ("inter_token_latency_seconds", "time_per_output_token_seconds")  # new and old name
# Shares of the KV cache in use, of which replicas have one each.
SHARES = ("kv_cache_usage_perc", "gpu_cache_usage_perc", "token_usage", "kv_cache_usage_ratio")
ENGINES = "*engines"  # how many replicas a page tells of; no engine has a figure of that name
SINCE_START = "since the server started, warm-up included"


@dataclass(frozen=True)
class Span:
    """What a server's counters and gauges said before and after a stretch of serving.

    Args:
        engine: the prefix of its figures.
        before, after: figures by name, without the prefix and `_total`; an empty `before` means
            since the server started.
        seconds: in between; None if it is not known.
        source: what was read, for people.
    """

    engine: str
    before: Values
    after: Values
    seconds: float | None
    source: str

    def gains(self, names: Sequence[str]) -> dict[str, float]:
        """Return what each of these counters gained, those of single positions included.

        Raises:
            RestartError: one went backwards.
        """
        found = {}
        for name, end in self.after.items():
            if name.split("/")[0] not in names:
                continue
            if end < (start := self.before.get(name, 0.0)):
                raise RestartError(
                    f"{self.source!r}: {self.engine}:{name} went from {start:g} to {end:g}: the "
                    "server was restarted in between, or the pages are swapped; take two without a "
                    "restart, the earlier one first"
                )
            found[name] = end - start
        return found

    def mean(self, *gauges: str) -> float | None:
        """Return a gauge's mean over the pages that have it; of several the first that is there."""
        gauge = next((name for name in gauges if name in self.after), gauges[0])
        known = [page[gauge] for page in (self.before, self.after) if gauge in page]
        return sum(known) / len(known) if known else None


def latency_names() -> tuple[str, ...]:
    """Return the counters behind `LATENCIES`: their sums and their numbers of observations."""
    return tuple(name + end for name in LATENCIES for end in ("_sum", "_count"))


def latency(gains: Values) -> tuple[float, float]:
    """Return seconds and observations of the latency between outputs; (0, 0) without one."""
    for name in LATENCIES:
        if count := gains.get(f"{name}_count"):
            return gains.get(f"{name}_sum", 0.0), count
    return 0.0, 0.0


def counted(
    span: Span,
    gains: Values,
    generated: float,
    spent: float,
    steps: float,
    running: float | None,
) -> Reading:
    """Return the reading of a server that counts its drafts.

    Prompt tokens, waiting requests, the KV cache and preemptions are read where a page has them.

    Args:
        span: the pages.
        gains: what its counters gained.
        generated: tokens.
        spent: seconds that requests decoded, summed over requests.
        steps: decoding steps, each once for every request in it; 0 if it is not known.
        running: requests, where a gauge says so.

    Raises:
        ReadingError: nothing was drafted and nothing generated, or drafts were not counted.
    """
    if gains.get(DRAFTED) and DRAFTS not in gains:
        raise ReadingError(
            f"{span.source!r} counts draft tokens but no drafts, as vLLM V0 does: give the "
            "server's log, which tells k"
        )
    drafts, accepted = gains.get(DRAFTS, 0.0), gains.get(ACCEPTED, 0.0)
    if not drafts and not generated and not steps:
        raise ReadingError(
            f"{span.source!r}: nothing was drafted and nothing generated: take the pages while it "
            "serves"
        )
    positions = sorted(int(name.split("/")[1]) for name in gains if name.startswith(POSITION + "/"))
    prompts = gains.get("prompt_tokens")
    # Requests that decode add a second each second: their sum over time is how many ran.
    side_by_side = spent / span.seconds if spent and span.seconds else None
    return Reading(
        span.source,
        drafts,
        gains.get(DRAFTED, 0.0),
        accepted,
        tuple(gains[f"{POSITION}/{i}"] for i in positions),
        (generated or accepted + drafts) / span.seconds if span.seconds else None,
        running if side_by_side is None else side_by_side,
        spent / steps if spent and steps > 0 else None,
        steps=max(steps, drafts) if steps > 0 else None,
        notes=() if span.before else (SINCE_START,),
        seconds=span.seconds,
        generated=generated or accepted + drafts,
        engines=int(span.after.get(ENGINES, 1)),
        prompt_tokens_per_second=prompts / span.seconds
        if prompts is not None and span.seconds
        else None,
        prompt_tokens=prompts,
        waiting=span.mean("num_requests_waiting", "requests_deferred"),
        kv_usage=span.mean(*SHARES),
        preemptions=gains.get("num_preemptions"),
    )
