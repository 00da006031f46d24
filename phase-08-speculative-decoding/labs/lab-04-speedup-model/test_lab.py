"""What lab 04 must do. Read from the top: the equation, then what is measured for it, then more."""

from __future__ import annotations

import numpy as np
import pytest

ALPHAS = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999]


def rounds(alpha, k, count, seed=0):
    """Simulate rounds: how many of k draft tokens stood in each."""
    stands = np.random.default_rng(seed).random((count, k)) < alpha
    return np.cumprod(stands, axis=1).sum(axis=1)


def test_expected_tokens_formula(lab):
    for k in range(9):
        assert lab.expected_tokens_per_verify(0.0, k) == 1
        assert lab.expected_tokens_per_verify(1.0, k) == k + 1
    assert lab.expected_tokens_per_verify(0.5, 2) == pytest.approx(1 + 0.5 + 0.25)
    for alpha in ALPHAS:
        assert lab.expected_tokens_per_verify(alpha, 0) == pytest.approx(1)


@pytest.mark.parametrize("alpha", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_expected_tokens_matches_simulation(lab, alpha, k):
    mean = 1 + rounds(alpha, k, 200_000).mean()
    assert lab.expected_tokens_per_verify(alpha, k) == pytest.approx(mean, rel=0.01)


def test_free_drafter_always_wins(lab):
    for alpha in ALPHAS:
        for k in range(1, 9):
            expected = lab.expected_tokens_per_verify(alpha, k)
            assert lab.speedup(alpha, 0, k) == pytest.approx(expected)
            assert lab.speedup(alpha, 0, k) >= 1


def test_drafts_are_paid_for(lab):
    """Two drafts at a quarter of a run each: 1 + .5 + .25 tokens for a run and a half."""
    assert lab.speedup(0.5, 0.25, 2) == pytest.approx(1.75 / 1.5)


def test_spec_decode_can_lose(lab):
    assert lab.speedup(0.2, 0.5, 5) < 1
    assert lab.optimal_k(0.2, 0.5) == 0


def test_eagle_like_numbers(lab):
    assert lab.speedup(0.7, 0.05, 5) == pytest.approx(2.3, abs=0.06)


def test_optimal_k_grows_with_alpha_and_shrinks_with_cost(lab):
    by_alpha = [lab.optimal_k(alpha, 0.1) for alpha in ALPHAS]
    assert by_alpha == sorted(by_alpha)
    assert by_alpha[0] == 0 < by_alpha[-1]
    by_cost = [lab.optimal_k(0.7, c) for c in (0.01, 0.05, 0.1, 0.2, 0.4, 0.8)]
    assert by_cost == sorted(by_cost, reverse=True)
    assert by_cost[-1] == 0
    # Of the field's own arithmetic; 5 and 6 tie to a millionth in the first.
    assert [lab.optimal_k(0.7, c) for c in (0.1, 0.2, 0.4)] == [4, 3, 2]
    assert lab.optimal_k(0.7, 0.05) in (5, 6)


def test_diminishing_returns_in_k(lab):
    """Each further draft token adds less; however long the draft, 1 / (1 − α) is the ceiling."""
    for alpha in ALPHAS[1:]:
        gains = np.diff([lab.expected_tokens_per_verify(alpha, k) for k in range(10)])
        assert (np.diff(gains) < 0).all()
        assert lab.expected_tokens_per_verify(alpha, 64) <= 1 / (1 - alpha) + 1e-12
    assert lab.expected_tokens_per_verify(0.7, 64) == pytest.approx(3.3, abs=0.04)
    assert lab.expected_tokens_per_verify(0.5, 64) == pytest.approx(2.0, abs=0.01)


def test_optimal_k_takes_the_shortest_of_equals(lab):
    assert lab.optimal_k(0.0, 0.0) == 0


def test_optimal_k_stays_within_k_max(lab):
    assert lab.optimal_k(0.99, 0, k_max=3) == 3
    assert lab.optimal_k(0.9, 0.05) == 13  # within the default


def test_alpha_from_counters_of_single_drafts(lab):
    """With k = 1 every drafted token is tested: 70 of 100 stood."""
    assert lab.alpha_from_counters(100, 70, 30) == pytest.approx(0.7)
    assert lab.alpha_from_counters(0, 0, 0) == 0


def test_most_misleading_alpha(lab):
    """At α = 0 the wrong formula is too low by 1/(k + 1), and in between by more."""
    for k in (2, 4, 8):
        found = lab.most_misleading_alpha(k)

        def off(alpha, k=k):
            return lab.speedup(alpha, 0, k) / lab.wrong_speedup(alpha, k)

        assert 0 < found < 1
        assert off(found) >= max(off(i / 1000) for i in range(1001)) - 1e-9
        assert off(found) > off(0)


# The second part: what is put into the equation must be what it means.


@pytest.mark.parametrize("k", [2, 4, 8])
def test_alpha_from_counters_is_the_alpha_that_was_put_in(lab, k):
    stood = rounds(0.8, k, 50_000, seed=k)
    counters = {
        "num_drafted": k * len(stood),
        "num_accepted": int(stood.sum()),
        "num_rejections": int((stood < k).sum()),
    }
    alpha = lab.alpha_from_counters(**counters)
    assert alpha == pytest.approx(0.8, abs=0.01)
    expected = lab.expected_tokens_per_verify(alpha, k)
    assert expected == pytest.approx(1 + stood.mean(), rel=0.01)


# Going further: tests for those who do.


def further(lab, name):
    if not hasattr(lab, name):
        pytest.skip(f"going further: README.md says what {name} takes and returns")
    return getattr(lab, name)


def test_verification_that_grows_moves_the_best_k_to_zero(lab):
    saturated, limit = further(lab, "saturated_speedup"), further(lab, "limit_of_lambda")
    assert limit(0.2, 0.5) == 0
    for alpha in (0.3, 0.5, 0.7, 0.9):
        for c in (0.0, 0.05, 0.3):
            edge = limit(alpha, c)
            above = [saturated(alpha, c, k, edge + 0.01) for k in range(17)]
            assert max(above) == above[0]
            if edge > 0.02:
                below = [saturated(alpha, c, k, edge - 0.01) for k in range(17)]
                assert max(below) > below[0]


def test_transitions_go_from_row_to_column(lab):
    """All rounds begin in state 0, which always accepts and always moves on to state 1."""
    length_law = further(lab, "length_law")
    moves = np.array([[0.0, 1.0], [0.0, 1.0]])
    law = length_law(np.array([1.0, 0.25]), moves, np.array([1.0, 0.0]), 2)
    assert law == pytest.approx([0, 0.75, 0.25])


def test_one_state_fits_the_mean_and_misses_the_rest(lab):
    length_law, fit = further(lab, "length_law"), further(lab, "fit_alpha")
    k, lengths = 8, np.arange(1, 10)
    two = length_law(np.array([0.95, 0.2]), np.array([[0.9, 0.1], [0.1, 0.9]]), np.full(2, 0.5), k)
    mean = float((two * lengths).sum())
    one = length_law(np.array([fit(mean, k)]), np.eye(1), np.ones(1), k)
    assert [two.sum(), one.sum()] == pytest.approx([1, 1])
    assert (one * lengths).sum() == pytest.approx(mean)
    assert (two * lengths**2).sum() > (one * lengths**2).sum()  # more variance,
    assert two[0] > one[0]  # more rounds that give one token,
    assert two[-1] > one[-1]  # and more that give all
