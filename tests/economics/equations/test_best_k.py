"""The highest gain wins, and of those that tie the shortest draft."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.equations.best_k import TIE, best_k


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=12))
def test_it_is_the_first_within_a_tie_of_the_highest(gains: list[float]) -> None:
    k = int(best_k(gains))
    allowed = max(gains) - TIE * abs(max(gains))
    assert gains[k] >= allowed
    assert all(gain < allowed for gain in gains[:k])


def test_ties_go_to_the_shorter_draft_and_rows_are_judged_one_by_one() -> None:
    assert int(best_k([1.0, 2.0, 2.0 + 1e-10])) == 1
    assert int(best_k([1.0, 2.0, 2.0 + 1e-8])) == 2
    assert best_k([[1, 3, 2], [5, 4, 3]], ks=[0, 2, 4]).tolist() == [2, 0]
    assert best_k(np.zeros((2, 3, 4))).shape == (2, 3)
