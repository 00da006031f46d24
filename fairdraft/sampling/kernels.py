"""From logits to a law or a token in compiled loops: temperature, filters, and the draw.

A row is worked on alone and in one order, so its bits do not depend on what else is in the step.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc,no-any-unimported"

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_BIN_SHIFT = 20  # of a float32's bits: bins of an eighth of a power of two
_BINS = 1 << (31 - _BIN_SHIFT)
_BLOCK = 64  # numbers summed at once
_LEAST = np.float32(-87.0)  # e to the power of less is no normal float32, and counts as nothing


@njit(cache=True)
def _edge(law, count, mass):
    """The smallest probability kept when the largest are taken until enough are there.

    Enough is `count` tokens, or a total of `mass`, whichever comes first. A histogram over the
    leading bits finds the bin in which that happens, and only its members are sorted.
    """
    counts, masses = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.float64)
    bits = law.view(np.int32)
    for i in range(law.size):
        if law[i] > 0:
            place = bits[i] >> _BIN_SHIFT
            counts[place] += 1
            masses[place] += law[i]
    taken, total = 0, 0.0
    place = _BINS - 1
    while place > 0 and taken + counts[place] < count and total + masses[place] < mass:
        taken += counts[place]
        total += masses[place]
        place -= 1
    members = np.empty(counts[place], np.float32)
    found = 0
    for i in range(law.size):
        if law[i] > 0 and bits[i] >> _BIN_SHIFT == place:
            members[found] = law[i]
            found += 1
    members.sort()
    for i in range(found - 1, -1, -1):
        taken += 1
        total += members[i]
        if taken >= count or total >= mass:
            return members[i]
    return members[0] if found else np.float32(0)


@njit(cache=True, fastmath={"reassoc", "nsz"})
def _block_sum(law, start, end):
    total = 0.0
    for i in range(start, end):
        total += law[i]
    return total


@njit(cache=True)
def _block_sums(law):
    """[blocks] float64: the sums of 64 numbers each."""
    sums = np.empty((law.size + _BLOCK - 1) // _BLOCK, np.float64)
    for b in range(sums.size):
        sums[b] = _block_sum(law, b * _BLOCK, min((b + 1) * _BLOCK, law.size))
    return sums


@njit(cache=True)
def pick(law, u):
    """The token whose share of [0, 1) holds `u`, shares laid out by token id.

    Args:
        law: [V] float32 or float64, non-negative; need not be normalised.
        u: in [0, 1).

    Returns:
        The token; −1 if the law is zero everywhere or no number.
    """
    sums = _block_sums(law)
    blocks, total = sums.size, sums.sum()
    if not (0 < total < math.inf):
        return -1
    goal, reached, last = u * total, 0.0, -1
    for b in range(blocks):
        if reached + sums[b] <= goal and b + 1 < blocks:
            reached += sums[b]
            continue
        within = reached
        for i in range(b * _BLOCK, min((b + 1) * _BLOCK, law.size)):
            if law[i] > 0:
                within += law[i]
                last = i
                if goal < within:
                    return i
        reached += sums[b]
    if last < 0:  # rounding: goal lies at the very end, behind a block of zeros
        for i in range(law.size):
            if law[i] > 0:
                last = i
    return last


@intrinsic
def _power_of_two(_context, exponent):
    """2 to the power of a whole float32 between −126 and 127."""

    def generate(_cg, builder, _signature, args):
        whole = builder.fptosi(args[0], ir.IntType(32))
        bits = builder.add(whole, ir.Constant(whole.type, 127))
        return builder.bitcast(builder.shl(bits, ir.Constant(bits.type, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@njit(inline="always")
def _exp(x):
    """e to the power of x ≤ 0, float32, to about one unit in the last place; 0 below −87.

    Cephes' expf, which LLVM turns into vector code. What is no number stays none.
    """
    held = _LEAST if x < _LEAST else x
    n = np.floor(held * np.float32(1.44269504) + np.float32(0.5))
    r = held - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    value = (p * r * r + r + np.float32(1)) * _power_of_two(n)
    return np.float32(0) if x < _LEAST else value


@njit(cache=True)
def _highest(row):
    """The largest number; what is no number counts as larger than all."""
    bits = row.view(np.int32)
    best = np.int32(-(2**31))
    for i in range(bits.size):
        # Signed integers in the order of the floats: their maximum is vector code as it stands.
        key = np.int32(bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        best = key if key > best else best
    found = np.empty(1, np.int32)
    found[0] = best ^ ((best >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return found.view(np.float32)[0]


@njit(cache=True, error_model="numpy")
def _weigh(logits, temperature):
    """[V] float32: each token's probability over the likeliest one's."""
    weights = np.empty(logits.size, np.float32)
    highest, rate = _highest(logits), np.float32(1 / temperature)
    for i in range(logits.size):
        weights[i] = _exp((logits[i] - highest) * rate)
    return weights


@njit(cache=True)
def _bound(weights, total, min_p, top_k, top_p):
    """A weight below which the filters surely keep nothing: few tokens are left to look at."""
    bound = np.float32(min_p) if min_p > 0 else np.float32(0)
    blocks = weights.size // _BLOCK
    if 0 < top_k < weights.size:
        if top_k <= blocks:  # the k-th of the blocks' largest is at most the k-th of all
            bits = weights.view(np.int32)  # not negative, so in the order of the floats
            tops = np.empty(blocks, np.int32)
            for b in range(blocks):
                top = np.int32(0)
                for i in range(b * _BLOCK, (b + 1) * _BLOCK):
                    top = bits[i] if bits[i] > top else top
                tops[b] = top
            tops.sort()
            bound = max(bound, tops.view(np.float32)[blocks - top_k])
    elif top_p < 1 and min_p <= 0:
        # All tokens below it together weigh half of what the nucleus leaves out: room to round.
        bound = np.float32(0.5 * (1 - top_p) * total / weights.size)
    return bound


@njit(cache=True)
def _cut(tokens, weights, edge):
    """Keep what does not lie below the edge, in order and in place; returns how many."""
    kept = 0
    for i in range(weights.size):
        tokens[kept], weights[kept] = tokens[i], weights[i]
        kept += weights[i] >= edge
    return kept


@njit(cache=True)
def _candidates(weights, sums, bound):
    """Tokens of at least this weight, in order, and their weights."""
    tokens = np.empty(weights.size + 1, np.int64)
    count = 0
    for b in range(sums.size):
        if sums[b] >= bound:
            for i in range(b * _BLOCK, min((b + 1) * _BLOCK, weights.size)):
                tokens[count] = i
                count += weights[i] >= bound
    tokens = tokens[:count].copy()
    return tokens, weights[tokens]


@njit(cache=True)
def _restrict(weights, min_p, top_k, top_p):
    """The tokens that min-p, top-k and top-p leave, applied in this order, and their weights.

    Ties at an edge are kept. None are left if the weights are no numbers.
    """
    sums = _block_sums(weights)
    total = sums.sum()
    if not (0 < total < math.inf):
        return np.empty(0, np.int64), np.empty(0, np.float32)
    bound = _bound(weights, total, min_p, top_k, top_p)
    tokens, kept = _candidates(weights, sums, bound)
    if 0 < top_k < weights.size:
        count = _cut(tokens, kept, _edge(kept, top_k, math.inf))
        tokens, kept = tokens[:count], kept[:count]
    if top_p < 1:
        if (0 < top_k < weights.size) or min_p > 0:
            total = kept.astype(np.float64).sum()
        count = _cut(tokens, kept, _edge(kept, kept.size, top_p * total))
        tokens, kept = tokens[:count], kept[:count]
    return tokens, kept


@njit(cache=True)
def law_of(logits, temperature, min_p, top_k, top_p):
    """The law that is sampled: softmax at a temperature, then min-p, top-k and top-p.

    Args:
        logits: [V] float32.
        temperature: above 0.
        min_p: keep tokens at least so many times as likely as the likeliest; 0 keeps all.
        top_k: keep so many; 0 or less keeps all.
        top_p: then keep the fewest likeliest with this share of what is left; 1 keeps all.

    Returns:
        [V] float32, sums to 1; not numbers if every logit is −inf or one is none.
    """
    weights = _weigh(logits, temperature)
    if min_p <= 0 and not 0 < top_k < logits.size and top_p >= 1:
        total = _block_sums(weights).sum()
        for i in range(weights.size):
            weights[i] /= total
        return weights
    tokens, kept = _restrict(weights, min_p, top_k, top_p)
    law = np.full(logits.size, np.float32(0 if tokens.size else math.nan), np.float32)
    total = kept.astype(np.float64).sum()
    for i in range(tokens.size):
        law[tokens[i]] = kept[i] / total
    return law


@njit(cache=True)
def sample(logits, temperature, min_p, top_k, top_p, u):
    """The token that `pick` takes of `law_of`, without writing the law down; −1 likewise."""
    weights = _weigh(logits, temperature)
    if min_p <= 0 and not 0 < top_k < logits.size and top_p >= 1:
        return pick(weights, u)
    tokens, kept = _restrict(weights, min_p, top_k, top_p)
    place = pick(kept, u)
    return tokens[place] if place >= 0 else -1
