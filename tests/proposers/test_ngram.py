"""Prompt lookup against a search that reads the whole text every time."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.errors import ConfigError
from fairdraft.proposers.ngram import MATCHES, NgramProposer
from fairdraft.request import Cut, Request
from fairdraft.sampling.sampler import DraftNoise

untimed = settings(deadline=None)
texts = st.lists(st.integers(0, 2), min_size=1, max_size=24)


def request_of(text: Sequence[int], name: str = "r") -> Request:
    return Request(name, tuple(text), SamplingParams(max_tokens=None))


class Silent(DraftNoise):
    """Prompt lookup draws nothing."""

    def draw(self, *_: Any) -> int:
        raise AssertionError


NOISE = Silent()


def ask(proposer: NgramProposer, request: Request, budget: int) -> tuple[int, ...]:
    (draft,) = proposer.propose([request], [budget], [[]], NOISE)
    assert draft.probs is None
    return draft.token_ids


def lookup(
    text: Sequence[int], budget: int = 4, most: int = 3, least: int = 1, match: str = "latest"
) -> tuple[int, ...]:
    return ask(NgramProposer(8, most, least, match), request_of(text), budget)


def slow_lookup(text: list[int], budget: int, most: int, least: int, match: str) -> tuple[int, ...]:
    """Try every length from the longest, every place, and copy into a growing text."""
    for length in range(most, least - 1, -1):
        places = [
            start + length
            for start in range(len(text) - length)
            if text[start : start + length] == text[-length:]
        ]
        if places:
            grown, place = list(text), places[-1] if match == "latest" else places[0]
            for offset in range(budget):
                grown.append(grown[place + offset])
            return tuple(grown[len(text) :])
    return ()


# --- by hand


def test_what_followed_is_copied() -> None:
    assert lookup([1, 2, 3, 4, 5, 6, 1, 2], budget=3) == (3, 4, 5)


def test_the_longest_match_wins_over_a_later_shorter_one() -> None:
    text = [1, 2, 3, 7, 0, 3, 8, 0, 1, 2, 3]
    assert lookup(text, budget=1, most=3) == (7,)
    assert lookup(text, budget=1, most=1) == (8,)


def test_the_shortest_length_is_a_floor() -> None:
    text = [3, 7, 0, 0, 3]
    assert lookup(text, budget=1, most=3, least=1) == (7,)
    assert lookup(text, budget=1, most=3, least=2) == ()


def test_the_longest_length_is_a_ceiling() -> None:
    """With at most two tokens the latest place wins, though an older one agrees further back."""
    text = [9, 1, 2, 5, 1, 2, 6, 9, 1, 2]
    assert lookup(text, budget=1, most=3) == (5,)
    assert lookup(text, budget=1, most=2) == (6,)


def test_latest_and_earliest() -> None:
    text = [1, 2, 5, 1, 2, 6, 1, 2]
    assert lookup(text, budget=1, match="latest") == (6,)
    assert lookup(text, budget=1, match="earliest") == (5,)


def test_the_end_of_the_text_is_not_its_own_match() -> None:
    assert lookup([1, 2, 3, 4]) == ()
    assert lookup([7]) == ()
    assert lookup([7, 7], budget=2) == (7, 7)


def test_a_copy_goes_on_into_itself() -> None:
    assert lookup([1, 2, 1, 2], budget=7) == (1, 2, 1, 2, 1, 2, 1)
    assert lookup([4, 9, 9], budget=3) == (9, 9, 9)


def test_the_budget_is_kept_for_each_request() -> None:
    requests = [request_of([1, 2, 3, 4, 5, 6, 1, 2], name) for name in "abc"]
    drafts = NgramProposer(4, 3, 1).propose(requests, [1, 3, 2], [[], [], []], NOISE)
    assert [draft.token_ids for draft in drafts] == [(3,), (3, 4, 5), (3, 4)]


def test_requests_do_not_see_each_other() -> None:
    proposer = NgramProposer(4, 2, 1)
    rich, poor = request_of([1, 2, 3, 1, 2], "rich"), request_of([5, 1, 2], "poor")
    for _ in range(2):
        drafts = proposer.propose([rich, poor], [2, 2], [[], []], NOISE)
        assert [draft.token_ids for draft in drafts] == [(3, 1), ()]


def test_a_finished_request_is_forgotten() -> None:
    proposer = NgramProposer(4, 2, 1)
    assert ask(proposer, request_of([1, 2, 3, 1, 2], "r"), 2) == (3, 1)
    proposer.finish("r")
    assert ask(proposer, request_of([5, 1, 2], "r"), 2) == ()
    proposer.finish("never seen")


# --- against the slow one


@untimed
@given(
    text=texts,
    budget=st.integers(1, 6),
    lengths=st.tuples(st.integers(1, 5), st.integers(1, 5)).map(sorted),
    match=st.sampled_from(MATCHES),
)
def test_lookup_agrees_with_a_search_of_the_whole_text(
    text: list[int], budget: int, lengths: list[int], match: str
) -> None:
    least, most = lengths
    expected = slow_lookup(text, budget, most, least, match)
    assert lookup(text, budget, most, least, match) == expected


@untimed
@given(
    text=texts,
    gains=st.lists(st.tuples(texts.map(lambda t: t[:4]), st.booleans()), max_size=6),
    lengths=st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted),
    match=st.sampled_from(MATCHES),
)
def test_an_index_grown_in_steps_is_the_index_built_at_once(
    text: list[int], gains: list[tuple[list[int], bool]], lengths: list[int], match: str
) -> None:
    """Between two asks a request may gain any number of tokens, over any number of steps."""
    least, most = lengths
    proposer = NgramProposer(8, most, least, match)
    growing, other = request_of(text), request_of(text[::-1], "other")
    for gained, asked in [([], True), *gains, ([], True)]:
        growing.append(Cut(gained))
        if asked:
            assert ask(proposer, growing, 5) == lookup(growing.token_ids, 5, most, least, match)
            assert ask(proposer, other, 5) == lookup(text[::-1], 5, most, least, match)


# --- options


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({}, (5, 5)),
        ({"prompt_lookup_max": 3}, (3, 3)),
        ({"prompt_lookup_min": 2}, (2, 2)),
        ({"prompt_lookup_max": 4, "prompt_lookup_min": 2}, (4, 2)),
    ],
)
def test_one_length_stands_for_both_as_in_vllm(
    options: dict[str, int], lengths: tuple[int, int]
) -> None:
    proposer = NgramProposer(4, **options)
    assert (proposer.prompt_lookup_max, proposer.prompt_lookup_min) == lengths


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_lookup_max": 0}, r"prompt_lookup_max is 0.*: "),
        ({"prompt_lookup_min": 0, "prompt_lookup_max": 3}, r"prompt_lookup_min is 0.*: "),
        ({"prompt_lookup_max": 2.5}, r"prompt_lookup_max is 2\.5.*: "),
        ({"prompt_lookup_max": True}, r"prompt_lookup_max is True.*: "),
        ({"prompt_lookup_min": "2", "prompt_lookup_max": 3}, r"prompt_lookup_min is '2'.*: "),
        (
            {"prompt_lookup_min": 4, "prompt_lookup_max": 3},
            r"prompt_lookup_min is 4, above prompt_lookup_max 3: lower",
        ),
        ({"prompt_lookup_match": "last"}, r"prompt_lookup_match is 'last'.*latest, earliest"),
        ({"prompt_lookup_match": None}, r"prompt_lookup_match is None.*latest, earliest"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NgramProposer(4, **options)
