"""Diagnosis: why speculation pays or not, from a run with it and one without it.

Causes are compared by how much of the slowdown each explains (`losses.py`), on draws of what the
counts and times could as well have been (`evidence.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.equations.cost import break_even_length
from fairdraft.economics.planning import losses
from fairdraft.economics.planning.evidence import Evidence, weigh
from fairdraft.economics.planning.wording import Figures, describe, pays
from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.stats.intervals import LEVEL, Estimate

CONFIDENCES = ("high", "medium", "low")
PAYS = "pays"  # the name of what is found where nothing is the matter

HIGH, MEDIUM = 0.95, 0.7  # chance that the named cause is the largest, at least
SMALL = 0.05  # of what is lost: a cause that explains less is not listed
FASTER = 0.9  # of a plain step: one with drafts that takes less is not for speculation's sake
ALIKE = 1.5  # runs whose numbers of requests differ by more are not under the same load


@dataclass(frozen=True)
class Finding:
    """A cause of a run that is slower than it should be, or that it pays.

    Args:
        name: of the cause: one of `losses.CAUSES`, or `PAYS`.
        cause: the name, a colon, and what shows it.
        advice: the next thing to try.
        confidence: "high", "medium" or "low": from `chance`.
        share: how much of the slowdown it explains, from 0 to 1; all causes together 1.
        chance: that it is the largest cause.
        hides: names of causes that would look the same, because the readings lack what tells them
            apart.
    """

    name: str
    cause: str
    advice: str
    confidence: str
    share: Estimate
    chance: float
    hides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Causes of a slow run, the largest first, and the figures they rest on.

    Args:
        break_even: tokens a step at which it would pay; where every step has a draft, the mean
            acceptance length.
        length: the tokens a step measured, the bonus token included.
        ceiling: the most that a drafter which is always right could give at this k.
        gain: tokens per second on / off, of one request; with the requests that were kept waiting,
            where some were.
        chance: that it pays.
        findings: what is the matter, the largest share first; at least one. Where it pays for
            sure, that comes first, and the causes are what keeps it from more.
        likely: how many causes are named: the first, and those within each other's intervals.
        unknown: names of causes that these readings cannot show.
    """

    break_even: float
    length: float
    ceiling: float
    gain: Estimate
    chance: float
    findings: tuple[Finding, ...]
    likely: int = 1
    unknown: tuple[str, ...] = ()

    @property
    def speedup(self) -> float:
        """Tokens per second on / off, of one request."""
        return self.length / self.break_even

    @property
    def winnable(self) -> bool:
        """Whether a drafter that is always right would pay at this k."""
        return self.break_even <= self.ceiling

    @property
    def is_open(self) -> bool:
        """Whether neither that it pays nor that it does not is sure."""
        return 1 - HIGH < self.chance < HIGH

    @property
    def causes(self) -> tuple[Finding, ...]:
        """The findings without the one that it pays."""
        return tuple(each for each in self.findings if each.name != PAYS)

    @property
    def named(self) -> tuple[Finding, ...]:
        """What to say first: that it pays, or the likely causes."""
        if self.findings[0].name == PAYS:
            return self.findings[:1]
        return self.findings[: self.likely]

    @property
    def cause(self) -> str:
        """The likeliest cause, in words."""
        return self.findings[0].cause

    @property
    def advice(self) -> str:
        """The next thing to try about the likeliest cause."""
        return self.findings[0].advice

    @property
    def confidence(self) -> str:
        """Confidence in the likeliest cause: "high", "medium" or "low"."""
        return self.findings[0].confidence


def diagnose(on: Reading, off: Reading) -> Diagnosis:
    """Judge a measured run with speculation beside one without.

    Args:
        on: with speculation.
        off: the same without it.

    Raises:
        ReadingError: `on` drafted nothing, `off` drafted, or rounds or a step time cannot be told.
    """
    require_drafts(on)
    if off.speculates:
        raise ReadingError(f"{off.source!r} speculates too: --baseline is the run without")
    needed = break_even_length(step_time(off), step_time(on))
    found = weigh(on, off)
    gain = _estimate(found.speedup, found.weights)
    chance = float(found.weights[found.speedup >= 1].sum())
    figures = _figures(on, off, needed, found)
    unknown = tuple(dict.fromkeys(name for names in found.hides.values() for name in names))
    findings = _findings(found, figures)
    likely = _likely(findings)
    if chance >= HIGH and on.accepted:  # what stood of no draft is not gained by drafts
        words, advice = pays(figures)
        whole = Estimate(1.0, 1.0, 1.0)
        findings.insert(0, Finding(PAYS, words, advice, confidence(chance), whole, chance))
    return Diagnosis(
        needed, figures.tokens, found.most, gain, chance, tuple(findings), likely, unknown
    )


