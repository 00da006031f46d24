"""A case: a run with speculation, the one it is held against if there is one, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fairdraft.economics.planning.diagnosis import (
    PAYS,
    Diagnosis,
    Finding,
    caveats,
    diagnose,
    require_drafts,
    step_time,
)
from fairdraft.economics.planning.evidence_acceptance import CLUSTERED, draw_acceptance
from fairdraft.economics.planning.evidence_steps import spread_of
from fairdraft.peers.base import Reading
from fairdraft.peers.windows import join
from fairdraft.stats.intervals import LEVEL, Estimate, wilson

MOST_WINDOWS = 40  # more are put together, neighbours first


@dataclass(frozen=True)
class Window:
    """A stretch of the run with speculation, beside what it would have to reach.

    Args:
        seconds: how long it was; None if it is not said.
        rounds: with a draft.
        requests: running; None if it is not said.
        tokens: a step; 1 without a draft.
        step_seconds: of a step; None if it is not told.
        needed: tokens a step at which it would pay: break-even; None without a step time of both.
    """

    seconds: float | None
    rounds: float
    requests: float | None
    tokens: Estimate
    step_seconds: float | None
    needed: Estimate | None


@dataclass(frozen=True)
class Case:
    """Two runs and what is found; or one alone, and what can be said of it.

    Args:
        on: with speculation.
        off: without it, or None.
        found: of both; None without `off`.
    """

    on: Reading
    off: Reading | None = None
    found: Diagnosis | None = None

    @property
    def tokens(self) -> Estimate:
        """Tokens a step of the run with speculation."""
        return tokens_a_step(self.on)

    @property
    def verdict(self) -> list[str]:
        """What is said first, in sentences: the likely causes, or what one run alone says."""
        found = self.found
        if found is None:
            return [_alone(self.on)]
        said = []
        if found.is_open:
            gain = found.gain
            said.append(
                f"Whether it pays is open: {gain.value:.2f}× [{gain.low:.2f}, {gain.high:.2f}], "
                f"and above 1 with a chance of {found.chance:.0%}."
            )
        return said + [
            f"{_what(finding, i)} ({finding.confidence} confidence): {finding.cause}."
            for i, finding in enumerate(found.named)
        ]

    @property
    def advice(self) -> list[str]:
        """What to try next: a sentence for each of the likely causes."""
        if self.found is None:
            return [
                "Next: the same traffic without speculation, as --baseline: that tells whether it "
                "pays, and why not."
            ]
        return [f"Next: {finding.advice}." for finding in self.found.named]

    @property
    def notes(self) -> list[str]:
        """What biases the figures and what they cannot tell, in phrases."""
        found = caveats(self.on, self.off or self.on)
        if self.found is not None and self.found.unknown:
            found.insert(0, f"not told by these files: {', '.join(self.found.unknown)}")
        return found

    @property
    def windows(self) -> list[Window]:
        """The windows of the run with speculation, `MOST_WINDOWS` at most; none if it has one."""
        told = self.on.windows
        if len(told) < 2:
            return []
        size = math.ceil(len(told) / MOST_WINDOWS)
        groups = [told[i : i + size] for i in range(0, len(told), size)]
        return [_window(join(group, self.on.source), self.off) for group in groups]


def judge(on: Reading, off: Reading | None) -> Case:
    """Return the case of a run with speculation and, if there is one, of a run without.

    Raises:
        ReadingError: as `diagnose`.
    """
    if off is None:
        require_drafts(on)
        return Case(on)
    return Case(on, off, diagnose(on, off))


def survivals(on: Reading) -> list[Estimate]:
    """Return how often each position stands, with intervals in which alike rounds count as fewer.

    Args:
        on: empty if it does not tell positions.
    """
    tried: Sequence[float] = on.drafted_per_position or (on.rounds,) * len(on.accepted_per_position)
    rounds = [each for each in tried if each]
    return [
        Estimate(value, *wilson(value * trials / CLUSTERED, trials / CLUSTERED))
        for value, trials in zip(on.survivals, rounds, strict=False)
    ]


def tokens_a_step(on: Reading) -> Estimate:
    """Return the tokens a step with the interval that a diagnosis gives them."""
    value = on.tokens_per_step
    if not on.rounds:
        return Estimate(value, value, value)
    draws = draw_acceptance(on, np.random.default_rng(0)).tokens
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value))


def _what(finding: Finding, place: int) -> str:
    if finding.name == PAYS:
        return "Verdict"
    return "Also likely" if place else "Likely cause"


def _alone(on: Reading) -> str:
    """Return what a run says without one to hold it against."""
    said = f"Whether it pays cannot be told from one run: it writes {on.tokens_per_step:.2f} tokens"
    if not on.step_time:
        return f"{said} a step, so it pays if a step takes less than that many plain ones."
    even = on.step_time / on.tokens_per_step
    return (
        f"{said} in a step of {on.step_time * 1e3:.2f} ms, so it pays if a plain step takes more "
        f"than {even * 1e3:.2f} ms at this load."
    )


def _window(each: Reading, off: Reading | None) -> Window:
    needed = None
    if off is not None and each.step_time:
        value = each.step_time / step_time(off)
        spread = math.hypot(spread_of(each), spread_of(off))
        width = math.exp(NormalDist().inv_cdf((1 + LEVEL) / 2) * spread)
        needed = Estimate(value, value / width, value * width)
    return Window(
        each.seconds, each.rounds, each.requests, tokens_a_step(each), each.step_time, needed
    )
