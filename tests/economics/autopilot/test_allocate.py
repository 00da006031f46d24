"""The scan against every vector of lengths there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.economics.autopilot.allocate import Pace, allocate

FREE = 0.0


def worth_of(gains, own, plain, costs, behind, rate, lengths, takes) -> float:  # type: ignore[no-untyped-def]
    """Of some lengths, by definition."""
    tokens = len(lengths) + sum(
        (own if taken else gains)[i, :length].sum()
        for i, (length, taken) in enumerate(zip(lengths, takes, strict=True))
    )
    asked = [length for length, taken in zip(lengths, takes, strict=True) if taken and length]
    drafting = costs[len(asked), max(asked, default=0)] + (behind if asked else 0.0)
    return float(tokens - rate * (plain[sum(lengths)] + drafting))


def best_of_all(gains, own, plain, costs, behind, rate, longest) -> float:  # type: ignore[no-untyped-def]
    count, k = gains.shape
    each = [(n, False) for n in range(k + 1)] + [(n, True) for n in range(1, longest + 1)]
    return max(
        worth_of(gains, own, plain, costs, behind, rate, *zip(*chosen, strict=True))
        for chosen in itertools.product(each, repeat=count)
    )


def survivals(draw: np.random.Generator, count: int, k: int) -> np.ndarray:
    """Non-increasing, 0 beyond each one's end; equal ones occur."""
    found = np.round(draw.random((count, k)), 1 + int(draw.integers(3))).cumprod(1)
    return np.where(np.arange(k) < draw.integers(0, k + 1, (count, 1)), found, 0.0)


def staircase(draw: np.random.Generator, size: int) -> np.ndarray:
    return 1 + (draw.random(size) * (draw.random(size) < 0.4)).cumsum()


def costs_of(draw: np.random.Generator, count: int, k: int) -> np.ndarray:
    costs = 0.3 * draw.random((count + 1, k + 1)).cumsum(0).cumsum(1) / (count + k)
    costs[0], costs[:, 0] = 0.0, 0.0
    return costs


worlds = st.tuples(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3))
rates = st.floats(0, 5)


@settings(deadline=None)
@given(worlds, rates, st.sampled_from(["linear", "staircase", "flat"]))
def test_lookups_alone_are_allocated_as_well_as_can_be(
    world: tuple[int, int, int], rate: float, shape: str
) -> None:
    seed, count, k = world
    draw = np.random.default_rng(seed)
    gains, size = survivals(draw, count, k), count * k + 1
    plain = {
        "linear": 1 + np.arange(size) * draw.random(),
        "staircase": staircase(draw, size),
        "flat": np.ones(size),
    }[shape]
    nobody, free = np.zeros_like(gains), np.zeros((count + 1, k + 1))
    tokens, seconds, lengths, takes = allocate(gains, nobody, plain, free, FREE, 0, rate)
    worth = pytest.approx(tokens - rate * seconds)
    assert worth == best_of_all(gains, nobody, plain, free, FREE, rate, 0)
    assert worth == worth_of(gains, nobody, plain, free, FREE, rate, lengths, takes)
    assert not takes.any()
    assert all(gains[i, n - 1] > 0 for i, n in enumerate(lengths) if n)  # never beyond the offer


@settings(deadline=None)
@given(worlds, rates, st.floats(0, 0.5))
def test_a_drafter_whose_cost_is_its_depth(
    world: tuple[int, int, int], rate: float, behind: float
) -> None:
    """Where asking one more request costs nothing more, the scan is the optimum."""
    seed, count, k = world
    draw = np.random.default_rng(seed)
    own, plain = survivals(draw, count, k), staircase(draw, count * k + 1)
    nothing = np.zeros_like(own)
    costs = np.tile(costs_of(draw, 1, k)[1], (count + 1, 1))
    costs[0] = 0.0
    tokens, seconds, lengths, takes = allocate(nothing, own, plain, costs, behind, k, rate)
    worth = pytest.approx(tokens - rate * seconds)
    assert worth == best_of_all(nothing, own, plain, costs, behind, rate, k)
    assert worth == worth_of(nothing, own, plain, costs, behind, rate, lengths, takes)


@settings(deadline=None)
@given(worlds, rates, st.floats(0, 0.5), st.integers(0, 3))
def test_lookups_and_a_drafter(
    world: tuple[int, int, int], rate: float, behind: float, longest: int
) -> None:
    """What it says is what it is worth, between lookups alone and the optimum."""
    seed, count, k = world
    longest = min(longest, k)
    draw = np.random.default_rng(seed)
    gains, own = survivals(draw, count, k), survivals(draw, count, k)
    plain, costs = staircase(draw, count * k + 1), costs_of(draw, count, k)
    tokens, seconds, lengths, takes = allocate(gains, own, plain, costs, behind, longest, rate)
    worth = tokens - rate * seconds
    assert pytest.approx(worth) == worth_of(gains, own, plain, costs, behind, rate, lengths, takes)
    best = best_of_all(gains, own, plain, costs, behind, rate, longest)
    without = allocate(gains, np.zeros_like(own), plain, costs, FREE, 0, rate)
    assert without[0] - rate * without[1] - 1e-8 <= worth <= best + 1e-8
    assert all((own if takes[i] else gains)[i, n - 1] > 0 for i, n in enumerate(lengths) if n)
    assert all(n <= longest for n, taken in zip(lengths, takes, strict=True) if taken)
    assert not any(taken and not n for n, taken in zip(lengths, takes, strict=True))


