"""Forecast: the speedup that the price equation predicts for a measured run, term by term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.telemetry import SpecCounters, StepTimes


@dataclass(frozen=True)
class Forecast:
    """The speedup that the equation predicts, and what it is made of.

    Leviathan et al. 2023 (see `equations.speedup`) give E(alpha, k) tokens to a step that verifies
    k drafts, and 1 to a step without a draft. An n-gram drafter finds nothing in many steps and
    less than k tokens in some, so

        tokens per step = 1 + share_drafted · (E − 1),  E the mean of E(alpha, k) over the rounds

    Speculation also makes a step longer: by the growth of everything but drafting (more rows to
    run and to verify), and by the drafts, each of which costs c steps without speculation:

        step time = verify_growth + c · share_drafted · draft_length
        speedup = tokens per step / step time

    What the equation assumes and the measurement does not: that each token of a draft is accepted
    with the same alpha, independently.

    Args:
        alpha: acceptance rate of one token, the censored estimate `SpecCounters.alpha`.
        share_drafted: share of decoding steps that had a draft.
        draft_length: mean tokens in a draft, over the steps that had one.
        tokens_per_round: E, the bonus or recovered token included.
        draft_cost: c, time to propose a token / time of a step without speculation.
        verify_growth: time of a step with speculation, proposing left out, / without.
    """

    alpha: float
    share_drafted: float
    draft_length: float
    tokens_per_round: float
    draft_cost: float
    verify_growth: float

    @classmethod
    def of(cls, off: StepTimes, on: StepTimes, counters: SpecCounters) -> Forecast:
        """Return the forecast for a run with speculation, from it and one without.

        Args:
            off: at least one step, one request at a time.
            on: likewise.
            counters: of the same run as `on`.
        """
        rounds, drafted = counters.num_drafts, counters.num_draft_tokens
        # Rounds with exactly 1, 2, ... drafts: those that got so far less those that got further.
        exactly = -np.diff([*counters.drafted_per_pos, 0])
        lengths = np.arange(1, len(exactly) + 1)
        expected = float(exactly @ expected_tokens_per_verify(counters.alpha, lengths))
        step = _step_time(off)
        return cls(
            counters.alpha,
            rounds / max(counters.num_steps, 1),
            drafted / max(rounds, 1),
            expected / rounds if rounds else 1.0,
            on.propose / drafted / step if drafted else 0.0,
            _step_time(on) / step,
        )

    @property
    def tokens_per_step(self) -> float:
        """Expected tokens per step, steps without a draft included."""
        return 1 + self.share_drafted * (self.tokens_per_round - 1)

    @property
    def step_time(self) -> float:
        """Seconds of a step with speculation / without."""
        return self.verify_growth + self.draft_cost * self.share_drafted * self.draft_length

    @property
    def speedup(self) -> float:
        """Predicted tokens per second with speculation / without."""
        return self.tokens_per_step / self.step_time


def _step_time(times: StepTimes) -> float:
    """Return the mean seconds of a step without its proposing."""
    return (times.total - times.propose) / times.num_steps
