"""Logs of llama-server and llama-cli."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading
from fairdraft.peers.lines import lines
from fairdraft.peers.llama_cpp import simple
from fairdraft.peers.llama_cpp.statistics import STATISTICS, Running
from fairdraft.peers.llama_cpp.totals import Request, reading

EVAL, DRAFT = "eval time =", "draft acceptance"
_EVAL = re.compile(
    rf"(?<!prompt )\beval time =\s*(?P<ms>{DECIMAL}) ms /\s*(?P<tokens>\d+) (?P<unit>tokens|runs)"
    rf"(?: \(\s*(?P<each>{DECIMAL}) ms per token)?"
)
_DRAFT = re.compile(
    r"draft acceptance(?: rate)? = (?P<rate>[\d.]+) \(\s*(?P<accepted>\d+) accepted /"
    r"\s*(?P<drafted>\d+) generated\)"
    r"(?:, mean (?:len|acceptance length) =\s*(?P<length>\d+\.\d\d)(?!\d))?"
    r"(?:, acceptance rate per position = \((?P<rates>\d\.\d{3}(?:, \d\.\d{3})*)\))?"
)
_AT = re.compile(r"\b(\d+)\.(\d\d)\.(\d\d\d)\.(\d\d\d) [A-Z] ")  # minutes, seconds, ms, µs
_TASK = re.compile(r"\bid +\d+ \| task -?\d+")
_PLACES = 0.011  # of a time per token, printed to two places
CUT = "{} lines are cut off or run into one another, and their requests are left out"
TWICE = "{} lines stand there twice, and count once"


@dataclass
class _Log:
    requests: list[Request] = field(default_factory=list)
    statistics: Running = field(default_factory=Running)
    cut: int = 0
    twice: int = 0
    drafts: bool = False  # whether a line of drafts was there
    timed: bool = False  # and one of time
    _open: dict[str, Request] = field(default_factory=dict)  # by task: those without drafts yet
    _seen: set[str] = field(default_factory=set)

    def add(self, line: str) -> None:
        evals = len(re.findall(r"(?<!prompt )\beval time =", line))
        self.timed |= evals > 0
        marks = evals + line.count(DRAFT) + line.count(STATISTICS)
        if not marks:
            return
        task = _TASK.search(line)
        key = task[0] if task else ""
        if marks > 1:
            self.cut += 1
            self._drop(key)
        elif task and line in self._seen:
            self.twice += 1
        elif STATISTICS in line:
            self.cut += not self.statistics.add(line)
        else:
            if task:
                self._seen.add(line)
            add = self._add_drafts if DRAFT in line else self._add_request
            add(line, key)

    def _add_request(self, line: str, key: str) -> None:
        found = _EVAL.search(line)
        self._open.pop(key, None)
        if found is None or not _fits(found):
            self.cut += 1
            return
        # A server counts the token that comes with the prompt in; llama-cli's runs do not.
        tokens = int(found["tokens"]) - (found["unit"] == "tokens")
        at = _AT.search(line)
        ended = None
        if at is not None:
            minutes, seconds, thousandths, millionths = map(int, at.groups())
            ended = 60 * minutes + seconds + thousandths / 1e3 + millionths / 1e6
        self._open[key] = Request(float(found["ms"]), tokens, ended=ended)
        self.requests.append(self._open[key])

    def _add_drafts(self, line: str, key: str) -> None:
        self.drafts = True
        found, request = _DRAFT.search(line), self._open.pop(key, None)
        if found is None or request is None or not _add(found, request):
            self.cut += 1
            if request is not None:
                self.requests.remove(request)

    def leave_out_the_short(self) -> None:
        """Leave out requests that tell less than others: one version wrote all of these lines."""
        whole = self.requests
        if any(each.rounds is not None for each in whole):
            whole = [each for each in whole if each.rounds is not None or not each.drafted]
        if any(each.stood for each in whole):
            whole = [each for each in whole if each.stood or not each.drafted]
        self.cut += len(self.requests) - len(whole)
        self.requests = whole

    def _drop(self, key: str) -> None:
        if (request := self._open.pop(key, None)) is not None:
            self.requests.remove(request)


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read the log of llama-server, llama-cli or llama-speculative-simple, all requests together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: it has drafts but no eval time, no line is whole, or there is nothing to time.
    """
    if simple.DRAFTED in text:
        return simple.read_block(text, source)
    if EVAL not in text and DRAFT not in text:
        return None
    log = _Log()
    for line in lines(text):
        log.add(line)
    log.leave_out_the_short()
    if log.drafts and not log.timed:
        raise ReadingError(
            f"{source!r} has 'draft acceptance' but no 'eval time' lines: give the whole log"
        )
    if not log.requests and not log.cut:
        return None  # 'prompt eval time' alone
    statistics = log.statistics.totals
    told = any(each.drafted for each in log.requests)
    if not log.requests or (not told and (log.drafts or any(each.drafted for each in statistics))):
        raise ReadingError(
            f"{source!r} is a log of llama.cpp, but {log.cut} of its lines are cut off, run into "
            "one another, or lack the line they belong to, and none is left to tell time and "
            "drafts of a request: give the log as the server wrote it"
        )
    notes = [CUT.format(log.cut)] if log.cut else []
    if log.twice:
        notes.append(TWICE.format(log.twice))
    return reading(log.requests, source, statistics if told else (), tuple(notes))


def _fits(found: re.Match[str]) -> bool:
    """Whether the time per token that is printed is time / tokens."""
    if not int(found["tokens"]):
        return False
    own = float(found["ms"]) / int(found["tokens"])
    return found["each"] is None or abs(own - float(found["each"])) <= _PLACES


def _add(found: re.Match[str], request: Request) -> bool:
    """Add a request's drafts; say whether its figures fit one another."""
    accepted, drafted = int(found["accepted"]), int(found["drafted"])
    if not drafted or abs(accepted / drafted - float(found["rate"])) > 1e-4:
        return False
    request.accepted, request.drafted = accepted, drafted
    rates = [float(rate) for rate in (found["rates"] or "").split(", ") if rate]
    length = float(found["length"] or 0)
    if rates and abs(1 + sum(rates) - length) > 0.006 + 0.0006 * len(rates):
        return False
    gained = sum(rates) or length - 1  # three places say more than two
    if gained > 0 and accepted:
        request.rounds = min(accepted / gained, drafted)
        request.stood = tuple(min(rate, 1.0) * request.rounds for rate in rates)
    elif length and not accepted:  # nothing tells how many drafts nothing stood of: all steps
        request.rounds = min(request.steps, float(drafted))
        request.stood = (0.0,) * len(rates)
    return True