def require_drafts(on: Reading) -> None:
    """Check that a run speculated, and tells how often.

    Raises:
        ReadingError: it did not, or does not.
    """
    if not on.speculates:
        raise ReadingError(
            f"{on.source!r} drafted nothing: it was taken without speculation, or no text gave a "
            "draft; give the run with speculation first"
        )
    if not on.rounds:
        raise ReadingError(
            f"{on.source!r} drafted, but does not tell how often: give a log, a benchmark's result "
            "or a page of /metrics"
        )


def step_time(reading: Reading) -> float:
    """Return the seconds of a step.

    Raises:
        ReadingError: the reading does not tell them.
    """
    if not reading.step_time:
        raise ReadingError(
            f"the step time of {reading.source!r} cannot be told: it lacks that, and throughput or "
            "running requests too; give a log, a benchmark's result or a page of /metrics"
        )
    return reading.step_time


def caveats(on: Reading, off: Reading) -> list[str]:
    """Return what to know before the two runs are compared, each a phrase."""
    found = list(dict.fromkeys((*on.biases, *off.biases)))
    if on.requests and off.requests:
        low, high = sorted((on.requests, off.requests))
        if high > ALIKE * low:
            found.append(
                f"{off.requests:.1f} requests ran without speculation and {on.requests:.1f} with "
                "it: compare runs under the same load"
            )
    if on.step_time and off.step_time and on.step_time < FASTER * off.step_time:
        found.append(
            f"a step with drafts takes {on.step_time / off.step_time:.2f} of a plain one, and "
            "drafts can but add to it: the runs differ in more than speculation (prompts, context, "
            "load, graphs), so take both again from one server and one traffic"
        )
    return found


def confidence(chance: float) -> str:
    """Return the word for a chance that the named cause is the largest."""
    return CONFIDENCES[0 if chance >= HIGH else 1 if chance >= MEDIUM else 2]


def _figures(on: Reading, off: Reading, needed: float, found: Evidence) -> Figures:
    acceptance, weights = found.acceptance, found.weights
    over = found.extra[losses.STEP] / found.plain
    return Figures(
        on,
        off,
        needed,
        on.tokens_per_step,
        found.most,
        float(over @ weights),
        on.survivals[0] if on.survivals else float(acceptance.first @ weights),
        float(acceptance.later @ weights),
    )


def _findings(found: Evidence, figures: Figures) -> list[Finding]:
    """Return the causes that explain something, the largest first."""
    shares = losses.shares(found.losses)
    names = list(shares)
    largest = np.argmax([shares[name] for name in names], axis=0)
    findings = []
    for i, name in enumerate(names):
        share = _estimate(shares[name], found.weights)
        chance = float(found.weights[largest == i].sum())
        hides = found.hides.get(name, ())
        words, advice = describe(name, figures, hides)
        findings.append(Finding(name, words, advice, confidence(chance), share, chance, hides))
    findings.sort(key=lambda each: -each.share.value)
    return [findings[0], *(each for each in findings[1:] if each.share.value >= SMALL)]


def _likely(findings: list[Finding]) -> int:
    """Return how many are named: the first one, and those within whose interval its share lies and
    whose share lies within its own.
    """
    first = findings[0].share
    within = [
        each.share.value >= first.low and each.share.high >= first.value for each in findings[1:]
    ]
    return 1 + next((i for i, each in enumerate(within) if not each), len(within))


def _estimate(draws: NDArray[np.float64], weights: NDArray[np.float64]) -> Estimate:
    """Return the mean of weighted draws with the middle 95% of them."""
    order = np.argsort(draws)
    below = np.cumsum(weights[order])
    ends = np.searchsorted(below, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = draws[order][np.minimum(ends, len(draws) - 1)]
    value = float(draws @ weights)
    return Estimate(value, min(float(low), value), max(float(high), value))
