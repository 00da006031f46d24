"""Three figures called acceptance, each over its own denominator; and what they say of alpha."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.telemetry import SpecCounters, StepTimes

untimed = settings(deadline=None)
# (drafted, accepted, emitted) of one decoding step.
Round = tuple[int, int, int]


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    drafted = draw(st.integers(0, 8))
    accepted = draw(st.integers(0, drafted))
    return drafted, accepted, draw(st.integers(1, accepted + 1))


def count(steps: list[Round]) -> SpecCounters:
    counters = SpecCounters()
    for step in steps:
        counters.record(*step)
    return counters


def simulate(alpha: float, lengths: list[int], seed: int) -> SpecCounters:
    """Rounds whose tokens stand independently with probability alpha until the first falls."""
    rng = random.Random(seed)
    counters = SpecCounters()
    for k in lengths:
        accepted = 0
        while accepted < k and rng.random() < alpha:
            accepted += 1
        counters.record(k, accepted, accepted + 1)
    return counters


# A round of 4 that loses its second token, a full round of 2, a lost round of 1, no draft at all.
MIXED: list[Round] = [(4, 1, 2), (2, 2, 3), (1, 0, 1), (0, 0, 1)]


def test_counts_of_a_mixed_run() -> None:
    counters = count(MIXED)
    assert counters.num_steps == 4
    assert counters.num_drafts == 3
    assert counters.num_draft_tokens == 7
    assert counters.num_accepted_tokens == 3
    assert counters.num_rejections == 2
    assert counters.num_emitted_tokens == 7


def test_the_figures_differ_in_their_denominators() -> None:
    counters = count(MIXED)
    assert counters.acceptance_rate == pytest.approx(3 / 7)  # of drafted tokens
    assert counters.mean_acceptance_length == pytest.approx(1 + 3 / 3)  # of rounds with a draft
    assert counters.tokens_per_step == pytest.approx(1 + 3 / 4)  # of all steps
    assert counters.alpha == pytest.approx(3 / 5)  # of tested tokens


def test_each_position_is_divided_by_the_rounds_that_reached_it() -> None:
    # Three rounds drafted a first token, two a second, one a third and a fourth.
    assert count(MIXED).acceptance_rate_per_pos == pytest.approx([2 / 3, 1 / 2, 0, 0])


def test_nothing_recorded_divides_by_nothing() -> None:
    for counters in (SpecCounters(), count([(0, 0, 1)])):
        assert counters.acceptance_rate == 0
        assert counters.alpha == 0
        assert counters.mean_acceptance_length == 1
        assert counters.tokens_per_step == 1
        assert counters.acceptance_rate_per_pos == []


@untimed
@given(st.lists(rounds(), max_size=12))
def test_positions_add_up_to_the_totals(steps: list[Round]) -> None:
    counters = count(steps)
    assert sum(counters.drafted_per_pos) == counters.num_draft_tokens
    assert sum(counters.accepted_per_pos) == counters.num_accepted_tokens
    whole = sum(d == a > 0 for d, a, given in steps if given > a)
    cut = sum(given <= a for _, a, given in steps)
    assert counters.num_rejections + whole + cut == counters.num_drafts
    assert all(0 <= rate <= 1 for rate in counters.acceptance_rate_per_pos)


@untimed
@given(st.lists(rounds(), max_size=12))
def test_only_tokens_that_were_given_count(steps: list[Round]) -> None:
    counters = count(steps)
    assert counters.num_emitted_tokens == sum(given for _, _, given in steps)
    own = counters.num_steps - counters.num_cut_rounds  # recovered and bonus tokens, plain ones
    assert counters.num_accepted_tokens + own == counters.num_emitted_tokens


def test_a_text_that_ends_inside_an_accepted_stretch_counts_as_far_as_it_goes() -> None:
    """Eight drafted, eight stand, the third one is EOS: three were given."""
    counters = count([(8, 8, 3)])
    assert (counters.num_draft_tokens, counters.num_accepted_tokens) == (3, 3)
    assert (counters.num_rejections, counters.num_cut_rounds) == (0, 1)
    assert counters.drafted_per_pos == counters.accepted_per_pos == [1, 1, 1]
    assert counters.mean_acceptance_length == counters.tokens_per_step == 3


def test_a_tree_is_cut_at_a_depth() -> None:
    counters = SpecCounters()
    counters.record(5, 3, 2, depths=(1, 1, 2, 2, 3), rejected=False)
    assert (counters.num_draft_tokens, counters.num_accepted_tokens) == (4, 2)
    assert counters.drafted_per_pos == [1, 1]


@untimed
@given(first=st.lists(rounds(), max_size=8), second=st.lists(rounds(), max_size=8))
def test_merging_is_recording_together(first: list[Round], second: list[Round]) -> None:
    merged, other = count(first), count(second)
    merged.merge(other)
    assert merged == count(first + second)
    assert other == count(second)


@pytest.mark.parametrize("alpha", [0.3, 0.8, 0.95])
def test_the_censored_estimate_finds_alpha(alpha: float) -> None:
    rng = random.Random(5)
    mixed = [rng.randint(0, 8) for _ in range(20_000)]
    assert simulate(alpha, [8] * 20_000, seed=1).alpha == pytest.approx(alpha, abs=0.01)
    assert simulate(alpha, mixed, seed=2).alpha == pytest.approx(alpha, abs=0.01)


def test_the_acceptance_rate_is_not_alpha() -> None:
    """True 0.8 at k = 8: the rate is (0.8 + 0.8² + … + 0.8⁸) / 8."""
    rate = simulate(0.8, [8] * 20_000, seed=3).acceptance_rate
    assert rate == pytest.approx(0.416, abs=0.01)


def test_survival_by_position_when_k_varies() -> None:
    rng = random.Random(11)
    counters = simulate(0.8, [rng.randint(0, 6) for _ in range(20_000)], seed=4)
    survival = [0.8**i for i in range(1, 7)]
    assert counters.acceptance_rate_per_pos == pytest.approx(survival, abs=0.02)
    # What public engines print, all rounds below the line, is far off already at position 4.
    assert counters.accepted_per_pos[3] / counters.num_drafts < 0.75 * survival[3]


def test_mean_acceptance_length_against_the_closed_form() -> None:
    length = simulate(0.7, [4] * 20_000, seed=6).mean_acceptance_length
    assert length == pytest.approx((1 - 0.7**5) / (1 - 0.7), rel=0.01)


# --- times


def test_times_add_up() -> None:
    times = StepTimes(schedule=1, run=6, verify=2, update=0.5, propose=0.5, num_steps=1)
    times.add(StepTimes(run=2, num_steps=1))
    assert times.num_steps == 2
    assert times.run == 8
    assert times.total == pytest.approx(12)
    assert times.overhead == pytest.approx(1 / 3)


def test_no_time_no_overhead() -> None:
    assert StepTimes().overhead == 0


def test_intervals_hold_the_rate_and_narrow_with_evidence() -> None:
    few, many = SpecCounters(), SpecCounters()
    for counters, rounds in ((few, 10), (many, 1_000)):
        for i in range(rounds):
            counters.record(drafted=2, accepted=i % 2, emitted=1 + i % 2)
    for counters in (few, many):
        first, second = counters.acceptance_intervals_per_pos
        assert first[0] == pytest.approx(0.5)
        assert first[1] < 0.5 < first[2]
        assert second[0] == second[1] == 0 < second[2]
    (_, low, high), (_, lower, higher) = (c.acceptance_intervals_per_pos[0] for c in (many, few))
    assert high - low < (higher - lower) / 5
    assert (lower, higher) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # 5 of 10, any table
