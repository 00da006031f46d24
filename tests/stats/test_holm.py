"""Holm's correction, against cases worked out by hand."""

from __future__ import annotations

from fairdraft.stats import holm


def test_holm_by_hand() -> None:
    assert holm([0.001, 0.02, 0.004, 0.5], 0.02) == [True, False, True, False]
    assert holm([], 0.01) == []
    assert holm([0.006, 0.006], 0.01) == [False, False]
