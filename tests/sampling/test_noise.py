"""Draws depend on their key alone, and look uniform and independent from wherever one looks."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from fairdraft.sampling.noise import Purpose, derive_seed, uniform

COUNT = 4000
Stream = Callable[[int], float]

# Seeds are fixed, so a test passes always or never; a sound generator fails one in a million.
SUSPICIOUS = 1e-6


def test_the_same_key_gives_the_same_draw_in_any_order() -> None:
    keys = [(seed, p, w) for seed in (0, 7) for p in Purpose for w in ((3,), (3, 0), (0, 3))]
    forward = [uniform(seed, purpose, *where) for seed, purpose, where in keys]
    backward = [uniform(seed, purpose, *where) for seed, purpose, where in reversed(keys)]
    assert forward == backward[::-1]
    assert len(set(forward)) == len(keys)


def test_another_process_draws_the_same() -> None:
    """Not Python's own hash, which every process salts anew."""
    code = (
        "from fairdraft.sampling.noise import *;"
        "print(repr(uniform(5, Purpose.ACCEPT, 12, 3)), derive_seed(5, Purpose.COMPLETION, 1))"
    )
    for salt in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        here = [uniform(5, Purpose.ACCEPT, 12, 3), derive_seed(5, Purpose.COMPLETION, 1)]
        assert answer.split() == [repr(value) for value in here]


def test_no_two_keys_meet() -> None:
    places = [(i,) for i in range(40)] + [(i, j) for i in range(30) for j in range(8)]
    seeds = (0, 1, 2, 255, 256, 2**32, 2**63, 2**64 - 1)
    draws = {uniform(s, p, *w) for s in seeds for p in Purpose for w in places}
    assert len(draws) == len(seeds) * len(Purpose) * len(places)


def test_draws_lie_in_the_half_open_unit_interval() -> None:
    draws = [uniform(1, Purpose.TARGET, i) for i in range(COUNT)]
    assert all(0 <= u < 1 for u in draws)
    assert min(draws) < 0.002
    assert max(draws) > 0.998


STREAMS: dict[str, Stream] = {
    **{f"positions, {p.name}": lambda i, p=p: uniform(3, p, i) for p in Purpose},
    "seeds": lambda i: uniform(i, Purpose.TARGET, 10),
    "derived seeds": lambda i: uniform(derive_seed(0, Purpose.COMPLETION, i), Purpose.TARGET, 10),
    "rounds": lambda i: uniform(3, Purpose.ACCEPT, i, 1),
    "indices": lambda i: uniform(3, Purpose.ACCEPT, 17, i),
}


@pytest.mark.parametrize("name", STREAMS)
def test_uniform(name: str) -> None:
    draws = np.array([STREAMS[name](i) for i in range(COUNT)])
    assert stats.kstest(draws, "uniform").pvalue > SUSPICIOUS
    cells = np.bincount((draws * 64).astype(int), minlength=64)
    assert stats.chisquare(cells).pvalue > SUSPICIOUS
    # The low bits too: a grid of too few bits would show here.
    low = np.bincount((draws * 2**40 % 1 * 16).astype(int), minlength=16)
    assert stats.chisquare(low).pvalue > SUSPICIOUS


PAIRS: dict[str, tuple[Stream, Stream]] = {
    **{
        f"{a.name} and {b.name}": (
            lambda i, a=a: uniform(3, a, i, 0),
            lambda i, b=b: uniform(3, b, i, 0),
        )
        for a, b in itertools.combinations(Purpose, 2)
    },
    "a seed and the next": (
        lambda i: uniform(3, Purpose.TARGET, i),
        lambda i: uniform(4, Purpose.TARGET, i),
    ),
    "a position and the next": (
        lambda i: uniform(3, Purpose.TARGET, i),
        lambda i: uniform(3, Purpose.TARGET, i + 1),
    ),
    "a seed and its neighbour one position on": (
        lambda i: uniform(i, Purpose.TARGET, 50),
        lambda i: uniform(i + 1, Purpose.TARGET, 49),
    ),
    "index 1 of a round and index 0 of the next": (
        lambda i: uniform(3, Purpose.ACCEPT, i, 1),
        lambda i: uniform(3, Purpose.ACCEPT, i + 1, 0),
    ),
    "two completions": (
        lambda i: uniform(derive_seed(9, Purpose.COMPLETION, 0), Purpose.TARGET, i),
        lambda i: uniform(derive_seed(9, Purpose.COMPLETION, 1), Purpose.TARGET, i),
    ),
    "a request and its first completion": (
        lambda i: uniform(9, Purpose.TARGET, i),
        lambda i: uniform(derive_seed(9, Purpose.COMPLETION, 0), Purpose.TARGET, i),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_independent(name: str) -> None:
    first, second = ([stream(i) for i in range(COUNT)] for stream in PAIRS[name])
    cells, _, _ = np.histogram2d(first, second, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chi2_contingency(cells).pvalue > SUSPICIOUS


def test_derived_seeds_differ_and_fit_64_bits() -> None:
    seeds = [derive_seed(s, Purpose.COMPLETION, i) for s in (0, 1, 2**64 - 1) for i in range(200)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert max(seeds) > 2**63
