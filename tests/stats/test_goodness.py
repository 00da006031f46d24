"""The tests of counts, tested: size under the law, power off it."""

from __future__ import annotations

import numpy as np
import pytest

from fairdraft.stats import distance, distance_limit, g_test

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
    assert g_test([10, 0], [1, 0]) == 1


def test_distance_and_its_limit() -> None:
    assert distance([5, 5], [0.5, 0.5]) == 0
    assert distance([10, 0], [0.5, 0.5]) == 0.5
    rng = np.random.default_rng(5)
    limit = distance_limit(LAW, 5_000)
    beyond = [distance(rng.multinomial(5_000, LAW), LAW) > limit for _ in range(1_000)]
    assert np.mean(beyond) < 0.01
    with pytest.raises(ValueError, match="sums to"):
        g_test([1, 2], [0.5, 0.4])
