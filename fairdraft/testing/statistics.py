"""Tests of counts against a known law: G-tests, e-values that may be peeked at, Holm's correction.

Counts and laws are aligned arrays of cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import gammaln

Array = npt.NDArray[np.float64]

LEAST_EXPECTED = 5.0  # cells rarer than this are pooled
E_VALUE_LIMIT = 1e6  # false alarms at most once in a million sequences, however often one looks


def g_test(counts: npt.ArrayLike, law: npt.ArrayLike) -> float:
    """p-value of the likelihood-ratio test that counts come from a law.

    Cells with an expectation below 5 are pooled into one. A count where the law is 0 gives 0.

    Args:
        counts: [C] whole numbers.
        law: [C], sums to 1.
    """
    counted, expected = _aligned(counts, law)
    if counted[expected == 0].any():
        return 0.0
    rare = expected < LEAST_EXPECTED
    if rare.any():
        counted = np.append(counted[~rare], counted[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    some = counted > 0
    g = 2 * float((counted[some] * np.log(counted[some] / expected[some])).sum())
    freedom = int((expected > 0).sum()) - 1
    return float(stats.chi2.sf(g, freedom)) if freedom else 1.0


def log_e_value(counts: npt.ArrayLike, law: npt.ArrayLike, weight: float = 200.0) -> float:
    """Log of a Dirichlet-multinomial e-value against the law.

    The likelihood of the draws under a Dirichlet mixture around the law, over their likelihood
    under the law. Under the law it is a martingale that starts at 1, so by Ville's inequality it
    ever exceeds 10⁶ with probability 10⁻⁶ at most: one may look after every draw and stop at will.

    Args:
        counts: [C] so far.
        law: [C], sums to 1.
        weight: draws that the mixture's centre is worth; larger sees smaller differences later.
    """
    counted, _ = _aligned(counts, law)
    p = np.asarray(law, np.float64)
    if counted[p == 0].any():
        return float("inf")
    counted, p = counted[p > 0], p[p > 0]
    prior = weight * p
    mixture = gammaln(weight) - gammaln(weight + counted.sum())
    mixture += float((gammaln(prior + counted) - gammaln(prior)).sum())
    return float(mixture - (counted * np.log(p)).sum())


def holm(p_values: Sequence[float], level: float = 0.01) -> list[bool]:
    """Which of several hypotheses are rejected with a family-wise error of at most `level`."""
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def distance(counts: npt.ArrayLike, law: npt.ArrayLike) -> float:
    """Total variation between the shares counted and the law; biased upwards by sampling."""
    counted, expected = _aligned(counts, law)
    return float(np.abs(counted - expected).sum() / counted.sum() / 2)


def distance_limit(law: npt.ArrayLike, draws: int, quantile: float = 0.999, seed: int = 0) -> float:
    """The `distance` that so many draws from the law itself stay below: a parametric bootstrap."""
    p = np.asarray(law, np.float64)
    samples = np.random.default_rng(seed).multinomial(draws, p / p.sum(), size=2000)
    return float(np.quantile(np.abs(samples / draws - p).sum(axis=1) / 2, quantile))


def _aligned(counts: npt.ArrayLike, law: npt.ArrayLike) -> tuple[Array, Array]:
    counted = np.asarray(counts, np.float64)
    p = np.asarray(law, np.float64)
    if counted.shape != p.shape or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"{counted.shape} counts and a law of {p.shape} that sums to {p.sum()}")
    return counted, counted.sum() * p