def test_the_scan_is_near_the_optimum_with_a_drafter() -> None:
    """A share of a percent lost on average, and nothing in most worlds."""
    lost = []
    for seed in range(150):
        draw = np.random.default_rng(seed)
        gains, own = survivals(draw, 3, 2), survivals(draw, 3, 2)
        plain, costs = staircase(draw, 7), costs_of(draw, 3, 2)
        rate = 3 / plain[0]
        tokens, seconds, _, _ = allocate(gains, own, plain, costs, FREE, 2, rate)
        best = best_of_all(gains, own, plain, costs, FREE, rate, 2)
        lost.append((best - tokens + rate * seconds) / tokens)
    assert np.mean(lost) < 0.01
    assert np.median(lost) < 1e-9


def alone(gains: list[float], plain: list[float], rate: float) -> list[int]:
    row = np.array([gains])
    free = np.zeros((2, len(gains) + 1))
    return list(allocate(row, np.zeros_like(row), np.array(plain), free, FREE, 0, rate)[2])


def test_of_equal_plans_the_shorter_draft() -> None:
    assert alone([0.5, 0.5], [1.0, 1.5, 2.0], 1.0) == [0]
    assert alone([1.0, 0.5], [1.0, 1.0, 1.25], 2.0) == [1]


def test_a_stair_is_jumped() -> None:
    """The second token does not pay by itself, but the third one is then free."""
    assert alone([0.9, 0.9, 0.9], [1.0, 1.9, 1.9, 1.9], 1.5) == [3]
    assert alone([0.9, 0.1, 0.1], [1.0, 1.2, 2.2, 2.2], 1.5) == [1]


def test_nothing_pays() -> None:
    gains = np.full((3, 4), 0.2)
    plain = 1 + np.arange(13) / 3
    costs = np.full((4, 5), 0.1)
    costs[0] = 0.0
    tokens, seconds, lengths, takes = allocate(gains, gains, plain, costs, FREE, 4, 3.0)
    assert (tokens, seconds) == (3, 1)
    assert not lengths.any()
    assert not takes.any()


def test_what_it_needs_before_it_drafts_counts() -> None:
    own, plain = np.array([[0.9, 0.8]]), np.ones(3)
    costs = np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.2]])
    assert allocate(np.zeros((1, 2)), own, plain, costs, 0.1, 2, 1.0)[2].tolist() == [2]
    assert allocate(np.zeros((1, 2)), own, plain, costs, 5.0, 2, 1.0)[2].tolist() == [0]


# --- the rate that time is worth


def written(paces: bool) -> float:
    """Tokens a second where good steps and bad ones take turns."""
    plain = 1 + 0.2 * np.arange(9)
    pace, tokens, seconds = Pace(), 0.0, 0.0
    for step in range(400):
        chance = (0.9, 0.3)[step % 2]
        rate = pace.speedup
        if not paces:  # what the step itself would come to (Dinkelbach's iteration)
            for _ in range(20):
                own = allocate_one(chance, plain, rate)
                rate = own[0] / own[1]
        found = allocate_one(chance, plain, rate)
        pace.add(*found)
        tokens, seconds = tokens + found[0], seconds + found[1]
    return tokens / seconds


def allocate_one(chance: float, plain: np.ndarray, rate: float) -> tuple[float, float]:
    row = chance ** np.arange(1, 9)[None]
    found = allocate(row, np.zeros_like(row), plain, np.zeros((2, 9)), FREE, 0, rate)
    return found[0], found[1]


def test_the_rate_achieved_makes_more_of_uneven_steps_than_each_steps_own() -> None:
    plain = 1 + 0.2 * np.arange(9)
    best = max(
        sum(1 + (c ** np.arange(1, n + 1)).sum() for c, n in zip((0.9, 0.3), lengths, strict=True))
        / sum(plain[n] for n in lengths)
        for lengths in itertools.product(range(9), repeat=2)
    )
    assert written(paces=True) == pytest.approx(best, rel=0.01)
    assert written(paces=False) < 0.99 * best


def test_time_is_worth_plain_steps_at_least() -> None:
    pace = Pace()
    for _ in range(50):
        pace.add(1.0, 2.0)
    assert pace.speedup == 1.0
    pace.add(3.0, 1.0, steps=1000)
    assert pace.speedup == pytest.approx(3.0)
