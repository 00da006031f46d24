"""Suffix decoding against a slow index written from its definition; bounds, salts, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fairdraft.config import SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError
from fairdraft.proposers.suffix import SuffixProposer
from fairdraft.proposers.suffix.index import MAX_PLACES, SuffixIndex
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.testing import ToyRunner, check_proposer, toy_config

texts_of = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=30), min_size=1, max_size=5)
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def places_of(
    texts: Sequence[Sequence[int]], context: Sequence[int], depth: int
) -> list[tuple[int, Sequence[int], int]]:
    """Every place behind a match: its length, the text, and where the text goes on."""
    places = []
    for text in texts:
        for end in range(1, len(text)):
            match = 0
            while (
                match < min(depth, len(context), end)
                and text[end - 1 - match] == context[-1 - match]
            ):
                match += 1
            if match:
                places.append((match, text, end))
    return places


def slow_guess(
    texts: Sequence[Sequence[int]],
    context: Sequence[int],
    depth: int,
    budget: int,
    factor: float,
    least: float,
) -> tuple[list[int], float]:
    """Every place, every match length, from the definition. Ties end the test: either is right."""
    places = places_of(texts, context, depth)
    best: tuple[list[int], float] = ([], 0.0)
    for length in sorted({match for match, _, _ in places}, reverse=True):
        here = [(text, end) for match, text, end in places if match >= length]
        draft: list[int] = []
        probability, score = 1.0, 0.0
        while here and len(draft) < min(budget, int(factor * length)):
            counts = Counter(text[end] for text, end in here)
            (token, count), *others = counts.most_common()
            assume(not others or others[0][1] < count)
            probability *= count / len(here)
            if probability < least:
                break
            draft.append(token)
            score += probability
            here = [(t, e + 1) for t, e in here if t[e] == token and e + 1 < len(t)]
        if score > best[1]:
            best = (draft, score)
    return best


def index_of(texts: Sequence[Sequence[int]], depth: int = 6, **limits: int) -> SuffixIndex:
    index = SuffixIndex(depth, **({"max_texts": 100} | limits))
    for text in texts:
        index.begin()
        index.extend(text)
    return index


@untimed
@given(
    texts=texts_of,
    context=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    depth=st.integers(1, 10),
    budget=st.integers(1, 8),
)
def test_guesses_follow_the_definition(
    texts: list[list[int]], context: list[int], depth: int, budget: int
) -> None:
    """Where no n-gram has more places than are followed."""
    assume(max(Counter(token for text in texts for token in text).values()) <= MAX_PLACES)
    guess = index_of(texts, depth).guess(context, budget)
    draft, score = slow_guess(texts, context, depth, budget, 1.0, 0.1)
    assert guess.draft.token_ids == tuple(draft)
    assert guess.score == pytest.approx(score)


def slow_tree(
    texts: Sequence[Sequence[int]], context: Sequence[int], depth: int, budget: int
) -> float:
    """The best score of a tree, from the definition: the likeliest nodes of each match length."""
    places = places_of(texts, context, depth)
    best = 0.0
    for length in {match for match, _, _ in places}:
        waiting = [([(t, e) for match, t, e in places if match >= length], 1.0, 0)]
        nodes: list[float] = []
        while waiting:
            here, before, level = waiting.pop()
            counts = Counter(text[end] for text, end in here)
            for token, count in counts.items():
                probability = before * count / len(here)
                if probability >= 0.1 and level < min(budget, length):
                    nodes.append(probability)
                    behind = [(t, e + 1) for t, e in here if t[e] == token and e + 1 < len(t)]
                    waiting.append((behind, probability, level + 1))
        best = max(best, sum(sorted(nodes, reverse=True)[:budget]))
    return best


@untimed
@given(
    texts=texts_of,
    context=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    depth=st.integers(1, 10),
    budget=st.integers(1, 12),
)
def test_a_tree_takes_the_likeliest_nodes(
    texts: list[list[int]], context: list[int], depth: int, budget: int
) -> None:
    assume(max(Counter(token for text in texts for token in text).values()) <= MAX_PLACES)
    index = index_of(texts, depth)
    guess = index.guess(context, budget, branch=True)
    assert guess.score == pytest.approx(slow_tree(texts, context, depth, budget))
    assert len(guess.draft) <= budget
    assert guess.score >= index.guess(context, budget).score
    for siblings in guess.draft.children:
        tokens = [guess.draft.token_ids[node] for node in siblings]
        assert len(set(tokens)) == len(tokens)


def test_a_tree_where_the_matches_disagree() -> None:
    index = index_of([[1, 2, 3, 4, 6], [1, 2, 3, 5, 7], [1, 2, 3, 5, 7]])
    draft = index.guess([1, 2, 3], 4, branch=True).draft
    assert draft.token_ids == (5, 7, 4, 6)
    assert draft.parents == (-1, 0, -1, 2)


@untimed
@given(texts=texts_of, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_token_by_token_or_at_once(texts: list[list[int]], cuts: list[int]) -> None:
    whole, pieces = index_of(texts), SuffixIndex(6, 100)
    for text in texts:
        pieces.begin()
        start = 0
        for cut in cuts * len(text):
            pieces.extend(text[start : start + cut])
            start += cut
    for end in range(1, len(texts[-1])):
        context = texts[-1][:end]
        assert whole.guess(context, 8) == pieces.guess(context, 8)


def test_the_most_frequent_continuation_wins() -> None:
    index = index_of([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 5]])
    guess = index.guess([9, 1, 2, 3], 4)
    assert guess.draft.token_ids == (5,)
    assert guess.score == pytest.approx(2 / 3)
    assert guess.match == 3


def test_longer_matches_draft_longer() -> None:
    index = index_of([list(range(20))])
    assert index.guess([3], 10).draft.token_ids == (4,)
    assert index.guess([1, 2, 3], 10).draft.token_ids == (4, 5, 6)
    assert index.guess([1, 2, 3], 10, factor=2).draft.token_ids == (4, 5, 6, 7, 8, 9)


def test_an_unlikely_continuation_is_not_followed() -> None:
    index = index_of([[1, i] for i in range(2, 14)])
    assert index.guess([1], 4).draft.token_ids == ()
    assert index.guess([1], 4, least=0.05).draft.token_ids == (13,)  # a tie goes to the newest


def test_a_draft_does_not_run_into_the_next_text() -> None:
    index = index_of([[1, 2], [3, 4]])
    assert index.guess([1], 4, factor=4).draft.token_ids == (2,)
    assert index.guess([2], 4, factor=4).draft.token_ids == ()


def test_the_texts_own_end_is_not_its_own_match() -> None:
    index = SuffixIndex(4)
    index.begin()
    index.extend([1, 2, 3, 1, 2])
    assert index.guess([1, 2], 4).draft.token_ids == (3, 1)


def test_the_oldest_texts_go_first_and_memory_is_bounded() -> None:
    index = SuffixIndex(24, max_texts=50)
    rng = np.random.default_rng(0)
    most = 0
    for i in range(10_000):
        index.begin()
        index.extend([i % 7, 100_000 + i, 100_001 + i, *rng.integers(0, 50, size=20).tolist()])
        most = max(most, index.num_bytes)
    assert len(index.texts) == 50
    assert index.num_tokens == 50 * 23
    assert index.guess([109_000], 4).draft.token_ids == ()
    assert index.guess([109_999], 4).draft.token_ids == (110_000,)
    assert most < 400_000


def test_tokens_are_bounded_too() -> None:
    index = SuffixIndex(24, max_texts=100, max_tokens=1_000)
    for i in range(30):
        index.begin()
        index.extend(range(i * 100, i * 100 + 100))
    assert index.num_tokens == 1_000
    index.begin()
    index.extend(range(5_000))  # one text alone may be larger
    assert index.num_tokens == 5_000


def test_tenants_do_not_see_each_other() -> None:
    index = SuffixIndex(8, max_texts=10)
    index.begin(salt=1)
    index.extend([1, 2, 3, 4])
    index.begin(salt=2)
    index.extend([1, 2, 3, 5])
    assert index.guess([1, 2, 3], 1, salt=1).draft.token_ids == (4,)
    assert index.guess([1, 2, 3], 1, salt=2).draft.token_ids == (5,)
    assert index.guess([1, 2, 3], 1, salt=0).draft.token_ids == ()


def test_saved_and_loaded(tmp_path: Path) -> None:
    texts = [[1, 2, 3, 4], [2, 3, 5, 6, 7], [9, 9, 9]]
    index = SuffixIndex(8, max_texts=10)
    for salt, text in enumerate(texts):
        index.begin(salt)
        index.extend(text)
    index.save(tmp_path / "index.npz")
    again = SuffixIndex(8, max_texts=10)
    again.load(tmp_path / "index.npz")
    for salt, context in [(0, [2, 3]), (1, [2, 3]), (2, [9]), (1, [9])]:
        assert again.guess(context, 4, salt=salt) == index.guess(context, 4, salt=salt)


# --- the proposer


def ask(proposer: SuffixProposer, request: Request, budget: int = 8) -> tuple[int, ...]:
    (draft,) = proposer.propose([request], [budget], [[]], DraftNoise())
    return draft.token_ids


def write(proposer: SuffixProposer, name: str, output: list[int], salt: str | None = None) -> None:
    request = Request(name, (1,), SamplingParams(), cache_salt=salt)
    proposer.start(request)
    request.token_ids.extend(output)
    proposer.finish(name)


def test_past_answers_are_drafted_from() -> None:
    proposer = SuffixProposer(8)
    write(proposer, "a", [5, 6, 7, 8, 9])
    request = Request("b", (3, 5, 6), SamplingParams())
    proposer.start(request)
    assert ask(proposer, request) == (7, 8)


def test_a_salt_keeps_past_answers_apart() -> None:
    proposer = SuffixProposer(8)
    write(proposer, "a", [5, 6, 7, 8, 9], salt="mine")
    for salt, draft in ((None, ()), ("yours", ()), ("mine", (7, 8))):
        request = Request("b", (3, 5, 6), SamplingParams(), cache_salt=salt)
        assert ask(proposer, request) == draft
        proposer.finish("b")


def test_without_a_global_index_only_the_own_text_counts() -> None:
    proposer = SuffixProposer(8, suffix_decoding_max_cached_requests=0)
    write(proposer, "a", [5, 6, 7])
    assert ask(proposer, Request("b", (3, 5, 6), SamplingParams())) == ()
    assert ask(proposer, Request("c", (5, 6, 7, 5, 6), SamplingParams())) == (7, 5)


@pytest.mark.parametrize("tree", [False, True])
def test_it_passes_the_suite(tree: bool) -> None:
    report = check_proposer(SuffixProposer, suffix_decoding_use_tree_spec=tree)
    assert report.deterministic
    assert report.accepted > 0


def test_similar_requests_draft_longer_and_longer() -> None:
    """The same prompt again: what was said once is drafted whole."""
    engine = Engine(toy_config(), ToyRunner(), proposer=SuffixProposer(8))
    lengths = []
    for _ in range(3):
        params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
        request = engine.add_request((1, 2, 3), params)
        while engine.has_unfinished_requests:
            engine.step()
        lengths.append(request.counters.tokens_per_step)
    assert lengths[1] > 2 * lengths[0]
    assert lengths[2] >= lengths[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suffix_decoding_max_tree_depth": 0}, "max_tree_depth is 0"),
        ({"suffix_decoding_max_cached_requests": -1}, "max_cached_requests is -1"),
        ({"suffix_decoding_max_spec_factor": -1}, "max_spec_factor is -1"),
        ({"suffix_decoding_min_token_prob": 2}, "min_token_prob is 2"),
        ({"suffix_decoding_index": "/nowhere/x"}, "there is no such file: leave it out"),
        (
            {"suffix_decoding_index": "x", "suffix_decoding_max_cached_requests": 0},
            "leave one of them out",
        ),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SuffixProposer(4, **options)  # type: ignore[arg-type]


def test_a_file_that_is_no_index(tmp_path: Path) -> None:
    path = tmp_path / "x"
    index_of([[1, 2, 3]]).save(path)
    whole = path.read_bytes()
    np.save(tmp_path / "y.npy", np.arange(3))
    for content in (b"hello", whole[:-30], (tmp_path / "y.npy").read_bytes(), b""):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="no index that fairdraft saved"):
            SuffixProposer(4, suffix_decoding_index=str(path))


def test_an_index_is_saved_and_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    with pytest.raises(ConfigError, match=r"no such file: leave it out until .*save"):
        SuffixProposer(4, suffix_decoding_index=str(path))
    proposer = SuffixProposer(4)
    write(proposer, "a", [5, 6, 7, 8, 9])
    proposer.save(path)
    again = SuffixProposer(4, suffix_decoding_index=str(path))
    assert ask(again, Request("b", (3, 5, 6), SamplingParams())) == (7, 8)


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    index_of([[1, 2, 999]]).save(path)
    with pytest.raises(ConfigError, match="holds token 999, but the target has 32"):
        SuffixProposer(4, suffix_decoding_index=str(path)).bind(ToyRunner())


def test_texts_that_all_end_alike_do_not_slow_a_lookup() -> None:
    """Places at a text's end are followed too, but not without a bound."""
    index = SuffixIndex(8, max_texts=5_000)
    for i in range(5_000):
        index.begin()
        index.extend([i % 7 + 10, 1, 2, 3])
    assert index.guess([1, 2, 3], 4).draft.token_ids == ()
    assert index.guess([12, 1], 4, factor=4).draft.token_ids == (2, 3)
