"""Each model of acceptance against a simulation of its own assumptions, 200,000 rounds."""

from __future__ import annotations

import numpy as np
import pytest

from fairdraft.economics.equations.acceptance import (
    TwoState,
    conditional,
    constant,
    expected_tokens,
    tree_tokens,
)
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.errors import ConfigError

ROUNDS = 200_000
CHAIN = TwoState(rates=(0.92, 0.35), stay=(0.8, 0.6), start=0.25)


def test_constant_acceptance_is_leviathans() -> None:
    for alpha in (0.0, 0.3, 0.8, 1.0):
        ours = expected_tokens(constant(alpha, 8))
        np.testing.assert_allclose(ours, expected_tokens_per_verify(alpha, np.arange(9)))


def test_per_position_rates() -> None:
    rates = np.array([0.8, 0.5, 0.7, 0.2])
    draws = np.random.default_rng(1).random((ROUNDS, 4)) < rates
    accepted = np.cumprod(draws, 1).sum(1)
    assert expected_tokens(conditional(rates))[-1] == pytest.approx(1 + accepted.mean(), rel=0.01)


def simulate(chain: TwoState, k: int, seed: int) -> np.ndarray:
    """Accepted tokens of each round, drawn state by state."""
    draw = np.random.default_rng(seed)
    rates = np.array(chain.rates)
    state = (draw.random(ROUNDS) >= chain.start).astype(int)
    alive = np.ones(ROUNDS, dtype=bool)
    accepted = np.zeros(ROUNDS, dtype=int)
    for _ in range(k):
        alive &= draw.random(ROUNDS) < rates[state]
        accepted += alive
        stays = draw.random(ROUNDS) < np.array(chain.stay)[state]
        state = np.where(stays, state, 1 - state)
    return accepted


@pytest.mark.parametrize("k", [1, 4, 10])
def test_the_two_state_chain(k: int) -> None:
    accepted = simulate(CHAIN, k, seed=k)
    mean, variance = CHAIN.moments(k)
    assert mean == pytest.approx(1 + accepted.mean(), rel=0.01)
    assert variance == pytest.approx(accepted.var(), rel=0.02)
    tail = [(accepted >= j).mean() for j in range(1, k + 1)]
    np.testing.assert_allclose(CHAIN.survivals(k), tail, atol=0.005)


def test_a_chain_of_equal_states_is_constant_acceptance() -> None:
    chain = TwoState((0.6, 0.6), (0.9, 0.1), 0.5)
    np.testing.assert_allclose(chain.survivals(6), constant(0.6, 6))


def test_memory_shows_in_the_tail_not_in_the_first_token() -> None:
    """With the same first token's acceptance, phrases make long drafts worth more."""
    first = CHAIN.survivals(1)[0]
    assert CHAIN.survivals(8)[-1] > constant(first, 8)[-1]


def test_trees() -> None:
    """Two children, one of which has two of its own."""
    parents, rates = (-1, -1, 0, 0, 2), (0.5, 0.2, 0.4, 0.3, 0.9)
    draw = np.random.default_rng(3)
    first, second, third = draw.random((3, ROUNDS))
    tokens = 1 + (first < 0.7)
    left = first < 0.5
    tokens = tokens + (left & (second < 0.7))
    tokens = tokens + (left & (second < 0.4) & (third < 0.9))
    assert tree_tokens(parents, rates) == pytest.approx(tokens.mean(), rel=0.01)
    assert tree_tokens((-1, 0, 1), (0.5, 0.5, 0.5)) == pytest.approx(
        expected_tokens(constant(0.5, 3))[-1]
    )


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not rise"):
        expected_tokens([0.3, 0.4])
    with pytest.raises(ConfigError, match=r"alpha is 1\.2"):
        constant(1.2, 3)
    with pytest.raises(ConfigError, match="only one of them can"):
        tree_tokens((-1, -1), (0.7, 0.6))
    with pytest.raises(ConfigError, match="parents come first"):
        tree_tokens((1, -1), (0.7, 0.1))
