"""Windows add up to the whole: counts by sums, rates by the seconds they lasted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.peers import Reading
from fairdraft.peers.windows import join

# Three windows of one run: the first two are full of prompts.
WINDOWS = [
    Reading(
        "x",
        drafted / 3,
        drafted,
        accepted,
        (rate * drafted / 3,),
        tokens / 10,
        requests,
        steps=tokens - accepted,
        seconds=10,
        generated=tokens,
        prompt_tokens_per_second=prompts,
        waiting=waiting,
        kv_usage=usage,
    )
    for drafted, accepted, rate, tokens, requests, prompts, waiting, usage in (
        (387, 150, 0.543, 2656, 337, 11244.6, 633, 0.095),
        (1488, 725, 0.615, 8260, 629, 11528.5, 226, 0.163),
        (8703, 5306, 0.730, 33991, 610, 7438.5, 0, 0.176),
    )
]


def test_a_whole_is_the_sum_of_its_windows() -> None:
    found = join(WINDOWS, "x", ("hm",))
    assert (found.generated, found.accepted, found.rounds) == (44907, 6181, 3526)
    assert found.seconds == 30
    assert found.tokens_per_second == pytest.approx(44907 / 30)
    assert found.requests == pytest.approx((337 + 629 + 610) / 3)
    assert found.step_time == pytest.approx((337 + 629 + 610) * 10 / (44907 - 6181))
    assert [each.step_time for each in found.windows] == pytest.approx([1.345, 0.835, 0.213], 0.01)
    assert found.prompt_share == pytest.approx(30211.6 / (30211.6 + 4490.7))
    assert (found.waiting, found.kv_usage) == pytest.approx((859 / 3, 0.434 / 3))
    assert found.notes == ("hm",)
    assert found.preemptions is None


def test_what_a_window_does_not_say_the_whole_does_not() -> None:
    found = join([WINDOWS[0], replace(WINDOWS[1], steps=None, waiting=None)], "x")
    assert (found.steps, found.waiting) == (None, None)
    assert found.prompt_share is not None


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=9))
def test_equal_windows_of_any_length_say_what_one_says(lengths: list[float]) -> None:
    one = WINDOWS[1]
    parts = [
        replace(
            one,
            rounds=one.rounds * seconds,
            drafted=one.drafted * seconds,
            accepted=one.accepted * seconds,
            accepted_per_position=(one.accepted_per_position[0] * seconds,),
            steps=(one.steps or 0) * seconds,
            generated=(one.generated or 0) * seconds,
            seconds=10 * seconds,
        )
        for seconds in lengths
    ]
    found = join(parts, "x")
    assert found.step_time == pytest.approx(one.step_time)
    assert found.survivals == pytest.approx(one.survivals)
    assert found.draft_share == pytest.approx(one.draft_share)


def test_step_times_that_were_measured_weigh_by_their_steps() -> None:
    short, long = Reading("x", step_seconds=0.01, steps=100), Reading("x", step_seconds=0.04)
    assert join([short, replace(long, steps=300)], "x").step_seconds == pytest.approx(0.0325)
    assert join([short, long], "x").step_seconds == pytest.approx(0.025)
    assert join([short, Reading("x", steps=100)], "x").step_seconds is None
