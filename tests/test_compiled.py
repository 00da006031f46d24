"""What compiled loops share."""

from __future__ import annotations

import numpy as np
from numba import njit

from fairdraft.compiled import array_at, exp_within


@njit
def exponentials(xs, out):  # type: ignore[no-untyped-def]
    for i in range(xs.size):
        out[i] = exp_within(xs[i])


@njit
def total_at(address, size):  # type: ignore[no-untyped-def]
    return array_at(address, (size,), np.float64).sum()


def test_the_exponential_is_near_the_exact_one() -> None:
    xs = np.linspace(-87, 88, 200_001, dtype=np.float32)
    found = np.empty_like(xs)
    exponentials(xs, found)
    exact = np.exp(xs.astype(np.float64))
    assert np.abs(found / exact - 1).max() < 2e-7


def test_of_no_number_it_is_none() -> None:
    found = np.empty(1, np.float32)
    exponentials(np.array([np.nan], np.float32), found)
    assert np.isnan(found[0])


def test_an_array_is_what_lies_at_its_address() -> None:
    numbers = np.arange(7.0)
    assert total_at(numbers.ctypes.data, 7) == 21
