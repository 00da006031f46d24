"""The /metrics pages of vLLM, SGLang and llama.cpp: two saved ones, one, or a server asked twice.

vLLM and llama.cpp count drafts. vLLM's `inter_token_latency_seconds` (once
`time_per_output_token_seconds`) is observed once a request and step, so its mean is the step time.
llama.cpp sums the seconds that requests decoded. SGLang has gauges of the last interval, and a
latency a token, which is multiplied by the acceptance length.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from fairdraft.errors import ReadingError
from fairdraft.readers.base import Reading
from fairdraft.readers.sglang import of_means

PAGE = re.compile(r"^(vllm|sglang|llamacpp):\w+(\{.*\})? ", re.MULTILINE)
SPEC = "spec_decode_num_"
POSITION = SPEC + "accepted_tokens_per_pos/"
LATENCIES = ("inter_token_latency_seconds", "time_per_output_token_seconds")
GAUGES = ("num_requests_running", "num_running_reqs", "requests_processing")
GROWING = (
    *(SPEC + name for name in ("drafts", "draft_tokens", "accepted_tokens")),
    *(name + end for name in LATENCIES for end in ("_sum", "_count")),
    *("generation_tokens", "tokens_predicted", "tokens_predicted_seconds"),
)
GAUGES_ONLY = (
    "acceptance is the last interval's; k is (length − 1) / spec_accept_rate, too low in SGLang "
    "before May 2026, whose rate counted the bonus token"
)
TIMEOUT = 10.0  # seconds

Values = dict[str, float]


def counters(text: str, source: str = "the page") -> tuple[str, Values]:
    """A page's engine and its figures, all engines of one server together.

    Names lose their prefix and `_total`; a position is written after a slash.

    Raises:
        ReadingError: it is no metrics page of a known engine, or it is broken.
    """
    engine = PAGE.search(text)
    if engine is None:
        raise ReadingError(
            f"{source!r} is no metrics page of vLLM, SGLang or llama.cpp: give what /metrics "
            "answers (SGLang needs --enable-metrics, llama-server --metrics)"
        )
    prefix = engine[1] + ":"
    found: Values = {}
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as error:
        raise ReadingError(f"{source!r} is a broken metrics page ({error}): save it anew") from None
    for sample in (sample for family in families for sample in family.samples):
        ranked = sample.labels.get("tp_rank", "0") != "0"  # the same requests once more
        if not sample.name.startswith(prefix) or sample.name.endswith("_created") or ranked:
            continue
        name = sample.name.removeprefix(prefix).removesuffix("_total")
        if name.endswith("_bucket"):
            continue
        if (position := sample.labels.get("position")) is not None:
            name += f"/{position}"
        found[name] = found.get(name, 0.0) + sample.value
    return engine[1], found


def read_page(text: str, source: str) -> list[Reading] | None:
    """One page: everything since the server started.

    Returns:
        None if it is no metrics page.

    Raises:
        ReadingError: nothing ran.
    """
    if not PAGE.search(text):
        return None
    engine, values = counters(text, source)
    return [_reading(engine, {}, values, None, source)]


def read_metrics(before: str, after: str, seconds: float | None, source: str) -> Reading:
    """What happened between two scrapes of /metrics.

    Args:
        before, after: the pages.
        seconds: between them; None if it is not known.
        source: for people.

    Raises:
        ReadingError: one is no metrics page, they are of two engines, nothing ran in between, or
            counters went backwards.
    """
    (engine, old), (other, new) = counters(before, source), counters(after, source)
    if engine != other:
        raise ReadingError(f"{source!r}: one page is {engine}'s and one {other}'s: take one server")
    return _reading(engine, old, new, seconds, source)


def scrape(url: str, seconds: float = 10.0, sleep: Callable[[float], None] = time.sleep) -> Reading:
    """Ask a server twice.

    Args:
        url: with or without /metrics.
        seconds: to wait in between.
        sleep: for tests.

    Raises:
        ReadingError: the server cannot be reached, or as `read_metrics`.
    """
    if not seconds > 0:
        raise ReadingError(f"{seconds} seconds between scrapes: wait more than 0; 10 are usual")
    try:
        if urlsplit(url).path in ("", "/"):
            url = url.rstrip("/") + "/metrics"
    except ValueError as error:
        raise ReadingError(
            f"{url!r} is no address ({error}): give http://HOST:PORT/metrics"
        ) from None
    start = time.perf_counter()
    before = _fetch(url)
    counters(before, url)  # a wrong page is told before the wait
    sleep(seconds)
    after = _fetch(url)
    return read_metrics(before, after, time.perf_counter() - start, url)


def _fetch(url: str) -> str:
    remedy = "is the server up, and does it serve /metrics there?"
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            page: bytes = answer.read()
    except HTTPError as error:
        raise ReadingError(f"{url!r} answers {error.code} {error.reason}: {remedy}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise ReadingError(f"{url!r} cannot be reached ({error}): {remedy}") from None
    return page.decode("utf-8", errors="replace")


def _reading(engine: str, old: Values, new: Values, seconds: float | None, source: str) -> Reading:
    gauges = {name: [page[name] for page in (old, new) if name in page] for name in GAUGES}
    running = next((sum(each) / len(each) for each in gauges.values() if each), None)
    if engine == "sglang":
        return _sglang(old, new, seconds, running, source)
    gone = _difference(old, new, engine, source)
    drafts, accepted = gone.get(SPEC + "drafts", 0.0), gone.get(SPEC + "accepted_tokens", 0.0)
    spent, steps = _latency(gone)
    generated = gone.get("generation_tokens", gone.get("tokens_predicted", 0.0))
    if engine == "llamacpp":
        spent, steps = gone.get("tokens_predicted_seconds", 0.0), generated - accepted
    if not drafts and not generated and not steps:
        raise ReadingError(
            f"{source!r}: nothing was drafted and nothing generated: take the pages while it serves"
        )
    positions = sorted(int(name.split("/")[1]) for name in gone if name.startswith(POSITION))
    # Requests that decode add a second each second: their sum over time is how many ran.
    counted = spent / seconds if spent and seconds else None
    return Reading(
        source,
        drafts,
        gone.get(SPEC + "draft_tokens", 0.0),
        accepted,
        tuple(gone[f"{POSITION}{i}"] for i in positions),
        (generated or accepted + drafts) / seconds if seconds else None,
        running if counted is None else counted,
        spent / steps if spent and steps > 0 else None,
        steps=max(steps, drafts) if steps > 0 else None,
        notes=() if old else ("since the server started, warm-up included",),
    )


def _sglang(
    old: Values, new: Values, seconds: float | None, running: float | None, source: str
) -> Reading:
    gone = _difference(old, new, "sglang", source)
    length, rate = new.get("spec_accept_length", 0.0), new.get("spec_accept_rate", 0.0)
    spent, tokens = _latency(gone)
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
        running,
        per_token * max(length, 1.0) if per_token else None,
        notes=(GAUGES_ONLY,) if k else (),
    )


def _latency(gone: Mapping[str, float]) -> tuple[float, float]:
    """Seconds and observations of the latency between outputs."""
    for name in LATENCIES:
        if count := gone.get(f"{name}_count"):
            return gone.get(f"{name}_sum", 0.0), count
    return 0.0, 0.0


def _difference(old: Values, new: Values, engine: str, source: str) -> Values:
    """New less old, of what only grows."""
    growing = [name for name in new if name in GROWING or name.startswith(POSITION)]
    for name in growing:
        if new[name] < (start := old.get(name, 0.0)):
            raise ReadingError(
                f"{source!r}: {engine}:{name} went from {start:g} to {new[name]:g}: the "
                "server was restarted in between, or the pages are swapped; take two without a "
                "restart, the earlier one first"
            )
    return {name: new[name] - old.get(name, 0.0) for name in growing}
