"""Estimates with 95% intervals: Wilson's for shares, quantiles of draws for everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval.

    Args:
        value: the estimate.
        low, high: ends of the 95% interval.
        note: what biases it, if anything does.
    """

    value: float
    low: float
    high: float
    note: str = ""


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Return the ends of Wilson's 95% interval of a binomial share (Wilson 1927).

    Args:
        successes, trials: counts, the first not above the second, the second above 0; in parts,
            where several trials that are alike tell as much as one.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    p, spread = successes / trials, z * z / trials
    centre = (p + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt((p * (1 - p) + spread / 4) / trials)
    # At the ends of the range rounding may miss 0 and 1, which Wilson's interval then includes.
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == trials else centre + half


def share(successes: int, trials: int) -> Estimate:
    """Estimate a probability from counts, with Wilson's interval for a binomial share.

    Args:
        successes, trials: whole numbers, the first not above the second.

    Raises:
        ConfigError: no trials, or counts that cannot be.
    """
    if not 0 <= successes <= trials:
        raise ConfigError(f"{successes} of {trials} cannot be: counts went backwards, or got mixed")
    if not trials:
        raise ConfigError("there are no trials to estimate from: nothing was drafted")
    return Estimate(successes / trials, *wilson(successes, trials))


def interval(draws: FloatArray) -> Estimate:
    """Return the first entry as the estimate, with the interval of the others.

    The interval always holds the estimate. Without other entries it is that alone.

    Args:
        draws: [1 + draws].
    """
    value = float(draws[0])
    if len(draws) == 1:
        return Estimate(value, value, value)
    low, high = _middle(draws[1:])
    return Estimate(value, min(low, value), max(high, value))


def ratio_of_means(
    above: Sequence[float], below: Sequence[float], draws: int = 2000, seed: int = 0
) -> Estimate:
    """Estimate mean(above) / mean(below), with a bootstrap interval over pairs.

    Args:
        above, below: measured side by side, of equal number.
        draws: resamples.
        seed: of the resampling.
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ConfigError(f"{a.shape} and {b.shape} measurements are no pairs: give one of each")
    picks = np.random.default_rng(seed).integers(0, len(a), (draws, len(a)))
    ratios = a[picks].mean(1) / b[picks].mean(1)
    return Estimate(float(a.mean() / b.mean()), *_middle(ratios))


def _middle(draws: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
