"""The sampler's loops over a vocabulary, compiled by numba: filters, and draws from a law."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

import math

import numpy as np
from numba import njit

_BIN_SHIFT = 20  # of a float32's bits: bins of an eighth of a power of two
_BINS = 1 << (31 - _BIN_SHIFT)
_BLOCK = 64  # numbers summed at once


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


@njit(cache=True)
def _cut(law, edge):
    """Zero what lies below the edge; returns the sum of the rest."""
    total = 0.0
    for i in range(law.size):
        if law[i] < edge:
            law[i] = 0
        else:
            total += law[i]
    return total


@njit(cache=True)
def restrict(law, min_p, top_k, top_p):
    """Apply min-p, top-k and top-p in this order, in place, and normalise. Ties are kept.

    Args:
        law: [V] float32.
        min_p: keep tokens at least so many times as likely as the likeliest.
        top_k: keep so many; 0 or less keeps all.
        top_p: then keep the fewest likeliest with this share of what is left; 1 keeps all.
    """
    total = _cut(law, np.float32(min_p * law.max()) if min_p > 0 else np.float32(0))
    if 0 < top_k < law.size:
        total = _cut(law, _edge(law, top_k, math.inf))
    if top_p < 1:
        total = _cut(law, _edge(law, law.size, top_p * total))
    for i in range(law.size):
        law[i] /= total


@njit(cache=True, fastmath={"reassoc", "nsz"})
def _block_sum(law, start, end):
    total = 0.0
    for i in range(start, end):
        total += law[i]
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
    blocks = (law.size + _BLOCK - 1) // _BLOCK
    sums = np.empty(blocks, np.float64)
    total = 0.0
    for b in range(blocks):
        sums[b] = _block_sum(law, b * _BLOCK, min((b + 1) * _BLOCK, law.size))
        total += sums[b]
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
