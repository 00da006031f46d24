"""/metrics pages of vLLM, SGLang and llama.cpp: one saved, two, or a server asked twice."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.llama_cpp import metrics as llama_cpp
from fairdraft.peers.pages import ENGINES, SHARES, Span
from fairdraft.peers.sglang import metrics as sglang
from fairdraft.peers.vllm import metrics as vllm

READERS: Mapping[str, Callable[[Span], Reading]] = {
    "vllm": vllm.read_span,
    "sglang": sglang.read_span,
    "llamacpp": llama_cpp.read_span,
}
PAGE = re.compile(rf"^({'|'.join(READERS)}):\w+(\{{.*\}})? ", re.MULTILINE)
TIMEOUT = 10.0  # seconds
LONGEST = 86400.0  # seconds between two scrapes


def counters(text: str, source: str = "the page") -> tuple[str, dict[str, float]]:
    """Return a page's engine and its figures, all replicas of one server together.

    Names lose their prefix and `_total`; a position is written after a slash; shares of a cache are
    their mean over replicas, whose number is `ENGINES`.

    Raises:
        ReadingError: it is no metrics page of a known engine, or it is broken.
    """
    from prometheus_client.parser import text_string_to_metric_families

    engine = PAGE.search(text)
    if engine is None:
        raise ReadingError(
            f"{source!r} is no metrics page of vLLM, SGLang or llama.cpp: give what /metrics "
            "answers (SGLang needs --enable-metrics, llama-server --metrics)"
        )
    prefix = engine[1] + ":"
    found: dict[str, float] = {}
    shares: dict[str, list[float]] = {}
    engines: set[str] = set()
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
        engines.add(sample.labels.get("engine", sample.labels.get("dp_rank", "")))
        if name in SHARES:
            shares.setdefault(name, []).append(sample.value)
            continue
        if (position := sample.labels.get("position")) is not None:
            name += f"/{position}"
        found[name] = found.get(name, 0.0) + sample.value
    found |= {name: sum(values) / len(values) for name, values in shares.items()}
    found[ENGINES] = float(len(engines - {""}) or 1)
    return engine[1], found


def read_page(text: str, source: str) -> list[Reading] | None:
    """Read one page: everything since the server started.

    Returns:
        None if it is no metrics page.

    Raises:
        ReadingError: nothing ran.
    """
    if not PAGE.search(text):
        return None
    engine, values = counters(text, source)
    return [READERS[engine](Span(engine, {}, values, None, source))]


def read_metrics(before: str, after: str, seconds: float | None, source: str) -> Reading:
    """Read what happened between two scrapes of /metrics.

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
    return READERS[engine](Span(engine, old, new, seconds, source))


def scrape(url: str, seconds: float = 10.0, sleep: Callable[[float], None] = time.sleep) -> Reading:
    """Ask a server for its /metrics twice, and read what happened in between.

    Args:
        url: with or without /metrics.
        seconds: to wait in between.
        sleep: for tests.

    Raises:
        ReadingError: the server cannot be reached, or as `read_metrics`.
    """
    if not 0 < seconds <= LONGEST:
        raise ReadingError(
            f"{seconds:g} seconds between scrapes: wait more than 0, and a day at most; 10 are "
            "usual"
        )
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
    import httpx

    remedy = "is the server up, and does it serve /metrics there?"
    try:
        answer = httpx.get(url, timeout=TIMEOUT, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ReadingError(f"{url!r} cannot be reached ({error}): {remedy}") from None
    if not answer.is_success:
        raise ReadingError(f"{url!r} answers {answer.status_code} {answer.reason_phrase}: {remedy}")
    return answer.content.decode("utf-8", errors="replace")
