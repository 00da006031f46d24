"""Ratios of measurements that were taken side by side, with bootstrap intervals.

A shared machine is slow at some times and quick at others. Two settings that take turns see the
same times: a slow minute slows both, and the ratio within a turn does not notice it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ConfigError
from fairdraft.stats.intervals import Estimate, interval

FloatArray = NDArray[np.float64]
Values = Sequence[float] | FloatArray

DRAWS = 2000  # resamples of a bootstrap
STALL = 3.0  # times the median pace: no draft makes a step take that long


def median_ratio(above: Values, below: Values) -> float:
    """Return the median of the pairs' own ratios.

    Args:
        above, below: [n] measured side by side.

    Raises:
        ConfigError: the two are not of equal number, or empty.
    """
    return float(np.median(_ratios(above, below)))


def estimated_median_ratio(
    above: Values, below: Values, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Return `median_ratio` with its interval; the bootstrap resamples pairs.

    Args:
        above, below: [n] measured side by side.
        draws: resamples.
        seed: of the resampling.

    Raises:
        ConfigError: the two are not of equal number, or empty.
    """
    ratios = _ratios(above, below)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (draws, len(ratios)))
    return interval(np.concatenate([[np.median(ratios)], np.median(ratios[picks], axis=1)]))


def ratio_of_rates(
    amounts: tuple[float, float],
    seconds: tuple[Values, Values],
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Divide one run's amount a second by another's; the bootstrap resamples each run's turns.

    What was made is the same each time that it is made; what the turns took is not. So the amounts
    are held, and the seconds are drawn again, each run's from its own turns.

    Args:
        amounts: what each of the two runs made in all.
        seconds: [n] and [m] what each turn of the two runs took.
        draws: resamples.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    rates = []
    for amount, took in zip(amounts, seconds, strict=True):
        time = np.asarray(took, np.float64)
        picks = rng.integers(0, len(time), (draws, len(time)))
        rates.append(amount / np.concatenate([[time.sum()], time[picks].sum(1)]))
    return interval(rates[0] / rates[1])


def unstalled(paces: Values, limit: float = STALL) -> NDArray[np.bool_]:
    """Tell the turns in which the machine ran from those in which it stood still for a while.

    Args:
        paces: [n] seconds a step of each turn.
        limit: times the median pace from which on a turn counts as stalled.

    Returns:
        [n], False where a turn stalled.
    """
    pace = np.asarray(paces, np.float64)
    ran: NDArray[np.bool_] = pace < limit * np.median(pace)
    return ran


def _ratios(above: Values, below: Values) -> FloatArray:
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ConfigError(f"{a.shape} and {b.shape} measurements are no pairs: give one of each")
    ratios: FloatArray = a / b
    return ratios
