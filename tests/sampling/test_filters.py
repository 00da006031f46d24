"""Filters against slow ones written from their definitions in plain Python.

Definitions: penalties, min_tokens and bad words as in vLLM's sampler, min-p, top-k and top-p as
in transformers' logits warpers, with ties at an edge kept.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.draft import Draft
from fairdraft.request import Request
from fairdraft.sampling.filters import adjust, banned_tokens, needs_history, probabilities
from fairdraft.sampling.laws import sample, top_logprobs
from fairdraft.sampling.sampler import TargetRows

untimed = settings(deadline=None)
V = 8
EOS = 1
tokens = st.lists(st.integers(0, V - 1), max_size=6)
# Halves are exact in every dtype, and tie often.
scores = st.lists(st.integers(-8, 8).map(lambda i: i / 2), min_size=V, max_size=V)


def request_of(
    prompt: Sequence[int],
    output: Sequence[int] = (),
    bad_words: Sequence[Sequence[int]] = (),
    **params: Any,
) -> Request:
    request = Request(
        "r",
        tuple(prompt),
        SamplingParams(**{"max_tokens": None, "bad_words": ["?"] * len(bad_words), **params}),
        eos_token_ids=frozenset({EOS}),
        bad_words_token_ids=tuple(map(tuple, bad_words)),
    )
    request.token_ids.extend(output)
    return request


# --- before temperature


def slow_adjust(logits: Sequence[float], request: Request, output: list[int]) -> list[float]:
    params = request.params
    row = [float(score) for score in logits]
    for token in range(len(row)):
        row[token] += (params.logit_bias or {}).get(token, 0.0)
        for word in request.bad_words_token_ids:
            head = list(word[:-1])
            # The word would be complete: its head ends the output, its last token comes next.
            if token == word[-1] and (not head or output[-len(head) :] == head):
                row[token] = -math.inf
        if len(output) < params.min_tokens and (token == EOS or token in params.stop_token_ids):
            row[token] = -math.inf
        if token in request.prompt_token_ids or token in output:
            if row[token] > 0:
                row[token] /= params.repetition_penalty
            else:
                row[token] *= params.repetition_penalty
        row[token] -= params.frequency_penalty * output.count(token)
        row[token] -= params.presence_penalty * (token in output)
    return row


@st.composite
def histories(draw: st.DrawFn) -> Request:
    """A request with anything that acts before temperature, or nothing."""
    penalties = st.sampled_from([0.0, 0.5, -0.25, 1.5])
    words = st.lists(st.integers(0, V - 1), min_size=1, max_size=3)
    return request_of(
        draw(tokens.filter(bool)),
        draw(tokens),
        draw(st.lists(words, max_size=3)),
        repetition_penalty=draw(st.sampled_from([1.0, 1.3, 0.5, 2.0])),
        presence_penalty=draw(penalties),
        frequency_penalty=draw(penalties),
        logit_bias=draw(
            st.none() | st.dictionaries(st.integers(0, V - 1), st.sampled_from([-100, 1, 0.75]))
        ),
        min_tokens=draw(st.integers(0, 8)),
        stop_token_ids=draw(st.lists(st.integers(0, V - 1), max_size=2)),
        ignore_eos=draw(st.booleans()),
    )


@untimed
@given(request=histories(), drafted=tokens, logits=scores)
def test_adjust_agrees_with_the_definitions(
    request: Request, drafted: list[int], logits: list[float]
) -> None:
    row = torch.tensor(logits, dtype=torch.bfloat16)
    result = adjust(row, request, drafted)
    expected = slow_adjust(logits, request, request.output_token_ids + drafted)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert result.dtype == torch.float32
    assert row.tolist() == logits  # left as it is


@untimed
@given(request=histories(), drafted=tokens, logits=scores)
def test_drafted_tokens_count_as_if_they_had_been_said(
    request: Request, drafted: list[int], logits: list[float]
) -> None:
    row = torch.tensor(logits)
    before = adjust(row, request, drafted)
    request.token_ids.extend(drafted)
    assert torch.equal(before, adjust(row, request, ()))


@untimed
@given(request=histories(), drafted=tokens, logits=st.lists(scores, min_size=7, max_size=7))
def test_each_row_sees_the_drafts_before_it_and_no_others(
    request: Request, drafted: list[int], logits: list[list[float]]
) -> None:
    table = torch.tensor(logits[: len(drafted) + 1])
    rows = TargetRows(request, Draft(tuple(drafted)), table, table.argmax(-1).tolist())
    assert len(rows) == len(drafted) + 1
    for i in range(len(rows)):
        plain = slow_adjust(logits[i], request, request.output_token_ids + drafted[:i])
        if max(plain) == -math.inf:
            continue  # everything is banned: no law to compare
        law = torch.softmax(torch.tensor(plain, dtype=torch.float64), -1)
        np.testing.assert_allclose(rows[i].numpy(), law, atol=1e-6)


def test_nothing_asked_for_changes_nothing() -> None:
    logits = [0.5, -1.0, 3.0, 0.0]
    assert adjust(torch.tensor(logits), request_of([0], [1, 1]), [2, 1]).tolist() == logits


@pytest.mark.parametrize(
    "params",
    [
        {"logit_bias": {0: 1.0}},
        {"bad_words": [(3,)]},
        {"min_tokens": 1},
        {"repetition_penalty": 1.1},
        {"presence_penalty": -0.1},
        {"frequency_penalty": 0.1},
    ],
)
def test_every_filter_before_temperature_needs_history(params: dict[str, Any]) -> None:
    assert needs_history(request_of([0], **params))
    assert not needs_history(request_of([0], temperature=0.5, top_k=3, top_p=0.5, min_p=0.1))


def test_penalties_tell_prompt_from_output() -> None:
    """The prompt counts for the repetition penalty only; counts matter to frequency only."""
    flat = torch.ones(4)
    repeated = adjust(flat, request_of([0], [1, 1], repetition_penalty=2.0), [2])
    assert repeated.tolist() == [0.5, 0.5, 0.5, 1]
    present = adjust(flat, request_of([0], [1, 1], presence_penalty=0.25), [2])
    assert present.tolist() == [1, 0.75, 0.75, 1]
    frequent = adjust(flat, request_of([0], [1, 1], frequency_penalty=0.25), [2])
    assert frequent.tolist() == [1, 0.5, 0.75, 1]


def test_repetition_penalty_pushes_negative_scores_down() -> None:
    row = adjust(torch.tensor([2.0, -2.0, 0.0]), request_of([0, 1, 2], repetition_penalty=2.0), ())
    assert row.tolist() == [1, -4, 0]


def test_ends_are_banned_up_to_min_tokens() -> None:
    request = request_of([0], [3], min_tokens=3, stop_token_ids=[5])
    assert set(banned_tokens(request, [3])) == {EOS, 5}
    assert set(banned_tokens(request, [3, 3])) == {EOS, 5}
    assert banned_tokens(request, [3, 3, 3]) == []


def test_a_bad_word_is_stopped_at_its_last_token() -> None:
    request = request_of([4, 2], [], [[4, 2, 6], [3]])
    assert banned_tokens(request, []) == [3]  # the prompt is not the output
    assert banned_tokens(request, [4]) == [3]
    assert sorted(banned_tokens(request, [0, 4, 2])) == [3, 6]
    assert banned_tokens(request, [4, 2, 0]) == [3]


# --- temperature and after


def slow_law(
    logits: Sequence[float], temperature: float, min_p: float, top_k: int, top_p: float
) -> tuple[list[float], float]:
    """The filtered law, and how near the nearest yes-or-no was to going the other way."""
    highest = max(logits)
    weight = [math.exp((score - highest) / temperature) for score in logits]
    kept = [t for t in range(len(weight)) if weight[t] >= min_p]
    margin = min((abs(w - min_p) for w in weight), default=1.0) if 0 < min_p < 1 else 1.0
    kept.sort(key=lambda t: -weight[t])
    if 0 < top_k < len(kept):
        kept = [t for t in kept if weight[t] >= weight[kept[top_k - 1]]]
    if top_p < 1:
        total, mass = math.fsum(weight[t] for t in kept), 0.0
        for edge in kept:
            mass += weight[edge]
            margin = min(margin, abs(mass / total - top_p))
            if mass >= top_p * total:
                break
        kept = [t for t in kept if weight[t] >= weight[edge]]
    total = math.fsum(weight[t] for t in kept)
    return [weight[t] / total if t in set(kept) else 0.0 for t in range(len(weight))], margin


shares = st.floats(0.01, 0.99)


@untimed
@given(
    logits=st.lists(st.integers(-8, 8).map(lambda i: i / 2), min_size=1, max_size=12),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    min_p=st.just(0.0) | shares,
    top_k=st.sampled_from([-1, 0, 1, 2, 3, 7, 50]),
    top_p=st.just(1.0) | shares,
)
def test_filters_agree_with_the_definitions(
    logits: list[float], temperature: float, min_p: float, top_k: int, top_p: float
) -> None:
    expected, margin = slow_law(logits, temperature, min_p, top_k, top_p)
    assume(margin > 1e-5)
    params = SamplingParams(temperature=temperature, min_p=min_p, top_k=top_k, top_p=top_p)
    law = probabilities(torch.tensor(logits), params)
    assert law.dtype == torch.float32
    assert float(law.double().sum()) == pytest.approx(1, abs=1e-6)
    assert [p > 0 for p in law.tolist()] == [p > 0 for p in expected]
    np.testing.assert_allclose(law.numpy(), expected, rtol=1e-4, atol=1e-7)


def laws(logits: Sequence[float], **params: Any) -> list[float]:
    result: list[float] = probabilities(torch.tensor(logits), SamplingParams(**params)).tolist()
    return result


LOG = [math.log(weight) for weight in (1.0, 4.0, 2.0, 1.0)]


def test_each_filter_on_one_law() -> None:
    assert laws(LOG) == pytest.approx([1 / 8, 1 / 2, 1 / 4, 1 / 8])
    assert laws(LOG, temperature=0.5) == pytest.approx([1 / 22, 16 / 22, 4 / 22, 1 / 22])
    assert laws(LOG, min_p=0.4) == pytest.approx([0, 2 / 3, 1 / 3, 0])
    assert laws(LOG, top_k=1) == pytest.approx([0, 1, 0, 0])
    assert laws(LOG, top_p=0.7) == pytest.approx([0, 2 / 3, 1 / 3, 0])
    assert laws(LOG, top_p=0.4) == pytest.approx([0, 1, 0, 0])


def test_ties_at_the_edge_stay() -> None:
    assert laws(LOG, top_k=3) == pytest.approx([1 / 8, 1 / 2, 1 / 4, 1 / 8])
    assert laws(LOG, top_p=0.8) == pytest.approx([1 / 8, 1 / 2, 1 / 4, 1 / 8])
    assert laws([2.0, 2.0, 0.0], top_k=1) == pytest.approx([0.5, 0.5, 0])
    assert laws([2.0, 2.0, 0.0], min_p=1.0) == pytest.approx([0.5, 0.5, 0])
    assert laws([2.0, 2.0, 0.0], top_p=0.1) == pytest.approx([0.5, 0.5, 0])


def test_the_nucleus_is_measured_on_what_the_others_left() -> None:
    """After top_k = 2 the likeliest token has 2/3: alone it reaches 0.6, before it would not."""
    assert laws(LOG, top_k=2, top_p=0.6) == pytest.approx([0, 1, 0, 0])
    assert laws(LOG, top_p=0.6) == pytest.approx([0, 2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("size", [255, 256, 257, 300, 513])
def test_a_flat_law_is_all_tie(size: int) -> None:
    for top_p in (0.1, 0.5, 0.999):
        assert laws([0.5] * size, top_p=top_p) == pytest.approx([1 / size] * size)


@pytest.mark.parametrize("kept", [1, 2, 100, 254, 255, 256, 257, 258, 900, 1999])
@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_a_nucleus_of_any_width(spread: float, kept: int) -> None:
    """top_p lies half way into the kept-th token, so no rounding can move the edge."""
    logits = np.random.default_rng(5).normal(0, spread, 2000)
    falling = np.sort(np.exp(logits))[::-1]
    goal = (falling[:kept].sum() - falling[kept - 1] / 2) / falling.sum()
    law = np.array(laws(logits.tolist(), top_p=float(goal)))
    assert (law > 0).sum() == kept
    inside = np.argsort(-logits)[:kept]
    np.testing.assert_allclose(
        law[inside], np.exp(logits[inside]) / falling[:kept].sum(), rtol=1e-4
    )


def test_banned_tokens_stay_out_of_every_law() -> None:
    logits = [-math.inf, 1.0, 0.0, -math.inf]
    for params in ({}, {"top_k": 3}, {"top_p": 0.999999}, {"min_p": 1e-9}, {"temperature": 100.0}):
        law = laws(logits, **params)
        assert law[0] == law[3] == 0
        assert sum(law) == pytest.approx(1)


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-30])
def test_a_small_temperature_nears_greedy(temperature: float) -> None:
    assert laws([1.0, 3.0, 2.0], temperature=temperature) == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("temperature", [1e-38, 1e-300])
def test_the_smallest_temperatures_that_are_taken(temperature: float) -> None:
    assert laws([10.0, 30.0, 20.0], temperature=temperature) == [0, 1, 0]


# --- the compiled pass against float64 definitions


def definition(logits: np.ndarray[Any, Any], params: SamplingParams) -> np.ndarray[Any, Any]:
    """The filtered law in float64, by sorting."""
    law = np.exp((logits.astype(np.float64) - float(logits.max())) / params.temperature)
    law[law < params.min_p] = 0
    if 0 < params.top_k < law.size:
        law[law < np.sort(law)[-params.top_k]] = 0
    if params.top_p < 1:
        falling = np.sort(law)[::-1]
        law[law < falling[np.searchsorted(falling.cumsum(), params.top_p * law.sum())]] = 0
    share: np.ndarray[Any, Any] = law / law.sum()
    return share


def is_near_an_edge(logits: np.ndarray[Any, Any], params: SamplingParams) -> bool:
    """Whether rounding may decide about a token: the nearest parameters give another support."""
    supports = set()
    for nudge in (-1e-5, 0.0, 1e-5):
        near = SamplingParams(
            temperature=params.temperature,
            min_p=params.min_p and min(max(params.min_p * (1 + nudge), 0), 1),
            top_k=params.top_k,
            top_p=min(params.top_p + nudge, 1) if params.top_p < 1 else 1.0,
        )
        supports.add((definition(logits, near) > 0).tobytes())
    return len(supports) > 1


rows = st.builds(
    lambda seed, size, spread, ties: (
        np.round(np.random.default_rng(seed).normal(0, spread, size) * ties) / ties
    ).astype(np.float32),
    st.integers(0, 10_000),
    st.sampled_from([1, 5, 63, 64, 65, 700, 3000]),
    st.sampled_from([0.01, 1.0, 3.0, 8.0]),
    st.sampled_from([2, 2**16]),
)
filters = st.builds(
    SamplingParams,
    temperature=st.floats(0.2, 3),
    min_p=st.just(0.0) | st.floats(0.001, 0.9),
    top_k=st.sampled_from([0, 1, 2, 10, 45, 50, 699, 5000]),
    top_p=st.just(1.0) | st.floats(0.05, 0.999),
)


def law_fault(logits: np.ndarray[Any, Any], params: SamplingParams, law: Any = None) -> float:
    """The law's largest distance from its definition, or 0 where rounding may decide."""
    if is_near_an_edge(logits, params):
        return 0.0
    law = probabilities(torch.from_numpy(logits), params).numpy() if law is None else law
    return float(np.abs(law - definition(logits, params)).max())


