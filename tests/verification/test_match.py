"""Sample and match, token for token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.draft import Draft, Verdict
from fairdraft.proof.exact import said
from fairdraft.verification import match


@settings(deadline=None)
@given(
    drafts=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=6),
        min_size=1,
        max_size=6,
    ),
    chains=st.booleans(),
    salt=st.integers(0, 10**6),
)
def test_any_drafts_give_the_text_of_plain_decoding(
    drafts: list[list[tuple[int, int]]], chains: bool, salt: int
) -> None:
    def own(text: Sequence[int]) -> int:
        return random.Random(f"{salt} {list(text)}").randrange(3)

    text: list[int] = []
    for nodes in drafts:
        start = list(text)
        parents = tuple(place % (i + 1) - 1 for i, (_, place) in enumerate(nodes))
        draft = Draft(tuple(token for token, _ in nodes), None if chains else parents)
        verdict = match(draft, lambda row, s=start, d=draft: own([*s, *d.tokens_before(row)]))
        text.extend(said(verdict, draft))
        assert len(text) > len(start)
    plain: list[int] = []
    while len(plain) < len(text):
        plain.append(own(plain))
    assert text == plain


@pytest.mark.parametrize(
    ("draft", "path", "token", "asked"),
    [
        ((), (), 7, [0]),
        ((7, 8, 9), (0, 1, 2), 10, [0, 1, 2, 3]),
        ((7, 0, 9), (0,), 8, [0, 1]),
        ((0, 8, 9), (), 7, [0]),
    ],
)
def test_no_row_behind_a_mismatch_is_asked_for(
    draft: tuple[int, ...], path: tuple[int, ...], token: int, asked: list[int]
) -> None:
    rows: list[int] = []

    def target(row: int) -> int:
        rows.append(row)
        return 7 + row

    assert match(Draft(draft), target) == Verdict(path, token)
    assert rows == asked


def test_a_tree_is_walked_along_what_the_target_says() -> None:
    draft = Draft((5, 6, 7, 8, 9), (-1, -1, 1, 1, 3))
    says = {0: 6, 2: 8, 4: 9, 5: 1}
    assert match(draft, says.__getitem__) == Verdict((1, 3, 4), 1)
    assert match(draft, {0: 5, 1: 2}.__getitem__) == Verdict((0,), 2)
    assert match(draft, {0: 4}.__getitem__) == Verdict((), 4)
