"""vLLM's log: throughput of each window, and what was drafted in it; V1 and V0.

A window is what lies between two lines of an engine, 10 s as it comes. V1 (0.8.5 and later):

    Engine 000: Avg prompt throughput: … tokens/s, Avg generation throughput: … tokens/s,
        Running: … reqs, Waiting: … reqs, GPU KV cache usage: …%, Prefix cache hit rate: …%
    SpecDecoding metrics: Mean acceptance length: …, Accepted throughput: … tokens/s, Drafted
        throughput: … tokens/s, Accepted: … tokens, Drafted: … tokens, Per-position acceptance
        rate: …, …, Avg Draft acceptance rate: …%

The second line counts what its window drafted; without a draft it is missing. Several engines
write a pair each, or one for all of them ("2 Engines Aggregated: …"). V0 has its own second line
(`v0`), whose counts run since the server started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import NoReturn

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.lines import lines
from fairdraft.peers.vllm import v0
from fairdraft.peers.vllm.drafts import DRAFTS
from fairdraft.peers.vllm.log_lines import BESIDE, THROUGHPUT, Line, Log
from fairdraft.peers.windows import added, join, without_drafts

INTERVAL, INTERVAL_V0 = 10.0, 5.0  # seconds between two lines, unless it was set otherwise
PAUSE = 1.5  # intervals without a line: the engine was idle and said nothing
AGREE = 0.15  # two ways to tell the interval may differ by so much
ONCE = 0.75  # of an engine's windows have a moment of their own, at least
SLOWEST = 3600.0  # seconds: no interval is longer
EVERY = 0.98  # of the steps: the seconds are not known well enough to tell more from all
FINE = 0.25  # drafted tokens/s from which on their two places tell the seconds to 2%

ASSUMED = (
    "how long a window is, the log does not say: {:g} s are assumed, as vLLM logs unless told "
    "otherwise"
)
CONFIGURED = "speculative_config=SpeculativeConfig("  # as the server starts
SILENT = (
    "the server was started with speculation, and no window tells of a draft: it is no run without "
    "speculation, if it is to be one"
)
NO_RUNNING = "no request was running as the lines were written: the step time cannot be told"
CUT = "{} lines are cut off or run into one another, and their windows are left out"
TWICE = "{} lines stand there twice, and count once"


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read a server's log: all windows in which something ran, together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: nothing ran while it was written, or no line of it is whole.
    """
    if THROUGHPUT not in text and DRAFTS not in text and v0.TOTALS not in text:
        return None
    log = Log()
    for line in lines(text):
        log.add(line)
    log.end()
    if v0.TOTALS in text and not log.totals:
        _refuse(log, source)
    if log.totals:
        return [v0.reading(log.totals, _read_windows(log, source, INTERVAL_V0, False), source)]
    found = _read_windows(log, source, INTERVAL, DRAFTS in text)
    if CONFIGURED in text and not found.speculates:
        found = replace(found, notes=(*found.notes, SILENT))
    return [found]


def _read_windows(log: Log, source: str, usual: float, drafts: bool) -> Reading:
    found = [line for line in log.windows if line.whole and line.rate > 0]
    if log.cut and not any(line.drafts is not None or not drafts for line in found):
        _refuse(log, source)
    if not found:
        raise ReadingError(
            f"{source!r} has no window in which anything ran: take the log while it serves"
        )
    if any(line.running for line in found):
        found = [line for line in found if line.running]
    _require_one_server(found, source)
    groups = _together(found, usual)
    seconds, notes = _interval(log.times, groups, usual)
    if not drafts:
        notes = []  # it hangs on nothing then
    if not any(line.running for line in found):
        notes.append(NO_RUNNING)
    notes += without_drafts([line.drafts is not None for line in found], "windows")
    if log.cut:
        notes.append(CUT.format(log.cut))
    if log.twice:
        notes.append(TWICE.format(log.twice))
    return join([_reading(group, seconds, source) for group in groups], source, tuple(notes))


def _refuse(log: Log, source: str) -> NoReturn:
    raise ReadingError(
        f"{source!r} is a log of vLLM, but {log.cut} of its lines are cut off, run into one "
        "another, lack the line they belong to, or have decimals that are no points, and none "
        "is left to tell throughput and drafts: give the log as the server wrote it"
    )


def _require_one_server(found: Sequence[Line], source: str) -> None:
    """Insist that no engine has two windows at once: those are two servers' in one log.

    Lines less than a few seconds apart may share a second.
    """
    for engine in {line.engine for line in found}:
        times = [line.when for line in found if line.engine == engine and line.when is not None]
        once = sorted(set(times))
        gaps = [after - before for before, after in pairwise(once)]
        if gaps and len(once) <= ONCE * len(times) and median(gaps) > BESIDE:
            raise ReadingError(
                f"{source!r} has {len(times)} windows of one engine at {len(once)} moments: two "
                "servers wrote it, and nothing tells their lines apart; give the log of one"
            )


def _together(found: Sequence[Line], usual: float) -> list[list[Line]]:
    """Return the lines of each window: one an engine, written at about the same time."""
    groups: list[list[Line]] = []
    for line in found:
        first = groups[-1][0] if groups else None
        apart = (
            first is None
            or any(each.engine == line.engine for each in groups[-1])
            or (
                line.when is not None
                and first.when is not None
                and abs(line.when - first.when) > usual / 2
            )
        )
        if apart:
            groups.append([line])
        else:
            groups[-1].append(line)
    return groups


def _interval(
    times: Sequence[float], groups: Sequence[Sequence[Line]], usual: float
) -> tuple[float, list[str]]:
    """Return the seconds of a window, and what is to be said about them.

    Times tell them to a second; draft tokens over draft tokens a second tell them well, but a
    line after a pause counts the pause in, so the shortest of them counts.
    """
    gaps = [b - a for a, b in pairwise(times) if BESIDE < b - a < SLOWEST]
    told = [line.drafts for group in groups for line in group if line.drafts is not None]
    spans = [each.drafted / each.speed for each in told if each.speed >= FINE]
    by_tokens = min(spans, default=None)
    if not gaps:
        return (usual, [ASSUMED.format(usual)]) if by_tokens is None else (by_tokens, [])
    middle = median(gaps)
    steady = [gap for gap in gaps if gap < PAUSE * middle]
    by_time = sum(steady) / len(steady)
    # Lines may be missing too, and then the times are too far apart.
    if by_tokens is not None and by_tokens < (1 + AGREE) * by_time:
        return by_tokens, []
    return by_time, []


def _reading(group: Sequence[Line], seconds: float, source: str) -> Reading:
    """Return a window, all engines together."""
    told = [line.drafts for line in group if line.drafts is not None]
    rounds, accepted = sum(each.rounds for each in told), sum(each.accepted for each in told)
    rate, running = sum(line.rate for line in group), sum(line.running for line in group)
    steps = rate * seconds - accepted
    usage = [line.usage for line in group if line.usage is not None]
    return Reading(
        source,
        rounds,
        sum(each.drafted for each in told),
        accepted,
        added([each.stood for each in told]),
        rate,
        running or None,
        exact_rounds=not told,
        steps=steps if rounds < EVERY * steps else rounds,
        seconds=seconds,
        generated=rate * seconds,
        engines=sum(line.engines for line in group),
        prompt_tokens_per_second=_sum([line.prompts for line in group]),
        waiting=_sum([line.waiting for line in group]),
        kv_usage=sum(usage) / len(usage) if usage else None,
        preemptions=sum(line.preemptions for line in group),
        max_k=max((len(each.stood) for each in told), default=None),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
