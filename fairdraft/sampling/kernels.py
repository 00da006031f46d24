"""The sampler's loops over a vocabulary, compiled by numba: a row's logits to its law, and draws.

A row is worked on by itself, in an order that its own length fixes: its bits do not depend on the
rows beside it. Loops get slices that begin at 0, which is what lets LLVM make vector code of them.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fairdraft.compiled import exp_within

_BIN_BITS = 11  # of a float32's bits; the first ones make bins of an eighth of a power of two
_BIN_SHIFT = 31 - _BIN_BITS
_BINS = 1 << _BIN_BITS
_FEW = 64  # numbers that are sorted at once
BLOCK = 64  # numbers summed at once
_CHUNK = 4096  # logits whose highest is looked for at once
_STRIDE = 8  # between one bound that is tried and the next
_WIDE = 256  # tokens that the tail of a nucleus is first taken for
_LOWEST = np.float32(-87)  # e to this is about the smallest normal float32


@njit(cache=True)
def _edge(law, count, mass):
    """The smallest probability kept when the largest are taken until enough are there.

    Enough is `count` tokens, or a total of `mass`, whichever comes first. A histogram over the
    leading bits finds the bin in which that happens, another one over the bits behind them where in
    it, until the members are few enough to be sorted.
    """
    taken, total, shift, size = 0, 0.0, _BIN_SHIFT, 0
    members = np.empty(law.size, np.float32)
    for i in range(law.size):
        members[size] = law[i]
        size += law[i] > 0
    counts, masses = np.empty(_BINS, np.int64), np.empty(_BINS, np.float64)
    while size > _FEW and shift >= 0:
        counts[:], masses[:] = 0, 0
        bits = members.view(np.int32)
        place, lowest = 0, _BINS
        for i in range(size):
            at = bits[i] >> shift & (_BINS - 1)
            counts[at] += 1
            masses[at] += members[i]
            place, lowest = max(place, at), min(lowest, at)
        while place > lowest and taken + counts[place] < count and total + masses[place] < mass:
            taken += counts[place]
            total += masses[place]
            place -= 1
        found = 0
        for i in range(size):
            member, at = members[i], bits[i] >> shift & (_BINS - 1)
            members[found] = member
            found += at == place
        size = found
        shift = max(shift - _BIN_BITS, 0) if shift else -1
    members = members[:size]
    members.sort()
    for i in range(members.size - 1, -1, -1):
        taken += 1
        total += members[i]
        if taken >= count or total >= mass:
            return members[i]
    return members[0] if members.size else np.float32(0)


@njit(fastmath={"reassoc", "nsz"})
def _sum(numbers):
    total = 0.0
    for i in range(numbers.size):
        total += numbers[i]
    return total


@njit(cache=True)
def sum_blocks(law, sums):
    """Write the sum of each 64 numbers of a law to `sums` [⌈V / 64⌉] float64; returns them all."""
    total = 0.0
    for b in range(sums.size):
        sums[b] = _sum(law[b * BLOCK : (b + 1) * BLOCK])
        total += sums[b]
    return total


@njit(cache=True)
def pick(law, u):
    """The token whose share of [0, 1) holds `u`, shares laid out by token id.

    Args:
        law: [V] float32 or float64, non-negative; need not be normalised.
        u: in [0, 1).

    Returns:
        The token; −1 if the law is zero everywhere or no number.
    """
    sums = np.empty((law.size + BLOCK - 1) // BLOCK, np.float64)
    total = sum_blocks(law, sums)
    if not (0 < total < math.inf):
        return -1
    goal, reached, last = u * total, 0.0, -1
    for b in range(sums.size):
        if reached + sums[b] <= goal and b + 1 < sums.size:
            reached += sums[b]
            continue
        within = reached
        for i in range(b * BLOCK, min((b + 1) * BLOCK, law.size)):
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


# --- a row's logits to the tokens that its filters keep


@njit(fastmath={"nnan", "nsz"})
def _highest(numbers):
    """The highest of some numbers; of four at a time, which do not wait for each other."""
    quarter = numbers.size // 4
    a = b = c = d = numbers[0]
    first, second = numbers[:quarter], numbers[quarter : 2 * quarter]
    third, fourth = numbers[2 * quarter : 3 * quarter], numbers[3 * quarter :]
    for i in range(quarter):
        a, b = max(a, first[i]), max(b, second[i])
        c, d = max(c, third[i]), max(d, fourth[i])
    for i in range(quarter, fourth.size):
        d = max(d, fourth[i])
    return max(max(a, b), max(c, d))


@njit(cache=True)
def likeliest(logits):
    """The first token with the highest of `logits` [V] float32, and that logit.

    The token is −1 if every logit is −inf or one is no number in the place of the highest.
    """
    highest, where = np.float32(-math.inf), -1
    for start in range(0, logits.size, _CHUNK):
        value = _highest(logits[start : start + _CHUNK])
        if value > highest:
            highest, where = value, start
    if where >= 0:
        for i in range(where, min(where + _CHUNK, logits.size)):
            if logits[i] == highest:
                return i, highest
    return -1, highest


@njit(fastmath={"contract"}, error_model="numpy")
def _exp_below(logits, highest, scale, weights):
    for i in range(logits.size):
        below = (logits[i] - highest) * scale
        weights[i] = np.float32(0) if below < _LOWEST else exp_within(below)


@njit(cache=True)
def weigh(logits, scale, weights, sums):
    """Write e^((logit − highest) · scale) to `weights` [V] float32, and block sums to `sums`.

    Returns:
        The sum of all weights; no number if a logit is none, or if all are −inf.
    """
    _, highest = likeliest(logits)
    _exp_below(logits, highest, scale, weights)
    return sum_blocks(weights, sums)


@njit(fastmath={"reassoc", "nsz"})
def _count_from(numbers, floor):
    count = np.float32(0)
    for i in range(numbers.size):
        count += np.float32(1) if numbers[i] >= floor else np.float32(0)
    return count


@njit(fastmath={"reassoc", "nsz"})
def _mass_from(numbers, floor):
    total = 0.0
    for i in range(numbers.size):
        total += np.float64(numbers[i]) if numbers[i] >= floor else 0.0
    return total


@njit(cache=True)
def _floor(weights, sums, guess, lowest, count, mass):
    """A bound from `guess` down to `lowest` above which there are `count` tokens, or `mass`.

    `lowest` is known to be one. The higher it lies, the fewer tokens are looked at after. Of
    `count` and `mass` the first is asked for where it is not 0.
    """
    floor = np.float32(guess)
    while floor > lowest:
        found = 0.0
        for b in range(sums.size):
            if sums[b] >= floor:
                block = weights[b * BLOCK : (b + 1) * BLOCK]
                found += _count_from(block, floor) if count else _mass_from(block, floor)
        if found >= (count if count else mass):
            return floor
        floor /= _STRIDE
    return np.float32(lowest)


@njit(cache=True)
def _gather(weights, sums, floor, ids):
    """Move the weights from `floor` up to the front, and note their tokens; returns how many."""
    count = 0
    for b in range(sums.size):
        if sums[b] >= floor:
            for i in range(b * BLOCK, min((b + 1) * BLOCK, weights.size)):
                weight = weights[i]
                weights[count] = weight
                ids[count] = i
                count += weight >= floor
    return count


@njit(cache=True)
def _drop(weights, ids, count, edge):
    """Drop those below an edge from the first `count`; returns how many stay."""
    left = 0
    for i in range(count):
        weight = weights[i]
        weights[left] = weight
        ids[left] = ids[i]
        left += weight >= edge
    return left


@njit(cache=True)
def keep(weights, sums, total, min_p, top_k, top_p, ids):
    """Keep what min-p, top-k and top-p keep, in this order; ties at an edge stay.

    Only weights above a bound that no kept token lies below are looked at one by one.

    Args:
        weights, sums, total: as `weigh` gives them. The weights kept are moved to the front, in the
            order of their tokens.
        min_p: keep tokens at least so many times as likely as the likeliest; 0 keeps all.
        top_k: keep so many; 0 or less keeps all.
        top_p: then keep the fewest likeliest with this share of what is left; 1 keeps all.
        ids: [V] int32, where the tokens kept are noted.

    Returns:
        How many are kept, and their sum.
    """
    size = weights.size
    limited = 0 < top_k < size
    if min_p > 0:
        floor = np.float32(min_p)
    elif limited:
        # As many blocks have a member at least as high as the mean of the k-th highest block.
        high = _edge(sums.astype(np.float32), top_k, math.inf) if top_k <= sums.size else 0.0
        floor = _floor(weights, sums, high / _STRIDE, 0.999 * high / BLOCK, top_k, 0.0)
    else:
        # All tokens below the lowest bound together have less than what the nucleus leaves out.
        most = 0.999 * (1 - top_p) * total
        floor = _floor(weights, sums, most / _WIDE, most / size, 0, top_p * total + most / 999)
    count = _gather(weights, sums, floor, ids)
    if min_p > 0:
        total = _sum(weights[:count])
    if limited and top_k < count:
        count = _drop(weights, ids, count, _edge(weights[:count], top_k, math.inf))
    if limited:
        total = _sum(weights[:count])
    if top_p < 1:
        count = _drop(weights, ids, count, _edge(weights[:count], count, top_p * total))
        total = _sum(weights[:count])
    return count, total


@njit(fastmath={"contract"}, error_model="numpy")
def normalise(weights, total):
    """Divide by the total, in place."""
    factor = np.float32(1 / total)
    for i in range(weights.size):
        weights[i] *= factor
