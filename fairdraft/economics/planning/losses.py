"""Losses: how much of a slowdown each cause explains, in shares that add up to one.

What is explained is the log of how much faster a sound run would be than the measured one,

    ln (sound speedup / speedup) = ln (E_sound / E) + ln (T_on / T_off) + ln (n_off / n_on)

with E tokens a step, T seconds of a step beside prompts, which a sound run reads as well, and n
requests side by side. E is 1 + share · p₁ · L: the share of steps with a draft, how often its first
token stands, and how much follows it. T_on is T_off and what comes on top: rows, drafting, what no
arithmetic explains. Logarithmic means (LMDI-I: Ang, Energy Policy 32, 2004) share both logs out
without a remainder: a factor of E − 1 counts by its log, seconds on top by what they are of all
that is on top. A part that is better than in a sound run explains nothing of the slowdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# The causes, as they are called everywhere.
STEP = "step cost"
DRAFTING = "drafting cost"
MISMATCH = "drafter mismatch"
COLLAPSE = "position-1 collapse"
WORKLOAD = "workload"
SATURATION = "saturation"
PREEMPTION = "preemption"
UNKNOWN = "unknown"
CAUSES = (
    STEP,
    DRAFTING,
    MISMATCH,
    COLLAPSE,
    WORKLOAD,
    SATURATION,
    PREEMPTION,
    UNKNOWN,
)

SOUND_RATE = 0.7  # of positions that stand in a sound run, each out of those before it
ALIKE = 3.0  # ν, how alike texts are in how well they are guessed
SOUND_SHARE = 0.6  # of steps with a draft: lookups in traffic that suits them


@dataclass(frozen=True)
class Acceptance:
    """How often drafts stand: [draws] each, a draw being one way that it could be.

    Args:
        share: of the steps that have a draft.
        first: of the rounds in which the first token stands.
        later: mean rate of the positions behind it, each out of those before; 1 row if k is 1.
        follows: L, tokens accepted in a round over rounds whose first token stands.
        sound: [draws] or a number: L in a sound run at this k.
    """

    share: FloatArray
    first: FloatArray
    later: FloatArray
    follows: FloatArray
    sound: float

    @property
    def tokens(self) -> FloatArray:
        """E, tokens a step."""
        return 1 + self.share * self.first * self.follows


def acceptance_losses(found: Acceptance) -> dict[str, FloatArray]:
    """Return what each cause takes of ln (E_sound / E): below 0 where it is better than sound.

    The first position's loss is the drafter's as far as later positions share it, and a collapse as
    far as they do not. Later ones look better than they are, for they are tried where the text is
    easy: a rate p all along, which differs between texts as Beta(p·ν, (1 − p)·ν) does, reads as
    (p·ν + 1) / (ν + 1) there.
    """
    first, rate = found.first, SOUND_RATE
    alike = ((ALIKE + 1) * found.later - 1) / ALIKE
    common = np.clip(alike, np.minimum(first, rate), rate)
    common = np.where(first < rate, common, first)  # nothing is lost at the first position
    factors = {
        WORKLOAD: np.log(SOUND_SHARE / found.share),
        COLLAPSE: np.log(common / first),
        MISMATCH: np.log(rate / common) + np.log(found.sound / found.follows),
    }
    sound = SOUND_SHARE * rate * found.sound
    ours = found.share * first * found.follows
    weight = _mean_slope(np.log1p(ours), np.log1p(sound), np.log(ours), np.log(sound))
    return {cause: factor * weight for cause, factor in factors.items()}


def time_losses(
    on: FloatArray, off: FloatArray, extra: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return what each cause takes of ln (T_on / T_off).

    Args:
        on, off: [draws] seconds of a step.
        extra: [draws] seconds on top by cause, which add up to on − off.
    """
    weight = _mean_slope(np.log(off), np.log(on), off, on)
    return {cause: seconds * weight for cause, seconds in extra.items()}


def _mean_slope(
    low: FloatArray | float, high: FloatArray | float, start: FloatArray | float,
    end: FloatArray | float,
) -> FloatArray:  # fmt: skip
    """Return (high − low) / (end − start), where they meet too: both rise together there."""
    width = np.asarray(end, np.float64) - start
    near = np.abs(width) < 1e-9
    safe = np.where(near, 1.0, width)
    slope: FloatArray = np.where(near, 1.0, (np.asarray(high) - low) / safe)
    return slope


def shares(losses: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return each cause's share of the losses above 0, draw by draw: they add up to 1."""
    positive = {cause: np.maximum(loss, 0.0) for cause, loss in losses.items()}
    total = np.maximum(sum(positive.values(), np.zeros(1)), 1e-12)
    return {cause: loss / total for cause, loss in positive.items()}
