"""The closed form against exact fractions, published numbers, and a simulated clock."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from fairdraft.economics import expected_tokens_per_verify, optimal_k, speedup
from fairdraft.errors import ConfigError, FairdraftError

rates = st.floats(0, 1)
costs = st.floats(0, 2)
lengths = st.integers(0, 40)
ROUNDING = 1e-13

# A busy machine must not fail a test of arithmetic.
untimed = settings(deadline=None)


def exact_tokens(alpha: float, k: int) -> Fraction:
    """Draft j stands with probability alpha^j; the token after the drafts always comes."""
    return sum((Fraction(alpha) ** j for j in range(k + 1)), Fraction(0))


def exact_speedup(alpha: float, k: int, c: float) -> Fraction:
    return exact_tokens(alpha, k) / (1 + k * Fraction(c))


# --- values


@pytest.mark.parametrize("k", [0, 1, 5, 1000])
def test_edges_are_exact(k: int) -> None:
    assert expected_tokens_per_verify(0.0, k) == 1
    assert expected_tokens_per_verify(1.0, k) == k + 1


@untimed
@given(alpha=rates, c=costs)
def test_without_drafts_nothing_changes(alpha: float, c: float) -> None:
    assert expected_tokens_per_verify(alpha, 0) == 1
    assert speedup(alpha, 0, c) == 1
    assert optimal_k(alpha, c, 0) == 0


@pytest.mark.parametrize("k", [1, 2, 7, 64])
@pytest.mark.parametrize(
    "alpha",
    [5e-324, 1e-300, 1e-9, 0.1, 0.5, 0.7, 0.99]
    + [1 - 10.0**-n for n in range(3, 16)]
    + [float(np.nextafter(1, 0))],
)
def test_agrees_with_exact_fractions_up_to_alpha_one(alpha: float, k: int) -> None:
    exact = exact_tokens(alpha, k)
    assert abs(Fraction(expected_tokens_per_verify(alpha, k)) / exact - 1) < 2e-15


@untimed
@given(alpha=rates, k=lengths, c=costs)
def test_agrees_with_exact_fractions_everywhere(alpha: float, k: int, c: float) -> None:
    assert abs(Fraction(speedup(alpha, k, c)) / exact_speedup(alpha, k, c) - 1) < ROUNDING


def test_long_drafts_reach_the_ceiling() -> None:
    assert expected_tokens_per_verify(0.75, 10**6) == pytest.approx(4, rel=1e-15)


@pytest.mark.parametrize(
    ("alpha", "c", "best", "ratio"),
    [
        (0.7, 0.05, {5, 6}, 2.35),
        (0.7, 0.1, {4}, 1.98),
        (0.7, 0.2, {3}, 1.58),
        (0.7, 0.4, {2}, 1.22),
        (0.5, 0.4, {1}, 1.07),
    ],
)
def test_known_optima(alpha: float, c: float, best: set[int], ratio: float) -> None:
    k = optimal_k(alpha, c, 16)
    assert k in best
    assert speedup(alpha, k, c) == pytest.approx(ratio, abs=0.005)


def test_the_near_tie_of_five_and_six() -> None:
    assert speedup(0.7, 5, 0.05) == pytest.approx(speedup(0.7, 6, 0.05), rel=1e-6)


def test_a_dear_drafter_that_is_seldom_right_loses() -> None:
    assert speedup(0.2, 5, 0.5) < 0.4
    assert optimal_k(0.2, 0.5, 5) == 0


# --- the best draft length


@untimed
@given(alpha=rates, c=costs, k_max=st.integers(0, 12))
def test_optimal_k_is_the_smallest_of_the_exact_best(alpha: float, c: float, k_max: int) -> None:
    exact = [exact_speedup(alpha, k, c) for k in range(k_max + 1)]
    k, best = optimal_k(alpha, c, k_max), max(exact)
    assert exact[k] >= best * (1 - Fraction(1.01e-9))
    assert all(shorter < best * (1 - Fraction(0.99e-9)) for shorter in exact[:k])


@untimed
@given(alpha=rates, c=st.floats(0, 1), k_max=st.integers(1, 20))
def test_zero_is_best_iff_alpha_is_at_most_c(alpha: float, c: float, k_max: int) -> None:
    assert optimal_k(alpha, alpha, k_max) == 0
    if abs(alpha - c) > 1e-8:
        assert (optimal_k(alpha, c, k_max) == 0) == (alpha <= c)


def test_ties_go_to_the_shortest_draft() -> None:
    assert optimal_k(0.0, 0.0, 30) == 0
    assert optimal_k(1.0, 1.0, 30) == 0
    # A free drafter with alpha = 1/2 lacks 2^-(k+1) of the ceiling: below 1e-9 from k = 29 on.
    assert optimal_k(0.5, 0.0, 200) == 29
    assert optimal_k(1.0, 0.0, 200) == 200


# --- directions


@untimed
@given(low=rates, high=rates, k=lengths)
def test_tokens_grow_with_alpha_and_stay_in_bounds(low: float, high: float, k: int) -> None:
    low, high = sorted((low, high))
    fewer, more = expected_tokens_per_verify(low, k), expected_tokens_per_verify(high, k)
    assert 1 <= fewer <= more * (1 + ROUNDING)
    assert more <= (k + 1) * (1 + ROUNDING)
    assert more * (1 - high) <= 1 + ROUNDING


@untimed
@given(alpha=rates, k=lengths)
def test_tokens_grow_with_k_by_the_survival_of_the_next_draft(alpha: float, k: int) -> None:
    gain = expected_tokens_per_verify(alpha, k + 1) - expected_tokens_per_verify(alpha, k)
    assert gain == pytest.approx(alpha ** (k + 1), abs=1e-12)


@untimed
@given(alpha=rates, k=st.integers(1, 40), cheap=costs, dear=costs)
def test_speedup_falls_with_draft_cost(alpha: float, k: int, cheap: float, dear: float) -> None:
    cheap, dear = sorted((cheap, dear))
    assert speedup(alpha, k, dear) <= speedup(alpha, k, cheap) * (1 + ROUNDING)


def test_optimal_k_rises_with_alpha_and_falls_with_c() -> None:
    grid = np.linspace(0, 1, 101)
    best = np.asarray(optimal_k(grid[:, None], grid, 24))
    assert (np.diff(best, axis=0) >= 0).all()
    assert (np.diff(best, axis=1) <= 0).all()


# --- shapes


def test_scalars_in_python_numbers_out() -> None:
    assert type(expected_tokens_per_verify(0.7, 4)) is float
    assert type(speedup(np.float64(0.7), 4, np.float32(0.5))) is float
    assert type(optimal_k(np.array(0.7), 0.1, 8)) is int


def test_arrays_broadcast() -> None:
    alpha, k, c = np.array([0.0, 0.4, 1.0]), np.array([[0], [3]]), np.full((4, 1, 1), 0.1)
    tokens = np.asarray(expected_tokens_per_verify(alpha, k))
    assert tokens.dtype == np.float64
    np.testing.assert_allclose(tokens, [[1.0, 1.0, 1.0], [1.0, 1.624, 4.0]], rtol=1e-15)
    ratios = np.asarray(speedup(alpha, k, c))
    assert ratios.shape == (4, 2, 3)
    np.testing.assert_allclose(ratios[2], tokens / np.array([[1.0], [1.3]]), rtol=1e-15)


def test_optimal_k_broadcasts() -> None:
    best = np.asarray(optimal_k([[0.7], [0.5]], [0.1, 0.2, 0.4, 0.9], 16))
    assert best.dtype == np.int64
    assert best[0].tolist() == [4, 3, 2, 0]
    assert best[1, 2:].tolist() == [1, 0]


def test_empty_arrays_stay_empty() -> None:
    assert np.asarray(expected_tokens_per_verify([], 3)).shape == (0,)
    assert np.asarray(optimal_k([], 0.1, 3)).shape == (0,)


# --- a simulated engine

CYCLES = 200_000
K_GRID = (1, 2, 4, 8)


@pytest.fixture(scope="module", params=[0.0, 0.2, 0.5, 0.8, 0.95, 1.0])
def stands(request: pytest.FixtureRequest) -> tuple[float, NDArray[np.bool_]]:
    """Draw drafts from q, test them against p by rejection; which drafts [cycle, j] pass."""
    alpha: float = request.param
    rng = np.random.default_rng(20_221_130)
    common = alpha * np.array([0.1, 0.2, 0.3, 0.4])
    p, q = common.copy(), common.copy()
    p[0] += 1 - alpha
    q[2] += 1 - alpha
    assert np.minimum(p, q).sum() == pytest.approx(alpha)
    drafts = rng.choice(4, size=(CYCLES, max(K_GRID)), p=q)
    return alpha, rng.random(drafts.shape) * q[drafts] < p[drafts]


@pytest.mark.parametrize("k", K_GRID)
def test_simulated_tokens_per_run(stands: tuple[float, NDArray[np.bool_]], k: int) -> None:
    alpha, passed = stands
    emitted = np.cumprod(passed[:, :k], axis=1).sum() + CYCLES
    assert emitted / CYCLES == pytest.approx(expected_tokens_per_verify(alpha, k), rel=0.01)


@pytest.mark.parametrize("c", [0.05, 0.4])
@pytest.mark.parametrize("k", K_GRID)
def test_simulated_speedup(stands: tuple[float, NDArray[np.bool_]], k: int, c: float) -> None:
    """The time to reach a fixed length, with and without drafts, when single runs jitter."""
    alpha, passed = stands
    rng = np.random.default_rng(7)
    emitted = (np.cumprod(passed[:, :k], axis=1).sum(axis=1) + 1).cumsum()
    draft_time = rng.uniform(0.5 * c, 1.5 * c, (CYCLES, k)).sum(axis=1)
    clock = (draft_time + rng.uniform(0.5, 1.5, CYCLES)).cumsum()
    plain_clock = rng.uniform(0.5, 1.5, CYCLES).cumsum()
    length = CYCLES - 1
    with_drafts = clock[np.searchsorted(emitted, length)]
    assert plain_clock[length - 1] / with_drafts == pytest.approx(speedup(alpha, k, c), rel=0.01)


# --- bad input


@pytest.mark.parametrize("alpha", [-0.1, 1 + 1e-9, float("nan"), [0.5, 70.0], "high", None])
def test_bad_alpha(alpha: ArrayLike) -> None:
    with pytest.raises(ConfigError, match=r"alpha = .*: pass"):
        expected_tokens_per_verify(alpha, 4)
    with pytest.raises(ConfigError, match=r"alpha = .*: pass"):
        speedup(alpha, 4, 0.1)
    with pytest.raises(ConfigError, match=r"alpha = .*: pass"):
        optimal_k(alpha, 0.1, 4)


@pytest.mark.parametrize("k", [-1, 2.5, float("inf"), float("nan"), [3, -2]])
def test_bad_k(k: ArrayLike) -> None:
    with pytest.raises(ConfigError, match=r"k = .* a whole number >= 0: pass"):
        expected_tokens_per_verify(0.7, k)
    with pytest.raises(ConfigError, match=r"k = .* a whole number >= 0: pass"):
        speedup(0.7, k, 0.1)


@pytest.mark.parametrize("c", [-0.01, float("inf"), float("nan"), [0.1, -1.0]])
def test_bad_c(c: ArrayLike) -> None:
    with pytest.raises(ConfigError, match=r"c = .* finite and >= 0: pass"):
        speedup(0.7, 4, c)
    with pytest.raises(ConfigError, match=r"c = .* finite and >= 0: pass"):
        optimal_k(0.7, c, 4)


@pytest.mark.parametrize("k_max", [-1, 1.5, float("nan"), [4, 8]])
def test_bad_k_max(k_max: int) -> None:
    with pytest.raises(ConfigError, match=r"k_max .*: pass"):
        optimal_k(0.7, 0.1, k_max)


def test_the_message_names_the_first_illegal_value() -> None:
    with pytest.raises(ConfigError, match=r"alpha = 70\.0 is not in \[0, 1\]: .* 0\.7 for 70%"):
        speedup([0.5, 70.0, 80.0], 4, 0.1)
    assert issubclass(ConfigError, FairdraftError)
    assert issubclass(ConfigError, ValueError)
