"""What compiled loops share: memory at an address as an array, and an exponential."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc,no-any-unimported"

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic


@intrinsic
def _as_pointer(_context, address):
    def generate(cg, builder, _signature, args):
        return builder.inttoptr(args[0], cg.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@njit(inline="always")
def array_at(address, shape, dtype):
    """The array of this shape and dtype whose memory begins at an address."""
    return carray(_as_pointer(address), shape, dtype)


LOG2_E, LN2_HIGH, LN2_LOW = 1.44269504, 0.693359375, -2.12194440e-4
EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)


@njit(inline="always")
def exp_within(x):
    """e to the power of x, float32 between −87 and 88, to about one unit in the last place.

    The C library's is called one number at a time; this one LLVM turns into vector code. Range
    reduction to |r| ≤ ln 2 / 2 and a polynomial of degree 6 (Cephes' expf).
    """
    n = np.floor(x * np.float32(LOG2_E) + np.float32(0.5))
    r = x - n * np.float32(LN2_HIGH) - n * np.float32(LN2_LOW)
    p = np.float32(EXP[0])
    for i in range(1, len(EXP)):
        p = p * r + np.float32(EXP[i])
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * r * r + r + np.float32(1)) * power
