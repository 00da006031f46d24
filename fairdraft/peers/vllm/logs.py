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

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import NoReturn

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading
from fairdraft.peers.lines import lines, pod_of, time_of
from fairdraft.peers.vllm import v0
from fairdraft.peers.vllm.drafts import DRAFTS, Drafts, parse
from fairdraft.peers.windows import added, join

THROUGHPUT = "Avg generation throughput"
ENGINE = re.compile(
    r"(?:Engine (?P<engine>\d+): |(?P<together>\d+) Engines Aggregated: )?"
    rf"(?:Avg prompt throughput: (?P<prompts>{DECIMAL}) tokens/s, )?"
    rf"Avg generation throughput: (?P<rate>{DECIMAL}) tokens/s, Running: (?P<running>\d+) reqs"
    r"(?!\w)"
)
WAITING = re.compile(r", (?:Waiting|Pending): (\d+) reqs")
USAGE = re.compile(rf", (?:GPU )?KV cache usage: ({DECIMAL})%")
PREEMPTIONS = re.compile(r", Preemptions: (\d+)")
INTERVAL, INTERVAL_V0 = 10.0, 5.0  # seconds between two lines, unless it was set otherwise
PAUSE = 1.5  # intervals without a line: the engine was idle and said nothing
AGREE = 0.15  # two ways to tell the interval may differ by so much
BESIDE = 2.0  # seconds: lines of one window are written at once
SLOWEST = 3600.0  # seconds: no interval is longer
FINE = 0.25  # drafted tokens/s from which on their two places tell the seconds to 2%

ASSUMED = (
    "how long a window is, the log does not say: {:g} s are assumed, as vLLM logs unless told "
    "otherwise"
)
NO_RUNNING = "no request was running as the lines were written: the step time cannot be told"
CUT = "{} lines are cut off or run into one another, and their windows are left out"
TWICE = "{} lines stand there twice, and count once"


@dataclass
class _Line:
    """An engine's window: its line, and what it drafted."""

    engine: str
    engines: int
    when: float | None
    rate: float
    prompts: float | None
    running: float
    waiting: float | None
    usage: float | None
    preemptions: float
    drafts: Drafts | None = None
    whole: bool = True


@dataclass
class _Log:
    """What stands in a log, line by line."""

    windows: list[_Line] = field(default_factory=list)
    totals: list[v0.Totals] = field(default_factory=list)
    cut: int = 0
    twice: int = 0
    _seen: dict[str, _Line | None] = field(default_factory=dict)
    _current: _Line | None = None  # whose drafts come next
    _early: tuple[Drafts, float | None] | None = None  # written ahead of their window

    def add(self, line: str) -> None:
        marks = [i for mark in (THROUGHPUT, DRAFTS, v0.TOTALS) for i in _places(line, mark)]
        if not marks:
            return
        when = time_of(line, min(marks))
        if len(marks) > 1:
            self._lose_drafts()
            self._current = None
        elif v0.TOTALS in line:
            self._add_totals(line)
        elif DRAFTS in line:
            self._add_drafts(line, when)
        else:
            self._add_window(line, when)

    def _add_totals(self, line: str) -> None:
        found = v0.parse(line)
        if found is None:
            self.cut += 1
        else:
            self.totals.append(found)

    def _add_window(self, line: str, when: float | None) -> None:
        found = ENGINE.search(line)
        if found is None:
            self.cut += 1
            self._current = None
            return
        words = pod_of(line) + line[max(line.find("INFO "), 0) :]
        if when is not None and words in self._seen:
            self.twice += 1
            self._current = self._seen[words]
            return
        self._current = self._seen[words] = _window(line, found, when)
        self.windows.append(self._current)
        if self._early is not None:
            drafts, written = self._early
            if _same(written, when):
                self._current.drafts = drafts
            else:
                self.cut += 1
            self._early = None

    def _add_drafts(self, line: str, when: float | None) -> None:
        found, window = parse(line), self._current
        if found is None:
            self._lose_drafts()
        elif window is not None and window.drafts is None and _same(when, window.when):
            window.drafts = found
        elif window is not None and window.drafts == found and _same(when, window.when):
            self.twice += 1
        else:
            self.cut += self._early is not None
            self._early = (found, when)

    def _lose_drafts(self) -> None:
        self.cut += 1
        if self._current is not None and self._current.drafts is None:
            self._current.whole = False

    def end(self) -> None:
        self.cut += self._early is not None


def _places(line: str, mark: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(mark), line)] if mark in line else []


