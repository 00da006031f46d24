"""The lines of vLLM's log, each engine's line with the drafts that belong to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fairdraft.peers.base import DECIMAL
from fairdraft.peers.lines import pod_of, time_of
from fairdraft.peers.vllm import v0
from fairdraft.peers.vllm.drafts import DRAFTS, Drafts, parse

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
BESIDE = 2.0  # seconds: lines of one window are written at once
_PROCESS = re.compile(r"\(\w+ pid=\d+\)")  # which server of several wrote a line


@dataclass
class Line:
    """An engine's window: its line, and what it drafted; `engine` tells it from all others."""

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
class Log:
    """What stands in a log, line by line."""

    windows: list[Line] = field(default_factory=list)
    totals: list[v0.Totals] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of all lines, cut or not
    cut: int = 0
    twice: int = 0
    _seen: dict[str, Line | None] = field(default_factory=dict)
    _current: Line | None = None  # whose drafts come next
    _early: tuple[Drafts, float | None] | None = None  # written ahead of their window

    def add(self, line: str) -> None:
        marks = [i for mark in (THROUGHPUT, DRAFTS, v0.TOTALS) for i in _places(line, mark)]
        if not marks:
            if _is_stump(line):
                self._lose_drafts()
            return
        when = time_of(line, min(marks))
        if when is not None:
            self.times.append(when)
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
        words = f"{_engine(line, found)} {when} {line[found.start() :]}"
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


def _is_stump(line: str) -> bool:
    """Whether a line was cut off before it says that it is one of drafts."""
    words = line.rpartition("] ")[2].strip()
    return "metrics.py:" in line or (bool(words) and DRAFTS.startswith(words))


def _places(line: str, mark: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(mark), line)] if mark in line else []


def _same(a: float | None, b: float | None) -> bool:
    """Whether two lines belong together: written within two seconds, where they say when."""
    return a is None or b is None or abs(a - b) <= BESIDE


def _engine(line: str, found: re.Match[str]) -> str:
    process = _PROCESS.search(line, 0, found.start())
    return pod_of(line) + (process[0] if process else "") + (found["engine"] or "")


def _window(line: str, found: re.Match[str], when: float | None) -> Line:
    waiting, usage = WAITING.search(line), USAGE.search(line)
    preemptions = PREEMPTIONS.search(line)
    return Line(
        _engine(line, found),
        int(found["together"] or 1),
        when,
        float(found["rate"]),
        float(found["prompts"]) if found["prompts"] else None,
        float(found["running"]),
        float(waiting[1]) if waiting else None,
        float(usage[1]) / 100 if usage else None,
        float(preemptions[1]) if preemptions else 0.0,
    )
