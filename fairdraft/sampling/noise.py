"""Every random number is a function of (request seed, where, purpose) and of nothing else.

Not of the batch, the schedule, the draft length or the order of calls: that is what makes sampled
output repeatable, and with deterministic drafts equal with speculation on and off.
"""

from __future__ import annotations

import hashlib
import math
import struct
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from numba import njit


class Purpose(IntEnum):
    """What a draw decides. Draws of different purpose are independent."""

    TARGET = 0  # a token from the target's law; where = (position,)
    DRAFT = 1  # a token from the drafter's law; where = (round start, index, sibling's ordinal)
    ACCEPT = 2  # whether a draft token stands; where = (round start, node)
    RECOVER = 3  # the token after a rejection; where = (round start, row)
    REQUEST = 4  # the seed of the i-th request that brings none; where = (i,)
    COMPLETION = 5  # the seed of the i-th of n completions; where = (i,)
    COUPLED = 6  # a token of target and drafter alike, under Gumbel coupling; where = (position,)


def bits(seed: int, purpose: Purpose, *where: int) -> int:
    """64 bits of BLAKE2b, keyed by nothing but the arguments.

    Args:
        seed: the request's seed.
        purpose: what the draw decides.
        where: non-negative integers that tell this draw from others of its purpose.
    """
    message = struct.pack(f"<QB{len(where)}Q", seed % 2**64, purpose, *where)
    return int.from_bytes(hashlib.blake2b(message, digest_size=8).digest(), "little")


def uniform(seed: int, purpose: Purpose, *where: int) -> float:
    """A uniform draw in [0, 1) with 53 random bits; arguments as in `bits`."""
    return (bits(seed, purpose, *where) >> 11) * 2.0**-53


def derive_seed(seed: int, purpose: Purpose, index: int) -> int:
    """The seed of the `index`-th request or completion under `seed`."""
    return bits(seed, purpose, index)


def race(law: npt.NDArray[np.float32], key: int) -> int:
    """The token that comes first when each runs an exponential time at the rate of its law.

    argmin E(x) / law(x) = argmax(log law(x) + g(x)), g = −log E being Gumbel noise: a draw from
    the law, in which the noise of a token does not depend on the law. Two laws raced under one key
    mostly agree (Daliri et al. 2025, arXiv 2408.07978). Tokens outside the support do not run.

    Args:
        law: [V], non-negative; need not be normalised.
        key: 64 bits that name the draw; noise of token x is SplitMix64's x-th number from there.

    Returns:
        The token; −1 if the law is zero everywhere or no number.
    """
    return int(winner_of(law, _EVERY, np.uint64(key)))


_EVERY = np.empty(0, np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def winner_of(law: npt.NDArray[np.float32], ids: npt.NDArray[np.int32], key: np.uint64) -> int:
    """`race`, compiled, over a law that may leave tokens out.

    Args:
        law: [n] shares, non-negative.
        ids: [n], the token of each; empty where the i-th is token i.
        key: as for `race`.

    Returns:
        Where the winner is in `law`; −1 as for `race`.
    """
    winner = -1
    best = np.inf
    for i in range(law.size):
        p = np.float64(law[i])
        if p > 0.0:
            token = ids[i] if ids.size else i
            z = key + np.uint64(token + 1) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            u = (np.float64(z >> np.uint64(11)) + 0.5) * 2.0**-53
            if 1.0 - u < best * p:  # −log u is more than 1 − u: most tokens need no logarithm
                time = -math.log(u) / p
                if time < best:
                    best = time
                    winner = i
    return winner
