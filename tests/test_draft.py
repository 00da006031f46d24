"""Drafts are cut from behind, their laws with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.draft import EMPTY_DRAFT, Draft, Verdict

untimed = settings(deadline=None)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 100])
def test_tokens_and_laws_are_cut_together(length: int) -> None:
    probs = np.arange(12).reshape(3, 4)
    draft = Draft((7, 8, 9), probs=probs).trimmed(length)
    assert draft.token_ids == (7, 8, 9)[:length]
    assert len(draft) == min(length, 3)
    np.testing.assert_array_equal(draft.probs, probs[:length])


def test_a_chosen_draft_stays_without_laws() -> None:
    assert Draft((1, 2)).trimmed(1).probs is None


@untimed
@given(
    tokens=st.lists(st.integers(0, 9), max_size=8),
    cuts=st.lists(st.integers(0, 10), min_size=1, max_size=4),
)
def test_cutting_again_is_cutting_to_the_shortest(tokens: list[int], cuts: list[int]) -> None:
    draft = Draft(tuple(tokens))
    for cut in cuts:
        draft = draft.trimmed(cut)
    assert list(draft.token_ids) == tokens[: min(cuts)]


def test_the_empty_draft_and_its_verdict() -> None:
    assert len(EMPTY_DRAFT) == 0
    assert EMPTY_DRAFT.trimmed(3).token_ids == ()
    assert Verdict((), 5).num_accepted == 0
    assert Verdict((0, 1), 5).num_accepted == 2


#      row 0
#      0   1
#      2   3 4
#      5
TREE = Draft((10, 11, 12, 13, 14, 15), (-1, -1, 0, 1, 1, 2))


def test_a_trees_rows() -> None:
    assert TREE.children == ((0, 1), (2,), (3, 4), (5,), (), (), ())
    assert TREE.depths == (0, 1, 1, 2, 2, 2, 3)
    assert TREE.path(6) == (0, 2, 5)
    assert TREE.tokens_before(5) == (11, 14)
    assert TREE.tokens_before(0) == ()
    assert not TREE.is_chain


def test_a_chain_is_a_chain_however_it_is_written() -> None:
    chain = Draft((1, 2, 3), (-1, 0, 1))
    assert chain.is_chain
    assert chain == Draft((1, 2, 3))
    assert chain.children == ((0,), (1,), (2,), ())
    assert chain.depths == (0, 1, 2, 3)
    assert chain.path(2) == (0, 1)


@pytest.mark.parametrize("length", range(8))
def test_a_trimmed_tree_is_a_tree(length: int) -> None:
    trimmed = TREE.trimmed(length)
    assert trimmed.depths == TREE.depths[: length + 1]
    assert all(trimmed.path(row) == TREE.path(row) for row in range(len(trimmed) + 1))


@pytest.mark.parametrize(
    ("parents", "message"),
    [((-1, 1), "must come before"), ((-1,), "have 1 parents"), ((-2, 0), "must come before")],
)
def test_parents_in_no_order_are_refused(parents: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Draft((1, 2), parents)
