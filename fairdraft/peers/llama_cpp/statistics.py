"""llama.cpp's line of what a way of drafting did since the program started.

    statistics draft-eagle3: #calls(b,g,a) = 1 84 84, #gen drafts = 84, #acc drafts = 70, #gen
        tokens = 250, #acc tokens = 160, #mean acc len = 2.90, #acc rate/pos = (0.810, 0.630,
        0.460), dur(b,g,a) = 0.005, 325.555, 0.114 ms

Calls and times are of beginning a prompt, of drafting, and of learning what stood; older lines have
one number of calls and one time. A draft that was tried and came out empty is a call, no draft.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fairdraft.peers.base import DECIMAL
from fairdraft.peers.llama_cpp.totals import Statistics

STATISTICS = "#gen drafts"
_LINE = re.compile(
    r"statistics +(?P<method>[\w-]+): #calls(?:\(b,g,a\))? = +(?P<calls>\d+(?: +\d+)*), #gen "
    r"drafts = +(?P<drafts>\d+), #acc drafts = +(?P<stood>\d+), #gen tokens = +(?P<drafted>\d+), "
    r"#acc tokens = +(?P<accepted>\d+)"
    r"(?:, #mean acc len = +[\d.]+, #acc rate/pos = \((?P<rates>\d\.\d{3}(?:, \d\.\d{3})*)?\))?"
    rf"(?:, dur(?:\(b,g,a\))? = (?P<times>{DECIMAL}(?:, {DECIMAL})*) ms)?\s*$"
)


@dataclass
class Running:
    """The last line of each way of drafting; counts that fall are those of a new start."""

    _last: dict[str, Statistics] = field(default_factory=dict)
    _ended: list[Statistics] = field(default_factory=list)

    def add(self, line: str) -> bool:
        """Take a line; say whether it is whole."""
        found = _LINE.search(line)
        if found is None:
            return False
        calls = found["calls"].split()
        rates = [float(rate) for rate in (found["rates"] or "").split(", ") if rate]
        times = [float(time) for time in (found["times"] or "").split(", ") if time]
        drafts, drafted, accepted = (int(found[name]) for name in ("drafts", "drafted", "accepted"))
        if max(accepted, drafts) > drafted:
            return False
        method = found["method"]
        before = self._last.get(method)
        if before is not None and before.drafts > drafts:
            self._ended.append(before)
        self._last[method] = Statistics(
            method,
            drafts,
            drafted,
            accepted,
            times[min(1, len(times) - 1)] if times else None,
            tuple(rate * int(calls[-1]) for rate in rates) if len(calls) > 1 else (),
        )
        return True

    @property
    def totals(self) -> list[Statistics]:
        """What was counted over all starts."""
        return [*self._ended, *self._last.values()]
