"""The tests of counts, tested: size under the law, power off it."""

from __future__ import annotations

import numpy as np
import pytest

from fairdraft.testing.statistics import distance, distance_limit, g_test, holm, log_e_value

LAW = np.random.default_rng(0).dirichlet(np.ones(40))


def test_g_test_holds_its_size() -> None:
    rng = np.random.default_rng(1)
    p_values = [g_test(rng.multinomial(3_000, LAW), LAW) for _ in range(2_000)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_g_test_has_power_over_099() -> None:
    rng = np.random.default_rng(2)
    other = 0.95 * LAW + 0.05 * np.eye(40)[3]  # TV just under 0.05
    caught = [g_test(rng.multinomial(20_000, other), LAW) < 1e-4 for _ in range(300)]
    assert np.mean(caught) > 0.99


def test_a_count_where_the_law_is_zero_is_decisive() -> None:
    assert g_test([10, 1], [1, 0]) == 0
    assert log_e_value([10, 1], [1, 0]) == float("inf")
    assert g_test([10, 0], [1, 0]) == 1


def test_the_e_value_may_be_peeked_at() -> None:
    """The largest e-value on the way exceeds 20 in at most one sequence of 20."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        counts = np.zeros(40)
        best = 0.0
        for _ in range(100):
            counts += rng.multinomial(50, LAW)
            best = max(best, log_e_value(counts, LAW))
        alarms += best > np.log(20)
    assert alarms / 300 <= 0.05


def test_the_e_value_grows_off_the_law() -> None:
    other = 0.93 * LAW + 0.07 * np.eye(40)[3]
    counts = np.random.default_rng(4).multinomial(40_000, other)
    assert log_e_value(counts, LAW) > np.log(1e6)


def test_holm_by_hand() -> None:
    assert holm([0.001, 0.02, 0.004, 0.5], 0.02) == [True, False, True, False]
    assert holm([], 0.01) == []
    assert holm([0.006, 0.006], 0.01) == [False, False]


def test_distance_and_its_limit() -> None:
    assert distance([5, 5], [0.5, 0.5]) == 0
    assert distance([10, 0], [0.5, 0.5]) == 0.5
    rng = np.random.default_rng(5)
    limit = distance_limit(LAW, 5_000)
    beyond = [distance(rng.multinomial(5_000, LAW), LAW) > limit for _ in range(1_000)]
    assert np.mean(beyond) < 0.01
    with pytest.raises(ValueError, match="sums to"):
        g_test([1, 2], [0.5, 0.4])
