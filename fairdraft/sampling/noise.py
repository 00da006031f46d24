"""Every random number is a function of (request seed, where, purpose) and of nothing else.

Not of the batch, the schedule, the draft length or the order of calls: that is what makes sampled
output repeatable, and with deterministic drafts equal with speculation on and off.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum


class Purpose(IntEnum):
    """What a draw decides. Draws of different purpose are independent."""

    TARGET = 0  # a token from the target's law; where = (position,)
    DRAFT = 1  # a token from the drafter's law; where = (round start, index)
    ACCEPT = 2  # whether a draft token stands; where = (round start, index)
    RECOVER = 3  # the token after a rejection; where = (round start, index)
    REQUEST = 4  # the seed of the i-th request that brings none; where = (i,)
    COMPLETION = 5  # the seed of the i-th of n completions; where = (i,)


def _bits(seed: int, purpose: Purpose, where: tuple[int, ...]) -> int:
    """64 bits of BLAKE2b, keyed by nothing but the arguments."""
    message = struct.pack(f"<QB{len(where)}Q", seed % 2**64, purpose, *where)
    return int.from_bytes(hashlib.blake2b(message, digest_size=8).digest(), "little")


def uniform(seed: int, purpose: Purpose, *where: int) -> float:
    """A uniform draw in [0, 1) with 53 random bits.

    Args:
        seed: the request's seed.
        purpose: what the draw decides.
        where: non-negative integers that tell this draw from others of its purpose.
    """
    return (_bits(seed, purpose, where) >> 11) * 2.0**-53


def derive_seed(seed: int, purpose: Purpose, index: int) -> int:
    """The seed of the `index`-th request or completion under `seed`."""
    return _bits(seed, purpose, (index,))