def _same(a: float | None, b: float | None) -> bool:
    """Whether two lines belong together: written within two seconds, where they say when."""
    return a is None or b is None or abs(a - b) <= BESIDE


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read a server's log: all windows in which something ran, together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: nothing ran while it was written, or no line of it is whole.
    """
    if THROUGHPUT not in text and DRAFTS not in text and v0.TOTALS not in text:
        return None
    log = _Log()
    for line in lines(text):
        log.add(line)
    log.end()
    if v0.TOTALS in text and not log.totals:
        _refuse(log, source)
    if log.totals:
        return [v0.reading(log.totals, _read_windows(log, source, INTERVAL_V0, False), source)]
    return [_read_windows(log, source, INTERVAL, DRAFTS in text)]


def _read_windows(log: _Log, source: str, usual: float, drafts: bool) -> Reading:
    found = [line for line in log.windows if line.whole and line.rate > 0]
    if log.cut and not any(line.drafts is not None or not drafts for line in found):
        _refuse(log, source)
    if not found:
        raise ReadingError(
            f"{source!r} has no window in which anything ran: take the log while it serves"
        )
    if any(line.running for line in found):
        found = [line for line in found if line.running]
    groups = _together(found, usual)
    seconds, notes = _interval(log.windows, groups, usual)
    if not any(line.running for line in found):
        notes.append(NO_RUNNING)
    if log.cut:
        notes.append(CUT.format(log.cut))
    if log.twice:
        notes.append(TWICE.format(log.twice))
    return join([_reading(group, seconds, source) for group in groups], source, tuple(notes))


def _refuse(log: _Log, source: str) -> NoReturn:
    raise ReadingError(
        f"{source!r} is a log of vLLM, but {log.cut} of its lines are cut off, run into one "
        "another, lack the line they belong to, or have decimals that are no points, and none "
        "is left to tell throughput and drafts: give the log as the server wrote it"
    )


def _window(line: str, found: re.Match[str], when: float | None) -> _Line:
    waiting, usage = WAITING.search(line), USAGE.search(line)
    preemptions = PREEMPTIONS.search(line)
    return _Line(
        pod_of(line) + (found["engine"] or ""),
        int(found["together"] or 1),
        when,
        float(found["rate"]),
        float(found["prompts"]) if found["prompts"] else None,
        float(found["running"]),
        float(waiting[1]) if waiting else None,
        float(usage[1]) / 100 if usage else None,
        float(preemptions[1]) if preemptions else 0.0,
    )


def _together(found: Sequence[_Line], usual: float) -> list[list[_Line]]:
    """Return the lines of each window: one an engine, written at about the same time."""
    groups: list[list[_Line]] = []
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
    every: Sequence[_Line], groups: Sequence[Sequence[_Line]], usual: float
) -> tuple[float, list[str]]:
    """Return the seconds of a window, and what is to be said about them.

    Times tell them to a second; draft tokens over draft tokens a second tell them well, but a
    line after a pause counts the pause in, so the shortest of them counts.
    """
    times = [group[0].when for group in _together(every, usual) if group[0].when is not None]
    gaps = [b - a for a, b in pairwise(times) if 0 < b - a < SLOWEST]
    by_time = by_tokens = None
    if gaps:
        middle = median(gaps)
        steady = [gap for gap in gaps if gap < PAUSE * middle]
        by_time = sum(steady) / len(steady)
    told = [line.drafts for group in groups for line in group if line.drafts is not None]
    spans = [each.drafted / each.speed for each in told if each.speed >= FINE]
    if spans:
        by_tokens = min(spans)
    if by_time is None:
        if by_tokens is None:
            return usual, [ASSUMED.format(usual)]
        return by_tokens, []
    if by_tokens is not None and abs(by_tokens - by_time) <= AGREE * by_time:
        return by_tokens, []
    return by_time, []


def _reading(group: Sequence[_Line], seconds: float, source: str) -> Reading:
    """Return a window, all engines together."""
    told = [line.drafts for line in group if line.drafts is not None]
    rounds, accepted = sum(each.rounds for each in told), sum(each.accepted for each in told)
    rate, running = sum(line.rate for line in group), sum(line.running for line in group)
    usage = [line.usage for line in group if line.usage is not None]
    return Reading(
        source,
        rounds,
        sum(each.drafted for each in told),
        accepted,
        added([each.stood for each in told]),
        rate,
        running or None,
        exact_rounds=all(each.exact for each in told),
        steps=max(rate * seconds - accepted, rounds),
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
