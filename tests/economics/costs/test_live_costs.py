"""Costs are the profile's until the steps that run say otherwise; a single odd one says little."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.live_costs import LESSONS, LiveCosts

PLAIN, GROWTH, FIXED, C, K = 0.01, 0.1, 0.05, 0.2, 4


@pytest.fixture
def costs() -> LiveCosts:
    step = CostSurface(
        Point(b, n, c, (PLAIN * (1 + GROWTH * (n - 1)),))
        for b, n, c in itertools.product((1, 4), (1, 5), (0, 1024))
    )
    head = CostSurface(
        Point(b, k, c, (PLAIN * (FIXED + C * k),))
        for b, k, c in itertools.product((1, 4), (1, 4), (0, 1024))
    )
    return LiveCosts(step, {"head": head}, K)


def test_they_begin_as_measured(costs: LiveCosts) -> None:
    extra = np.arange(3 * K + 1)
    np.testing.assert_allclose(costs.steps(3, 100), PLAIN * (1 + GROWTH * extra / 3))
    found = costs.drafts("head", 3, 100)
    assert found.shape == (4, K + 1)
    assert not found[0].any()
    assert not found[:, 0].any()
    np.testing.assert_allclose(found[2, 1:], PLAIN * (FIXED + C * np.arange(1, K + 1)))


def test_what_was_not_measured_is_extrapolated(costs: LiveCosts) -> None:
    np.testing.assert_allclose(costs.steps(16, 9000)[:17:16], PLAIN * np.array([1, 1 + GROWTH]))


def test_a_step_that_takes_longer_corrects_its_own_price(costs: LiveCosts) -> None:
    before = costs.steps(2, 100).copy()
    for _ in range(400):
        costs.learn_step(2, 2, 100, 1.5 * before[2])
    after = costs.steps(2, 100)
    assert after[2] == pytest.approx(1.5 * before[2], rel=0.01)
    np.testing.assert_allclose(after[:2], before[:2])
    assert (np.diff(after) >= 0).all()  # and no longer step gets cheaper than it
    np.testing.assert_allclose(costs.steps(3, 100)[:4], PLAIN * (1 + GROWTH * np.arange(4) / 3))


def test_a_price_that_was_high_once_is_forgotten_where_it_is_not_seen(costs: LiveCosts) -> None:
    before = costs.steps(1, 0).copy()
    for _ in range(100):
        costs.learn_step(1, K, 0, 2 * float(before[K]))
    assert costs.steps(1, 0)[K] > 1.8 * before[K]
    for _ in range(400):
        costs.learn_step(1, 0, 0, float(before[0]))
    np.testing.assert_allclose(costs.steps(1, 0), before, rtol=0.05)


def test_few_measurements_say_little_and_old_ones_fade(costs: LiveCosts) -> None:
    plain = float(costs.steps(1, 0)[0])
    for _ in range(LESSONS):
        costs.learn_step(1, 0, 0, 1.9 * plain)
    assert plain < costs.steps(1, 0)[0] < 1.25 * plain
    for seconds in (1.5, 0.8):
        for _ in range(400):
            costs.learn_step(1, 0, 0, seconds * plain)
        assert costs.steps(1, 0)[0] == pytest.approx(seconds * plain, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(1e-6, 0.85, 0.95), (100 * PLAIN, 1.1, 1.3)]
)
def test_odd_steps_say_little(costs: LiveCosts, seconds: float, least: float, most: float) -> None:
    before = costs.steps(1, 0)[0]
    for _ in range(LESSONS):
        costs.learn_step(1, 0, 0, seconds)
    assert least < costs.steps(1, 0)[0] / before < most


def test_a_step_that_nobody_priced_is_left_out(costs: LiveCosts) -> None:
    costs.learn_step(7, 3, 100, 0.5)
    np.testing.assert_allclose(costs.steps(7, 100)[0], PLAIN)


@pytest.mark.parametrize("factor", [0.2, 1.6, 6.0])
@pytest.mark.parametrize("asked", [1, 4])
def test_drafts_correct_a_guess(costs: LiveCosts, factor: float, asked: int) -> None:
    """However wrong it was, and whether or not all of the batch were asked."""
    before = costs.drafts("head", 4, 100).copy()
    for _ in range(400):
        costs.learn_draft("head", asked, 3, 100, factor * before[asked, 3])
    np.testing.assert_allclose(costs.drafts("head", 4, 100), factor * before, rtol=0.02)


def test_one_draft_that_took_forever_changes_little(costs: LiveCosts) -> None:
    before = costs.drafts("head", 1, 100).copy()
    costs.learn_draft("head", 1, 1, 100, 100.0)
    assert (costs.drafts("head", 1, 100) < 1.1 * before + 1e-12).all()


def test_one_row_read_late_says_little_of_many(costs: LiveCosts) -> None:
    """A run has a price of its own: one row must not make a hundred a hundred times as dear."""
    method = next(iter(costs.drafters))
    assert costs.catch_up(method, 0, 100) == 0
    few, many = costs.catch_up(method, 1, 100), costs.catch_up(method, 256, 100)
    assert few < many < 6 * few
    for _ in range(50):
        costs.learn_catch_up(method, 1, 100, 2 * few)
    assert costs.catch_up(method, 256, 100) == pytest.approx(2 * many, rel=0.25)


def test_lookups_cost_what_they_are_measured_at(costs: LiveCosts) -> None:
    assert costs.lookup("ngram") == 0
    assert not costs.drafts("ngram", 2, 100).any()
    costs.learn_draft("ngram", 4, 1, 100, 0.004)
    assert costs.lookup("ngram") == pytest.approx(0.001)  # of each request
    costs.learn_draft("ngram", 1, 1, 100, 5.0)
    assert costs.lookup("ngram") < 0.0014
    for _ in range(200):
        costs.learn_draft("ngram", 1, 1, 100, 0.0005)
    assert costs.lookup("ngram") == pytest.approx(0.0005, rel=0.01)
