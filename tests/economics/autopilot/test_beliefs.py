"""Beliefs find the rates that drafts were made with, and who among the requests differs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.autopilot.beliefs import LEAST_LIKELY, MOST_LIKELY, PRIOR_RATES, Beliefs

K = 4


def feed(
    beliefs: Beliefs, name: str, kind: object, rates: list[float], count: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(count):
        stood = int(np.cumprod(draw.random(K) < rates).sum())
        beliefs.record(name, kind, K, stood)


def first(beliefs: Beliefs, name: str, kind: object = None) -> float:
    return float(beliefs.survivals(name, kind, K)[0])


def test_the_truth_is_found() -> None:
    """20,000 drafts of two kinds; what is remembered of them is averaged, for it is never long."""
    truth = {"long": [0.9, 0.8, 0.8, 0.6], "short": [0.5, 0.3, 0.6, 0.5]}
    beliefs = Beliefs(K)
    seen: dict[str, list[list[float]]] = {kind: [] for kind in truth}
    for i in range(400):
        for j, (kind, rates) in enumerate(truth.items()):
            feed(beliefs, f"{i}", kind, rates, 25, seed=2 * i + j)
            seen[kind].append(beliefs.rates(kind))
    for kind, rates in truth.items():
        found = np.mean(seen[kind][40:], 0)
        # Later tokens of the short kind are tested rarely, and lean towards the rest.
        np.testing.assert_allclose(found[:2], rates[:2], atol=0.05)
        np.testing.assert_allclose(found[2:], rates[2:], atol=0.1)


def test_before_anything_was_seen() -> None:
    once, on = PRIOR_RATES
    expected = np.array([once, on, on, on]).cumprod()
    np.testing.assert_allclose(Beliefs(K).survivals("a", None, K), expected)


def test_a_new_request_starts_from_the_workload() -> None:
    beliefs = Beliefs(K)
    for i in range(200):
        feed(beliefs, "good", None, [0.9] * K, 1, seed=i)
        feed(beliefs, "bad", None, [0.1] * K, 1, seed=i)
    found = beliefs.survivals("new", None, K)
    np.testing.assert_allclose(found, np.cumprod(beliefs.rates(None)), atol=0.1)
    assert first(beliefs, "bad") < first(beliefs, "new") < first(beliefs, "good")


@pytest.mark.parametrize(("stood", "better"), [(0, False), (K, True)])
def test_a_request_is_told_apart_by_its_own_drafts(stood: int, better: bool) -> None:
    beliefs = Beliefs(K)
    feed(beliefs, "others", None, [0.7] * K, 400, seed=4)
    for _ in range(15):
        beliefs.record("odd", None, K, stood)
    assert (first(beliefs, "odd") > first(beliefs, "new")) == better
    if not better:
        assert first(beliefs, "odd") < 0.8 * first(beliefs, "new")


def test_it_comes_back_after_it_has_changed() -> None:
    beliefs = Beliefs(K)
    feed(beliefs, "others", None, [0.7] * K, 400, seed=4)
    for _ in range(200):
        beliefs.record("odd", None, K, 0)
    for _ in range(60):
        beliefs.record("odd", None, K, K)
    assert first(beliefs, "odd") > first(beliefs, "new")


@pytest.mark.parametrize(("stood", "bound"), [(0, LEAST_LIKELY), (K, MOST_LIKELY)])
def test_likeness_is_bounded(stood: int, bound: float) -> None:
    """φ, read off what it does: after any number of drafts it is no further from 1 than this."""
    beliefs = Beliefs(K)
    rates = [0.99] * K if stood == 0 else [0.3] * K
    for i in range(300):
        feed(beliefs, "others", None, rates, 40, seed=i)  # the workload stays as it is
        beliefs.record("odd", None, K, stood)
    likeness = (1 - first(beliefs, "odd")) / (1 - beliefs.rates(None)[0])
    if stood:
        assert bound - 1e-9 <= likeness < 0.5
    else:
        assert 2 < likeness <= bound + 1e-9


def test_what_ended_is_forgotten_but_for_the_workload() -> None:
    beliefs = Beliefs(K)
    feed(beliefs, "a", None, [0.2] * K, 100, seed=5)
    feed(beliefs, "b", None, [0.9] * K, 100, seed=6)
    rates = beliefs.rates(None)
    beliefs.forget("a")
    beliefs.forget("never seen")
    assert first(beliefs, "a") == first(beliefs, "new") > PRIOR_RATES[0]
    np.testing.assert_array_equal(beliefs.rates(None), rates)


def test_an_unknown_kind_is_like_the_rest() -> None:
    beliefs = Beliefs(K)
    feed(beliefs, "a", "known", [0.95] * K, 300, seed=7)
    beliefs.forget("a")
    assert first(beliefs, "new", "unknown") > 0.85


def test_a_draft_cut_short_tests_no_more_than_it_had() -> None:
    """Drafts of one token that stand say little of the second, and nothing against it."""
    beliefs = Beliefs(K)
    for i in range(400):
        beliefs.record(str(i), None, 1, 1)
    rates = beliefs.rates(None)
    assert rates[0] > 0.95
    assert rates[1] >= PRIOR_RATES[1]


def test_a_turn_of_the_traffic_is_seen_at_once_by_newcomers() -> None:
    """Ten failures of others in a row say more of the next draft than their share of all."""
    beliefs = Beliefs(K)
    feed(beliefs, "before", None, [0.9] * K, 300, seed=10)
    was = first(beliefs, "new")
    for i in range(10):
        beliefs.record(f"{i}", None, K, 0)
    assert beliefs.rates(None)[0] > 0.8
    assert first(beliefs, "new") < min(was, beliefs.rates(None)[0]) - 0.03


def test_traffic_that_changes_is_followed() -> None:
    beliefs = Beliefs(K)
    feed(beliefs, "a", None, [0.9] * K, 1000, seed=8)
    feed(beliefs, "b", None, [0.1] * K, 500, seed=9)
    assert beliefs.rates(None)[0] == pytest.approx(0.1, abs=0.07)


drafts = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from([None, 1]), st.integers(1, K), st.integers(0, K)
    )
)


@given(drafts)
def test_survivals_never_rise_and_are_probabilities(seen: list[tuple]) -> None:
    beliefs = Beliefs(K)
    for name, kind, drafted, stood in seen:
        beliefs.record(name, kind, drafted, min(stood, drafted))
    for name, kind, length in (("a", None, K), ("b", 1, K - 1), ("new", 2, 1)):
        found = beliefs.survivals(name, kind, length)
        assert len(found) == K
        assert all(0 <= chance <= 1 for chance in found)
        assert found == sorted(found, reverse=True)
        assert not any(found[length:])
