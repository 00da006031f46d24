"""Intervals hold what they promise, and Wilson's is the textbook's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fairdraft.errors import ConfigError
from fairdraft.stats import interval, ratio_of_means, share, wilson


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_what_scipy_says(counts: tuple[int, int]) -> None:
    successes, trials = counts
    theirs = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(successes, trials), theirs, rtol=1e-9, atol=1e-12)
    assert 0 <= wilson(successes, trials)[0] <= successes / trials <= wilson(successes, trials)[1]


def test_a_bootstrap_interval_covers() -> None:
    draw, hits = np.random.default_rng(2), 0
    for i in range(500):
        noise = draw.normal(1, 0.1, 60)
        below = noise * draw.normal(1, 0.05, 60)
        above = 1.4 * noise * draw.normal(1, 0.05, 60)
        found = ratio_of_means(above, below, draws=400, seed=i)
        hits += found.low <= 1.4 <= found.high
    assert 0.92 <= hits / 500 <= 0.98


def test_an_interval_of_draws_holds_its_estimate() -> None:
    found = interval(np.array([5.0, *np.linspace(0, 1, 101)]))
    assert (found.value, found.high) == (5, 5)
    assert found.low == pytest.approx(0.025)
    alone = interval(np.array([2.0]))
    assert (alone.low, alone.value, alone.high) == (2, 2, 2)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="counts went backwards"):
        share(5, 3)
    with pytest.raises(ConfigError, match="nothing was drafted"):
        share(0, 0)
    with pytest.raises(ConfigError, match="no pairs"):
        ratio_of_means([1.0], [1.0, 2.0])
