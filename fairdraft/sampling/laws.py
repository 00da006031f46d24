"""One row of logits to its law, a token, or log-probabilities: compiled by numba."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fairdraft.sampling.kernels import BLOCK, keep, likeliest, normalise, pick, weigh


@njit(cache=True)
def shares_of(logits, scale, min_p, top_k, top_p, weights, ids, sums):
    """Work out which tokens a row's filters keep, and their shares, not yet normalised.

    Args:
        logits: [V] float32.
        scale: 1 / temperature.
        min_p, top_k, top_p: as for `keep`.
        weights, ids, sums: memory, [V] float32, [V] int32 and [⌈V / 64⌉] float64.

    Returns:
        The shares, in the order of their tokens, in `weights`; their total; and the tokens, in
        `ids`: empty where no filter is on, and the i-th share is token i's. No share is left if
        every logit is −inf or one is no number.
    """
    total = weigh(logits, np.float32(scale), weights, sums)
    if not (0 < total < math.inf):
        return weights[:0], total, ids[:0]
    if not (min_p > 0 or 0 < top_k < weights.size or top_p < 1):
        return weights, total, ids[:0]
    count, total = keep(weights, sums, total, min_p, top_k, top_p, ids)
    return weights[:count], total, ids[:count]


@njit(cache=True)
def drawn(shares, ids, u):
    """The token that `pick` takes of the shares that `shares_of` gives; −1 likewise."""
    place = pick(shares, u)
    return np.int64(ids[place]) if ids.size and place >= 0 else place


@njit(cache=True)
def _memory(size):
    blocks = (size + BLOCK - 1) // BLOCK
    return np.empty(size, np.float32), np.empty(size, np.int32), np.empty(blocks, np.float64)


@njit(cache=True)
def law_over(logits, temperature, min_p, top_k, top_p, target_ids, size):
    """The law that is sampled, over another vocabulary.

    Args:
        logits: [V] float32.
        temperature: above 0.
        min_p, top_k, top_p: as for `keep`.
        target_ids: [V] int64, what each token is there; empty where it is the same.
        size: of that vocabulary.

    Returns:
        [size] float32, sums to 1, 0 for tokens that have no logit; not numbers if every logit is
        −inf or one is none.
    """
    weights, ids, sums = _memory(logits.size)
    shares, total, ids = shares_of(logits, 1 / temperature, min_p, top_k, top_p, weights, ids, sums)
    if shares.size == 0:
        return np.full(size, np.float32(math.nan), np.float32)
    normalise(shares, total)
    if ids.size == 0 and target_ids.size == 0 and shares.size == size:
        return shares
    law = np.zeros(size, np.float32)
    for i in range(shares.size):
        token = ids[i] if ids.size else i
        law[target_ids[token] if target_ids.size else token] = shares[i]
    return law


@njit(cache=True)
def top_logprobs(logits, count):
    """The likeliest tokens and the logarithms of their probabilities; no filter, temperature 1.

    Args:
        logits: [V] float32.
        count: how many, from 0 to V.

    Returns:
        [count] tokens, likeliest first, equals by id; [count] float64 log-probabilities; and what
        a logit is lowered by to be one.
    """
    weights, ids, sums = _memory(logits.size)
    total = weigh(logits, np.float32(1), weights, sums)
    lowered = likeliest(logits)[1] + math.log(total)
    found = logits.size
    if 0 < count < found:
        found = keep(weights, sums, total, 0.0, count, 1.0, ids)[0]
    if found < count or found == logits.size:  # of those that weigh nothing some are wanted too
        found = logits.size
        for i in range(found):
            ids[i] = i
    tokens = np.empty(count, np.int64)
    for i in range(count):
        best = i
        for j in range(i + 1, found):
            ahead = logits[ids[j]] - logits[ids[best]]
            if ahead > 0 or (ahead == 0 and ids[j] < ids[best]):
                best = j
        tokens[i] = ids[best]
        ids[best] = ids[i]
    return tokens, logits[tokens] - lowered, lowered


@njit(cache=True)
def sample(logits, temperature, min_p, top_k, top_p, u):
    """The token that `pick` takes of `law_over`, without writing the law down; −1 likewise."""
    weights, ids, sums = _memory(logits.size)
    shares, _, ids = shares_of(logits, 1 / temperature, min_p, top_k, top_p, weights, ids, sums)
    return drawn(shares, ids, u)
