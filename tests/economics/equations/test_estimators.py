"""Estimators recover what rounds were drawn from, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from fairdraft.economics.equations.acceptance import TwoState
from fairdraft.economics.equations.estimators import (
    alpha_of_length,
    censored_alpha,
    fit_two_state,
    public_alpha,
    public_survivals,
    survivals,
)
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.errors import ConfigError


def rounds(alpha: float, k: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """Accepted tokens of each round."""
    return np.cumprod(draw.random((count, k)) < alpha, 1).sum(1)


def test_the_naive_rate_is_off_and_the_censored_one_is_not() -> None:
    k, draw = 8, np.random.default_rng(0)
    accepted = rounds(0.8, k, 200_000, draw)
    naive = accepted.sum() / (k * len(accepted))
    assert naive == pytest.approx(0.42, abs=0.01)
    found = censored_alpha(int(accepted.sum()), int((accepted < k).sum()))
    assert found.value == pytest.approx(0.8, abs=0.002)
    inverted = public_alpha(int(accepted.sum()), k * len(accepted), k)
    assert inverted.value == pytest.approx(0.8, abs=0.005)
    assert "biased" in inverted.note


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_its_interval_covers(alpha: float) -> None:
    draw, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        accepted = rounds(alpha, 4, 100, draw)
        found = censored_alpha(int(accepted.sum()), int((accepted < 4).sum()))
        hits += found.low <= alpha <= found.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_survivals_have_their_own_denominators() -> None:
    """Rounds of 1 to 4 drafts: engines that divide by all rounds read too little."""
    draw = np.random.default_rng(3)
    lengths = draw.integers(1, 5, 100_000)
    accepted = np.minimum(rounds(0.7, 4, 100_000, draw), lengths)
    drafted = [int((lengths > j).sum()) for j in range(4)]
    stood = [int((accepted > j).sum()) for j in range(4)]
    for j, found in enumerate(survivals(drafted, stood)):
        assert found.value == pytest.approx(0.7 ** (j + 1), abs=0.01)
    public = public_survivals(stood, 100_000, fixed_k=False)
    assert public[3].value < 0.5 * 0.7**4
    assert "k varied" in public[3].note


def test_a_length_is_inverted() -> None:
    for alpha in (0.0, 0.2, 0.75, 1.0):
        length = expected_tokens_per_verify(alpha, 5)
        assert alpha_of_length(length, 5) == pytest.approx(alpha, abs=1e-9)
    with pytest.raises(ConfigError, match="from 1 to 6"):
        alpha_of_length(6.5, 5)


def test_a_chain_with_memory_is_found_again() -> None:
    chain = TwoState((0.95, 0.3), (0.85, 0.5), 0.4)
    draw = np.random.default_rng(4)
    state = (draw.random(20_000) >= chain.start).astype(int)
    alive, accepted = np.ones(20_000, bool), np.zeros(20_000, int)
    for _ in range(8):
        alive &= draw.random(20_000) < np.array(chain.rates)[state]
        accepted += alive
        stays = draw.random(20_000) < np.array(chain.stay)[state]
        state = np.where(stays, state, 1 - state)
    found = fit_two_state(accepted, np.full(20_000, 8))
    np.testing.assert_allclose(found.survivals(8), chain.survivals(8), atol=0.01)
    # Of rounds cut shorter too: what was cut off is no rejection.
    lengths = draw.integers(1, 9, 20_000)
    shorter = fit_two_state(np.minimum(accepted, lengths), lengths)
    np.testing.assert_allclose(shorter.survivals(8), chain.survivals(8), atol=0.02)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="not more than those"):
        fit_two_state([3], [2])
