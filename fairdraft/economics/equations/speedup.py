"""The closed form of speculative decoding: tokens per run, speedup, best draft length.

Source: Leviathan, Kalman, Matias, "Fast Inference from Transformers via Speculative Decoding"
(2023, arXiv 2211.17192), section 3. Its model: every draft is accepted independently with the
same acceptance rate alpha, one draft costs c target runs, and verifying k drafts takes as long as
one plain target run. Where verification grows with k, add that growth per draft to c.
"""

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairdraft.economics.equations.best_k import best_k
from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@overload
def expected_tokens_per_verify(alpha: float, k: int) -> float: ...
@overload
def expected_tokens_per_verify(alpha: ArrayLike, k: ArrayLike) -> float | FloatArray: ...
def expected_tokens_per_verify(alpha: ArrayLike, k: ArrayLike) -> float | FloatArray:
    """Return the expected tokens per target run, the bonus or recovered token included.

    E = (1 - alpha^(k+1)) / (1 - alpha), Leviathan et al. 2023, eq. 1; its limit k + 1 at alpha = 1.
    Accurate to a few ulp over the whole range; exact at alpha = 0, alpha = 1 and k = 0.

    Args:
        alpha: Acceptance rate in [0, 1], any shape.
        k: Draft length in tokens, a whole number >= 0, any shape that broadcasts with alpha.

    Returns:
        Tokens, between 1 and k + 1: a float for scalars, else float64 of the broadcast shape.

    Raises:
        ConfigError: alpha outside [0, 1] or NaN; k negative or not whole.
        ValueError: the shapes do not broadcast.
    """
    alpha, k = np.broadcast_arrays(_acceptance_rate(alpha), _whole("k", k))
    interior = (alpha > 0) & (alpha < 1)
    a = np.where(interior, alpha, 0.5)
    # alpha + ... + alpha^k. Near alpha = 1 the plain 1 - alpha^k would cancel; expm1 does not.
    accepted = a * -np.expm1(k * np.log(a)) / (1 - a)
    tokens: FloatArray = 1 + np.where(interior, accepted, alpha * k)
    return tokens if tokens.ndim else float(tokens)


@overload
def speedup(alpha: float, k: int, c: float) -> float: ...
@overload
def speedup(alpha: ArrayLike, k: ArrayLike, c: ArrayLike) -> float | FloatArray: ...
def speedup(alpha: ArrayLike, k: ArrayLike, c: ArrayLike) -> float | FloatArray:
    """Return the expected speedup over plain decoding; below 1 speculation loses.

    S = E / (k c + 1) with E = `expected_tokens_per_verify(alpha, k)`, Leviathan et al. 2023,
    Theorem 3.8. No draft length and no drafter gets past 1 / (1 - alpha).

    Args:
        alpha: Acceptance rate in [0, 1], any shape.
        k: Draft length in tokens, a whole number >= 0, any shape.
        c: Draft cost: time of one draft step in target runs, finite and >= 0, any shape.

    Returns:
        A ratio of times: a float for scalars, else float64 of the broadcast shape.

    Raises:
        ConfigError: alpha outside [0, 1] or NaN; k negative or not whole; c negative, NaN or
            infinite.
        ValueError: the shapes do not broadcast.
    """
    k, c = _whole("k", k), _draft_cost(c)
    ratio: FloatArray = np.asarray(expected_tokens_per_verify(alpha, k) / (k * c + 1))
    return ratio if ratio.ndim else float(ratio)


@overload
def optimal_k(alpha: float, c: float, k_max: int) -> int: ...
@overload
def optimal_k(alpha: ArrayLike, c: ArrayLike, k_max: int) -> int | IntArray: ...
def optimal_k(alpha: ArrayLike, c: ArrayLike, k_max: int) -> int | IntArray:
    """Return the draft length in 0..k_max with the highest `speedup`, the shortest of equals.

    Zero means: do not speculate. It is the answer iff alpha <= c (the converse of Leviathan et al.
    2023, Corollary 3.9) or k_max = 0. Speedups within a relative 1e-9 of the best count as ties.

    Args:
        alpha: Acceptance rate in [0, 1], any shape.
        c: Draft cost: time of one draft step in target runs, finite and >= 0, any shape that
            broadcasts with alpha.
        k_max: Longest draft to consider, in tokens, one whole number >= 0. Memory grows with it.

    Returns:
        Tokens: an int for scalars, else int64 of the broadcast shape.

    Raises:
        ConfigError: alpha outside [0, 1] or NaN; c negative, NaN or infinite; k_max negative, not
            whole or not a scalar.
        ValueError: the shapes do not broadcast.
    """
    limit = _whole("k_max", k_max)
    if limit.ndim:
        raise ConfigError(f"k_max has shape {limit.shape}, not one number: pass a single limit")
    alpha, c = _acceptance_rate(alpha), _draft_cost(c)
    ratios = np.asarray(speedup(alpha[..., None], np.arange(int(limit) + 1), c[..., None]))
    best = best_k(ratios)
    return best if best.ndim else int(best)


def _acceptance_rate(value: ArrayLike) -> FloatArray:
    alpha = _numbers("alpha", value)
    legal = (alpha >= 0) & (alpha <= 1)
    _require("alpha", alpha, legal, "in [0, 1]", "pass a fraction, 0.7 for 70%")
    return alpha


def _whole(name: str, value: ArrayLike) -> FloatArray:
    count = _numbers(name, value)
    legal = np.isfinite(count) & (count >= 0) & (count == np.floor(count))
    _require(name, count, legal, "a whole number >= 0", "pass a count of tokens, 0 for no drafts")
    return count


def _draft_cost(value: ArrayLike) -> FloatArray:
    c = _numbers("c", value)
    legal = np.isfinite(c) & (c >= 0)
    _require("c", c, legal, "finite and >= 0", "pass draft step time / target run time")
    return c


def _numbers(name: str, value: ArrayLike) -> FloatArray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} = {value!r} is not numeric: pass numbers") from error


def _require(name: str, values: FloatArray, legal: NDArray[np.bool_], limit: str, fix: str) -> None:
    if not np.all(legal):
        raise ConfigError(f"{name} = {values[~legal].flat[0]} is not {limit}: {fix}")
