"""Step costs with draws: the same interpolation as the surface's, medians that move together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.errors import ConfigError

RNG = np.random.default_rng(0)
STEP = CostSurface(
    Point(n, rows, context, tuple((0.01 * (1 + 0.02 * n * rows) + 1e-6 * context * n) * noise))
    for n in (1, 2, 8)
    for rows in (1, 2, 3, 5)
    for context in (100, 400, 900)
    if context < 900 or n * rows < 20  # a hole
    for noise in [np.exp(RNG.normal(0, 0.05, 9))]
)
DRAFTER = CostSurface(
    Point(n, rows, 100, (0.001 * rows,) * 3) for n in (1, 8) for rows in (1, 2, 3, 4)
)
PROFILE = Profile("toy", "float32", {}, STEP, STEP, {"head": DRAFTER, "free": DRAFTER})


@given(st.integers(1, 8), st.integers(0, 4), st.floats(0, 400))
@settings(max_examples=60, deadline=None)
def test_the_estimate_is_the_surfaces(n: int, k: int, context: float) -> None:
    costs = StepCosts.of_profile(PROFILE, context)
    found = costs.draw().seconds("head", k, n)
    expected = STEP.seconds(n, 1 + k, context)
    if k:
        expected += DRAFTER.seconds(n, k, context, extrapolate=True)
    assert found.shape == (1,)
    assert found[0] == pytest.approx(expected)


@given(st.integers(1, 30), st.integers(1, 12), st.floats(0, 2000))
@settings(max_examples=60, deadline=None)
def test_and_so_it_is_beyond_what_was_measured(n: int, k: int, context: float) -> None:
    found = StepCosts.of_profile(PROFILE, context).draw().seconds("head", k, n)
    expected = STEP.seconds(n, 1 + k, context, True) + DRAFTER.seconds(n, k, context, True)
    assert found[0] == pytest.approx(expected)


def test_draws_are_medians_of_resamples() -> None:
    point = Point(1, 1, 0, (1.0, 2.0, 3.0))
    costs = StepCosts(CostSurface([point]), {"head": None})
    drawn = costs.draw(20_000, seed=1).seconds(None, 0, 1)
    assert drawn[0] == 2
    # The median of three of three: the middle one unless two or three fall to the same side.
    shares = [float(np.mean(drawn[1:] == value)) for value in (1, 2, 3)]
    assert shares == pytest.approx([7 / 27, 13 / 27, 7 / 27], abs=0.015)


def test_one_seed_draws_the_same() -> None:
    costs = StepCosts.of_profile(PROFILE)
    a, b = (costs.draw(50, seed=3).seconds("head", 2, 4) for _ in range(2))
    assert (a == b).all()
    assert (a != costs.draw(50, seed=4).seconds("head", 2, 4)).any()


def test_steps_in_which_some_requests_have_no_draft() -> None:
    drawn = StepCosts.of_profile(PROFILE).draw()
    alone = drawn.seconds("head", 4, 1, (0.3, 4.0))[0]
    expected = 0.3 * STEP.seconds(1, 5, 100) + 0.7 * STEP.seconds(1, 1, 100)
    assert alone == pytest.approx(expected + DRAFTER.seconds(1, 4, 100))
    never = drawn.seconds("head", 4, 8, (0.0, 4.0))[0]
    assert never == pytest.approx(STEP.seconds(8, 1, 100) + DRAFTER.seconds(8, 4, 100))


def test_what_is_covered() -> None:
    costs = StepCosts.of_profile(PROFILE)
    assert costs.context == 100
    assert costs.ks == range(1, 5)
    assert costs.covers("head", 4, 8)
    assert not costs.covers("head", 5, 8)
    assert not costs.covers("head", 1, 9)
    assert not StepCosts.of_profile(PROFILE, 1000).covers("head", 1, 1)


def test_a_profile_without_drafters() -> None:
    with pytest.raises(ConfigError, match="no drafter to plan for"):
        StepCosts.of_profile(Profile("toy", "float32", {}, STEP, STEP))
