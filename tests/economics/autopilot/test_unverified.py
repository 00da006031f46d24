"""Each draft that a lookup found is judged once, by the text, however far that goes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from operator import eq

from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.autopilot.unverified import UnverifiedDraft, UnverifiedDrafts


class Noting:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, int]] = []

    def learn(self, method: str, request_id: str, kind: object, drafted: int, stood: int) -> None:
        """Note a verdict."""
        self.noted.append((drafted, stood))


def agree(draft: Sequence[int], text: Sequence[int]) -> int:
    return sum(takewhile(bool, map(eq, draft, text)))


def waiting(text: Sequence[int], begin: int, draft: Sequence[int]) -> UnverifiedDraft:
    return UnverifiedDraft(
        "l", None, begin, len(draft), lambda place: agree(draft, text[begin:place])
    )


def judged(text: Sequence[int], draft: Sequence[int], place: int) -> tuple[Noting, bool]:
    """A draft from the text's beginning, judged when so many tokens are written."""
    verdicts = Noting()
    unverified = UnverifiedDrafts(verdicts.learn)
    unverified.add("r", waiting(text, 0, draft))
    unverified.judge("r", place)
    return verdicts, unverified.right("r", "l")


def test_what_the_text_has_not_reached_waits() -> None:
    verdicts, right = judged((1, 2, 3, 4), (1, 2, 3), 2)
    assert not verdicts.noted
    assert right


def test_a_draft_is_wrong_once_the_text_goes_elsewhere() -> None:
    verdicts, right = judged((1, 9, 9, 9), (1, 2, 3), 2)
    assert verdicts.noted == [(3, 1)]
    assert not right


def test_a_draft_that_stood_whole_is_right_as_far_as_the_bonus_token() -> None:
    assert judged((1, 2, 3, 4), (1, 2), 2)[1]
    verdicts, right = judged((1, 2, 3, 4), (1, 2), 3)
    assert verdicts.noted == [(2, 2)]
    assert right
    assert not judged((1, 2, 3, 4), (1, 2), 4)[1]


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 19), st.lists(st.integers(0, 1), min_size=1, max_size=4))),
    st.sets(st.integers(1, 20)),
)
def test_each_is_noted_once_whenever_it_is_judged(
    text: list[int], drafts: list[tuple[int, list[int]]], stops: set[int]
) -> None:
    """Drafts that the text's end cut off are right as far as it goes; none, if that is nowhere."""
    verdicts = Noting()
    unverified = UnverifiedDrafts(verdicts.learn)
    begun = sorted((begin, draft) for begin, draft in drafts if begin < len(text))
    for place in range(len(text) + 1):
        if place in stops:
            unverified.judge("r", place)
        for begin, draft in begun:
            if begin == place:
                unverified.add("r", waiting(text, begin, draft))
    unverified.finish("r", len(text))
    expected = []
    for begin, draft in begun:
        stood = agree(draft, text[begin:])
        cut = stood < len(draft) and begin + stood == len(text)
        expected.append((stood, stood) if cut else (len(draft), stood))
    assert sorted(verdicts.noted) == sorted(expected)
    assert not len(unverified)
    assert not unverified._right
