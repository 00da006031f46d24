"""Growing trees: the most valuable nodes, parents first, within every limit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.proposers.drafting.trees import GrowingTree

Law = dict[int, float]


def law_behind(path: tuple[int, ...], seed: int) -> Law:
    """A law over three tokens that depends on the whole path."""
    weights = [1 + hash((*path, token, seed)) % 7 for token in range(3)]
    return {token: weight / sum(weights) for token, weight in enumerate(weights)}


def grown(num_nodes: int, width: int, depth: int, room: int, seed: int) -> GrowingTree:
    tree = GrowingTree(num_nodes, width)
    for level in range(depth):
        run = tree.run
        rows = range(len(run) + 1 - tree.num_newest, len(run) + 1)
        laws = [law_behind(run.tokens_before(row), seed) for row in rows]
        best = [sorted(law, key=lambda t, law=law: -law[t])[:width] for law in laws]
        shares = [[law[t] for t in tokens] for law, tokens in zip(laws, best, strict=True)]
        assert len(run) <= room
        tree.grow(best, shares, room if level + 1 < depth else 0)
    return tree


@given(num_nodes=st.integers(1, 12), depth=st.integers(1, 3), seed=st.integers(0, 99))
def test_wide_enough_it_drafts_the_most_valuable_of_all(
    num_nodes: int, depth: int, seed: int
) -> None:
    draft = grown(num_nodes, 27, depth, 99, seed).draft()

    def value(path: tuple[int, ...]) -> float:
        total = 1.0
        for i, token in enumerate(path):
            total *= law_behind(path[:i], seed)[token]
        return total

    every = [path for length in range(1, depth + 1) for path in product(range(3), repeat=length)]
    best = sorted((value(path) for path in every), reverse=True)[:num_nodes]
    found = [value(draft.tokens_before(row)) for row in range(1, len(draft) + 1)]
    assert found == pytest.approx(best)


@given(
    num_nodes=st.integers(1, 12),
    width=st.integers(1, 3),
    depth=st.integers(1, 5),
    room=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_within_its_limits(num_nodes: int, width: int, depth: int, room: int, seed: int) -> None:
    draft = grown(num_nodes, width, depth, room, seed).draft()
    assert len(draft) <= num_nodes
    assert max(draft.depths) <= depth
    for siblings in draft.children:
        assert len(siblings) <= width
        assert len({draft.token_ids[node] for node in siblings}) == len(siblings)


def test_what_is_worth_too_little_is_left_out() -> None:
    tree = GrowingTree(8, 2, least=0.3)
    tree.grow([[5, 6]], [[0.7, 0.2]], room=8)
    assert tree.num_newest == 1
    tree.grow([[7, 8]], [[0.5, 0.4]], room=8)
    assert tree.draft().token_ids == (5, 7)
