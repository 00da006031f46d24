"""The compiled allocation is the plain one, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.economics.autopilot.allocate import allocate
from fairdraft.proposers.allocate_compiled import allocate_compiled


def survivals(draw: np.random.Generator, count: int, k: int, digits: int) -> np.ndarray:
    """Never rising, 0 beyond each one's end; with few digits equal ones are many."""
    found = np.round(draw.random((count, k)), digits).cumprod(1)
    return np.where(np.arange(k) < draw.integers(0, k + 1, (count, 1)), found, 0.0)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([1, 2, 16]),
    st.floats(0, 5),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 12),
)
def test_both_return_the_same(
    seed: int, count: int, k: int, digits: int, rate: float, behind: float, longest: int
) -> None:
    draw = np.random.default_rng(seed)
    gains, own = (survivals(draw, count, k, digits) for _ in range(2))
    plain = 1 + (draw.random(count * k + 1) * (draw.random(count * k + 1) < 0.6)).cumsum() / count
    costs = draw.random((count + 1, k + 1)).cumsum(0).cumsum(1) / (count * k)
    costs[0], costs[:, 0] = 0.0, 0.0
    world = (gains, own, plain, costs, behind, min(longest, k), rate)
    tokens, seconds, lengths, takes = allocate(*world)
    compiled = allocate_compiled(*world)
    assert (tokens, seconds) == compiled[:2]
    assert lengths.tolist() == compiled[2].tolist()
    assert takes.tolist() == compiled[3].tolist()
