"""A surface is exact where it was measured, straight between, and silent beyond."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.economics.costs.cost_surface import CostSurface, Point, points_of, record_of
from fairdraft.errors import ConfigError

REQUESTS, ROWS, CONTEXTS = (1, 2, 6), (1, 2, 5), (100, 400)


def measured(
    seconds: Callable[[int, int, int], float],
    keep: Callable[[int, int, int], bool] = lambda b, n, c: True,
) -> CostSurface:
    grid = itertools.product(REQUESTS, ROWS, CONTEXTS)
    return CostSurface(Point(*at, (seconds(*at),)) for at in grid if keep(*at))


def bent(b: float, n: float, c: float) -> float:
    """Straight along each axis, so that interpolation must hit it everywhere."""
    return 0.01 + 1e-3 * b + 2e-3 * n + 1e-5 * c + 3e-6 * b * n * c


inside = st.tuples(st.floats(1, 6), st.floats(1, 5), st.floats(100, 400))


@given(inside)
def test_between_measured_points_it_is_multilinear(at: tuple[float, float, float]) -> None:
    assert measured(bent).seconds(*at) == pytest.approx(bent(*at))


def test_measured_points_are_exact_whatever_lies_between() -> None:
    def curved(b: int, n: int, c: int) -> float:
        return 1e-3 * b**2 * n**1.5 + 1e-9 * c**2

    found = measured(curved)
    for at in itertools.product(REQUESTS, ROWS, CONTEXTS):
        assert found.seconds(*at) == pytest.approx(curved(*at))
    # Of the nearest two, not of the whole axis.
    middle = (curved(2, 1, 100) + curved(6, 1, 100)) / 2
    assert found.seconds(4, 1, 100) == pytest.approx(middle)


def test_the_median_of_the_samples_counts() -> None:
    assert CostSurface([Point(1, 1, 9, (0.9, 0.1, 0.2))]).seconds(1, 1, 9) == 0.2


times = st.lists(st.floats(1e-3, 1), min_size=18, max_size=18)


@settings(deadline=None)
@given(times, inside, inside, st.sets(st.sampled_from(list(itertools.product(REQUESTS, ROWS)))))
def test_more_work_never_takes_less_time(
    seconds: list[float],
    one: tuple[float, float, float],
    other: tuple[float, float, float],
    short: set[tuple[int, int]],
) -> None:
    """Whatever the clock said, and where the longer context was not measured everywhere."""
    grid = list(itertools.product(REQUESTS, ROWS, CONTEXTS))
    kept = [
        Point(*at, (s,))
        for at, s in zip(grid, seconds, strict=True)
        if at[2] == CONTEXTS[0] or at[:2] not in short
    ]
    found = CostSurface(kept)
    for axis in range(3):
        steps = np.diff(found.grid, axis=axis)
        assert not (steps < 0).any()
    low, high = (tuple(f(pair) for pair in zip(one, other, strict=True)) for f in (min, max))
    if not short:
        assert found.seconds(*low) <= found.seconds(*high) + 1e-9


@given(times)
def test_a_grid_that_rises_is_left_alone(seconds: list[float]) -> None:
    grid = np.array(seconds).reshape(3, 3, 2)
    for axis in range(3):
        grid = np.cumsum(grid, axis)
    found = measured(
        lambda b, n, c: grid[REQUESTS.index(b), ROWS.index(n), CONTEXTS.index(c)].item()
    )
    np.testing.assert_allclose(found.grid, grid)


def test_noise_is_pooled() -> None:
    """Two runs in the wrong order take what they take on average."""
    found = CostSurface([Point(1, 1, 9, (0.4,)), Point(1, 2, 9, (0.2,)), Point(1, 3, 9, (0.5,))])
    assert found.grid.flatten().tolist() == pytest.approx([0.3, 0.3, 0.5])


@pytest.mark.parametrize(
    ("at", "axis", "limits"),
    [
        ((7, 1, 100), "requests = 7", "from 1 to 6"),
        ((0.5, 1, 100), "requests = 0.5", "from 1 to 6"),
        ((1, 6, 100), "rows = 6", "from 1 to 5"),
        ((1, 1, 401), "context = 401", "from 0 to 400"),
    ],
)
def test_beyond_what_was_measured_it_is_asked_for_by_name(
    at: tuple[float, float, float], axis: str, limits: str
) -> None:
    found = measured(bent)
    assert not found.covers(*at)
    with pytest.raises(ConfigError, match=f"{axis} was not measured: .* {limits}; profile it"):
        found.seconds(*at)
    assert found.seconds(*at, extrapolate=True) == pytest.approx(bent(*at))


def test_a_short_context_costs_what_the_shortest_does() -> None:
    assert measured(bent).seconds(2, 2, 7) == pytest.approx(bent(2, 2, 100))


def test_no_extrapolation_is_below_nothing() -> None:
    falls = CostSurface([Point(2, 1, 9, (0.1,)), Point(4, 1, 9, (0.9,))])
    assert 0 < falls.seconds(1, 1, 9, extrapolate=True) < 1e-6


@pytest.mark.parametrize("fewer", [0, 1])
def test_long_contexts_of_some_settings_only(fewer: int) -> None:
    """Whichever of the neighbours lacks it, it is not made up."""
    lacking = (6, 1)[fewer]
    found = measured(bent, lambda b, n, c: c == 100 or b != lacking)
    assert found.seconds(2, 2, 300) == pytest.approx(bent(2, 2, 300))
    assert found.covers(lacking, 2, 100)
    for requests in (lacking, (4, 1.5)[fewer]):
        with pytest.raises(
            ConfigError, match=f"context = 300 .* {lacking} requests of 2 rows.*100"
        ):
            found.seconds(requests, 2, 300)
        assert found.seconds(requests, 2, 300, extrapolate=True) > 0


def test_a_hole_in_the_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks 6 requests of 5 rows"):
        measured(bent, lambda b, n, c: (b, n) != (6, 5))


@pytest.mark.parametrize("samples", [(), (0.0,), (-1.0,), (float("nan"),), (float("inf"),)])
def test_times_must_be_above_0(samples: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="no time above 0 at 1 requests of 1 rows at context 9"):
        CostSurface([Point(1, 1, 9, samples)])


def test_no_points() -> None:
    with pytest.raises(ConfigError, match="mine has no measured points"):
        CostSurface([], "mine")


def test_points_round_trip() -> None:
    point = Point(2, 3, 128, (0.25, 0.5, 0.125))
    assert record_of(point)["seconds"] == 0.25
    assert points_of([record_of(point)], "x") == [point]


@pytest.mark.parametrize(
    "broken",
    [
        {"requests": 1, "rows": 1, "samples": [1.0]},
        {"requests": 1, "rows": "x", "context": 1, "samples": [1.0]},
        {"requests": 1, "rows": 1, "context": 1, "samples": [None]},
        {"requests": 1, "rows": 1, "context": 1, "samples": 3},
        "a string",
    ],
)
def test_broken_points(broken: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="mine holds a broken point"):
        points_of([broken], "mine")


def test_a_table_holds_what_was_asked_one_by_one() -> None:
    """Between settings, on them, beyond them, and where a context is missing."""
    rng = np.random.default_rng(0)
    grid = itertools.product((1, 2, 8), (1, 3, 5), (16, 128))
    points = [
        Point(b, n, x, (1 + b * n * x * (1 + rng.random()) / 1000,))
        for b, n, x in grid
        if (b, x) != (8, 128)
    ]
    single = [Point(4, 3, 64, (0.5,))]
    sizes, rows = (1, 2, 3, 10), (1, 1.5, 3, 5, 9)
    for surface in (CostSurface(points), CostSurface(single)):
        for context in (8, 50, 128, 300):
            found = surface.table(sizes, rows, context)
            each = [[surface.seconds(b, n, context, extrapolate=True) for n in rows] for b in sizes]
            np.testing.assert_allclose(found, each)
