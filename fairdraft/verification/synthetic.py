"""Acceptance by decree, to measure what steps cost. The text it gives is not the target's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fairdraft.draft import Draft, Verdict


def synthetic(
    draft: Draft, rates: Sequence[float], u: float, target: Callable[[int], int]
) -> Verdict:
    """Accept as many draft tokens as the given rates say, whatever they are.

    Args:
        draft: of a tree the first branch is taken.
        rates: entry i is the share of rounds in which the first i + 1 tokens stand;
            non-increasing.
        u: this round's uniform draw.
        target: row → the target's own token, for the one after the accepted ones.
    """
    row = 0
    path: list[int] = []
    for rate in rates:
        if u >= rate or not draft.children[row]:
            break
        path.append(draft.children[row][0])
        row = path[-1] + 1
    return Verdict(tuple(path), target(row))