@untimed
@given(logits=rows, params=filters)
def test_wide_laws_are_within_a_millionth_of_their_definition(
    logits: np.ndarray[Any, Any], params: SamplingParams
) -> None:
    assert law_fault(logits, params) <= 1e-6


@pytest.mark.parametrize("fault", [{"top_k": 49}, {"top_p": 0.91}, {"temperature": 0.701}])
def test_a_law_of_other_parameters_is_seen(fault: dict[str, Any]) -> None:
    logits = np.random.default_rng(1).normal(0, 2, 3000).astype(np.float32)
    asked: dict[str, Any] = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
    other = definition(logits, SamplingParams(**{**asked, **fault}))
    assert law_fault(logits, SamplingParams(**asked), other) > 1e-5


@untimed
@given(logits=rows, params=filters, u=st.floats(0, 1, exclude_max=True))
def test_the_token_is_the_one_that_the_law_gives(
    logits: np.ndarray[Any, Any], params: SamplingParams, u: float
) -> None:
    """`sample` never writes the law down; its token holds `u` among the shares all the same."""
    chosen = params.temperature, params.min_p, params.top_k, params.top_p
    token = sample(logits, *chosen, u)
    law = probabilities(torch.from_numpy(logits), params).double().numpy()
    assert law[token] > 0
    reached = law[:token].sum() / law.sum()
    assert reached - 1e-6 <= u <= reached + law[token] / law.sum() + 1e-6


