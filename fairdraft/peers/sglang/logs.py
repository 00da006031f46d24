"""SGLang's log: a line every so many decoding steps.

    [2026-10-22 10:27:57 TP0] Decode batch. #running-req: 1, #token: 188, token usage: 0.00, accept
        len: 1.95, accept rate: 0.49, cuda graph: True, gen throughput (token/s): 178.10,
        #queue-req: 0,

Lines lie equal numbers of steps apart (`--decode-log-interval`, 40 as it comes), so lengths are
averaged by the requests in those steps, and a line's seconds are its steps times a step. `Prefill
batch` lines between them tell the prompt tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.lines import lines, pod_of, time_of
from fairdraft.peers.sglang.rates import draft_tokens
from fairdraft.peers.windows import join, mean, total, without_drafts

DECODE, PREFILL = "Decode batch", "Prefill batch"
INTERVAL = 40  # steps between two lines, unless it was set otherwise
LONG = 10.0  # seconds of a log from which on its times tell the steps between two lines
ALIKE = 0.25  # of the steps: times that are so close to the usual are of the usual
PAUSE = 4.0  # times the usual step: nothing ran for a while before such a line
PLACE = 1.0  # seconds: times are printed no finer
_TWO = r"(\d+\.\d\d)(?=,|\s*$)"
_RUNNING, _SPEED = re.compile(r"#running-req: (\d+),"), re.compile(rf"\(token/s\): {_TWO}")
_LENGTH, _RATE = re.compile(rf"accept len: {_TWO}"), re.compile(rf"accept rate: {_TWO}")
_USAGE, _QUEUE = re.compile(rf"token usage: {_TWO}"), re.compile(r"#queue-req: (\d+)")
_NEW, _RETRACTED = re.compile(r"#new-token: (\d+),"), re.compile(r"#retracted_reqs?: (\d+)")
_RANK, _HIDDEN = re.compile(r"\bDP\d+\b"), re.compile(r"\bTP[1-9]\d*\b")

STEPS = (
    "lines are taken to be {:.0f} steps apart, as SGLang logs unless told otherwise: counts, not "
    "rates, hang on it"
)
PAUSED = "{} lines follow a pause, whose time is in their throughput, and are left out"
CUT = "{} lines are cut off or run into one another, and are left out"
TWICE = "{} lines stand there twice, and count once"


@dataclass
class _Line:
    """A line about so many decoding steps."""

    engine: str
    when: float | None
    running: int
    speed: float
    length: float | None
    rate: float | None
    usage: float | None
    waiting: float | None
    prompts: float
    retracted: float

    @property
    def step(self) -> float:
        return self.running * (self.length or 1.0) / self.speed


@dataclass
class _Log:
    found: list[_Line] = field(default_factory=list)
    cut: int = 0
    twice: int = 0
    _prompts: dict[str, float] = field(default_factory=dict)  # since an engine's last line
    _retracted: float = 0.0
    _seen: set[str] = field(default_factory=set)

    def add(self, line: str) -> None:
        if retracted := _RETRACTED.search(line):
            self._retracted += int(retracted[1])
        marks = line.count(DECODE) + line.count(PREFILL)
        if not marks or _HIDDEN.search(line):
            return
        when = time_of(line, line.find(DECODE if DECODE in line else PREFILL))
        rank = _RANK.search(line)
        engine = pod_of(line) + (rank[0] if rank else "")
        if marks > 1:
            self.cut += 1
        elif when is not None and line in self._seen:
            self.twice += 1
        elif PREFILL in line:
            new = _NEW.search(line)
            self.cut += new is None
            self._prompts[engine] = self._prompts.get(engine, 0.0) + (int(new[1]) if new else 0)
        elif (decode := self._line(line, engine, when)) is None:
            self.cut += 1
        elif decode.running and decode.speed:
            self._prompts.pop(engine, None)
            self._retracted = 0.0
            self.found.append(decode)
        self._seen.add(line)

    def _line(self, line: str, engine: str, when: float | None) -> _Line | None:
        running, speed = _RUNNING.search(line), _SPEED.search(line)
        length, rate = _LENGTH.search(line), _RATE.search(line)
        usage, waiting = _USAGE.search(line), _QUEUE.search(line)
        cut = ("accept len" in line and not length) or ("accept rate" in line and not rate)
        if running is None or speed is None or cut:
            return None
        return _Line(
            engine,
            when,
            int(running[1]),
            float(speed[1]),
            float(length[1]) if length else None,
            float(rate[1]) if rate else None,
            float(usage[1]) if usage else None,
            float(waiting[1]) if waiting else None,
            self._prompts.get(engine, 0.0),
            self._retracted,
        )


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read a server's log: all lines in which something was decoded, together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: nothing was decoded while it was written, or no line of it is whole.
    """
    if DECODE not in text:
        return None
    log = _Log()
    for line in lines(text):
        log.add(line)
    if not log.found:
        why = f"{log.cut} are cut off or have decimals that are no points" if log.cut else "0 run"
        raise ReadingError(
            f"{source!r} is a log of SGLang, but no line of {DECODE!r} tells requests and "
            f"throughput ({why}): give the log as the server wrote it, taken while it serves"
        )
    usual = median(line.step for line in log.found)
    steady = [line for line in log.found if line.step <= PAUSE * usual]
    notes = [CUT.format(log.cut)] if log.cut else []
    if log.twice:
        notes.append(TWICE.format(log.twice))
    if len(steady) < len(log.found):
        notes.append(PAUSED.format(len(log.found) - len(steady)))
    return [_whole(log.found, steady, source, notes)]


