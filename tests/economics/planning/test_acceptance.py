"""Acceptance of traffic: counts, mixes against a simulated server, draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.equations.acceptance import constant, expected_tokens
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.errors import ConfigError


@given(st.floats(0, 1), st.integers(1, 8))
def test_alpha(alpha: float, k: int) -> None:
    drawn = Acceptance.of_alpha(alpha).draw(8, 3)
    expected = expected_tokens(constant(alpha, k))[k]
    assert drawn.tokens(k) == pytest.approx([expected] * 4)
    assert drawn.length(k) == pytest.approx([expected] * 4)
    assert drawn.drafting(k) == pytest.approx((1, k))


def test_counts() -> None:
    acceptance = Acceptance.of_counts(1000, [700, 500, 400])
    assert acceptance.longest == 3
    drawn = acceptance.draw(3, 4000)
    assert [drawn.tokens(k)[0] for k in (0, 1, 2, 3)] == pytest.approx([1, 1.7, 2.2, 2.6])
    spread = drawn.tokens(1)[1:].std()
    assert spread == pytest.approx(np.sqrt(0.7 * 0.3 / 1000), rel=0.05)
    lengths = np.array([drawn.length(k)[1:] for k in (1, 2, 3)])
    assert (np.diff(lengths, axis=0) >= 0).all()
    assert (np.diff(lengths, 2, axis=0) <= 0).all()  # survivals of a draw never rise


def test_a_drafter_that_stops_by_itself() -> None:
    """Of 1000 rounds 400 drafted a second token, of which 300 stood."""
    drawn = Acceptance.of_counts(1000, [700, 300], drafted=[1000, 400]).draw(2)
    assert drawn.tokens(2)[0] == pytest.approx(2.0)
    assert drawn.drafting(2) == pytest.approx((1, 1.4))
    nothing = Acceptance.of_counts(10, [], drafted=[10, 10]).draw(2)
    assert nothing.tokens(2)[0] == 1


def test_steps_without_a_draft() -> None:
    """Half of the tokens lie where nothing is found, whatever k is."""
    acceptance = Acceptance.of_counts(1000, [600, 400], steps=3000)
    drawn = acceptance.draw(2, 500)
    assert drawn.tokens(2)[0] == pytest.approx(4000 / 3000)
    assert drawn.length(2)[0] == pytest.approx(2.0)
    # At k = 1 the 2000 tokens that came out of rounds take 1250 of them.
    assert drawn.tokens(1)[0] == pytest.approx(4000 / (2000 + 1250))
    assert drawn.drafting(1) == pytest.approx((1250 / 3250, 1))
    assert drawn.tokens(2)[1:].std() > 0


@pytest.mark.parametrize("k", [1, 4])
def test_a_mix_against_a_simulated_server(k: int) -> None:
    """Shares of tokens: a server of 16 slots, texts of equal length, 70% of them code."""
    rng = np.random.default_rng(k)
    rates = {"code": 0.85, "chat": 0.35}
    mix = Acceptance.mix(
        [(0.7, Acceptance.of_alpha(rates["code"])), (0.3, Acceptance.of_alpha(rates["chat"]))]
    )
    length, written, steps = 200, 0, 0
    left = np.full(16, 0)
    alphas = np.zeros(16)
    texts = 0
    for step in range(6000):
        fresh = left <= 0
        turns = texts + np.arange(fresh.sum())
        alphas[fresh] = np.where(turns % 10 < 7, rates["code"], rates["chat"])
        texts += len(turns)
        left[fresh] = length
        stood = np.minimum(rng.geometric(1 - alphas), k + 1)
        left -= stood
        if step >= 1000:
            written += int(stood.sum())
            steps += 16
    assert mix.draw(k).tokens(k)[0] == pytest.approx(written / steps, rel=0.015)


def test_a_mix_is_no_mean_by_tokens() -> None:
    parts = [(0.7, Acceptance.of_survivals([1.0, 1.0])), (0.3, Acceptance.of_survivals([0.5]))]
    mix = Acceptance.mix(parts)
    assert mix.longest == 1
    assert mix.draw(1).tokens(1)[0] == pytest.approx(1 / (0.7 / 2 + 0.3 / 1.5))
    assert Acceptance.mix([(0.5, mix), (0.5, mix)]).draw(1).tokens(1) == pytest.approx(
        mix.draw(1).tokens(1)
    )


@pytest.mark.parametrize(
    ("shares", "message"),
    [((0.7, 0.4), "add up to 1.1"), ((1.2, -0.2), "share of α = 0.5 is 1.2"), ((), "add up to 0")],
)
def test_shares(shares: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Acceptance.mix([(share, Acceptance.of_alpha(0.5)) for share in shares])


def test_scales() -> None:
    drawn = Acceptance.of_survivals([0.8, 0.4]).draw(2)
    scales = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    rates = np.array([[0, 0], [0.4, 0.25], [0.8, 0.5], [0.9, 0.75], [1, 1]])
    expected = 1 + rates.cumprod(1).sum(1)
    assert drawn.tokens(2, scales) == pytest.approx(expected)
    assert drawn.length(2, scales) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Acceptance.of_alpha(1.2), "alpha is 1.2"),
        (lambda: Acceptance.of_alpha(float("nan")), "alpha is nan"),
        (lambda: Acceptance.of_survivals([]), "no survivals"),
        (lambda: Acceptance.of_survivals([0.5, 0.6]), "must not rise"),
        (lambda: Acceptance.of_survivals([-0.1]), r"in \[0, 1\]"),
        (lambda: Acceptance.of_counts(0, []), "nothing was drafted"),
        (lambda: Acceptance.of_counts(10, [3, 5]), "must not rise"),
    ],
)
def test_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ConfigError, match=message):
        call()
