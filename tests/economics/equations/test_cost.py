"""Costs and what follows: the figures of the literature, simulations, and monotonicities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.equations.acceptance import constant, expected_tokens
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import (
    Roofline,
    block_cost,
    break_even_length,
    ceiling,
    dollars_per_million,
    expected_experts,
    goodput,
    linear_cost,
    measured_cost,
    speedups,
)
from fairdraft.economics.equations.speedup import optimal_k, speedup
from fairdraft.errors import ConfigError

K = 16


@pytest.mark.parametrize(
    ("alpha", "cost", "k", "gain"),
    [
        (0.7, 0.05, (5, 6), 2.35),
        (0.7, 0.1, (4,), 1.98),
        (0.7, 0.2, (3,), 1.58),
        (0.7, 0.4, (2,), 1.22),
        (0.5, 0.4, (1,), 1.07),
    ],
)
def test_known_points(alpha: float, cost: float, k: tuple[int, ...], gain: float) -> None:
    """FACTS.md: c and λ only count together."""
    survivals = constant(alpha, K)
    for growth in (0.0, cost / 2, cost):
        costs = linear_cost(cost - growth, K, growth)
        assert best_k(speedups(survivals, costs)) in k
        assert speedups(survivals, costs).max() == pytest.approx(gain, abs=0.005)


def test_the_lab_facts() -> None:
    losing = speedups(constant(0.2, 5), linear_cost(0.5, 5))
    assert losing[5] < 1
    assert best_k(speedups(constant(0.2, K), linear_cost(0.5, K))) == 0
    assert speedups(constant(0.7, 5), linear_cost(0.05, 5))[5] == pytest.approx(2.35, abs=0.01)


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_without_fixed_cost_it_is_leviathans(alpha: float, c: float) -> None:
    ours = speedups(constant(alpha, K), linear_cost(c, K))
    np.testing.assert_allclose(ours, speedup(alpha, np.arange(K + 1), c))
    assert best_k(speedups(constant(alpha, K), linear_cost(c, K))) == optimal_k(alpha, c, K)


@given(st.floats(0, 0.98), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_off_is_best_iff_a_token_costs_what_it_brings(
    alpha: float, c: float, growth: float, fixed: float
) -> None:
    survivals = constant(alpha, 200)
    if abs(alpha - c - growth) > 1e-6:
        off = best_k(speedups(survivals, linear_cost(c, 200, growth))) == 0
        assert off == (alpha <= c + growth)
    # A fixed cost never makes longer drafts worse than shorter ones were, only all of them dearer.
    dear = speedups(survivals, linear_cost(c, 200, growth, fixed))
    assert np.all(dear <= speedups(survivals, linear_cost(c, 200, growth)) + 1e-12)
    assert np.all(dear <= ceiling(alpha) + 1e-9)


def test_a_round_by_round_simulation() -> None:
    """200,000 rounds that draft, verify and pay as the equation says."""
    draw = np.random.default_rng(5)
    alpha, c, growth, fixed, k = 0.65, 0.06, 0.03, 0.1, 5
    accepted = np.cumprod(draw.random((200_000, k)) < alpha, 1).sum(1)
    tokens = (accepted + 1).sum()
    time = 200_000 * (1 + fixed + k * (c + growth))
    costs = linear_cost(c, k, growth, fixed)
    assert speedups(constant(alpha, k), costs)[k] == pytest.approx(tokens / time, rel=0.01)


def test_staircases_are_scanned() -> None:
    """A run that costs nothing more up to four rows and twice as much from there on."""
    verify = [10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0]
    costs = measured_cost([0.0] + [0.5] * 7, verify)
    assert best_k(speedups(constant(0.9, 7), costs)) == 3
    # A block drafter pays once, so that only verification limits its length.
    assert best_k(speedups(constant(0.9, 7), block_cost(0.3, 7))) == 7


def test_the_public_case_of_high_acceptance_and_a_slower_engine() -> None:
    """96.6% accepted, 342 → 128 tokens/s: the step went from 2.92 to 15.36 ms."""
    needed = break_even_length(1 / 342, 1.966 / 128)
    assert needed == pytest.approx(5.25, abs=0.01)
    assert needed > 2.0  # the most that k = 1 can reach


def test_experts_that_tokens_wake() -> None:
    draw = np.random.default_rng(7)
    for tokens in (1, 4, 16):
        woken = [
            len({e for _ in range(tokens) for e in draw.choice(32, 4, replace=False)})
            for _ in range(4000)
        ]
        assert expected_experts(32, 4, tokens) == pytest.approx(np.mean(woken), rel=0.01)


H100 = Roofline(3.35e12, 989e12, 16e9, 8e9, kv_bytes=131072, attention_size=131072)


def test_the_roofline() -> None:
    assert H100.knee == pytest.approx(295, rel=0.01)
    alone, many = H100.seconds(1, 1, 0), H100.seconds(200, 1, 0)
    assert alone == many == pytest.approx(16e9 / 3.35e12)
    assert H100.seconds(400, 1, 0) > alone
    saturated = H100.saturation(alpha=0.7, c=0.05, context=0)
    assert saturated is not None
    assert best_k(speedups(np.array([0.7]), H100.costs(saturated - 1, 0, 1, 0.05))) == 1
    assert best_k(speedups(constant(0.7, K), H100.costs(saturated + 1, 0, K, 0.05))) == 0
    # Context keeps it memory-bound: speculation then pays at any load.
    longer = H100.saturation(alpha=0.7, c=0.05, context=8000, most=2000)
    assert longer is None or longer > saturated


def test_goodput_and_money() -> None:
    tokens, seconds = expected_tokens(constant(0.7, 3)), np.array([10.0, 11.0, 12.0, 60.0]) / 1e3
    found = goodput(tokens, seconds, requests=8, limit=0.012)
    assert found[0] == pytest.approx(800)
    assert found[3] == 0
    assert dollars_per_million(3.6, 1000) == pytest.approx(1.0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="c is -1"):
        linear_cost(-1, 3)
    with pytest.raises(ConfigError, match="a cost for each draft length"):
        speedups(constant(0.5, 3), [1.0, 1.1])
    with pytest.raises(ConfigError, match="drafting nothing takes none"):
        measured_cost([0.1, 0.2], [1.0, 1.0])
    with pytest.raises(ConfigError, match="more than 0 seconds"):
        break_even_length(0.0, 1.0)
    with pytest.raises(ConfigError, match="above 0"):
        dollars_per_million(3.6, 0)
    assert math.isinf(ceiling(1.0))