def _whole(
    found: Sequence[_Line], steady: Sequence[_Line], source: str, notes: list[str]
) -> Reading:
    """Return the steady lines of all engines as one reading."""
    engines = sorted({line.engine for line in steady})
    apart, told = _steps_between(found)
    speculates = any(line.length is not None for line in steady)
    k = draft_tokens([(x.length, x.rate) for x in steady if x.length is not None])
    if speculates:
        notes += [k.note] if told else [k.note, STEPS.format(apart)]
    notes += without_drafts([line.length is not None for line in steady], "lines")
    windows = [_window(line, apart, k.tokens, source) for line in steady]
    whole = replace(
        join(windows, source, tuple(notes)),
        max_k=None,
        stated_k=k.tokens if speculates and k.is_known else None,
        drafted_is_known=k.is_known or not speculates,
    )
    if len(engines) == 1:
        return whole
    # Engines run side by side: what they do in a second adds up, and their lines are no windows.
    own = [
        join(
            [each for each, line in zip(windows, steady, strict=True) if line.engine == engine], ""
        )
        for engine in engines
    ]
    return replace(
        whole,
        tokens_per_second=total(own, lambda each: each.tokens_per_second),
        requests=total(own, lambda each: each.requests),
        prompt_tokens_per_second=total(own, lambda each: each.prompt_tokens_per_second),
        waiting=total(own, lambda each: each.waiting),
        seconds=mean(own, lambda each: each.seconds),
        engines=len(engines),
        windows=(),
    )


def _window(line: _Line, apart: float, k: float, source: str) -> Reading:
    seconds, rounds = apart * line.step, apart * line.running
    drafting = line.length is not None
    accepted = rounds * (line.length - 1) if line.length is not None else 0.0
    return Reading(
        source,
        rounds if drafting else 0.0,
        max(rounds * k, accepted) if drafting else 0.0,
        accepted,
        tokens_per_second=line.speed,
        requests=line.running,
        exact_rounds=not drafting,
        steps=rounds,
        seconds=seconds,
        generated=line.speed * seconds,
        prompt_tokens_per_second=line.prompts / seconds,
        waiting=line.waiting,
        kv_usage=line.usage,
        preemptions=line.retracted,
    )


def _steps_between(found: Sequence[_Line]) -> tuple[float, bool]:
    """Return the steps between two lines of an engine, and whether the log's times told them.

    Lines with a pause between them tell nothing: two logs, one after the other, have one too.
    """
    lasted = steps = 0.0
    for engine in {line.engine for line in found}:
        own = [line for line in found if line.engine == engine]
        times = [line.when for line in own if line.when is not None]
        if len(times) < len(own):
            return INTERVAL, False
        gaps = [after - before for before, after in pairwise(times)]
        longest = PAUSE * max(median(gaps or [0.0]), PLACE)
        for gap, line in zip(gaps, own[1:], strict=True):
            if 0 <= gap <= longest:
                lasted += gap
                steps += line.step
    if lasted < LONG or not steps:
        return INTERVAL, False
    measured = lasted / steps
    return (INTERVAL if abs(measured - INTERVAL) < ALIKE * INTERVAL else measured), True
