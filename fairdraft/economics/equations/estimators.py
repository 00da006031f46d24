"""Estimates of acceptance from counts, with intervals, and what public figures leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.equations.acceptance import TwoState
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.errors import ConfigError
from fairdraft.stats import Estimate, share

FloatArray = NDArray[np.float64]


def censored_alpha(accepted: int, rejections: int) -> Estimate:
    """Estimate α from accepted tokens and rounds that ended in a rejection.

    α = accepted / (accepted + rejections): the maximum-likelihood estimate where rounds in which
    every draft stood are cut off rather than ended. A tree's round that used up its depth counts
    as such.

    Args:
        accepted: drafted tokens that stood.
        rejections: rounds in which a drafted token did not.
    """
    return share(accepted, accepted + rejections)


def survivals(drafted: Sequence[int], accepted: Sequence[int]) -> list[Estimate]:
    """Estimate the survivals S_1, S_2, …, each out of the rounds that drafted so far.

    Args:
        drafted: [k] rounds that had a token at each position.
        accepted: [≤ k] rounds in which it stood.
    """
    padded = [*accepted, *[0] * (len(drafted) - len(accepted))]
    return [share(a, d) for a, d in zip(padded, drafted, strict=True) if d]


def public_survivals(accepted: Sequence[int], rounds: int, fixed_k: bool) -> list[Estimate]:
    """Estimate S_j as engines print it, out of *all* rounds: right only where k never varies.

    Args:
        accepted: [k] rounds in which each position stood.
        rounds: all that drafted.
        fixed_k: whether every round drafted k tokens.
    """
    note = "" if fixed_k else "k varied: positions that were not drafted count as rejected"
    return [Estimate(e.value, e.low, e.high, note) for e in (share(a, rounds) for a in accepted)]


def public_alpha(accepted: int, drafted: int, k: int) -> Estimate:
    """Estimate the α behind an acceptance *rate* (accepted / drafted), which is not α.

    The rate r of rounds of k drafts means a mean acceptance length of 1 + r·k, which is inverted.
    """
    rate = share(accepted, drafted)
    value, low, high = (alpha_of_length(1 + r * k, k) for r in (rate.value, rate.low, rate.high))
    note = f"accepted / drafted reads {rate.value:.2f}; as α it is biased downwards"
    return Estimate(value, low, high, note)


def alpha_of_length(length: float, k: int) -> float:
    """Return the α whose expected tokens per run are `length`, the bonus token included.

    Args:
        length: mean acceptance length, from 1 to k + 1.
        k: draft length, at least 1.

    Raises:
        ConfigError: no α gives that length.
    """
    if k < 1 or not 1 <= length <= k + 1:
        raise ConfigError(
            f"a mean acceptance length of {length} cannot be at k = {k}: with the bonus token it "
            f"is from 1 to {k + 1} (some sources leave the bonus out: add 1)"
        )
    if length == k + 1:
        return 1.0
    from scipy import optimize

    gap: Callable[[float], float] = lambda a: expected_tokens_per_verify(a, k) - length  # noqa: E731
    return float(optimize.brentq(gap, 0.0, 1.0))


def fit_two_state(accepted: Sequence[int], drafted: Sequence[int]) -> TwoState:
    """Fit the two-state chain that is most likely to give these rounds.

    Rounds tell a chain's survivals, not its parameters: chains of the same survivals cannot be told
    apart, and one of them is returned.

    Args:
        accepted: of each round, the tokens that stood.
        drafted: of each round, the tokens drafted.

    Raises:
        ConfigError: no rounds, or one that accepted more than it drafted.
    """
    stood, tried = np.asarray(accepted), np.asarray(drafted)
    if not len(stood) or stood.shape != tried.shape or np.any(stood > tried):
        raise ConfigError(
            "each round needs its drafted and its accepted tokens, not more than those"
        )
    from scipy import optimize

    deepest = int(tried.max())
    ended = np.zeros((deepest + 1, 2))  # rounds by accepted tokens: rejected there, or cut off
    np.add.at(ended, (stood, (stood == tried).astype(int)), 1)

    def chain(x: FloatArray) -> TwoState:
        a, b, c, d, e = (float(v) for v in 1 / (1 + np.exp(-x)))
        return TwoState((a, b), (c, d), e)

    def loss(x: FloatArray) -> float:
        reach = np.concatenate([[1.0], chain(x).survivals(deepest + 1)])
        rejected = np.clip(reach[:-1] - reach[1:], 1e-12, None)
        cut = np.clip(reach[:-1], 1e-12, None)
        return -float((ended[:, 0] * np.log(rejected) + ended[:, 1] * np.log(cut)).sum())

    starts = ([2.0, -1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 3.0, 0.0, 0.0], [3.0, -2.0, 0.0, 2.0, -1.0])
    fits = [optimize.minimize(loss, np.array(x), method="L-BFGS-B") for x in starts]
    return chain(min(fits, key=lambda fit: float(fit.fun)).x)
