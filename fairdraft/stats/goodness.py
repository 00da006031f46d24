"""Tests of counts against a known law: the G-test and the distance of shares from the law.

Counts and laws are aligned arrays of cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEAST_EXPECTED = 5.0  # cells rarer than this are pooled


def g_test(counts: npt.ArrayLike, law: npt.ArrayLike) -> float:
    """Return the p-value of the likelihood-ratio test that counts come from a law.

    Cells with an expectation below 5 are pooled into one. A count where the law is 0 gives 0.

    Args:
        counts: [C] whole numbers.
        law: [C], sums to 1.
    """
    from scipy.special import chdtrc

    counted, expected = aligned(counts, law)
    if counted[expected == 0].any():
        return 0.0
    rare = expected < LEAST_EXPECTED
    if rare.any():
        counted = np.append(counted[~rare], counted[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    some = counted > 0
    g = 2 * float((counted[some] * np.log(counted[some] / expected[some])).sum())
    freedom = int((expected > 0).sum()) - 1
    return float(chdtrc(freedom, g)) if freedom else 1.0


def distance(counts: npt.ArrayLike, law: npt.ArrayLike) -> float:
    """Return total variation between counted shares and the law; sampling biases it upwards."""
    counted, expected = aligned(counts, law)
    return float(np.abs(counted - expected).sum() / counted.sum() / 2)


def distance_limit(law: npt.ArrayLike, draws: int, quantile: float = 0.999, seed: int = 0) -> float:
    """Return the `distance` that draws from the law itself stay below: parametric bootstrap."""
    p = np.asarray(law, np.float64)
    samples = np.random.default_rng(seed).multinomial(draws, p / p.sum(), size=2000)
    return float(np.quantile(np.abs(samples / draws - p).sum(axis=1) / 2, quantile))


def aligned(counts: npt.ArrayLike, law: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return counts and expected counts as float arrays of one shape [C].

    Raises:
        ValueError: the shapes differ, or the law does not sum to 1.
    """
    counted = np.asarray(counts, np.float64)
    p = np.asarray(law, np.float64)
    if counted.shape != p.shape or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"{counted.shape} counts and a law of {p.shape} that sums to {p.sum()}")
    return counted, counted.sum() * p
