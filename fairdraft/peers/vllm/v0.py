"""vLLM V0's line of speculation: counts since the server started, in every window.

    Speculative metrics: Draft acceptance rate: 0.642, System efficiency: 0.598, Number of
        speculative tokens: 3, Number of accepted tokens: 8547, Number of draft tokens: 13311,
        Number of emitted tokens: 10616.

V0 counts as accepted every token that passes its own test, those behind a rejected one too, which
are thrown away; what a round gives is emitted / rounds, with rounds = draft tokens / k.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading

TOTALS = "Speculative metrics:"
_LINE = re.compile(
    r"Speculative metrics: Draft acceptance rate: (?P<rate>[\d.]+|nan), System efficiency: "
    r"(?:[\d.]+|nan), Number of speculative tokens: (?P<k>\d+), Number of accepted tokens: "
    r"(?P<accepted>\d+), Number of draft tokens: (?P<drafted>\d+), Number of emitted tokens: "
    r"(?P<emitted>\d+)\."
)
SINCE_START = "drafts are counted since the server started, warm-up included"
PASSED = (
    "length is emitted / rounds = {:.2f}; 1 + accepted / rounds would be {:.2f}, for V0 counts "
    "tokens behind a rejected one as accepted too"
)


@dataclass(frozen=True)
class Totals:
    """Counts since the server started.

    Args:
        k: draft tokens of a round.
        accepted: tokens that passed the test, thrown away or not.
        drafted, emitted: tokens.
    """

    k: int
    accepted: int
    drafted: int
    emitted: int


def parse(line: str) -> Totals | None:
    """Return a line's counts; None if it is cut off or its figures do not fit one another."""
    found = _LINE.search(line)
    if found is None or not int(found["k"]):
        return None
    totals = Totals(*(int(found[name]) for name in ("k", "accepted", "drafted", "emitted")))
    if totals.accepted > totals.drafted or totals.emitted > totals.drafted * (1 + 1 / totals.k):
        return None
    if found["rate"] != "nan" and totals.drafted:
        rate = totals.accepted / totals.drafted
        if abs(rate - float(found["rate"])) > 0.0006:
            return None
    return totals


def reading(totals: Sequence[Totals], windows: Reading, source: str) -> Reading:
    """Return a log's windows with what V0 counted: between its first and last line, if it can.

    Args:
        totals: of each line, in order.
        windows: the throughput of each window.
        source: for people.

    Raises:
        ReadingError: counters went backwards, or k changed.
    """
    first, last = totals[0], totals[-1]
    several = last.drafted > first.drafted
    if last.k != first.k or any(
        after.drafted < before.drafted for before, after in pairwise(totals)
    ):
        raise ReadingError(
            f"{source!r}: draft tokens went from {first.drafted} to {last.drafted} at k = "
            f"{first.k} and {last.k}: the server was restarted in between; give one run's log"
        )
    before = first if several else Totals(first.k, 0, 0, 0)
    drafted, emitted = last.drafted - before.drafted, last.emitted - before.emitted
    rounds = drafted / last.k
    accepted = min(max(emitted - rounds, 0.0), drafted)
    passed = last.accepted - before.accepted
    notes = list(windows.notes)
    if not several:
        notes.append(SINCE_START)
    if rounds:
        notes.append(PASSED.format(emitted / rounds, 1 + passed / rounds))
    return replace(
        windows,
        rounds=rounds,
        drafted=drafted,
        accepted=accepted,
        exact_rounds=False,
        steps=None,  # V0 drafts in every step, but windows and counts need not be the same
        stated_k=last.k,
        max_k=last.k,
        notes=tuple(notes),
        windows=(),  # what each of them drafted is not known
    )
