"""Acceptance as an estimate and bootstrap draws of it, by kinds of text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Texts:
    """Acceptance on one kind of text.

    Args:
        rates: of each position, given that those before it stood; the last goes on.
        trials: rounds behind each rate; infinite where it is taken as given.
        share: of all tokens.
        drafted_share: share of steps that had a draft, at k = longest, or len(rates) without it.
        steps: behind that share; infinite where it is taken as given.
        reach: [k] share of rounds that drafted so far; empty: all of them.
        longest: the longest draft it speaks for; None: any.
    """

    rates: tuple[float, ...]
    trials: tuple[float, ...]
    share: float = 1.0
    drafted_share: float = 1.0
    steps: float = math.inf
    reach: tuple[float, ...] = ()
    longest: int | None = None


@dataclass(frozen=True)
class DrawnTexts:
    """Acceptance on one kind of text, drawn: row 0 is the estimate, the others are draws."""

    rates: FloatArray  # [1 + draws, k]
    covered: FloatArray  # [1 + draws] share of its tokens that come out of steps with a draft
    reach: FloatArray  # [k]
    share: float

    @classmethod
    def of(cls, text: Texts, k: int, draws: int, rng: np.random.Generator) -> DrawnTexts:
        measured = [_beta(r, n, draws, rng) for r, n in zip(text.rates, text.trials, strict=True)]
        longest = max(text.longest or 0, len(measured))
        more = max(k, longest) - len(measured)
        rates = np.stack([*measured, *[measured[-1]] * more], axis=1)
        length = 1 + rates[:, :longest].cumprod(1).sum(1)
        drafting = _beta(text.drafted_share, text.steps, draws, rng) * length
        covered = drafting / (drafting + 1 - drafting / length)
        last = text.reach[-1] if text.reach else 1.0
        reach = np.array([*text.reach, *[last] * k])[:k]
        return cls(rates[:, :k], covered, reach, text.share)

    def length(self, k: int, scale: FloatArray) -> FloatArray:
        """Return tokens a round at draft length k."""
        lifted = 1 - np.clip(2 - scale, 0, 1)[..., None] * (1 - self.rates)
        rates = np.where(scale[..., None] <= 1, self.rates * scale[..., None], lifted)
        return np.asarray(1 + rates[..., :k].cumprod(-1).sum(-1))


def _beta(rate: float, trials: float, draws: int, rng: np.random.Generator) -> FloatArray:
    if math.isinf(trials):
        return np.full(1 + draws, rate)
    drawn = rng.beta(rate * trials + 0.5, (1 - rate) * trials + 0.5, draws)
    return np.concatenate([[rate], drawn])


@dataclass(frozen=True)
class DrawnAcceptance:
    """Acceptance of traffic with bootstrap draws of it: arrays have the estimate first.

    `scale` asks what if: below 1 every rate is so many times as high, above 1 the gap of every rate
    to 1 closes, at 2 it is shut.
    """

    kinds: list[DrawnTexts]

    def tokens(self, k: int, scale: float | FloatArray = 1.0) -> FloatArray:
        """Return tokens a step and request, one where there is no draft: [1 + draws]."""
        steps = [self._steps(kind, k, scale)[0] for kind in self.kinds]
        return np.asarray(1 / np.sum(steps, axis=0))

    def length(self, k: int, scale: float | FloatArray = 1.0) -> FloatArray:
        """Return the mean acceptance length as engines read it, bonus included: [1 + draws].

        Steps without a draft are left out of it.
        """
        parts = [self._steps(kind, k, scale) for kind in self.kinds]
        rounds = np.sum([drafting for _, drafting, _ in parts], axis=0)
        written = np.sum([drafting * length for _, drafting, length in parts], axis=0)
        found: FloatArray = np.where(rounds > 0, written / np.maximum(rounds, 1e-300), 1.0)
        return found

    def drafting(self, k: int) -> tuple[float, float]:
        """Return the share of steps that have a draft, and the mean length of those drafts."""
        parts = [self._steps(kind, k, 1.0) for kind in self.kinds]
        rounds = [float(drafting[0]) for _, drafting, _ in parts]
        steps = sum(float(step[0]) for step, _, _ in parts)
        drafted = [float(kind.reach[:k].sum()) for kind in self.kinds]
        if not sum(rounds):
            return 0.0, float(k)
        mean = math.fsum(r * d for r, d in zip(rounds, drafted, strict=True)) / sum(rounds)
        return min(sum(rounds) / steps, 1.0), mean  # rounding may end above 1

    def _steps(
        self, kind: DrawnTexts, k: int, scale: float | FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return steps and rounds for each token of the traffic, and tokens a round."""
        length = kind.length(k, np.asarray(scale, np.float64))
        drafting = kind.share * kind.covered / length
        return drafting + kind.share * (1 - kind.covered), drafting, length
