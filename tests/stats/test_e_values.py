"""E-values: rarely high under the law, however often one looks; high off it."""

from __future__ import annotations

import numpy as np

from fairdraft.stats import E_VALUE_LIMIT, log_e_value

LAW = np.random.default_rng(0).dirichlet(np.ones(40))


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
    assert log_e_value(counts, LAW) > np.log(E_VALUE_LIMIT)


def test_a_count_where_the_law_is_zero_is_decisive() -> None:
    assert log_e_value([10, 1], [1, 0]) == float("inf")
