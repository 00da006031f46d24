"""Ratios side by side: what slows both sides cancels, and intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.errors import ConfigError
from fairdraft.stats.side_by_side import (
    estimated_median_ratio,
    median_ratio,
    ratio_of_rates,
    unstalled,
)

seconds = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)


@given(seconds, st.floats(0.1, 10))
def test_what_slows_both_sides_cancels(base: list[float], factor: float) -> None:
    above = [factor * value for value in base]
    assert median_ratio(above, base) == pytest.approx(factor)
    found = estimated_median_ratio(above, base, draws=50)
    assert (found.low, found.high) == pytest.approx((factor, factor))


@given(seconds, seconds)
def test_an_interval_holds_its_estimate(one: list[float], other: list[float]) -> None:
    found = ratio_of_rates((3.0, 4.0), (one, other), draws=50)
    assert found.value == pytest.approx(3 / sum(one) * sum(other) / 4)
    assert found.low <= found.value <= found.high


def test_the_median_outvotes_a_turn_that_stalled() -> None:
    assert median_ratio([2.0, 2.0, 90.0], [1.0, 1.0, 1.0]) == 2


def test_the_interval_of_a_median_covers_it() -> None:
    draw, hits = np.random.default_rng(5), 0
    for i in range(300):
        slow = draw.lognormal(0, 0.5, 40)  # of the machine, the same for both
        above, below = 1.2 * slow * draw.lognormal(0, 0.1, 40), slow * draw.lognormal(0, 0.1, 40)
        found = estimated_median_ratio(above, below, draws=300, seed=i)
        hits += found.low <= 1.2 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_the_interval_of_rates_covers_them() -> None:
    draw, hits = np.random.default_rng(6), 0
    for i in range(300):
        one, other = draw.gamma(4, 1 / 4, 60), draw.gamma(4, 1 / 2, 50)
        found = ratio_of_rates((60.0, 50.0), (one, other), draws=300, seed=i)
        hits += found.low <= 2 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_turns_that_stalled_are_told_from_slow_ones() -> None:
    assert unstalled([1.0, 1.1, 2.9, 3.4, 1.05]).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize(("above", "below"), [([], []), ([1.0], [1.0, 2.0])])
def test_what_is_not_side_by_side_is_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ConfigError, match="no pairs"):
        median_ratio(above, below)
    with pytest.raises(ConfigError, match="no pairs"):
        estimated_median_ratio(above, below)