@pytest.mark.parametrize("params", [{}, {"top_p": 0.95}, {"top_k": 50}, {"min_p": 0.02}])
def test_a_row_has_the_same_bits_alone_and_among_others(params: dict[str, Any]) -> None:
    """Wherever it lies in a step's logits, aligned or not, and whatever stands beside it."""
    table = torch.randn(9, 1003, generator=torch.Generator().manual_seed(0)) * 3
    for i in range(len(table)):
        alone = table[i].clone()
        options = SamplingParams(**params)
        assert torch.equal(probabilities(table[i], options), probabilities(alone, options))
        chosen = 1.0, options.min_p, options.top_k, options.top_p
        tokens = [sample(row.numpy(), *chosen, i / 9) for row in (table[i], alone)]
        assert tokens[0] == tokens[1]


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf])
@pytest.mark.parametrize("filtered", [(0.0, 0, 1.0), (0.1, 0, 1.0), (0.0, 80, 1.0), (0.0, 0, 0.9)])
def test_what_is_no_number_gives_no_token(bad: float, filtered: tuple[float, int, float]) -> None:
    logits = np.zeros(200, np.float32)
    for place in (0, 77, 199):
        broken = logits.copy()
        broken[place] = bad
        assert sample(broken, 1.0, *filtered, 0.5) == -1
        min_p, top_k, top_p = filtered
        options = SamplingParams(min_p=min_p, top_k=top_k, top_p=top_p)
        assert math.isnan(probabilities(torch.from_numpy(broken), options).sum())
    assert sample(np.full(200, -math.inf, np.float32), 1.0, *filtered, 0.5) == -1


