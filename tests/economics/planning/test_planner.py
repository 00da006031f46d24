"""Plans: exact cases, what must hold of every choice, intervals, thresholds, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import linear_cost, speedups
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.planner import plan
from fairdraft.economics.planning.upgrade import upgrades
from fairdraft.errors import ConfigError
from fairdraft.peers import Reading

K = 8
PLAIN = 0.02  # seconds


def linear(
    c: float, growth: float = 0.0, loads: tuple[int, ...] = (1,), samples: int = 1
) -> StepCosts:
    """Costs of `linear_cost`, with growth · load instead of growth."""
    step = [
        Point(n, 1 + k, 128, (PLAIN * (1 + growth * n * k),) * samples)
        for n in loads
        for k in range(K + 1)
    ]
    draft = [Point(n, k, 128, (PLAIN * max(c * k, 1e-12),)) for n in loads for k in range(1, K + 1)]
    return StepCosts(CostSurface(step), {"head": CostSurface(draft)}, 128)


def test_exact() -> None:
    found = plan(linear(0.07, 0.03), Acceptance.of_alpha(0.7))
    expected = speedups(constant(0.7, K), linear_cost(0.07, K, 0.03))
    for k in range(K + 1):
        cell = found.cells["head", 1, k]
        assert cell is not None
        assert cell.speedup.value == pytest.approx(expected[k], rel=1e-9)
        assert cell.speedup.low == cell.speedup.value == cell.speedup.high
        assert cell.tokens_per_second.value == pytest.approx(expected[k] / PLAIN, rel=1e-9)
    choice = found.choices["head", 1]
    assert choice is not None
    assert choice.k == 4  # FACTS.md: (.7, .1) → 4, 1.98
    assert choice.cell.speedup.value == pytest.approx(1.98, abs=0.005)
    assert choice.cell.tpot == pytest.approx(PLAIN / expected[4])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_it_is_best_k(alpha: float, c: float, growth: float) -> None:
    found = plan(linear(c, growth), Acceptance.of_alpha(alpha), draws=0)
    costs = linear_cost(max(c, 1e-12), K, growth)
    choice = found.choices["head", 1]
    assert choice is not None
    gains = speedups(constant(alpha, K), costs)
    # Rounding may part what ties; the choice is never worse.
    assert gains[choice.k] >= gains[int(best_k(speedups(constant(alpha, K), costs)))] * (1 - 2e-9)


@given(st.floats(0.05, 0.95), st.lists(st.floats(0, 1), min_size=2, max_size=5, unique=True))
@settings(max_examples=20, deadline=None)
def test_a_dearer_drafter_never_drafts_more(alpha: float, prices: list[float]) -> None:
    chosen = [
        plan(linear(c, 0.01), Acceptance.of_alpha(alpha), draws=0).schedule("head")[1]
        for c in sorted(prices)
    ]
    assert chosen == sorted(chosen, reverse=True)


def test_more_load_never_drafts_more() -> None:
    found = plan(linear(0.05, 0.02, (1, 2, 4, 8, 16, 32)), Acceptance.of_alpha(0.6))
    chosen = list(found.schedule("head").values())
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] > chosen[-1]
    assert chosen[-1] == 0


def test_ties_go_to_the_smaller_k() -> None:
    survivals = [0.5, 0.25]  # E = 1.5, 1.75
    times = {0: 1.0, 1: 1.2, 2: 1.2 * 1.75 / 1.5}
    points = [Point(1, 1 + k, 0, (t,)) for k, t in times.items()]
    tied = StepCosts(CostSurface(points), {"head": None})
    choice = plan(tied, Acceptance.of_survivals(survivals)).choices["head", 1]
    assert choice is not None
    assert choice.k == 1
    points[2] = Point(1, 3, 0, (times[2] * 0.999,))
    choice = plan(
        StepCosts(CostSurface(points), {"head": None}), Acceptance.of_survivals(survivals)
    ).choices["head", 1]
    assert choice is not None
    assert choice.k == 2


@given(
    st.integers(5, 3000),
    st.lists(st.floats(0.05, 1), min_size=K, max_size=K),
    st.floats(0, 0.3),
    st.integers(0, 9),
)
@settings(max_examples=50, deadline=None)
def test_a_choice_never_reaches_1(rounds: int, rates: list[float], c: float, seed: int) -> None:
    stood = np.floor(rounds * np.cumprod(rates))
    found = plan(linear(c), Acceptance.of_counts(rounds, stood.tolist()), draws=200, seed=seed)
    choice = found.choices["head", 1]
    assert choice is not None
    cells = [found.cells["head", 1, k] for k in found.ks]
    sure = [cell for cell in cells if cell is not None and cell.speedup.low > 1]
    if choice.k:
        assert choice.cell.speedup.low > 1
        best = max(cell.speedup.value for cell in sure)
        assert choice.cell.speedup.value >= best * (1 - 1e-9)
    else:
        assert not sure


def test_off_where_the_interval_reaches_1() -> None:
    """The same rates: from few rounds off, from many on."""
    few, many = (Acceptance.of_counts(n, [0.35 * n]) for n in (60, 60_000))
    costs = linear(0.3)
    for acceptance, k in ((few, 0), (many, 1)):
        found = plan(costs, acceptance, [1])
        cell, choice = found.cells["head", 1, 1], found.choices["head", 1]
        assert cell is not None
        assert choice is not None
        assert cell.speedup.value == pytest.approx(1.35 / 1.3)
        assert choice.k == k


def test_intervals_cover() -> None:
    """Of simulated measurements of a known truth, 95% hold the truth."""
    rng = np.random.default_rng(1)
    rates, rounds, times = np.array([0.7, 0.6]), 400, (0.02, 0.027)
    tokens = 1 + np.cumprod(rates).sum()
    truth = tokens * times[0] / times[1]
    hits = []
    for seed in range(400):
        first = rng.binomial(rounds, rates[0])
        stood = [first, rng.binomial(first, rates[1])]
        points = [
            Point(1, rows, 0, tuple((t * np.exp(rng.normal(0, 0.03, 15))).tolist()))
            for rows, t in zip((1, 3), times, strict=True)
        ]
        costs = StepCosts(CostSurface(points), {"head": None})
        found = plan(costs, Acceptance.of_counts(rounds, stood), [2], draws=300, seed=seed)
        cell = found.cells["head", 1, 2]
        assert cell is not None
        hits.append(cell.speedup.low <= truth <= cell.speedup.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_rivals() -> None:
    """E = 1.9, 2.38 against T = 1.2, 1.5: 1.583 and 1.587 cannot be told apart from 100 rounds."""
    points = [Point(1, 1 + k, 0, (t,)) for k, t in enumerate((1.0, 1.2, 1.5))]
    costs = StepCosts(CostSurface(points), {"head": None})
    choice = plan(costs, Acceptance.of_counts(100, [90, 48])).choices["head", 1]
    assert choice is not None
    assert (choice.k, choice.rivals) == (2, (1,))
    exact = plan(costs, Acceptance.of_survivals([0.9, 0.48])).choices["head", 1]
    assert exact is not None
    assert (exact.k, exact.rivals) == (2, ())


def test_unmeasured_is_left_out() -> None:
    costs = linear(0.05, loads=(1, 8))
    found = plan(costs, Acceptance.of_survivals([0.7, 0.5]), [1, 2, 3], [1, 8, 16])
    assert found.cells["head", 1, 2] is not None
    assert found.cells["head", 1, 3] is None  # acceptance
    assert found.cells["head", 16, 0] is None  # costs
    assert found.choices["head", 16] is None
    assert found.schedule("head") == {1: 2, 8: 2}
    with pytest.raises(ConfigError, match=r"none of k = \[9\] was measured"):
        plan(costs, Acceptance.of_alpha(0.7), [9])
    shorter = StepCosts(costs.step, costs.drafters, 500)
    with pytest.raises(ConfigError, match="context up to 128"):
        plan(shorter, Acceptance.of_alpha(0.7))


def test_extrapolation_is_marked() -> None:
    costs = linear(0.05, 0.01, loads=(1, 8))
    acceptance = Acceptance.of_survivals([0.7, 0.49])
    found = plan(costs, acceptance, [2, 3, 10], [8, 16], extrapolate=True)
    assert {key for key, cell in found.cells.items() if cell and cell.measured} == {
        ("head", 8, 0),
        ("head", 8, 2),
    }
    cell = found.cells["head", 16, 10]
    assert cell is not None
    expected = (1 + sum(0.7**j for j in range(1, 11))) / (1 + 10 * (0.05 + 0.01 * 16))
    assert cell.speedup.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ks", "loads", "message"),
    [
        ([0, 1], None, "k is 0"),
        ([-1], None, "k is -1"),
        ([], None, "no k to plan for"),
        (None, [0], "concurrency is 0"),
        (None, [], "no concurrency"),
    ],
)
def test_refused(ks: list[int] | None, loads: list[int] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(linear(0.1), Acceptance.of_alpha(0.7), ks, loads)


def test_methods_are_named() -> None:
    both = linear(0.05)
    two = StepCosts(both.step, {**both.drafters, "ngram": None}, 128)
    with pytest.raises(ConfigError, match="say which"):
        plan(two, Acceptance.of_alpha(0.7))
    with pytest.raises(ConfigError, match="'medusa' was not measured"):
        plan(two, {"medusa": Acceptance.of_alpha(0.7)})
    found = plan(two, {"head": Acceptance.of_alpha(0.8), "ngram": Acceptance.of_alpha(0.1)})
    assert found.best_method == "head"
    assert found.plane("head", 1) == pytest.approx((0.8, 0.05))


def test_thresholds() -> None:
    """At each bound the draft length before it and the one behind it are worth the same."""
    survivals = np.array([0.8, 0.6, 0.45, 0.36, 0.3, 0.25, 0.2, 0.17])
    growth, c = 0.06, 0.04
    found = plan(linear(c, growth), Acceptance.of_survivals(survivals))
    choice = found.choices["head", 1]
    assert choice is not None
    bounds = choice.below
    assert [b.k for b in bounds] == sorted((b.k for b in bounds), reverse=True)
    assert bounds[-1].k == 0
    lengths = [b.length for b in bounds]
    assert choice.cell.length > lengths[0]
    assert lengths == sorted(lengths, reverse=True)
    rates = survivals / np.concatenate([[1.0], survivals[:-1]])
    costs = linear_cost(c, K, growth)

    def scaled(scale: float) -> np.ndarray:
        return (rates * scale).cumprod()

    before = choice.k
    for bound in bounds:
        scale = brentq(lambda s, b=bound: 1 + scaled(s)[: choice.k].sum() - b.length, 0, 1)
        assert best_k(speedups(scaled(scale * 1.0001), costs)) == before
        assert best_k(speedups(scaled(scale * 0.9999), costs)) == bound.k
        before = bound.k


def test_the_length_that_switches_it_on() -> None:
    choice = plan(linear(0.3, 0.1), Acceptance.of_alpha(0.2), [1, 2, 4]).choices["head", 1]
    assert choice is not None
    assert (choice.k, choice.below) == (0, ())
    assert choice.above is not None
    assert choice.above.k == 1
    assert choice.above.length == pytest.approx(1.4, abs=1e-6)  # break-even: α = c + λ
    hopeless = plan(linear(0.9, 0.3), Acceptance.of_alpha(0.2)).choices["head", 1]
    assert hopeless is not None
    assert hopeless.above is None


def test_goodput_and_dollars() -> None:
    found = plan(linear(0.05, 0.02, (1, 4, 16)), Acceptance.of_alpha(0.7))
    limit = PLAIN * 0.7
    assert found.best_load_off(limit) is None
    best = found.best_load("head", limit)
    assert best is not None
    assert best.tpot <= limit
    rates = [
        choice.cell.tokens_per_second.value
        for choice in found.choices.values()
        if choice is not None and choice.cell.tpot <= limit
    ]
    assert best.goodput(limit) == max(rates)
    assert best.goodput(best.tpot * 0.999) == 0
    assert best.dollars(3.6) == pytest.approx(1000 / best.tokens_per_second.value)


def test_static_k_is_the_best_compromise() -> None:
    found = plan(linear(0.05, 0.02, (1, 8, 64)), Acceptance.of_alpha(0.7))
    gains = {0: 1.0}
    for k in found.ks:
        cells = [found.cells["head", n, k] for n in found.concurrencies]
        gains[k] = float(np.prod([cell.speedup.value for cell in cells if cell]))
    assert found.static_k("head") == max(gains, key=lambda k: gains[k])


def test_static_k_is_off_where_no_load_is_surely_faster() -> None:
    """Twenty drafts, three of which stood: an estimate above 1, and an interval that holds 1."""
    found = plan(linear(0.05, 0.02, (1, 8), samples=5), Acceptance.of_counts(20, [3.0]))
    first = found.cells["head", 1, 1]
    assert first is not None
    assert first.speedup.low < 1 < first.speedup.value
    assert set(found.schedule("head").values()) == {0}
    assert found.static_k("head") == 0


def test_an_upgrade() -> None:
    noisy = linear(0.05, 0.02, (1, 8), samples=5)
    worse, better = (Acceptance.of_counts(2000, [2000 * s]) for s in (0.5, 0.8))
    old, new = (plan(noisy, each, [1]) for each in (worse, better))
    for found in upgrades(old, new):
        assert found.gain.value == pytest.approx(1.8 / 1.5)
        assert 1.15 < found.gain.low < found.gain.value < found.gain.high < 1.25
        step = PLAIN * (1.05 + 0.02 * found.requests) / found.requests  # of one token, no drafts
        assert found.saved(3.6) == pytest.approx(1000 * step * (1 / 1.5 - 1 / 1.8))
    for same in upgrades(old, plan(noisy, worse, [1])):
        assert (same.gain.low, same.gain.high) == (1, 1)


def run(
    requests: float | None,
    k: float,
    step_time: float | None,
    rounds: float = 0,
    stood: tuple[float, ...] = (),
) -> Reading:
    """Rounds of k drafts, of which `stood` says how many stood at each position."""
    return Reading(
        "run", rounds, rounds * k, sum(stood), stood, requests=requests, step_seconds=step_time
    )


def test_a_sweep_of_another_engine() -> None:
    """k ∈ {0, 2, 6} at 1 and 8 streams, planned for k ∈ {1, 2, 4, 6}."""
    times = {1: {0: 0.04, 2: 0.046, 6: 0.054}, 8: {0: 0.06, 2: 0.08, 6: 0.12}}
    stood = (600.0, 420.0, 330.0, 260.0, 200.0, 170.0)
    runs = [run(n, k, t, 1000 if k else 0, stood[:k]) for n in times for k, t in times[n].items()]
    costs = StepCosts.of_sweep(runs, "ngram")
    found = plan(costs, Acceptance.of(runs[2], runs[5]), [1, 2, 4, 6], [1, 8])
    tokens = {k: 1 + sum(stood[:k]) / 1000 for k in range(7)}
    # Between k = 0 and 2: the line through 2 and 6 where that is more.
    steps = {
        (1, 1): 0.044, (1, 2): 0.046, (1, 4): 0.05, (1, 6): 0.054,
        (8, 1): 0.07, (8, 2): 0.08, (8, 4): 0.1, (8, 6): 0.12,
    }  # fmt: skip
    for (n, k), step in steps.items():
        cell = found.cells["ngram", n, k]
        assert cell is not None
        assert cell.step == pytest.approx(step)
        assert cell.speedup.value == pytest.approx(tokens[k] * times[n][0] / step)
    assert found.schedule("ngram") == {1: 6, 8: 4}
    assert "measured once" in found.notes[0]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "the sweep is empty"),
        ([run(1, 2, 0.02, 10, (5, 3))], r"without speculation \(k = 0\)"),
        ([run(1, 0, 0.02)], "no run with speculation"),
        ([run(1, 0, None)], "does not tell the step time"),
        ([run(None, 0, 0.02)], "does not tell the step time"),
        ([run(1, 0, 0.02), run(2, 1, 0.02, 9, (4,))], "every number of requests"),
    ],
)
def test_sweeps_that_are_refused(runs: list[Reading], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StepCosts.of_sweep(runs)
