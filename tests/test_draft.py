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
    draft = Draft((7, 8, 9), probs).trimmed(length)
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