@pytest.mark.parametrize("params", [{}, {"top_k": 3}, {"min_p": 0.2, "top_p": 0.7}])
def test_a_law_over_another_vocabulary(params: dict[str, Any]) -> None:
    """A drafter's tokens are some of the target's, in an order of their own."""
    logits = torch.randn(40, generator=torch.Generator().manual_seed(3))
    options = SamplingParams(**params)
    own = probabilities(logits, options)
    ids = torch.randperm(90, generator=torch.Generator().manual_seed(4))[:40]
    mapped = probabilities(logits, options, 90, ids)
    assert torch.equal(mapped[ids], own)
    assert float(mapped.sum()) == pytest.approx(1)
    longer = probabilities(logits, options, 90)
    assert torch.equal(longer[:40], own)
    assert not longer[40:].any()


@untimed
@given(logits=rows, count=st.sampled_from([0, 1, 2, 5, 20, 63, 64, 100, 5000]))
def test_logprobs_are_those_of_the_unfiltered_law(logits: np.ndarray[Any, Any], count: int) -> None:
    count = min(count, logits.size)
    tokens, values, lowered = top_logprobs(logits, count)
    expected = torch.log_softmax(torch.from_numpy(logits).double(), -1).numpy()
    order = np.lexsort((np.arange(logits.size), -logits))[:count]
    assert tokens.tolist() == order.tolist()
    np.testing.assert_allclose(values, expected[order], atol=1e-6)
    np.testing.assert_allclose(logits - lowered, expected, atol=1e-5)


def test_logprobs_reach_forbidden_tokens_last() -> None:
    logits = np.array([-math.inf, 2.0, -200.0, 1.0], np.float32)
    tokens, values, _ = top_logprobs(logits, 4)
    assert tokens.tolist() == [1, 3, 2, 0]
    assert values[-1] == -math.inf
