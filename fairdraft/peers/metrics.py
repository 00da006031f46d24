"""/metrics pages of vLLM, SGLang and llama.cpp: one, or two of the same server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

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
Scraped = tuple[str, dict[str, float]]  # the engine, and its figures by name


def counters(text: str, source: str = "the page") -> Scraped:
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
    return between(counters(before, source), counters(after, source), seconds, source)


def between(before: Scraped, after: Scraped, seconds: float | None, source: str) -> Reading:
    """Read what happened between two pages, as `read_metrics` does.

    Raises:
        ReadingError: as there.
    """
    (engine, old), (other, new) = before, after
    if engine != other:
        raise ReadingError(f"{source!r}: one page is {engine}'s and one {other}'s: take one server")
    return READERS[engine](Span(engine, old, new, seconds, source))
