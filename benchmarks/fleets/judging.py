"""Which verdicts on a fleet are right: what its engine's file can show must be named, and no more.

`SHOWN` stands apart from the diagnosis on purpose: it says from the formats alone which causes a
file tells from all others. Such a cause must be named. Another must come out as unknown: among
those that the verdict says would look the same, or as "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.fleets.causes import CAUSES
from fairdraft.economics.planning import losses
from fairdraft.economics.planning.diagnosis import CONFIDENCES, PAYS, diagnose
from fairdraft.errors import FairdraftError
from fairdraft.peers import read
from fairdraft.stats.intervals import wilson

UNTOLD, REFUSED = "not told apart", "refused"
COLUMNS = (*CAUSES, UNTOLD, PAYS, REFUSED)
MANY = 5  # windows, from where on high confidence should be the rule
TUNED = 500  # seeds below that the numbers of the diagnosis were chosen with

_ACCEPTED = {losses.MISMATCH, losses.COLLAPSE, losses.WORKLOAD}
_TIMED = {losses.STEP, losses.DRAFTING}
SHOWN: dict[str, set[str]] = {
    "vllm log": {*_ACCEPTED, losses.SATURATION},  # older ones count no preemptions
    "vllm metrics": {*_ACCEPTED, losses.SATURATION, losses.PREEMPTION},
    "sglang log": {losses.SATURATION, losses.PREEMPTION},  # mean lengths over all steps
    "llama.cpp log": {*_ACCEPTED, *_TIMED, losses.SATURATION},
    "llama.cpp log, side by side": {*_ACCEPTED},  # of those that ran beside, only the end is told
    "fairdraft trace": {*_ACCEPTED, *_TIMED, losses.SATURATION, losses.PREEMPTION},
}


@dataclass(frozen=True)
class Case:
    """A fleet and what was said of it.

    Args:
        seed, cause, engine, windows: of the fleet.
        verdict: one of `COLUMNS`.
        confidence: of the verdict; empty where it was refused.
        right: whether it is.
        shares: of the causes, each with its interval, in percent.
    """

    seed: int
    cause: str
    engine: str
    windows: int
    verdict: str
    confidence: str
    right: bool
    shares: dict[str, list[int]]

    @property
    def tuned(self) -> bool:
        """Whether the numbers of the diagnosis were chosen with this fleet in view."""
        return self.seed < TUNED


def judge(seed: int, cause: str, engine: str, windows: int, on: str, off: str) -> Case:
    """Return what is said of two files, and whether it is right."""
    try:
        reading = read(on)
        if engine == "llama.cpp log" and reading.requests is None:
            engine = "llama.cpp log, side by side"
        found = diagnose(reading, read(off))
    except FairdraftError:
        return Case(seed, cause, engine, windows, REFUSED, "", False, {})
    first = found.findings[0]
    shares = {
        each.name: [round(100 * x) for x in (each.share.value, each.share.low, each.share.high)]
        for each in found.causes
    }
    verdict, right = verdict_of(cause, engine, first.name, first.hides)
    return Case(seed, cause, engine, windows, verdict, first.confidence, right, shares)


def verdict_of(cause: str, engine: str, name: str, hides: Sequence[str]) -> tuple[str, bool]:
    """Return the column of what was said where this is the cause, and whether it is right."""
    if cause in SHOWN[engine]:
        return (name if name in COLUMNS else UNTOLD), name == cause
    if name == losses.UNKNOWN:
        return UNTOLD, cause == losses.PREEMPTION
    if cause in hides or (cause == name and hides):
        return UNTOLD, True
    # A log that counts preemptions after all shows them.
    return name, name == cause == losses.PREEMPTION


def table(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return how often each word was right, with Wilson's interval."""
    rows = []
    for word in CONFIDENCES:
        own = [case for case in cases if case.confidence == word]
        right = sum(case.right for case in own)
        low, high = wilson(right, len(own)) if own else (0.0, 1.0)
        rows.append(
            {
                "confidence": word,
                "verdicts": len(own),
                "right": right,
                "share": right / len(own) if own else None,
                "interval": [low, high],
            }
        )
    return rows


def matrix(cases: Sequence[Case]) -> list[list[int]]:
    """Return how often each cause (row) got each verdict (column)."""
    return [
        [sum((case.cause, case.verdict) == (cause, name) for case in cases) for name in COLUMNS]
        for cause in CAUSES
    ]


def by_engine(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return how often verdicts were right by engine, and how often they said high."""
    rows = []
    for engine in SHOWN:
        own = [case for case in cases if case.engine == engine]
        high = [case for case in own if case.confidence == "high"]
        rows.append(
            {
                "engine": engine,
                "fleets": len(own),
                "right": sum(case.right for case in own),
                "high": len(high),
                "high_right": sum(case.right for case in high),
                "untold": [cause for cause in CAUSES if cause not in SHOWN[engine]],
                "refused": sum(case.verdict == REFUSED for case in own),
            }
        )
    return rows


def said_high(cases: Sequence[Case]) -> tuple[int, int]:
    """Return how many fleets of many windows got a verdict of high confidence, and all of them."""
    many = [case for case in cases if case.windows >= MANY]
    return sum(case.confidence == "high" for case in many), len(many)
